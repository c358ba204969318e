"""Run a production in a process of its own and listen to it.

Invariants:
    - The child gets no secret by argument or environment: its order, with the split key, goes to its standard input.
    - It is killed when its time is over, when the release was cancelled, or when this worker was fenced off.
    - What it writes to standard error is never kept: a library's message may hold a cell.
    - However it ends, that is a value: an outcome, or a failure that says what is known and guesses nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.jobs.order import Failure, Order, Outcome

__all__ = ["Progress", "run_production"]

Progress = Callable[[float, str, str], bool]
"""(share, stage, phase) → whether to go on."""
KEPT_ENVIRONMENT = (
    "PATH", "HOME", "LANG", "LC_ALL", "OMP_NUM_THREADS", "VIRTUAL_ENV", "TMPDIR", "AWS_REGION", "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_CA_BUNDLE",
)  # fmt: skip
PROGRAM = (sys.executable, "-m", "gateway.jobs.production")
MAX_LINE = 4 << 20
PATIENCE = 60.0
"""Seconds that a child which says nothing more has to end by itself; only what it is told to have died of depends on them."""
GARBLED = Failure(
    code="internal-error", message="the production told the worker something that is no message", data_was_read=True
)


def run_production(order: Order, *, progress: Progress, timeout: float) -> Outcome | Failure | None:
    """Run a production to its end.

    Args:
        order: What to produce.
        progress: Told each line; when it answers False the child is killed.
        timeout: Seconds after which the child is killed.

    Returns:
        The outcome, a failure with a code, or None when `progress` stopped it.
    """
    environment = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    process = subprocess.Popen(
        PROGRAM,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(order.folder),
        env=environment,
        text=True,
    )
    is_late = threading.Event()

    def stop() -> None:
        is_late.set()
        process.kill()

    timer = threading.Timer(timeout, stop)
    timer.start()
    try:
        answer = _listen(process, order, progress)
        status = _ended(process) if answer is None else None
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
    if answer is not None:
        return answer if not isinstance(answer, _Stopped) else None
    if is_late.is_set():
        return Failure(code="timeout", message=f"the production took longer than {timeout:.0f} s", data_was_read=True)
    return _died(status)


def _ended(process: subprocess.Popen[str]) -> int | None:
    """With what a child that said nothing more ended by itself; None when it did not."""
    try:
        return process.wait(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return None


def _died(status: int | None) -> Failure:
    """What is known of a child that gave no answer."""
    if status is None:
        why, code = "the production stopped talking and did not end", "internal-error"
    elif status == -signal.SIGKILL:
        why, code = "the production was killed; most likely it needed more memory than a release may take", "production-killed"
    elif status < 0:
        why, code = f"the production was ended by signal {-status}", "production-killed"
    else:
        why, code = f"the production broke on something that nobody foresaw (exit status {status})", "internal-error"
    return Failure(code=code, message=why, data_was_read=True)


class _Stopped:
    """The listener said stop."""


def _listen(process: subprocess.Popen[str], order: Order, progress: Progress) -> Outcome | Failure | _Stopped | None:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the child has no pipes")
    try:
        process.stdin.write(order.model_dump_json())
        process.stdin.close()
    except BrokenPipeError:
        return None
    while line := process.stdout.readline(MAX_LINE):
        said = _parsed(line)
        if not isinstance(said, tuple):
            return said
        if not progress(*said):
            return _Stopped()
    return None


def _parsed(line: str) -> Outcome | Failure | tuple[float, str, str]:
    """A line as what it says."""
    try:
        message: dict[str, Any] = json.loads(line)
        if "outcome" in message:
            return Outcome.model_validate(message["outcome"])
        if "failure" in message:
            return Failure.model_validate(message["failure"])
        return float(message["progress"]), str(message["stage"]), str(message["phase"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return GARBLED
