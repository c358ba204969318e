"""Workers that are killed: their releases are taken up again, are charged for what was read, and come out exactly once.

Everything here is real processes: `ticketgate up`, `serve` and `worker`, killed with SIGKILL together with what they run.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.audit.verify import verify_log
from gateway.budget import Ledgers
from gateway.errors import Conflict
from gateway.jobs.conclude import conclude_production
from gateway.jobs.scratch import remove_leftovers, scratch_folder
from gateway.releases import Status
from gateway.releases.origin import anchor_of, log_keys
from gateway.releases.produce import conclude, fail, note_evaluating, note_reading, take_up
from gateway.telemetry import utc_now

INTEGRATION = Path(__file__).resolve().parents[1] / "integration" / "conftest.py"
PROGRAM = (sys.executable, "-c", "from gateway.cli import main; main()")
ENDED = {Status.RELEASED, Status.BLOCKED, Status.FAILED, Status.CANCELLED}
PATIENCE = 240.0


def make_town(folder: Path, **settings: Any) -> Any:
    """The town of the integration tests, which pytest lends only to its own folder."""
    name = "ticketgate_town"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, INTEGRATION)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name].make_town(folder, **settings)


def leave_town(town: Any) -> None:
    town.house.enqueue.close()
    town.house.database.dispose()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**settings: Any) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TICKETGATE_")}
    given = {f"TICKETGATE_{name.upper()}": str(value) for name, value in settings.items()}
    return {**kept, "OMP_NUM_THREADS": "1", "TICKETGATE_LOG_LEVEL": "ERROR", **given}


@contextmanager
def process(role: str, *arguments: str, folder: Path, **settings: Any) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{role}-{time.monotonic_ns()}.log").open("wb") as log:
        started = subprocess.Popen(
            [*PROGRAM, role, *arguments], env=environment(**settings), cwd=folder, stdout=subprocess.DEVNULL, stderr=log
        )
    try:
        yield started
    finally:
        if started.poll() is None:
            started.terminate()
            try:
                started.wait(timeout=25)
            except subprocess.TimeoutExpired:
                for pid in descendants(started.pid):
                    os.kill(pid, signal.SIGKILL)
                started.kill()
                started.wait()


def parents() -> dict[int, int]:
    """Parent by process, from /proc."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text("utf-8")
            except (FileNotFoundError, ProcessLookupError):
                continue
            fields = text.rpartition(")")[2].split()
            if fields[0] != "Z":
                found[int(entry.name)] = int(fields[1])
    return found


def descendants(pid: int) -> list[int]:
    every = parents()
    found, front = [], [pid]
    while front:
        front = [child for child, parent in every.items() if parent in front]
        found += front
    return found


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def worker_below(pid: int) -> int | None:
    return next((child for child in descendants(pid) if command_of(child).endswith(" worker")), None)


def production_below(pid: int) -> int | None:
    return next((child for child in descendants(pid) if "gateway.jobs.production" in command_of(child)), None)


def kill_all(pid: int) -> None:
    """The worker first, so that it cannot note the death of its child."""
    victims = [pid, *descendants(pid)]
    for victim in victims:
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            continue  # it died with its parent, as it should


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds:.0f} s for {what}")


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def ask(url: str, town: Any) -> str:
    headers = {"Content-Type": "application/jwt"}
    answer = httpx.post(f"{url}/v1/release-requests", content=town.signed(), headers=headers, timeout=60)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def is_at_work(town: Any, release_id: str) -> bool:
    release = town.release(release_id)
    assert release.status not in ENDED, f"it was over before it could be killed: {release.failure}"
    return release.status is Status.EVALUATING


def charges(town: Any, release_id: str) -> Any:
    with town.house.database.read() as work:
        return Ledgers(work).charges_of_release(release_id)


def log_findings(town: Any) -> Any:
    return verify_log(town.house.database, keys=log_keys(town.house), anchor=anchor_of(town.house.settings))


def check_the_end(town: Any, release_id: str) -> None:
    """Released once, charged for both fits, and the log tells it all."""
    release = town.release(release_id)
    assert (release.status, release.fence) == (Status.RELEASED, 2), release.failure
    first, second = charges(town, release_id)
    assert first.is_settled
    assert first.settlement.loss == first.reserve.loss
    assert second.is_settled
    assert float(second.loss.epsilon) <= 1.0
    kinds = [event.kind for event in town.events("release.") if event.subjects.to_json().get("release") == release_id]
    assert kinds.count("release.released") == 1
    assert kinds.count("release.generating") == 2
    assert len(town.events("budget.settled")) == 2
    findings = log_findings(town)
    assert findings.ok, findings


def plain_files(*homes: Path) -> list[Path]:
    return [path for home in homes for path in (home / "scratch").rglob("*") if path.is_file() and path.name != ".lock"]


@pytest.mark.slow
def test_up_starts_another_worker_and_the_killed_ones_release_comes_out_once(tmp_path: Path) -> None:
    port = free_port()
    town = make_town(tmp_path, port=port)
    url = f"http://127.0.0.1:{port}"
    with process("up", "--port", str(port), folder=tmp_path, home=tmp_path / "home") as up:
        until(lambda: is_ready(url), "the gateway", 90)
        release_id = ask(url, town)
        until(lambda: is_at_work(town, release_id), "the evaluation")
        worker = worker_below(up.pid)
        assert worker is not None
        assert production_below(worker) is not None
        kill_all(worker)
        killed = time.monotonic()
        another = until(lambda: worker_below(up.pid) not in (None, worker) and worker_below(up.pid), "another worker", 30)
        assert another != worker
        until(lambda: town.release(release_id).fence == 2, "the take-over")
        print(f"\ntake over after {time.monotonic() - killed:.1f} s")
        until(lambda: town.release(release_id).status in ENDED, "the end")
        print(f"\nfinished after {time.monotonic() - killed:.1f} s")
        check_the_end(town, release_id)
        assert plain_files(tmp_path / "home") == []
        assert len(list((tmp_path / "home" / "scratch").glob("worker-*"))) == 1, "the killed worker's temporary folder is gone"
    leave_town(town)


@pytest.mark.slow
@pytest.mark.services
def test_a_second_worker_elsewhere_takes_over_by_heartbeat(postgres: str, tmp_path: Path) -> None:
    port = free_port()
    first = {"home": tmp_path / "home", "database": postgres, "artifacts": tmp_path / "artifacts"}
    town = make_town(
        tmp_path, port=port, **{name: value if name == "home" else str(value) for name, value in first.items() if name != "home"}
    )
    url = f"http://127.0.0.1:{port}"
    keys = tmp_path / "home" / "keys"
    shared = {
        "database": postgres, "artifacts": tmp_path / "artifacts", "issuer": url, "port": port, "checkpoints": tmp_path / "home" / "checkpoints.log",
        "master_key_file": keys / "master.key", "passphrase_file": keys / "sealing.secret",
    }  # fmt: skip
    homes = [tmp_path / "machine-1", tmp_path / "machine-2"]
    for home in homes:
        (home / "keys").mkdir(parents=True, mode=0o700)
    with (
        process("serve", folder=tmp_path, home=tmp_path / "home", **shared),
        process("worker", folder=homes[0], home=homes[0], **shared) as one,
        process("worker", folder=homes[1], home=homes[1], **shared) as two,
    ):
        until(lambda: is_ready(url), "the gateway", 90)
        until(lambda: len(living(town)) == 2, "both workers", 90)
        release_id = ask(url, town)
        until(lambda: is_at_work(town, release_id), "the evaluation")
        busy = next(each for each in (one, two) if production_below(each.pid) is not None)
        kill_all(busy.pid)
        killed = time.monotonic()
        busy.wait()
        until(lambda: town.release(release_id).fence == 2, "the take-over", 60)
        print(f"\ntake over after {time.monotonic() - killed:.1f} s")
        until(lambda: town.release(release_id).status in ENDED, "the end")
        print(f"\nfinished after {time.monotonic() - killed:.1f} s")
        check_the_end(town, release_id)
        assert len(town.events("job.resumed")) == 1
        assert plain_files(homes[0 if busy is two else 1]) == []
    leave_town(town)


def living(town: Any) -> list[str]:
    from sqlalchemy import select

    from gateway.db.tables.releases import worker

    with town.house.database.read() as work:
        return list(work.execute(select(worker.c.executor)).scalars())


@pytest.mark.slow
def test_a_worker_told_to_stop_ends_soon_and_leaves_its_release_to_the_next(tmp_path: Path) -> None:
    port = free_port()
    town = make_town(tmp_path, port=port)
    home = tmp_path / "home"
    release_id = town.ask().get_json()["id"]
    with process("worker", folder=tmp_path, home=home, port=port) as worker:
        until(lambda: is_at_work(town, release_id), "the evaluation")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=20) == 0
    assert town.release(release_id).status is Status.EVALUATING
    with process("worker", folder=tmp_path, home=home, port=port):
        until(lambda: town.release(release_id).status in ENDED, "the end")
        until(lambda: not plain_files(home), "the scratch folder to be empty", 10)
        until(lambda: town.release(release_id).fence == 2, "the second fit", 1)
        assert town.release(release_id).status is Status.RELEASED
    leave_town(town)


def test_a_revived_zombie_changes_nothing(tmp_path: Path) -> None:
    town = make_town(tmp_path)
    release_id = town.ask().get_json()["id"]
    zombie = take_up(town.house, release_id, now=utc_now())
    assert zombie is not None
    note_reading(town.house, zombie, now=utc_now())
    heir = take_up(town.house, release_id, now=utc_now())
    assert heir is not None
    assert (zombie.fence, heir.fence) == (1, 2)
    before = (town.release(release_id), charges(town, release_id), len(town.events("release.")), len(town.events("budget.")))
    with pytest.raises(Conflict) as refused:
        note_reading(town.house, zombie, now=utc_now())
    assert refused.value.slug == "fenced"
    fail(town.house, zombie, code="late", message="a zombie's complaint", data_was_read=True, now=utc_now())
    stale = {"release_id": release_id, "fence": zombie.fence, "reserve": zombie.reserve, "artifacts": [], "outcome": {}}
    assert conclude_production(town.house, stale) == "generating"
    with pytest.raises(Conflict, match="taken over"):
        note_evaluating(town.house, zombie, now=utc_now())
    unread: Any = None  # the fence is looked at before anything that a late worker brings
    with pytest.raises(Conflict, match="taken over"):
        conclude(town.house, zombie, unread, now=utc_now())
    after = (town.release(release_id), charges(town, release_id), len(town.events("release.")), len(town.events("budget.")))
    assert after == before
    leave_town(town)


def test_what_was_interrupted_twice_fails_and_both_fits_stay_charged(tmp_path: Path) -> None:
    town = make_town(tmp_path)
    release_id = town.ask().get_json()["id"]
    unread = take_up(town.house, release_id, now=utc_now())
    again = take_up(town.house, release_id, now=utc_now())
    assert unread is not None
    assert again is not None
    assert again.reserve == unread.reserve, "nothing was read, so nothing is charged"
    note_reading(town.house, again, now=utc_now())
    second = take_up(town.house, release_id, now=utc_now())
    assert second is not None
    assert second.reserve != again.reserve
    note_reading(town.house, second, now=utc_now())
    assert take_up(town.house, release_id, now=utc_now()) is None
    release = town.release(release_id)
    assert release.status is Status.FAILED
    assert release.failure is not None
    assert release.failure["code"] == "interrupted"
    both = charges(town, release_id)
    assert [charge.is_settled for charge in both] == [True, True]
    assert all(charge.loss == charge.reserve.loss for charge in both)
    assert [event.kind for event in town.events("release.")][-1] == "release.failed"
    leave_town(town)


def test_leftovers_are_removed_and_what_is_in_use_is_not(house: Any) -> None:
    with scratch_folder(house, prefix="production-") as used:
        (used / "data.csv").write_text("in use", "utf-8")
        abandoned = used.parent / "production-dead"
        abandoned.mkdir()
        (abandoned / "data.csv").write_text("left by a killed worker", "utf-8")
        assert remove_leftovers(house) == 1
        assert not abandoned.exists()
        assert (used / "data.csv").exists()
    assert not used.exists()
