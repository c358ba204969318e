"""Peers beside our generators: each in an environment of its own, from the package index, fitted by `peer_runner`.

Invariants:
    - A peer is never installed into the project's environment, and never imported by it.
    - What cannot be installed or run is said in one line, and is no row of the table.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from policies.card import DatasetCard

__all__ = ["PEERS", "Peer", "PeerUnavailable", "columns_of", "produce"]

RUNNER = Path(__file__).with_name("peer_runner.py")
INSTALL_SECONDS, FIT_SECONDS = 1800, 3600


class PeerUnavailable(Exception):
    """A peer could not be installed or run; the text says why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """What to install, and whether it promises anything.

    Attributes:
        environment: Name of its environment; peers of one package share it.
        requirements: What pip installs there.
        is_dp: Whether it takes an ε.
    """

    environment: str
    requirements: tuple[str, ...]
    is_dp: bool = True


PEERS = {
    "dpmm-privbayes": Peer("dpmm", ("dpmm==0.1.9",)),
    "dpmm-mst": Peer("dpmm", ("dpmm==0.1.9",)),
    "dpmm-aim": Peer("dpmm", ("dpmm==0.1.9",)),
    "smartnoise-dpctgan": Peer("smartnoise", ("smartnoise-synth",)),
    "ctgan": Peer("ctgan", ("ctgan==0.12.1",), is_dp=False),
}


def columns_of(card: DatasetCard) -> dict[str, dict[str, object]]:
    """What the card publishes of each column, for a script that does not know cards."""
    columns: dict[str, dict[str, object]] = {}
    for name, column in card.learnt.items():
        if column.type == "category":
            columns[name] = {"values": list(column.values or ()), "missing": column.missing}
        else:
            columns[name] = {"bounds": list(column.number_bounds() or ()), "whole": column.type == "integer"}
    return columns


def produce(
    name: str, *, epsilon: str, delta: str, seed: int, train: Path, card: DatasetCard, out: Path, cache: Path
) -> dict[str, float]:
    """Fit a peer to the train file and write as many rows; returns CPU seconds and MB.

    Raises:
        PeerUnavailable: it could not be installed, or its run failed.
    """
    python = _environment(PEERS[name], cache)
    columns = out.with_suffix(".columns.json")
    columns.write_text(json.dumps(columns_of(card)))
    command = [str(python), str(RUNNER), "--peer", name, "--train", str(train), "--columns", str(columns), "--out", str(out)]
    command += ["--epsilon", epsilon or "1", "--delta", delta, "--seed", str(seed)]
    found = json.loads(_checked(command, FIT_SECONDS).splitlines()[-1])
    return {key: float(value) for key, value in found.items()}


def _environment(peer: Peer, cache: Path) -> Path:
    """The Python of the peer's environment, made and filled once."""
    folder = cache / peer.environment
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.exists():
        venv.create(folder, with_pip=True, clear=True)
        _checked([str(python), "-m", "pip", "install", "--quiet", *peer.requirements], INSTALL_SECONDS)
        done.write_text("\n".join(peer.requirements))
    return python


def _checked(command: list[str], seconds: int) -> str:
    clean = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    clean.pop("PYTHONPATH", None)
    try:
        found = subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds, env=clean)
    except subprocess.TimeoutExpired as error:
        raise PeerUnavailable(f"took longer than {seconds} s") from error
    if found.returncode:
        lines = [line for line in found.stderr.splitlines() if line.strip()] or ["no message"]
        raise PeerUnavailable(f"exit status {found.returncode}: {lines[-1][:200]}")
    return found.stdout


if __name__ == "__main__":
    sys.exit("run python -m tests.bench.generators --peers")
