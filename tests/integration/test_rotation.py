"""Rotating the master key and the passphrase: at every moment in between, everything opens; killed, it is started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from gateway.access import GatewayKeys
from gateway.cli.main import main
from gateway.db.tables.storage import data_key
from gateway.releases.data_keys import bound_to, destroy_keys, open_key, rewrap_keys, secret_of, wrapped_by
from gateway.storage import FileKey, read_ring, write_ring
from gateway.telemetry import utc_now

SUBJECTS = ("r1#1", "r1#2", "r2#1", "proof:r1", "split:adult", "fingerprints", "upload:u1")


@pytest.fixture
def run(house: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setenv("TICKETGATE_HOME", str(house.settings.home))

    def call(*arguments: str) -> tuple[int, dict[str, Any]]:
        with pytest.raises(SystemExit) as left:
            main([*arguments, "--json"])
        return int(str(left.value.code)), json.loads(capsys.readouterr().out)

    return call


def filled(house: Any, subjects: tuple[str, ...] = SUBJECTS) -> dict[str, bytes]:
    return {subject: secret_of(house, subject, bound_to=bound_to(subject), purpose="test", now=utc_now()) for subject in subjects}


def opened(house: Any, subjects: tuple[str, ...] = SUBJECTS) -> dict[str, bytes]:
    with house.database.read() as work:
        return {subject: open_key(work, house.wrapper, subject) for subject in subjects}


def test_every_data_key_is_wrapped_anew_and_the_old_master_key_can_go(house: Any, run: Any) -> None:
    secrets, old = filled(house), house.wrapper.key_id
    with house.database.begin() as work:
        destroy_keys(work, "r2", now=utc_now())
        work.commit()
    alive = {subject: secret for subject, secret in secrets.items() if subject != "r2#1"}
    code, answer = run("keys", "rotate-master")
    assert (code, answer["rewrapped"], answer["kept"]) == (0, len(alive), [old])
    assert opened(house, tuple(alive)) == alive
    with house.database.read() as work:
        assert set(wrapped_by(work)) == {answer["key"]}
        row = work.execute(select(data_key).where(data_key.c.subject == "r2#1")).one()
    assert row.wrapped is None
    code, answer = run("keys", "rotate-master", "--forget")
    assert (code, answer["forgotten"], answer["kept"]) == (0, [old], [])
    assert len(read_ring(house.settings.keys_folder / "master.key")) == 1
    assert opened(house, tuple(alive)) == alive
    code, answer = run("doctor")
    assert (code, [check["ok"] for check in answer["checks"]]) == (0, [True] * 5)


def test_what_an_older_key_still_wraps_is_not_forgotten_and_doctor_sees_what_is_lost(house: Any, run: Any) -> None:
    filled(house)
    path = house.settings.keys_folder / "master.key"
    first = read_ring(path)
    write_ring(path, (os.urandom(32), *first))
    code, answer = run("doctor")
    (check,) = (check for check in answer["checks"] if check["name"].startswith("master"))
    assert (code, "rotate-master --rewrap-only" in check["detail"]) == (0, True)
    write_ring(path, read_ring(path)[:1])
    code, answer = run("doctor")
    (check,) = (check for check in answer["checks"] if check["name"].startswith("master"))
    assert (code, check["ok"]) == (5, False)
    assert run("keys", "rotate-master", "--forget")[0] == 6
    write_ring(path, (*read_ring(path), *first))
    code, answer = run("keys", "rotate-master", "--rewrap-only")
    assert (code, answer["rewrapped"]) == (0, len(SUBJECTS))


def test_a_key_that_is_destroyed_in_between_stays_destroyed(house: Any) -> None:
    filled(house)
    path = house.settings.keys_folder / "master.key"
    write_ring(path, (os.urandom(32), *read_ring(path)))

    class Meanwhile:
        """The wrapper, beside whom somebody withdraws the release when its key has been read."""

        key_id = house.wrapper.key_id
        wrapped_by = house.wrapper.wrapped_by
        wrap = house.wrapper.wrap

        def __init__(self, work: Any) -> None:
            self.work = work

        def unwrap(self, wrapped: bytes, *, release_id: str) -> bytes:
            key: bytes = house.wrapper.unwrap(wrapped, release_id=release_id)
            if release_id == "r1":
                gone = {"wrapped": None, "destroyed_at": utc_now()}
                self.work[-1].execute(update(data_key).where(data_key.c.subject.startswith("r1#")).values(**gone))
            return key

    open_works: list[Any] = []
    begin = house.database.begin

    class Watched:
        """The database; the wrapper above acts inside its transaction, as a second writer would right before the update."""

        read = house.database.read

        def begin(self) -> Any:
            from contextlib import contextmanager

            @contextmanager
            def opened_work() -> Any:
                with begin() as work:
                    open_works.append(work)
                    yield work

            return opened_work()

    rewrap_keys(Watched(), Meanwhile(open_works))  # type: ignore[arg-type]
    with house.database.read() as work:
        rows = work.execute(select(data_key).where(data_key.c.subject.startswith("r1#"))).all()
    assert [row.wrapped for row in rows] == [None, None]


@pytest.mark.slow
def test_a_rotation_that_is_killed_again_and_again_loses_nothing(house: Any, run: Any) -> None:
    subjects = tuple(f"release{number:04d}#1" for number in range(1500))
    with house.database.begin() as work:
        for subject in subjects:
            wrapped = house.wrapper.wrap(subject.encode().ljust(32, b"."), release_id=bound_to(subject))
            row = {"subject": subject, "purpose": "test", "wrapping_key_id": house.wrapper.key_id, "wrapped": wrapped}
            work.execute(data_key.insert().values(**row, created_at=utc_now()))
        work.commit()
    path, mixed = house.settings.keys_folder / "master.key", 0
    command = [sys.executable, "-c", "from gateway.cli import main; main()", "keys", "rotate-master"]
    environment = {**os.environ, "TICKETGATE_HOME": str(house.settings.home)}
    first = set(FileKey(path).known_ids)
    for attempt in range(4):
        started = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda attempt=attempt: len(read_ring(path)) > attempt + 1, started)  # type: ignore[misc]
        if attempt % 2:
            wait_for(lambda: counts(house).get(FileKey(path).key_id, 0) > 0, started)
        started.send_signal(signal.SIGKILL)
        started.wait()
        mixed += len(counts(house)) > 1
        assert opened(house, subjects) == {subject: subject.encode().ljust(32, b".") for subject in subjects}
    assert mixed, "no attempt was stopped in the middle"
    code, answer = run("keys", "rotate-master", "--forget")
    assert code == 0
    assert first <= set(answer["forgotten"])
    assert opened(house, subjects)[subjects[7]] == subjects[7].encode().ljust(32, b".")
    assert len(read_ring(path)) == 1


def counts(house: Any) -> dict[str, int]:
    with house.database.read() as work:
        return wrapped_by(work)


def wait_for(condition: Any, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None and not condition():
        time.sleep(0.002)


def test_the_passphrase_is_replaced_while_processes_run(house: Any, run: Any) -> None:
    path: Path = house.settings.keys_folder / "sealing.secret"
    before = path.read_bytes().strip()
    with house.database.read() as work:
        signer = GatewayKeys(work, house.sealing).signer("manifest").kid
    code, answer = run("keys", "rotate-passphrase")
    assert (code, answer["rewrapped"], answer["kept"]) == (0, 6, 1)
    assert path.read_bytes().splitlines()[1] == before
    with house.database.read() as work:
        assert GatewayKeys(work, house.sealing).signer("manifest").kid == signer
    code, answer = run("keys", "rotate-passphrase", "--forget")
    assert (code, answer["forgotten"], answer["kept"]) == (0, 1, 0)
    assert before not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    with house.database.read() as work:
        assert GatewayKeys(work, house.sealing).signer("manifest").kid == signer


def test_a_secret_that_is_mounted_read_only_is_rotated_by_hand(house: Any, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = filled(house)
    mounted = house.settings.home.parent / "mounted"
    mounted.mkdir()
    path = mounted / "master.key"
    path.write_bytes((house.settings.keys_folder / "master.key").read_bytes())
    path.chmod(0o600)
    monkeypatch.setenv("TICKETGATE_MASTER_KEY_FILE", str(path))

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.replace", refuse)
    code, problem = run("keys", "rotate-master")
    assert (code, "--rewrap-only" in " ".join(problem["error"]["unlock"])) == (5, True)
    monkeypatch.undo()
    monkeypatch.setenv("TICKETGATE_HOME", str(house.settings.home))
    monkeypatch.setenv("TICKETGATE_MASTER_KEY_FILE", str(path))
    path.write_bytes(os.urandom(32).hex().encode() + b"\n" + path.read_bytes())
    code, answer = run("keys", "rotate-master", "--rewrap-only")
    assert (code, answer["rewrapped"]) == (0, len(secrets))
