"""Peers beside our generators: each in an environment of its own, from the package index, fitted by `peer_runner`.

Invariants:
    - A peer is never installed into the project's environment, and never imported by it.
    - A peer that cannot be installed, runs out of time or CPU seconds, or fails gives one line that says so; the others go on.
    - Peers built on torch get the version that the project pins. Where no CPU build of it is at hand (`PIP_FIND_LINKS`), the
      index sends the one for CUDA, several gigabytes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from policies.card import DatasetCard

__all__ = ["PEERS", "NotMeasured", "Peer", "columns_of", "environment", "produce"]

RUNNER = Path(__file__).with_name("peer_runner.py")
INSTALL_SECONDS, FIT_SECONDS, CPU_SECONDS = 3600, 7200, 1800
ENDINGS = ("Error", "Exception", "Exceeded", "Killed")


class NotMeasured(Exception):
    """A generator could not be installed or run; the text says why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """What to install, and whether it promises anything.

    Attributes:
        environment: Name of its environment; peers of one package share it.
        requirements: What pip installs there.
        is_dp: Whether it takes an ε.
        without: What pip takes out again: packages that the peer asks for, can do without, and that break it here.
    """

    environment: str
    requirements: tuple[str, ...]
    is_dp: bool = True
    without: tuple[str, ...] = ()

    @property
    def neighbours(self) -> str:
        """What one unit's presence means to its accountant: all of them add or remove a row."""
        return "add-remove" if self.is_dp else "-"


TORCH = "torch==2.13.0"
MBI, DPMM = ("mbi==2.0.0", "pandas==2.3.3"), ("dpmm==0.1.9",)
SMARTNOISE, MOSTLY, CTGAN = (
    (TORCH, "smartnoise-synth==1.0.8", "packaging"),
    (TORCH, "mostlyai-engine==2.7.3"),
    (TORCH, "ctgan==0.12.1"),
)
VISION = ("torchvision", "torchaudio")  # the index builds them for CUDA; beside a torch for the CPU their import fails
PEERS = {
    "mbi-mst": Peer("mbi", MBI),
    "dpmm-aim": Peer("dpmm", DPMM),
    "dpmm-mst": Peer("dpmm", DPMM),
    "dpmm-privbayes": Peer("dpmm", DPMM),
    "argn-dp": Peer("mostlyai", MOSTLY, without=VISION),
    "smartnoise-dpctgan": Peer("smartnoise", SMARTNOISE),
    "argn": Peer("mostlyai", MOSTLY, is_dp=False, without=VISION),
    "ctgan": Peer("ctgan", CTGAN, is_dp=False),
    "tvae": Peer("ctgan", CTGAN, is_dp=False),
}


def columns_of(card: DatasetCard) -> dict[str, dict[str, object]]:
    """What the card publishes of each column, for a script that does not know cards."""
    columns: dict[str, dict[str, object]] = {}
    for name, column in card.learnt.items():
        known: dict[str, object] = {"missing": column.missing}
        if column.type == "category":
            columns[name] = known | {"values": list(column.values or ())}
        else:
            columns[name] = known | {"bounds": list(column.number_bounds() or ()), "whole": column.type == "integer"}
    return columns


def produce(
    name: str, *, epsilon: str, delta: str, seed: int, train: Path, card: DatasetCard, out: Path, cache: Path
) -> dict[str, float]:
    """Fit a peer to the train file and write as many rows; returns CPU seconds and MB.

    Raises:
        NotMeasured: it could not be installed, or its run failed.
    """
    python = environment(PEERS[name], cache)
    columns = out.with_suffix(".columns.json")
    columns.write_text(json.dumps(columns_of(card)))
    command = [
        str(python),
        "-P",
        str(RUNNER),
        "--peer",
        name,
        "--train",
        str(train),
        "--columns",
        str(columns),
        "--out",
        str(out),
    ]
    command += ["--epsilon", epsilon or "1", "--delta", delta, "--seed", str(seed), "--cpu-limit", str(CPU_SECONDS)]
    out.unlink(missing_ok=True)
    found = json.loads(_checked(command, FIT_SECONDS).splitlines()[-1])
    return {key: float(value) for key, value in found.items()}


def environment(peer: Peer, cache: Path) -> Path:
    """The Python of the peer's environment, made and filled once, and again when what it needs has changed.

    Raises:
        NotMeasured: the index does not answer, or has no such version for this Python.
    """
    folder = cache / peer.environment
    python, done, wanted = folder / "bin" / "python", folder / "installed", "\n".join(peer.requirements)
    if not done.exists() or done.read_text() != wanted:
        venv.create(folder, with_pip=True, clear=True)
        _checked([str(python), "-m", "pip", "install", "--quiet", *peer.requirements], INSTALL_SECONDS)
        if peer.without:
            _checked([str(python), "-m", "pip", "uninstall", "--quiet", "--yes", *peer.without], INSTALL_SECONDS)
        done.write_text(wanted)
    return python


def _checked(command: list[str], seconds: int) -> str:
    """What a command prints, run with one thread and none of the project's paths."""
    clean = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "JOBLIB_MULTIPROCESSING": "0"}
    clean.pop("PYTHONPATH", None)
    try:
        found = subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds, env=clean)
    except subprocess.TimeoutExpired as error:
        raise NotMeasured(f"took longer than {seconds} s") from error
    if found.returncode == -signal.SIGXCPU:
        raise NotMeasured(f"used more than {CPU_SECONDS} CPU s")
    if found.returncode:
        lines = [line.strip() for line in found.stderr.splitlines() if line.strip()] or ["no message"]
        named = [line for line in lines if line.split(":")[0].endswith(ENDINGS)] or lines
        raise NotMeasured(f"exit status {found.returncode}: {named[-1][:200]}")
    return found.stdout


if __name__ == "__main__":
    sys.exit("run python -m tests.bench.generators --peers")
