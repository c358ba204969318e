"""What was killed, cancelled or fenced off on its way ends once, in order, and leaves no key behind."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gateway.budget import Ledgers
from gateway.db.tables.evidence import release_fingerprint
from gateway.db.tables.storage import data_key
from gateway.errors import Conflict, Unavailable
from gateway.jobs import conclude as concluding
from gateway.jobs import produce as producing
from gateway.jobs import rim
from gateway.jobs.conclude import conclude_production
from gateway.releases import Status, cancel
from gateway.releases.artifacts import Artifacts, make_sealer
from gateway.releases.produce import Taken, hold, take_up
from gateway.storage import StoreUnavailable
from gateway.telemetry import utc_now
from tests.integration.stand_in import NOT_DP, POINTS, run_stand_in

ROOT = Path(__file__).resolve().parents[2]
Town = Any


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producing, "run_production", run_stand_in)
    monkeypatch.setattr(rim, "WAITS", ())


def asked(town: Town) -> str:
    answer = town.ask(**NOT_DP)
    assert answer.status_code == 202, answer.text
    return str(answer.get_json()["id"])


def produced(town: Town) -> dict[str, Any]:
    """A release that only has to be concluded."""
    made = producing.produce(town.house, asked(town))
    assert made is not None
    return made


def settlements(town: Town, release_id: str) -> list[bool]:
    with town.house.database.read() as work:
        return [charge.is_settled for charge in Ledgers(work).charges_of_release(release_id)]


def test_a_conclusion_that_is_killed_anywhere_is_concluded_by_the_next(town: Town, tmp_path: Path) -> None:
    made = produced(town)
    document = tmp_path / "produced.json"
    document.write_text(json.dumps(made), "utf-8")
    killed = [sys.executable, "-m", "tests.integration.stand_in", str(town.house.settings.home), str(document), *POINTS]
    assert subprocess.run(killed, cwd=ROOT, check=False, timeout=120).returncode == 0, "somebody lived on"
    release = town.release(made["release_id"])
    assert (release.status, settlements(town, release.id)) == (Status.EVALUATING, [False])
    assert conclude_production(town.house, made) == Status.RELEASED
    assert settlements(town, release.id) == [True]
    assert len(town.events("release.released")) == 1
    with town.house.database.read() as work:
        found = Artifacts(work)
        assert found.read(town.house, found.get(release.id, "model-card.md")).startswith(b"#")


class Killed(BaseException):
    """Nothing after it happens, as after SIGKILL."""


def die(*_: object, **__: object) -> None:
    raise Killed


def is_open(town: Town, release_id: str) -> list[bool]:
    """Of each key that was made for the artifacts of a release, whether it still opens them."""
    with town.house.database.read() as work:
        keys = work.execute(select(data_key.c.wrapped).where(data_key.c.subject.startswith(f"{release_id}#")))
        return [key is not None for key in keys.scalars()]


def sealed_bytes(town: Town, release_id: str) -> list[str]:
    return [found.name for found in town.house.store.names("releases/") if release_id in found.name]


def test_a_blocked_release_has_no_key_whenever_its_worker_was_killed(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.policy(version=2, line="0.01")
    made = produced(town)
    release_id = made["release_id"]
    assert is_open(town, release_id) == [True]
    with monkeypatch.context() as patched:
        patched.setattr(concluding, "remove_sealed", die)
        with pytest.raises(Killed):
            conclude_production(town.house, made)
    assert (town.release(release_id).status, is_open(town, release_id)) == (Status.BLOCKED, [False])
    assert [dict(event.data) for event in town.events("artifact.destroyed")] == [{"keys": 1}]
    assert conclude_production(town.house, made) == Status.BLOCKED
    assert [name for name in sealed_bytes(town, release_id) if not name.endswith("model-card.md")] == []


def test_what_is_cancelled_as_the_child_ends_is_sealed_under_no_key(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    def cancelled_at_the_end(order: Any, **arguments: Any) -> Any:
        outcome = run_stand_in(order, **arguments)
        cancel(town.house, order.release_id, principal="ana", now=utc_now())
        return outcome

    monkeypatch.setattr(producing, "run_production", cancelled_at_the_end)
    release_id = asked(town)
    assert producing.produce(town.house, release_id) is None
    assert (town.release(release_id).status, settlements(town, release_id)) == (Status.CANCELLED, [True])
    assert (is_open(town, release_id), sealed_bytes(town, release_id)) == ([], [])
    with town.house.database.read() as work:
        assert work.execute(select(release_fingerprint.c.release_id)).all() == []


def test_what_is_cancelled_before_it_is_concluded_gets_no_key_again(town: Town) -> None:
    made = produced(town)
    cancel(town.house, made["release_id"], principal="ana", now=utc_now())
    assert conclude_production(town.house, made) == Status.CANCELLED
    assert (is_open(town, made["release_id"]), sealed_bytes(town, made["release_id"])) == ([False], [])


@pytest.mark.parametrize("when", ["make_sealer", "_conclusion"])
def test_what_is_cancelled_while_it_is_concluded_stays_cancelled(town: Town, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    made = produced(town)
    act = getattr(concluding, when)

    def cancelled_first(*arguments: Any, **named: Any) -> Any:
        cancel(town.house, made["release_id"], principal="ana", now=utc_now())
        return act(*arguments, **named)

    monkeypatch.setattr(concluding, when, cancelled_first)
    assert conclude_production(town.house, made) == Status.CANCELLED
    assert is_open(town, made["release_id"]) == [False]


def test_a_failed_release_has_no_key(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> Any:
        raise StoreUnavailable("planted")

    monkeypatch.setattr("gateway.releases.artifacts.Sealer.put_file", stopped)
    release_id = asked(town)
    assert producing.produce(town.house, release_id) is None
    assert (town.release(release_id).status, is_open(town, release_id)) == (Status.FAILED, [False])


def test_an_attempt_that_another_replaced_has_no_key(town: Town) -> None:
    first = produced(town)
    second = producing.produce(town.house, first["release_id"])
    assert second is not None
    assert sorted(is_open(town, first["release_id"])) == [False, True]
    assert conclude_production(town.house, first) == Status.EVALUATING
    assert all("/00000002-" in name for name in sealed_bytes(town, first["release_id"]))
    assert conclude_production(town.house, second) == Status.RELEASED


@pytest.mark.parametrize(("where", "outcome"), [("scratch_folder", "unread"), ("run_production", "spent")])
def test_what_broke_before_the_table_was_opened_costs_nothing(
    town: Town, monkeypatch: pytest.MonkeyPatch, where: str, outcome: str
) -> None:
    def broken(*_: object, **__: object) -> Any:
        raise Unavailable("planted")

    monkeypatch.setattr(producing, where, broken)
    release_id = asked(town)
    assert producing.produce(town.house, release_id) is None
    assert town.release(release_id).status is Status.FAILED
    with town.house.database.read() as work:
        (charge,) = Ledgers(work).charges_of_release(release_id)
    assert charge.settlement is not None
    assert charge.settlement.outcome == outcome


@pytest.mark.slow
@pytest.mark.services
def test_of_a_cancellation_and_a_sealing_at_once_no_key_is_left(postgres: str, tmp_path: Path) -> None:
    town = importlib.import_module("tests.integration.conftest").make_town(tmp_path, database=postgres)
    sealed = 0
    for _ in range(20):
        taken = take_up(town.house, asked(town), now=utc_now())
        assert taken is not None
        start = threading.Barrier(2)

        def seal(taken: Taken = taken, start: threading.Barrier = start) -> bool:
            start.wait()
            try:
                make_sealer(
                    town.house, release_id=taken.release.id, fence=1, now=utc_now(), within=lambda work: hold(work, taken)
                )
            except Conflict:
                return False
            return True

        def take_back(release_id: str = taken.release.id, start: threading.Barrier = start) -> None:
            start.wait()
            cancel(town.house, release_id, principal="ana", now=utc_now())

        with ThreadPoolExecutor(2) as threads:
            sealing, cancelling = threads.submit(seal), threads.submit(take_back)
            cancelling.result()
            sealed += sealing.result()
        assert town.release(taken.release.id).status is Status.CANCELLED
        assert not any(is_open(town, taken.release.id))
    print(f"\n{sealed} of 20 were sealed first")
    town.house.enqueue.close()
    town.house.database.dispose()
