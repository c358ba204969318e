"""Run a function on a hostile file in a child process with limits on memory, processor time and wall time.

The child is a fresh interpreter (no fork of a threaded process); arguments and result are JSON. It dies with its parent.

Invariants:
    - Whatever the file does to the child, the caller gets a value: `Completed` or `Failed` with a kind and one sentence.
    - Nothing of the child's own error output is passed on, since it may hold cells; only sentences of `TableInvalid` and of
      our own errors are.
    - No child outlives its call.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

__all__ = ["Bounds", "Completed", "Failed", "run_bounded"]

FailureKind = Literal["refused", "timeout", "memory", "crashed"]
MIB = 1 << 20
PR_SET_PDEATHSIG = 1
KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "TZDIR", "PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
SENTENCES: Mapping[FailureKind, str] = {
    "refused": "the input was refused",
    "timeout": "reading it took longer than allowed and was stopped: take a smaller part of it",
    "memory": "reading it needs more memory than allowed: take a smaller part of it",
    "crashed": "reading it broke the reader, which was stopped: the file is damaged or not what its name says",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a child may use.

    Attributes:
        memory_bytes: Address space, libraries included (about 700 MiB of it before any table is read).
        cpu_seconds: Processor time.
        wall_seconds: Time until it is killed.
        file_bytes: Largest file it may write.
    """

    memory_bytes: int = 2048 * MIB
    cpu_seconds: int = 120
    wall_seconds: float = 180.0
    file_bytes: int = 64 * MIB


@dataclass(frozen=True, slots=True)
class Completed:
    """The function returned this."""

    value: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """The function did not return: why, in one sentence for people."""

    kind: FailureKind
    sentence: str


def run_bounded(
    function: str, arguments: Mapping[str, Any], *, bounds: Bounds | None = None, credentials: bool = False
) -> Completed | Failed:
    """Call `module:function(**arguments)` in a bounded child and return what became of it.

    Args:
        function: Named in code, never by a person; takes and returns what JSON can hold.
        arguments: Keyword arguments.
        bounds: Limits of the child.
        credentials: Whether the child gets the AWS configuration of this process, because it fetches from S3 by itself.
    """
    bounds = bounds or Bounds()
    with tempfile.TemporaryDirectory(prefix="ticketgate-bounded-") as folder:
        result = Path(folder) / "result.json"
        order = {
            "function": function,
            "arguments": dict(arguments),
            "result": str(result),
            "memory_bytes": bounds.memory_bytes,
            "cpu_seconds": bounds.cpu_seconds,
            "file_bytes": bounds.file_bytes,
            "parent": os.getpid(),
        }
        try:
            child = subprocess.run(
                [sys.executable, "-m", "gateway.storage.bounded"],
                input=json.dumps(order).encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=bounds.wall_seconds,
                check=False,
                cwd=folder,
                env=_environment(folder, credentials=credentials),
            )
        except subprocess.TimeoutExpired:
            return _failed("timeout")
        return _outcome(child.returncode, result)


def _environment(folder: str, *, credentials: bool) -> dict[str, str]:
    """No secrets of the parent; one thread and a plain allocator, so that memory is what it seems."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    home = folder
    if credentials:
        kept |= {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        home = os.environ.get("HOME", folder)
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_IO_THREADS"), "1")
    return {**kept, **single, "ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2", "HOME": home, "TMPDIR": folder}


def _failed(kind: FailureKind) -> Failed:
    return Failed(kind, SENTENCES[kind])


def _outcome(returncode: int, result: Path) -> Completed | Failed:
    if returncode == -signal.SIGXCPU:
        return _failed("timeout")
    if returncode == -signal.SIGKILL:
        return _failed("memory")
    try:
        answer = json.loads(result.read_bytes())
    except (OSError, ValueError):
        return _failed("crashed")
    if returncode == 0 and "value" in answer:
        return Completed(answer["value"])
    kind: FailureKind = answer.get("kind", "crashed")
    return Failed(kind, str(answer.get("sentence", SENTENCES[kind])))


def _limit(order: Mapping[str, Any]) -> None:
    """Bind this process before it touches anything of the input."""
    resource.setrlimit(resource.RLIMIT_AS, (order["memory_bytes"], order["memory_bytes"]))
    resource.setrlimit(resource.RLIMIT_CPU, (order["cpu_seconds"], order["cpu_seconds"] + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_bytes"], order["file_bytes"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != order["parent"]:
            sys.exit(1)


def _call(order: Mapping[str, Any]) -> dict[str, Any]:
    module, _, name = str(order["function"]).partition(":")
    try:
        return {"value": getattr(importlib.import_module(module), name)(**order["arguments"])}
    except MemoryError:
        return {"kind": "memory", "sentence": SENTENCES["memory"]}
    except Exception as error:  # noqa: BLE001 - the rim of the child: every fault becomes a value, and only known sentences pass
        from gateway.errors import TicketgateError
        from policies.tables import TableInvalid

        if isinstance(error, TableInvalid | TicketgateError):
            return {"kind": "refused", "sentence": str(error)}
        kind: FailureKind = "memory" if "MemoryError" in type(error).__name__ else "crashed"
        return {"kind": kind, "sentence": SENTENCES[kind]}


def _main() -> int:
    order = json.load(sys.stdin)
    _limit(order)
    answer = _call(order)
    Path(order["result"]).write_text(json.dumps(answer, allow_nan=False))
    return 0 if "value" in answer else 4


if __name__ == "__main__":
    sys.exit(_main())
