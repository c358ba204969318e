"""The bounded child: whatever happens in it becomes a value."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.storage.bounded import Bounds, Completed, Failed, run_bounded

SAMPLE = """
import os, time
from policies.tables import TableInvalid
def echo(**given): return given
def refuse(): raise TableInvalid("'t.csv': line 2 is too short")
def leak(): raise RuntimeError("secret cell")
def eat(): return len(bytearray(8 << 30))
def spin():
    while True: pass
def sleep(): time.sleep(60)
def die(): os._exit(7)
def abort(): os.abort()
def odd(): return float("nan")
def tell(): return dict(os.environ)
def pid(path):
    open(path, "w").write(str(os.getpid())); time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _module(tmp_path, monkeypatch):
    (tmp_path / "bounded_sample.py").write_text(SAMPLE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("TICKETGATE_SECRET_FOR_TEST", "do not pass on")


def test_arguments_and_result_go_through():
    assert run_bounded("bounded_sample:echo", {"a": [1, "x", None]}) == Completed({"a": [1, "x", None]})


def test_a_refusal_keeps_its_sentence():
    assert run_bounded("bounded_sample:refuse", {}) == Failed("refused", "'t.csv': line 2 is too short")


@pytest.mark.parametrize("function", ["leak", "die", "abort", "odd", "none"])
def test_a_crash_says_nothing_of_the_input(function):
    failed = run_bounded(f"bounded_sample:{function}", {})
    assert isinstance(failed, Failed)
    assert failed.kind == "crashed"
    assert "secret" not in failed.sentence


def test_memory_is_bounded():
    assert run_bounded("bounded_sample:eat", {}).kind == "memory"


def test_processor_time_is_bounded():
    assert run_bounded("bounded_sample:spin", {}, bounds=Bounds(cpu_seconds=1, wall_seconds=60)).kind == "timeout"


def test_wall_time_is_bounded():
    started = time.monotonic()
    assert run_bounded("bounded_sample:sleep", {}, bounds=Bounds(wall_seconds=3)).kind == "timeout"
    assert time.monotonic() - started < 15


def test_the_child_gets_no_settings_of_its_parent():
    assert "TICKETGATE_SECRET_FOR_TEST" not in run_bounded("bounded_sample:tell", {}).value


def test_the_child_dies_with_its_parent(tmp_path):
    note = tmp_path / "pid"
    code = f"from gateway.storage.bounded import run_bounded; run_bounded('bounded_sample:pid', {{'path': {str(note)!r}}})"
    parent = subprocess.Popen([sys.executable, "-c", code])
    for _ in range(300):
        if note.exists() and note.read_text():
            break
        time.sleep(0.1)
    child = int(note.read_text())
    parent.kill()
    parent.wait()
    for _ in range(100):
        if not Path(f"/proc/{child}").exists():
            return
        time.sleep(0.05)
    os.kill(child, 9)
    pytest.fail("the child outlived its parent")
