"""A fit's folder: what a fit needs to go on after a kill, and how many steps it has started.

Responsible for the journal (one byte a started step) and for saved states (safetensors and JSON, digest before parse).

Invariants:
    - A step is in the journal before it reads a row. After a kill all of them count as spent: those whose result was lost are
      taken again with fresh noise and count again, so ε is told too high rather than too low.
    - Histograms are measured once: a fit that was killed before its first state was saved cannot go on.
    - A state replaces the one before it in one rename; a kill leaves the older one or the newer one.
    - Only the fit that made a folder goes on in it, one process at a time.
    - A folder holds noisy histograms, trained numbers and the optimiser's memory of noisy gradients; no row and no true count.

The journal is not synced to the disk at every step: after a loss of power it may lack steps whose results are lost with it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from generator.base import GeneratorError
from generator.model_file import read_model, write_model

__all__ = ["Checkpoint", "fingerprint_of"]

KIND = "checkpoint"
JOURNAL = "journal"
POINTER = "state.json"
STEP = b"."


def fingerprint_of(facts: Mapping[str, Any]) -> str:
    """What tells one fit from another: a digest of its JSON-safe public facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class Checkpoint:
    """The folder of one fit, held open while the fit runs; without a folder nothing is kept.

    Args:
        folder: Is made if it does not exist.
        fingerprint: Of the fit.

    Raises:
        GeneratorError: the folder is of another fit, or another process is at work in it.
    """

    def __init__(self, folder: Path | None, *, fingerprint: str) -> None:
        self._folder = folder
        self._journal: int | None = None
        self._is_new = True
        self.started = 0
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._journal = os.open(folder / JOURNAL, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._open(self._journal, fingerprint.encode() + b"\n")
        except BaseException:
            self.close()
            raise

    def _open(self, journal: int, head: bytes) -> None:
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise GeneratorError("another process is at work in the checkpoint's folder") from error
        size = os.fstat(journal).st_size
        if not size:
            os.write(journal, head)
            os.fsync(journal)
            return
        if os.pread(journal, len(head), 0) != head:
            raise GeneratorError("the checkpoint is of another fit: its generator, settings, card or target differ")
        self.started, self._is_new = size - len(head), False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder."""
        if self._journal is not None:
            os.close(self._journal)
            self._journal = None

    @property
    def is_kept(self) -> bool:
        """Whether there is a folder to save into."""
        return self._folder is not None

    def begin_step(self) -> None:
        """Write a step down before it reads a row."""
        self.started += 1
        if self._journal is not None:
            os.write(self._journal, STEP)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
        """The newest saved state; None where the fit begins.

        Raises:
            GeneratorError: the fit was killed before its first state was saved.
            ModelCorrupt: the state does not have the digest that was noted for it.
        """
        if self._folder is None:
            return None
        pointer = self._folder / POINTER
        if not pointer.exists():
            if self._is_new:
                return None
            raise GeneratorError(
                "this fit was killed while it measured; what it read is spent, and a new fit must be charged anew"
            )
        noted = json.loads(pointer.read_text())
        _, manifest, arrays = read_model(self._folder / noted["folder"], digest=noted["digest"])
        return manifest, arrays

    def save(self, manifest: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Save a state and forget the one before it."""
        if self._folder is None:
            return
        place = self._folder / f"state-{self.started:07d}-{secrets.token_hex(4)}"
        place.mkdir()
        digest = write_model(place, kind=KIND, manifest=manifest, arrays=arrays)
        pending = self._folder / f"{POINTER}.new"
        pending.write_text(json.dumps({"folder": place.name, "digest": digest}))
        pending.replace(self._folder / POINTER)
        for other in self._folder.glob("state-*"):
            if other != place:
                shutil.rmtree(other)
