"""Where checkpoints are published so that the gateway cannot take them back.

Responsible for the port (`Anchor`) and two implementations: a file that is only appended to (default; put it on a
medium or account that the gateway may append to but not rewrite), and an object store with one write-once object a size.

Invariants:
    - What `publish` returned from is durable.
    - An anchor never takes a smaller tree after a larger one, nor two trees of one size.
    - `exclusive` keeps two sequencers of one machine from signing side by side.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

from gateway.audit.note import Checkpoint, SignedNote
from gateway.errors import NotRecorded, VerificationFailed

__all__ = ["Anchor", "FileAnchor", "ObjectAnchor", "Overtaken"]

TAIL_BYTES = 1 << 17
GREATEST = 10**19 - 1


class Overtaken(VerificationFailed):
    """A larger tree stands there: another sequencer was quicker, or the log was truncated. Whoever reads both anew can tell."""


class Anchor(Protocol):
    """A place for signed checkpoints outside the database."""

    def newest(self) -> str | None:
        """The newest note, or None when nothing was published yet."""

    def notes(self) -> Iterator[str]:
        """All notes, oldest first."""

    def publish(self, note: str) -> str:
        """Store a note for good.

        Returns:
            The note that stands there under this size: this one, or one of the same tree that another sequencer stored first.

        Raises:
            NotRecorded: it could not be stored.
            Overtaken: a larger tree stands there.
            VerificationFailed: another tree of the same size stands there.
        """

    def exclusive(self) -> AbstractContextManager[None]:
        """While it is held, no other sequencer of this machine publishes here."""


class FileAnchor:
    """A file with one JSON string a line, each a signed checkpoint; it is only ever appended to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def newest(self) -> str | None:
        """The last whole line."""
        if not self.path.exists():
            return None
        with self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - TAIL_BYTES))
            notes = list(_whole_notes(file.read(TAIL_BYTES).split(b"\n")))
        return notes[-1] if notes else None

    def notes(self) -> Iterator[str]:
        """All whole lines; what a crash tore off in the middle was never published."""
        if self.path.exists():
            with self.path.open("rb") as file:
                yield from _whole_notes(line.rstrip(b"\n") for line in file)

    def publish(self, note: str) -> str:
        """Append a line and wait until it is on the disk."""
        standing = _standing(self.newest(), note)
        if standing is not None:
            return standing
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                _write_all(handle, _line_break(handle) + json.dumps(note).encode() + b"\n")
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise NotRecorded(f"the checkpoint could not be published ({error.strerror})") from error
        return note

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold a lock on a file beside it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_name(self.path.name + ".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class ObjectAnchor:
    """One write-once object a checkpoint, named by its size, in a store that refuses to overwrite.

    The three functions come from whoever knows the store (`gateway.storage` for S3, with `IfNoneMatch=*` and Object Lock).
    """

    def __init__(
        self,
        *,
        put_new: Callable[[str, bytes], bool],
        get: Callable[[str], bytes | None],
        list_names: Callable[[], Iterable[str]],
    ) -> None:
        """Keep the functions.

        Args:
            put_new: Stores an object that must not exist yet; False when it exists.
            get: Bytes of an object, or None.
            list_names: Names of all objects in ascending order; lazily, because most calls want the first one only.
        """
        self._put_new, self._get, self._list_names = put_new, get, list_names

    def newest(self) -> str | None:
        """The first object: names count down, so that the newest is listed first."""
        name = next(iter(self._list_names()), None)
        if name is None:
            return None
        note = self._note(name)
        if note is None:
            raise VerificationFailed("the newest published checkpoint is listed but cannot be read")
        return note

    def notes(self) -> Iterator[str]:
        """All objects, from the last listed to the first."""
        for name in reversed(list(self._list_names())):
            note = self._note(name)
            if note is not None:
                yield note

    def publish(self, note: str) -> str:
        """Store a new object; one of the same tree that exists already is fine."""
        standing = _standing(self.newest(), note)
        if standing is not None:
            return standing
        size = Checkpoint.parse(SignedNote.parse(note).text).size
        name = f"{GREATEST - size:019d}-{size}"
        self._put_new(name, note.encode())
        standing = _standing(self._note(name), note)  # what stands there first counts, whatever the store answered
        if standing is None:
            raise NotRecorded("the checkpoint was published, but cannot be read back")
        return standing

    def exclusive(self) -> AbstractContextManager[None]:
        """The store's own refusal to overwrite is the lock."""
        return nullcontext()

    def _note(self, name: str) -> str | None:
        data = self._get(name)
        return None if data is None else data.decode()


def _standing(newest: str | None, note: str) -> str | None:
    """The note of this tree that stands there already; None when it is to be published after the newest."""
    if newest is None:
        return None
    old, new = (Checkpoint.parse(SignedNote.parse(text).text) for text in (newest, note))
    if new.size < old.size:
        raise Overtaken(f"the anchor holds a tree of {old.size} leaves; one of {new.size} does not continue it")
    if new.size == old.size and new.root != old.root:
        raise VerificationFailed(f"the anchor holds a tree of {old.size} leaves; another one of {new.size} does not continue it")
    return newest if new.size == old.size else None


def _whole_notes(lines: Iterable[bytes]) -> Iterator[str]:
    for line in lines:
        if line.startswith(b'"') and line.endswith(b'"'):
            try:
                yield str(json.loads(line))
            except ValueError:
                continue  # a damaged line is no note; `verify_log` finds that its checkpoint is not published


def _line_break(handle: int) -> bytes:
    """A line break when a crash left half a line."""
    size = os.fstat(handle).st_size
    return b"\n" if size and os.pread(handle, 1, size - 1) != b"\n" else b""


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]
