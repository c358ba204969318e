"""The demo as a newcomer runs it, on the project's own sample and on a real table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(560)]


def play(folder: Path, *arguments: str) -> dict[str, Any]:
    """The gate refuses an honest table about once in 200 times by design; twice in a row happens less than once in 30,000."""
    command = [sys.executable, "-c", "from gateway.cli import main; main()", "demo", "--json", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for attempt in (1, 2):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=270, check=False, env=environment)
        if done.returncode == 0 or attempt == 2 or "`ticketgate request` ended with 3 instead of 0" not in done.stderr:
            break
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
