"""Artifacts in a folder of this machine.

Invariants:
    - Every path lies below the root after all links are followed; a link inside the store is not followed at all.
    - Bytes are on disk (fsync of file and folder) before their name exists; the name appears by one hard link, which fails
      when it is taken. What a crash leaves is a file under `.incoming`, which `names` does not show.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.storage.store import ArtifactExists, ArtifactMissing, StoredArtifact, StoreUnavailable, check_name

__all__ = ["LocalStore"]

INCOMING = ".incoming"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR})


class LocalStore:
    """An artifact store in a folder, readable by its owner alone."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / INCOMING
        try:
            root.parent.mkdir(parents=True, exist_ok=True)
            root.mkdir(mode=0o700, exist_ok=True)
            self._incoming.mkdir(mode=0o700, exist_ok=True)
            self._root = root.resolve(strict=True)
        except OSError as error:
            raise StoreUnavailable(f"the artifact folder cannot be made: {error.strerror}") from error
        self._incoming = self._root / INCOMING

    def put(self, name: str, blocks: Iterable[bytes]) -> int:
        """Write a new name."""
        target = self._path(name)
        waiting = self._incoming / secrets.token_hex(16)
        try:
            size = self._write(waiting, blocks)
            for folder in reversed((target.parent, *target.parent.parents)):
                if folder.is_relative_to(self._root):
                    folder.mkdir(mode=0o700, exist_ok=True)
            self._inside(target.parent)
            os.link(waiting, target, follow_symlinks=False)
            for folder in (target.parent, *target.parent.parents):
                _sync(folder)
                if folder == self._root:
                    break
        except FileExistsError:
            raise ArtifactExists(f"the artifact {name} was written before") from None
        except OSError as error:
            raise StoreUnavailable(f"the artifact could not be written: {error.strerror}") from error
        finally:
            waiting.unlink(missing_ok=True)
        return size

    @staticmethod
    def _write(path: Path, blocks: Iterable[bytes]) -> int:
        size = 0
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for block in blocks:
                size += file.write(block)
            file.flush()
            os.fsync(file.fileno())
        return size

    def size(self, name: str) -> int:
        """Stored bytes of a name."""
        descriptor = self._open(name)
        try:
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def fetch(self, name: str, start: int, length: int) -> bytes:
        """Part of the stored bytes."""
        descriptor = self._open(name)
        with os.fdopen(descriptor, "rb") as file:
            file.seek(start)
            return file.read(length)

    def _open(self, name: str) -> int:
        path = self._path(name)
        try:
            self._inside(path.parent)
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in GONE:
                raise ArtifactMissing(f"the store has no artifact {name}") from None
            raise StoreUnavailable(f"the artifact could not be read: {error.strerror}") from error

    def names(self, prefix: str = "") -> Iterator[StoredArtifact]:
        """Everything whose name starts with a prefix, in order."""
        for folder, folders, files in os.walk(self._root, followlinks=False):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for file in sorted(files):
                path = Path(folder) / file
                name = path.relative_to(self._root).as_posix()
                if name.startswith(prefix) and not path.is_symlink():
                    facts = path.stat()
                    yield StoredArtifact(name, facts.st_size, EPOCH + timedelta(microseconds=facts.st_mtime_ns // 1000))

    def delete(self, name: str) -> None:
        """Remove a name."""
        path = self._path(name)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            if error.errno not in GONE:
                raise StoreUnavailable(f"the artifact could not be removed: {error.strerror}") from error
            return
        if path.parent.is_dir():
            _sync(path.parent)

    def check(self, *, writes: bool = True) -> None:
        """Write and remove a probe; or look whether the folder can be listed."""
        if not writes:
            try:
                next(self._root.iterdir(), None)
            except OSError as error:
                raise StoreUnavailable(f"the artifact folder cannot be read: {error.strerror}") from error
            return
        probe = self._incoming / secrets.token_hex(16)
        try:
            self._write(probe, [b"probe"])
        except OSError as error:
            raise StoreUnavailable(f"the artifact folder cannot be written: {error.strerror}") from error
        finally:
            probe.unlink(missing_ok=True)

    def sweep_incoming(self, *, older_than: datetime) -> int:
        """Remove half-written files that a crash left; returns how many."""
        stale = [path for path in self._incoming.iterdir() if EPOCH + timedelta(seconds=path.stat().st_mtime) < older_than]
        for path in stale:
            path.unlink(missing_ok=True)
        return len(stale)

    def _path(self, name: str) -> Path:
        return self._root / check_name(name)

    def _inside(self, folder: Path) -> None:
        """Refuse a folder that a link has moved out of the store."""
        if folder.exists() and not folder.resolve().is_relative_to(self._root):
            raise StoreUnavailable("a link leads out of the artifact folder: remove it")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
