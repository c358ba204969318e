"""What an artifact store promises, whatever keeps the bytes.

Invariants:
    - A name is written once. Nobody overwrites; a second writer is told so (`ArtifactExists`).
    - A name becomes visible whole or not at all.
    - Names are built here from identifiers and digests, never from what a person typed.
    - Orphans, which a crash between writing and committing leaves, are found by age and removed by `sweep`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

from gateway.errors import Conflict, NotFound, Unavailable

__all__ = [
    "ArtifactExists", "ArtifactMissing", "ArtifactStore", "EncryptionRefused", "StoreUnavailable", "StoredArtifact",
    "StoredBytes", "VersionedStore", "artifact_name", "check_name", "sweep",
]  # fmt: skip

PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
NAME = re.compile(rf"{PART}(/{PART}){{0,7}}")
DIGEST = re.compile(r"[0-9a-f]{64}")
Room = Literal["releases", "proofs"]


class ArtifactExists(Conflict):
    """The name was written before; what is there stays."""


class ArtifactMissing(NotFound):
    """The store has nothing under this name."""


class StoreUnavailable(Unavailable):
    """The store does not answer, refuses, or did not finish; nothing can be said of what it holds."""


class EncryptionRefused(StoreUnavailable):
    """The store took the bytes without the encryption that was asked for; they were removed again."""


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """One name in a store: stored bytes, and when they became visible (UTC)."""

    name: str
    size: int
    modified_at: datetime


@runtime_checkable
class VersionedStore(Protocol):
    """A store that may keep what was overwritten or removed; the first version of a name is what was written there first."""

    def first_versions(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Name and version of the first writing of every name with a prefix, in order; removed and overwritten ones too."""

    def fetch_version(self, name: str, version: str) -> bytes:
        """All bytes of one version."""


class ArtifactStore(Protocol):
    """Keeps sealed artifacts by name."""

    def put(self, name: str, blocks: Iterable[bytes]) -> int:
        """Write a new name and return the stored bytes.

        Raises:
            ArtifactExists: the name was written before.
            StoreUnavailable: nothing was written.
        """
        ...

    def size(self, name: str) -> int:
        """Stored bytes of a name.

        Raises:
            ArtifactMissing: there is no such name.
        """
        ...

    def fetch(self, name: str, start: int, length: int) -> bytes:
        """Part of the stored bytes; fewer than asked only at the end.

        Raises:
            ArtifactMissing: there is no such name.
        """
        ...

    def names(self, prefix: str = "") -> Iterator[StoredArtifact]:
        """Everything whose name starts with a prefix."""
        ...

    def delete(self, name: str) -> None:
        """Remove a name; nothing happens when it is not there."""
        ...

    def check(self, *, writes: bool = True) -> None:
        """Find out whether the store answers.

        Args:
            writes: Whether the process writes artifacts; one that only reads may have the store mounted read-only.

        Raises:
            StoreUnavailable: it does not.
        """
        ...


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """One name of a store as bytes of which any part can be fetched."""

    store: ArtifactStore
    name: str

    def size(self) -> int:
        """Stored bytes."""
        return self.store.size(self.name)

    def fetch(self, start: int, length: int) -> bytes:
        """Part of the stored bytes."""
        return self.store.fetch(self.name, start, length)


def check_name(name: str) -> str:
    """Refuse a name that is not plain: letters, digits, `.`, `_`, `-` in at most eight parts, none starting with a dot."""
    if not NAME.fullmatch(name):
        raise ValueError("an artifact name has up to eight parts of letters, digits, '.', '_' and '-'")
    return name


def artifact_name(*, release_id: str, fence: int, digest: str, filename: str, room: Room = "releases") -> str:
    """The name under which a worker writes: a revived worker has an older fence and so another name.

    Args:
        release_id: The release.
        fence: The worker's fence token, from 0.
        digest: SHA-256 of the plaintext in lower-case hex.
        filename: What the analyst will call it.
        room: `releases` for what a withdrawal destroys, `proofs` for what outlives it.
    """
    if fence < 0 or not DIGEST.fullmatch(digest):
        raise ValueError("a fence is not negative and a digest is 64 hex digits")
    return check_name(f"{room}/{release_id}/{fence:08d}-{digest}/{filename}")


def sweep(store: ArtifactStore, *, older_than: datetime, known: Collection[str], prefix: str = "releases/") -> tuple[str, ...]:
    """Remove what no transaction made visible and return its names.

    Args:
        store: Where to look.
        older_than: Younger artifacts may still be on their way to a commit and stay.
        known: Names that the database refers to.
        prefix: Only names below it.
    """
    orphans = [found.name for found in store.names(prefix) if found.modified_at < older_than and found.name not in known]
    for name in orphans:
        store.delete(name)
    return tuple(orphans)
