"""Folders in which a worker holds confidential or not yet released files in plain form, for as long as it works on them.

Invariants:
    - A folder is locked by the process that uses it; the lock ends with the process, however it ends.
    - What a killed worker left is removed by the next one on this machine; a folder in use is never touched.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.releases import House

__all__ = ["remove_leftovers", "scratch_folder"]

LOCK = ".lock"


@contextmanager
def scratch_folder(house: House, *, prefix: str) -> Iterator[Path]:
    """A locked folder below the home, readable by this account alone, removed in the end."""
    root = _root(house)
    with _held(root / LOCK):  # nobody may take the folder for a leftover between its making and its locking
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
        descriptor = _locked(folder / LOCK)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def remove_leftovers(house: House) -> int:
    """Remove what dead workers of this machine left; answers how many folders."""
    root = _root(house)
    removed = 0
    with _held(root / LOCK):
        for folder in root.iterdir():
            if folder.is_dir() and _is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
    return removed


def _root(house: House) -> Path:
    root = house.settings.home.resolve() / "scratch"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return root


@contextmanager
def _held(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _locked(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _is_abandoned(folder: Path) -> bool:
    try:
        descriptor = _locked(folder / LOCK)
    except BlockingIOError:
        return False
    except FileNotFoundError:  # its owner is removing it at this moment
        return False
    os.close(descriptor)
    return True
