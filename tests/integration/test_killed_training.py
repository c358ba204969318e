"""A network whose training is killed: what it read is charged in full, its noise is never drawn on again, and a second fit is a second charge.

The worker's process is killed with SIGKILL by itself, between two steps of DP-SGD, so nothing here depends on time. That the queue
hands the release to the next worker is shown in `tests/e2e/test_jobs.py`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.budget import Ledgers
from gateway.jobs.conclude import conclude_production
from gateway.jobs.produce import produce
from gateway.jobs.scratch import remove_leftovers
from gateway.releases import Status
from gateway.releases.registration import apply_policy
from gateway.telemetry import utc_now
from policies.loader import load_policy

ROOT = Path(__file__).resolve().parents[2]
STEPS = 40
WORKER = """
import os, signal, sys
from pathlib import Path
from gateway.cli.compose import open_house
from gateway.jobs import produce
from gateway.settings import Settings

honest = produce._Teller.__call__

def killed(teller, share, stage, phase):
    if stage == "training" and share > 0.3:
        os.kill(os.getpid(), signal.SIGKILL)
    return honest(teller, share, stage, phase)

produce._Teller.__call__ = killed
produce.produce(open_house(Settings(home=Path(sys.argv[1]))), sys.argv[2])
"""


@pytest.fixture
def release_id(town: Any) -> str:
    """A release by `dp-ar` that waits to be produced."""
    town.policy(version=2)
    text = (town.folder / "policy-2.yaml").read_text("utf-8")
    path = town.folder / "policy-3.yaml"
    path.write_text(text.replace("[dp-marginal, cart]", "[dp-ar]").replace("version: 2", "version: 3"), "utf-8")
    apply_policy(town.house, load_policy(path), by="operator:test", now=utc_now())
    answer = town.ask(generator={"name": "dp-ar", "epsilon": "1.0", "steps": STEPS, "width": 8, "device": "cpu"})
    assert answer.status_code == 202, answer.text
    return str(answer.get_json()["id"])


def charges(town: Any, release_id: str) -> Any:
    with town.house.database.read() as work:
        return Ledgers(work).charges_of_release(release_id)


def kill_while_it_trains(town: Any, release_id: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(town.folder / "home"), release_id], cwd=ROOT, check=False, capture_output=True, text=True,
        timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.slow
def test_a_killed_training_is_charged_in_full_and_the_second_fit_is_charged_too(town: Any, release_id: str) -> None:
    kill_while_it_trains(town, release_id)
    assert town.release(release_id).status is Status.GENERATING
    assert remove_leftovers(town.house) == 1
    kept = [path.name for path in (town.folder / "home").rglob("*") if path.name == "journal" or path.suffix == ".safetensors"]
    assert kept == [], "no state of the killed training outlives it, so nothing can go on from it unpaid"
    made = produce(town.house, release_id)
    assert made is not None, town.release(release_id).failure
    conclude_production(town.house, made)
    release = town.release(release_id)
    assert (release.status, release.fence) == (Status.RELEASED, 2), release.failure
    first, second = charges(town, release_id)
    assert first.reserve.entry_id != second.reserve.entry_id
    assert first.is_settled
    assert first.loss == first.reserve.loss, "charged in full, though only some of its steps were taken"
    assert second.is_settled
    spent = made["outcome"]["spent"]
    assert next(m["parameters"]["steps"] for m in spent["mechanisms"] if m["name"] == "DP-SGD") == STEPS, (
        "a whole fit, no rest of one"
    )
    assert [event.data["why"] for event in town.events("budget.settled") if "why" in event.data] == ["interrupted"]


@pytest.mark.slow
def test_a_training_killed_twice_fails_and_both_fits_stay_charged(town: Any, release_id: str) -> None:
    kill_while_it_trains(town, release_id)
    kill_while_it_trains(town, release_id)
    assert produce(town.house, release_id) is None
    release = town.release(release_id)
    assert release.status is Status.FAILED
    assert release.failure["code"] == "interrupted"
    both = charges(town, release_id)
    assert [charge.loss == charge.reserve.loss for charge in both] == [True, True]
