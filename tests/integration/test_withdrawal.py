"""Withdrawal: the data is gone, on disk and on S3; the proof stays; everybody who must know is told, now or later."""

from __future__ import annotations

import hashlib
import hmac
import importlib.util
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import NotFound
from gateway.evidence.bundle import evidence_zip
from gateway.evidence.checks import load_trusted
from gateway.evidence.examine import verify_evidence
from gateway.releases import Release, Status, withdraw
from gateway.releases.artifacts import Artifacts
from gateway.releases.notice import tell_again
from gateway.storage import StoreUnavailable, sweep
from gateway.telemetry import utc_now
from gateway.tickets import Tickets

pytestmark = pytest.mark.slow

Released = tuple[Any, Callable[[], Release]]
SECRET = b"a secret that two sides know"


class Receiver(HTTPServer):
    """A webhook's receiver that says what it is told to say."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Take)
        self.says = 204
        self.got: list[tuple[dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hooks/withdrawn"


class Take(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Receiver)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((dict(self.headers), body))
        self.send_response(self.server.says)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def settings_of(town: Any, **changes: Any) -> Iterator[None]:
    before = town.house.settings
    object.__setattr__(town.house, "settings", before.model_copy(update=changes))
    try:
        yield
    finally:
        object.__setattr__(town.house, "settings", before)


def comments(town: Any) -> list[str]:
    with town.house.database.read() as work:
        row = Tickets(work)._row("DATA-101")
    assert row is not None
    return [comment["text"] for comment in row["extra"].get("comments", [])]


def fetched(town: Any, release: Release) -> bytes:
    token = town.post(f"/v1/releases/{release.id}/tokens", "ana").get_json()["token"]
    answer = town.client.get(f"/v1/releases/{release.id}/artifacts/data.csv", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    return bytes(answer.data)


def assert_only_the_proof_is_left(town: Any, release: Release, before: bytes, folder: Path) -> None:
    assert evidence_zip(town.house, release.id) == before
    (folder / "evidence.zip").write_bytes(before)
    checks = verify_evidence(folder / "evidence.zip", load_trusted(town.house.settings.home / "trusted-keys.json"))
    assert [check for check in checks if not check.ok] == []
    assert "the manifest is signed by a trusted key" in {check.name for check in checks}
    left = [found.name for found in town.house.store.names() if release.id in found.name]
    assert left
    assert all(name.startswith("proofs/") for name in left), left
    with town.house.database.read() as work, pytest.raises(NotFound):
        Artifacts(work).read(town.house, Artifacts(work).get(release.id, "data.csv"))


def test_the_data_goes_the_proof_stays_and_everybody_is_told(released: Released, tmp_path: Path) -> None:
    town, another = released
    release = another()
    fetched(town, release)
    before = town.get(f"/v1/releases/{release.id}/evidence", "carl").data
    manifest = town.get(f"/v1/releases/{release.id}/manifest", "ana").data
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "secret").chmod(0o600)
    with receiver() as hook, settings_of(town, notify_url=hook.url, notify_secret_file=tmp_path / "secret"):
        reason = "a data subject objected"
        answer = town.post(f"/v1/releases/{release.id}/withdrawal", "carl", json={"reason": reason}).get_json()
    assert (answer["recipients"], answer["stored_bytes"]) == (["ana"], "removed")
    assert answer["notices"] == {"ticket": "told", "webhook": "told"}
    ((headers, body),) = hook.got
    assert headers["X-Hub-Signature"] == "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    said = json.loads(body)
    assert (said["type"], said["release"], said["recipients"]) == ("release.withdrawn", release.id, ["ana"])
    assert any(release.id in text and reason in text for text in comments(town))
    assert_only_the_proof_is_left(town, release, before, tmp_path)
    page = town.get(f"/v1/releases/{release.id}", "ana").get_json()
    assert (page["status"], page["withdrawal"]["reason"], page["withdrawal"]["recipients"]) == ("withdrawn", reason, ["ana"])
    assert "destroyed" in page["notice"]
    assert town.get(f"/v1/releases/{release.id}/manifest", "ana").data == manifest
    for gone in ("report-card", "model-card", "artifacts"):
        assert town.get(f"/v1/releases/{release.id}/{gone}", "ana").status_code == 404
    assert {event.data["to"] for event in town.events("webhook.sent")} >= {"ticket", "webhook"}


def test_who_could_not_be_told_is_told_later_and_once(released: Released, tmp_path: Path) -> None:
    town, another = released
    release = another()
    with receiver() as hook, settings_of(town, notify_url=hook.url):
        hook.says = 500
        now = utc_now()
        answer = withdraw(town.house, release.id, by="carl", reason="wrong table", now=now)
        assert answer["notices"] == {"ticket": "told", "webhook": "refused"}
        assert tell_again(town.house, now=now + timedelta(seconds=90)) == 1
        hook.says = 200
        assert tell_again(town.house, now=now + timedelta(seconds=150)) == 0
        assert tell_again(town.house, now=now + timedelta(seconds=210)) == 0
    assert len(hook.got) == 3
    assert "X-Hub-Signature" not in hook.got[0][0]
    assert sum(release.id in text for text in comments(town)) == 1


def test_a_notice_is_not_sent_unsigned_where_a_secret_is_expected(released: Released, tmp_path: Path) -> None:
    town, another = released
    release = another()
    with receiver() as hook, settings_of(town, notify_url=hook.url, notify_secret_file=tmp_path / "missing"):
        answer = withdraw(town.house, release.id, by="carl", reason="wrong table", now=utc_now())
    assert answer["notices"]["webhook"] == "no-secret"
    assert hook.got == []


class Stuck:
    """A store that does not delete."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def delete(self, name: str) -> None:
        raise StoreUnavailable(f"nothing is deleted today, not even {name}")


def test_a_store_that_does_not_delete_leaves_unreadable_bytes_to_the_sweep(released: Released) -> None:
    town, another = released
    release = another()
    whole = town.house
    answer = withdraw(replace(whole, store=Stuck(whole.store)), release.id, by="carl", reason="wrong table", now=utc_now())
    assert (answer["status"], answer["stored_bytes"]) == (Status.WITHDRAWN, "unreadable; removed by the next sweep")
    with whole.database.read() as work:
        known = Artifacts(work).locations()
    later = utc_now() + timedelta(days=2)
    removed = [
        name for prefix in ("releases/", "proofs/") for name in sweep(whole.store, older_than=later, known=known, prefix=prefix)
    ]
    assert any(name.endswith("data.csv") and release.id in name for name in removed)
    left = {found.name.rsplit("/", 1)[-1] for found in whole.store.names() if release.id in found.name}
    assert left == {"manifest.json", "manifest.dsse.json"}


@pytest.mark.services
def test_the_same_on_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.storage.s3 import new_client

    server = module_of(Path(__file__).parents[1] / "services" / "s3_server.py", "ticketgate_s3_server")
    found = module_of(Path(__file__).with_name("conftest.py"), "ticketgate_town")
    try:
        with server.running_s3() as s3:
            for name, value in (("ACCESS_KEY_ID", server.ACCESS_KEY), ("SECRET_ACCESS_KEY", server.SECRET_KEY)):
                monkeypatch.setenv(f"AWS_{name}", value)
            monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            new_client(endpoint=s3.endpoint).create_bucket(Bucket="withdrawn")
            town = found.make_town(tmp_path, artifacts="s3://withdrawn/gateway", s3_endpoint=s3.endpoint)
            release = town.produced()
            town.sequence()
            assert release.status is Status.RELEASED, release.failure
            fetched(town, release)
            before = town.get(f"/v1/releases/{release.id}/evidence", "carl").data
            answer = withdraw(town.house, release.id, by="carl", reason="wrong table", now=utc_now())
            assert (answer["recipients"], answer["stored_bytes"]) == (["ana"], "removed")
            assert_only_the_proof_is_left(town, release, before, tmp_path)
            town.house.enqueue.close()
            town.house.database.dispose()
    except server.NoServer as reason:
        pytest.skip(str(reason))


def module_of(path: Path, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
