"""The downloads process: slow readers hold nobody up, a revocation ends what is under way, and the process can do nothing else."""

from __future__ import annotations

import importlib.util
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.audit import Log
from gateway.releases import Release
from gateway.releases.artifacts import Artifacts, make_sealer
from gateway.telemetry import utc_now
from gateway.web import create_app

Released = tuple[Any, Callable[[], Release]]
LARGE = 40 << 20  # more than waitress would buffer for a reader (16 MiB) and still be free of him
PATIENCE = 120.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def with_large_file(town: Any, release: Release) -> bytes:
    """Beside the real table of a few kilobytes: one that no socket buffer swallows."""
    raw = secrets.token_bytes(LARGE)
    sealer = make_sealer(town.house, release_id=release.id, fence=release.fence, now=utc_now())
    row = sealer.put_bytes("data.parquet", raw, media_type="application/octet-stream", audience="requester")
    with town.house.database.begin() as work:
        Artifacts(work).add_all(release.id, [row])
        work.commit()
    return raw


@contextmanager
def downloads_process(town: Any, **changes: str) -> Iterator[str]:
    port, settings = free_port(), town.house.settings
    given = {
        "TICKETGATE_HOME": str(settings.home),
        "TICKETGATE_DATABASE": settings.database_url,
        "TICKETGATE_ISSUER": settings.issuer_url,
        "TICKETGATE_LOG_LEVEL": "ERROR",
        **changes,
    }
    command = [sys.executable, "-c", "from gateway.cli import main; main()", "serve", "--role", "downloads", "--threads", "2"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TICKETGATE_")}
    with subprocess.Popen([*command, "--port", str(port)], env={**kept, **given}) as process:
        try:
            wait_until(lambda: process.poll() is not None or answers(port))
            assert process.poll() is None, "the downloads process ended"
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=60)


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def token_of(town: Any, release_id: str) -> dict[str, str]:
    answer = town.post(f"/v1/releases/{release_id}/tokens", "ana")
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Bearer {answer.get_json()['token']}"}


def finished(town: Any, release_id: str) -> list[dict[str, Any]]:
    with town.house.database.read() as work:
        return [dict(entry.data) for entry in Log(work).of_release(release_id) if entry.kind == "download.finished"]


def slow_reader(stack: ExitStack, address: str, path: str, headers: dict[str, str]) -> httpx.Response:
    """Asks, reads the head of the answer, and then takes its time."""
    client = stack.enter_context(httpx.Client(base_url=address, timeout=PATIENCE))
    response = stack.enter_context(client.stream("GET", path, headers=headers))
    assert response.status_code == 206, response.read()
    return response


def test_the_downloads_role_has_one_route_for_data(house: Any) -> None:
    routes = {rule.rule for rule in create_app(house, role="downloads").url_map.iter_rules() if rule.endpoint != "static"}
    ours = {rule for rule in routes if not rule.startswith("/openapi")}
    assert ours == {"/healthz", "/readyz", "/metrics", "/v1/releases/<release_id>/artifacts/<name>"}
    assert create_app(house, role="downloads").test_client().post("/oauth/token").status_code == 404
    house.enqueue.close()


@pytest.mark.slow
def test_slow_readers_starve_nobody_and_a_revocation_ends_them(released: Released) -> None:
    town, another = released
    release = another()
    raw = with_large_file(town, release)
    path, headers = f"/v1/releases/{release.id}/artifacts/data.parquet", token_of(town, release.id)
    with downloads_process(town) as address, ExitStack() as stack:
        whole = httpx.get(address + path, headers=headers, timeout=PATIENCE)
        assert whole.content == raw
        wait_until(lambda: len(finished(town, release.id)) == 1)
        assert (finished(town, release.id)[0]["outcome"], finished(town, release.id)[0]["sent"]) == ("complete", LARGE)
        ranged = {**headers, "Range": f"bytes={LARGE // 8}-"}
        readers = [slow_reader(stack, address, path, ranged) for _ in range(2)]
        # Two threads, and two transfers that nobody reads: a process whose threads carried them would answer nothing now.
        listed = httpx.get(f"{address}/v1/releases/{release.id}/artifacts/manifest.json", headers=headers, timeout=PATIENCE)
        assert listed.status_code == 200
        assert town.post("/v1/tokens/revocation", "carl", data={"release": release.id, "reason": "test"}).status_code == 200
        time.sleep(2.5)  # the token is asked about again every two seconds
        for reader in readers:
            with pytest.raises(httpx.RemoteProtocolError):
                reader.read()
        wait_until(lambda: sum(data["outcome"] == "revoked" for data in finished(town, release.id)) == 2)
        cut = [data for data in finished(town, release.id) if data["outcome"] == "revoked"]
        assert all(0 < data["sent"] < data["length"] for data in cut)
        assert httpx.get(address + path, headers=ranged, timeout=PATIENCE).status_code == 401


@pytest.mark.slow
def test_a_reader_that_goes_away_and_a_process_that_ends_are_recorded_to_the_byte(released: Released) -> None:
    town, another = released
    release = another()
    with_large_file(town, release)
    path = f"/v1/releases/{release.id}/artifacts/data.parquet"
    with downloads_process(town) as address:
        with ExitStack() as stack:
            gone = slow_reader(stack, address, path, {**token_of(town, release.id), "Range": "bytes=0-"})
            assert len(next(gone.iter_bytes(1000))) == 1000  # who leaves after the head alone may have been sent nothing
        wait_until(lambda: len(finished(town, release.id)) == 1)
        with ExitStack() as stack:
            left = slow_reader(stack, address, path, {**token_of(town, release.id), "Range": "bytes=0-"})
            assert len(next(left.iter_bytes(1000))) == 1000
            stack.pop_all()
    wait_until(lambda: len(finished(town, release.id)) == 2)
    first, second = finished(town, release.id)
    assert (first["outcome"], second["outcome"]) == ("broken-off", "broken-off")
    assert all(1000 <= data["sent"] < LARGE for data in (first, second)), (first["sent"], second["sent"])


@pytest.mark.slow
@pytest.mark.services
def test_a_role_of_its_own_sends_downloads_and_can_do_nothing_else(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    from gateway.db.grants import grant_downloads

    spec = importlib.util.spec_from_file_location("ticketgate_town", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    assert spec.loader is not None
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    town = module.make_town(tmp_path, database=postgres)
    release = town.produced()
    town.sequence()
    role = f"downloads_{secrets.token_hex(6)}"
    with psycopg.connect(postgres, autocommit=True) as owner:
        owner.execute(f'CREATE ROLE "{role}" LOGIN')  # type: ignore[arg-type]
    narrow = postgres.replace("postgres@", f"{role}@")
    try:
        with town.house.database.begin() as work:
            grant_downloads(work, role)
            grant_downloads(work, role)
            work.commit()
        headers = token_of(town, release.id)
        keys = town.house.settings.keys_folder
        passphrase = keys / "sealing.secret"
        passphrase.rename(tmp_path / "not here")
        with downloads_process(town, TICKETGATE_DATABASE=narrow, TICKETGATE_TICKET_SNAPSHOT_MAX_AGE="0") as address:
            answer = httpx.get(f"{address}/v1/releases/{release.id}/artifacts/data.csv", headers=headers, timeout=PATIENCE)
            assert (answer.status_code, len(answer.content) > 1000) == (200, True)
            wait_until(lambda: len(finished(town, release.id)) == 1)
            refused = httpx.get(f"{address}/v1/releases/{release.id}/artifacts/data.csv", headers={"Authorization": "Bearer x"})
            assert refused.status_code == 401
        every = "SELECT subject FROM data_key ORDER BY subject"
        with psycopg.connect(postgres, autocommit=True) as owner:
            kept = [row[0] for row in owner.execute(every)]
        with psycopg.connect(narrow, autocommit=True) as narrow_connection:
            seen = [row[0] for row in narrow_connection.execute(every)]
            assert seen == sorted([f"proof:{release.id}", f"{release.id}#1"])
            assert {"fingerprints", "split:card-transactions"} <= set(kept) - set(seen)
            for statement in (
                "SELECT sealed FROM gateway_key",
                "UPDATE release SET status = 'released'",
                "UPDATE audit_event SET leaf_index = 1",
                "INSERT INTO audit_event (id, kind, at, payload, leaf_hash, leaf_index) VALUES ('x', 'x', now(), '{}', '', 1)",
                "DELETE FROM audit_event",
                "DELETE FROM pseudonym_key",
                "UPDATE data_key SET wrapped = NULL",
                "INSERT INTO release_token (jti) VALUES ('x')",
                "UPDATE release_token SET expires_at = now()",
                "DELETE FROM revocation",
                "SELECT * FROM budget_entry",
                "INSERT INTO policy (name) VALUES ('x')",
                "CREATE TABLE mine (a int)",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    narrow_connection.execute(statement)  # type: ignore[arg-type]
    finally:
        town.house.enqueue.close()
        town.house.database.dispose()
        with psycopg.connect(postgres, autocommit=True) as owner:
            owner.execute(f'DROP OWNED BY "{role}"')  # type: ignore[arg-type]
            owner.execute(f'DROP ROLE "{role}"')  # type: ignore[arg-type]
