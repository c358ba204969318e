"""The files of deploy/ run for real: nginx in front, the API under gunicorn, downloads in a process of their own.

nginx reads `deploy/nginx.conf` with other ports, names and certificates, and nothing else changed.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import importlib.util
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed on this machine"),
]

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PATIENCE = 120.0


@dataclass
class Gate:
    """What stands: the address of nginx, the town behind it, and everything that was written meanwhile."""

    address: str
    certificate: Path
    town: Any
    logs: list[Path]

    def call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        with httpx.Client(
            base_url=self.address, verify=ssl.create_default_context(cafile=self.certificate), timeout=60
        ) as client:
            return client.request(method, path, **arguments)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def town_at(folder: Path, issuer: str) -> Any:
    spec = importlib.util.spec_from_file_location("ticketgate_town", ROOT / "tests/integration/conftest.py")
    assert spec is not None
    assert spec.loader is not None
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_town(folder, issuer=issuer)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(tz=dt.UTC)  # noqa: TID251 - a certificate for this hour
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "tls.crt", folder / "tls.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    secret.write_bytes(key.private_bytes(*form))
    return certificate, secret


def nginx_file(folder: Path, *, port: int, api: int, downloads: int, certificate: Path, secret: Path) -> Path:
    text = (DEPLOY / "nginx.conf").read_text("utf-8")
    version = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr  # noqa: S607
    found = re.search(r"/(\d+)\.(\d+)", version)
    assert found is not None, version
    changes = {
        "/tmp/": f"{folder}/nginx-",  # noqa: S108 - as the file has it; first, since the other paths lie below it
        "listen 8443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "server web:8080;": f"server 127.0.0.1:{api};",
        "server downloads:8081;": f"server 127.0.0.1:{downloads};",
        "/run/secrets/tls_certificate": str(certificate),
        "/run/secrets/tls_key": str(secret),
        "/dev/stdout": f"{folder}/access.log",
        "/dev/stderr": f"{folder}/error.log",
    }
    if (int(found[1]), int(found[2])) < (1, 25):
        changes["        http2 on;\n"] = ""  # the directive is younger than this nginx
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    if os.geteuid() == 0:  # the folder of the test is closed to the account that nginx would take
        text = f"user root;\n{text}"
    path = folder / "nginx.conf"
    path.write_text(text, "utf-8")
    return path


@contextmanager
def process(command: list[str], *, log: Path, cwd: Path, **settings: str) -> Iterator[None]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TICKETGATE_")}
    with (
        log.open("wb") as file,
        subprocess.Popen(command, env={**kept, **settings}, cwd=cwd, stdout=file, stderr=file) as started,
    ):
        try:
            yield
        finally:
            started.terminate()
            started.wait(timeout=60)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    folder = tmp_path_factory.mktemp("gate")
    port, api, downloads = free_port(), free_port(), free_port()
    town = town_at(folder, issuer=f"https://localhost:{port}")
    settings = {"TICKETGATE_HOME": str(town.house.settings.home), "TICKETGATE_ISSUER": town.house.issuer, "OMP_NUM_THREADS": "1"}
    certificate, secret = make_certificate(folder)
    conf = nginx_file(folder, port=port, api=api, downloads=downloads, certificate=certificate, secret=secret)
    subprocess.run(["nginx", "-t", "-c", str(conf)], check=True, capture_output=True)  # noqa: S607
    program = [sys.executable, "-c", "from gateway.cli import main; main()"]
    gunicorn = [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py", "wsgi:create()"]
    logs = [folder / name for name in ("api.log", "downloads.log", "nginx.log", "access.log", "error.log")]
    with ExitStack() as stack:
        web = {"TICKETGATE_BIND": f"127.0.0.1:{api}", "TICKETGATE_WEB_PROCESSES": "1"}
        stack.enter_context(process(gunicorn, log=logs[0], cwd=DEPLOY, **settings, **web))
        serve = [*program, "serve", "--role", "downloads", "--port", str(downloads)]
        stack.enter_context(process(serve, log=logs[1], cwd=folder, **settings, TICKETGATE_PROXIES="1"))
        command = ["nginx", "-c", str(conf), "-g", "daemon off;"]
        stack.enter_context(process(command, log=logs[2], cwd=folder))
        wait_until(lambda: answers(f"http://127.0.0.1:{api}/readyz") and answers(f"http://127.0.0.1:{downloads}/readyz"))
        yield Gate(f"https://localhost:{port}", certificate, town, logs)
    town.house.enqueue.close()
    town.house.database.dispose()


def login(gate: Gate) -> dict[str, str]:
    from gateway.access import client_assertion
    from gateway.telemetry import utc_now

    town = gate.town
    assertion = client_assertion(principal="ana", audience=town.house.issuer, private_key=town.keys["ana"], now=utc_now())
    form = {
        "grant_type": "client_credentials",
        "client_assertion": assertion,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }
    answer = gate.call("POST", "/oauth/token", data=form)
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def test_a_release_passes_through_the_whole_deployment(gate: Gate) -> None:
    town = gate.town
    release = town.produced()
    town.sequence()
    access = login(gate)
    answer = gate.call("POST", f"/v1/releases/{release.id}/tokens", headers=access)
    assert answer.status_code == 201, answer.text
    token = {"Authorization": f"Bearer {answer.json()['token']}"}
    path = f"/v1/releases/{release.id}/artifacts/data.csv"
    whole = gate.call("GET", path, headers=token)
    assert whole.status_code == 200
    assert int(whole.headers["Content-Length"]) == len(whole.content)
    assert whole.headers["ETag"] == '"' + hashlib.sha256(whole.content).hexdigest() + '"'
    assert whole.headers["Cache-Control"] == "private, no-store"
    assert whole.headers["Referrer-Policy"] == "no-referrer"
    assert whole.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "Server" in whole.headers
    assert not re.search(r"\d", whole.headers["Server"])
    part = gate.call("GET", path, headers={**token, "Range": "bytes=100-199", "If-Range": whole.headers["ETag"]})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(whole.content)}"
    assert gate.call("HEAD", path, headers=token).status_code == 405
    revoked = gate.call("POST", "/v1/tokens/revocation", headers=access, data={"token": token["Authorization"].split()[1]})
    assert revoked.status_code in (200, 403)
    secret = token["Authorization"].split()[1]
    written = b"".join(log.read_bytes() for log in gate.logs if log.exists())
    assert path.encode() in written
    for word in (secret, access["Authorization"].split()[1], secret.split(".")[2]):
        assert word.encode() not in written


def test_what_is_for_the_inside_stays_inside(gate: Gate) -> None:
    for path in ("/metrics", "/readyz", "/healthz"):
        assert gate.call("GET", path).status_code == 404
    assert gate.call("GET", "/.well-known/jwks.json").status_code == 200
    assert gate.call("GET", "/openapi.json").json()["openapi"].startswith("3.1")


def test_sizes_are_bounded_before_the_gateway_is_asked(gate: Gate) -> None:
    big = gate.call("POST", "/v1/release-requests", content=b"x" * (1 << 21), headers={"Content-Type": "application/jwt"})
    assert big.status_code == 413
    long = gate.call("GET", "/console/", headers={"X-Long": "y" * 20_000})
    assert long.status_code in (400, 431)
    small = gate.call("POST", "/v1/release-requests", content=b"x" * (17 << 10), headers={"Content-Type": "application/jwt"})
    assert (small.status_code, small.headers["Content-Type"]) == (413, "application/problem+json")


def test_the_address_of_the_caller_is_the_last_hops_word(gate: Gate) -> None:
    """A caller who names another address in X-Forwarded-For is counted under the own one: the limit of guesses bites."""
    seen = set()
    for number in range(60):
        answer = gate.call("GET", "/v1/releases", headers={"Authorization": "Bearer x", "X-Forwarded-For": f"192.0.2.{number}"})
        seen.add(answer.status_code)
        if answer.status_code == 429:
            break
    assert 429 in seen
