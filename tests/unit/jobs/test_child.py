"""However a production ends, the worker says what is known of it, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.jobs import child
from gateway.jobs.order import Failure, Order

LISTEN = "import json, os, signal, sys; sys.stdin.read(); say = lambda line: print(line, flush=True);"


@pytest.fixture
def order(tmp_path: Path) -> Order:
    return Order(
        release_id="r1", card={}, source="", s3_endpoint=None, split_key="", fingerprint_key="", policy={}, generator="cart",
        hyperparameters={}, epsilon=None, delta=None, rows=1, columns=None, format="csv", seed=None, evaluation_seed=1,
        folder=str(tmp_path), memory_mb=512,
    )  # fmt: skip


def end_of(order: Order, program: str, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> Any:
    monkeypatch.setattr(child, "PROGRAM", (sys.executable, "-S", "-c", program))
    return child.run_production(order, progress=lambda *_: True, **{"timeout": 120.0, **arguments})


@pytest.mark.parametrize(
    ("program", "code", "says"),
    [
        (f"{LISTEN} raise RuntimeError", "internal-error", "exit status 1"),
        (f"{LISTEN} sys.exit(7)", "internal-error", "exit status 7"),
        (LISTEN, "internal-error", "exit status 0"),
        ("raise SystemExit(3)", "internal-error", "exit status 3"),
        (f"{LISTEN} os.kill(os.getpid(), signal.SIGKILL)", "production-killed", "memory"),
        (f"{LISTEN} os.kill(os.getpid(), signal.SIGTERM)", "production-killed", "signal 15"),
        (f"{LISTEN} say('a library says hello')", "internal-error", "no message"),
        (f"{LISTEN} say('[]')", "internal-error", "no message"),
        (f"{LISTEN} say(json.dumps(dict(progress='half', stage='', phase='')))", "internal-error", "no message"),
        (f"{LISTEN} say(json.dumps(dict(outcome=dict(files=[]))))", "internal-error", "no message"),
    ],
)
def test_a_production_that_breaks_is_told_as_what_is_known(
    order: Order, monkeypatch: pytest.MonkeyPatch, program: str, code: str, says: str
) -> None:
    answer = end_of(order, program, monkeypatch)
    assert isinstance(answer, Failure)
    assert (answer.code, says in answer.message) == (code, True), answer.message
    assert ("memory" in answer.message) == (says == "memory")


def test_a_production_that_takes_too_long_is_told_so(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = end_of(order, f"{LISTEN} import time; time.sleep(600)", monkeypatch, timeout=0.5)
    assert answer.code == "timeout"


def test_a_production_that_only_falls_silent_is_not_told_as_killed(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "PATIENCE", 0.2)
    answer = end_of(order, f"{LISTEN} import time; os.close(1); time.sleep(600)", monkeypatch)
    assert (answer.code, "stopped talking" in answer.message) == ("internal-error", True)
