"""The demo as a newcomer runs it, on the project's own sample and on a real table."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(560)]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from gateway.cli import main; main()", "demo", "--json", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=400, check=False, env=environment)


def play(folder: Path, *arguments: str) -> dict[str, Any]:
    """The demo asks its gate twice; it refuses an honest table both times less than once in 30,000."""
    done = run(folder, *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def check(facts: dict[str, Any]) -> None:
    assert len({facts["released"], facts["denied"], facts["blocked"]}) == 3
    assert facts["leak"]["release_id"] == facts["released"]
    assert facts["leak"]["chance"] < 1e-9
    assert "data.csv" in facts["tampered_bundle"]
    assert facts["tampered_log"]["kind"] == "edited"


def test_the_demo_plays_to_its_end(tmp_path: Path) -> None:
    check(play(tmp_path))


@pytest.mark.shared
def test_the_demo_plays_on_adult(tmp_path: Path, shared: Path) -> None:
    check(play(tmp_path, "--data", str(shared / "data/adult.csv"), "--card", str(ROOT / "tests/realdata/cards/adult.yaml")))


CARD = """
apiVersion: ticketgate/v1
kind: Dataset
metadata: {name: few, steward: dana, classification: confidential}
spec:
  source: few.csv
  columns:
    age: {type: integer, bounds: [0, 99], role: quasi-identifier}
    region: {type: category, values: [north, south], role: quasi-identifier}
    amount: {type: number, bounds: [0, 1000], role: sensitive}
"""


def test_a_table_too_small_for_the_gate_ends_with_its_reasons(tmp_path: Path) -> None:
    choice = random.Random(3)
    lines = [f"{choice.randrange(18, 90)},{choice.choice(['north', 'south'])},{choice.uniform(1, 900):.2f}" for _ in range(300)]
    (tmp_path / "few.csv").write_text("\n".join(["age,region,amount", *lines]) + "\n", encoding="utf-8")
    (tmp_path / "card.yaml").write_text(CARD, encoding="utf-8")
    done = run(tmp_path, "--data", "few.csv", "--card", "card.yaml")
    assert done.returncode == 3, done.stderr[-3000:]
    assert "nothing may leave of this table" in done.stderr
    assert "Traceback" not in done.stderr
    assert "more people in table and holdout" in done.stderr
    assert done.stderr.count(" is blocked:") == 1
