"""What was killed, cancelled or fenced off on its way ends once, in order, and leaves no key behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.budget import Ledgers
from gateway.jobs import produce as producing
from gateway.jobs.conclude import conclude_production
from gateway.releases import Status
from gateway.releases.artifacts import Artifacts
from tests.integration.stand_in import NOT_DP, POINTS, run_stand_in

ROOT = Path(__file__).resolve().parents[2]
Town = Any


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producing, "run_production", run_stand_in)


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
