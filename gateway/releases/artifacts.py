"""Artifacts of a release: sealed under the release's own data key, written before they are visible, opened by range.

Invariants:
    - One data key a release and fence; destroying the wrapped key makes every artifact unreadable (withdrawal).
    - Proof (manifest, its envelope, the signature of the evidence) is sealed under a key of its own and stored apart: it
      holds digests and facts, no row of any table, and survives the withdrawal.
    - An artifact is found by its row only; what a crash left in the store without a row is an orphan for the sweeper.
    - The digest of a row is that of the plain bytes: what was evaluated, what is stored, what is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.dialects import postgresql, sqlite

from gateway.db import Work
from gateway.db.tables.releases import release
from gateway.db.tables.storage import artifact as table
from gateway.errors import NotFound
from gateway.releases.bundle import sha256_hex
from gateway.releases.data_keys import artifact_subject, bound_to, destroy_keys, open_key, proof_subject, secret_of
from gateway.releases.house import House
from gateway.releases.states import Status
from gateway.storage import ArtifactExists, DecryptingReader, StoreUnavailable, artifact_name, encrypt, open_artifact
from gateway.telemetry import logger

__all__ = [
    "DESTROYED", "Artifact", "Artifacts", "Sealer", "destroy_keys", "make_sealer", "remove_sealed", "seal_proof", "secret_of",
]  # fmt: skip

BLOCK = 1 << 20
PROOFS = "proofs/"
DESTROYED = (Status.WITHDRAWN, Status.CANCELLED, Status.BLOCKED, Status.FAILED)
"""Statuses in which the keys of artifacts are destroyed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One artifact: `size` and `sha256` are of the plain bytes; `audience` is requester or compliance."""

    release_id: str
    name: str
    media_type: str
    size: int
    sha256: str
    location: str
    audience: str

    @property
    def is_proof(self) -> bool:
        """Whether it outlives a withdrawal."""
        return self.location.startswith(PROOFS)

    def to_json(self) -> dict[str, Any]:
        """As listed to whoever may fetch it."""
        return {"name": self.name, "media_type": self.media_type, "size": self.size, "sha256": self.sha256}


class Artifacts:
    """The artifacts that are visible in one unit of work."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def add_all(self, release_id: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Make written artifacts visible."""
        for row in rows:
            self._work.execute(insert(table).values(release_id=release_id, **row))

    def of(self, release_id: str, *, audience: str | None = None) -> list[Artifact]:
        """The artifacts of a release, by name."""
        query = select(table).where(table.c.release_id == release_id).order_by(table.c.name)
        if audience is not None:
            query = query.where(table.c.audience == audience)
        return [_of(row) for row in self._work.execute(query).mappings()]

    def get(self, release_id: str, name: str) -> Artifact:
        """One artifact.

        Raises:
            NotFound: the release has no such artifact.
        """
        query = select(table).where(table.c.release_id == release_id, table.c.name == name)
        row = self._work.execute(query).mappings().first()
        if row is None:
            raise NotFound(f"the release has no artifact '{name[:80]}'")
        return _of(row)

    def by_digest(self, sha256: str) -> list[Artifact]:
        """Artifacts with these plain bytes, over all releases."""
        return [_of(row) for row in self._work.execute(select(table).where(table.c.sha256 == sha256)).mappings()]

    def add(self, release_id: str, row: Mapping[str, Any]) -> bool:
        """Make one written artifact visible, unless the release has one of this name; answers whether it was added."""
        dialect = sqlite if self._work.is_sqlite else postgresql
        statement = dialect.insert(table).values(release_id=release_id, **row).on_conflict_do_nothing()
        return bool(self._work.execute(statement).rowcount == 1)

    def locations(self) -> set[str]:
        """What a sweeper must leave alone: every location that a row names and that can still be read."""
        rows = select(table.c.location, release.c.status).join(release, release.c.id == table.c.release_id)
        return {
            location for location, status in self._work.execute(rows) if status not in DESTROYED or location.startswith(PROOFS)
        }

    def reader(self, house: House, found: Artifact) -> DecryptingReader:
        """An artifact as a seekable file of verified plaintext.

        Raises:
            NotFound: its key was destroyed.
            VerificationFailed: the stored bytes are not those that were written.
        """
        return open_artifact(house.store, found.location, data_key=_key_for(self._work, house, found.location))

    def read(self, house: House, found: Artifact) -> bytes:
        """A whole small artifact."""
        return b"".join(self.reader(house, found).blocks())


def _of(row: Mapping[str, Any]) -> Artifact:
    names = ("release_id", "name", "media_type", "size", "sha256", "location", "audience")
    return Artifact(**{name: row[name] for name in names})


def _key_for(work: Work, house: House, location: str) -> bytes:
    room, release_id, rest, *_ = location.split("/")
    is_proof = f"{room}/" == PROOFS
    subject = proof_subject(release_id) if is_proof else artifact_subject(release_id, int(rest.split("-")[0]))
    return open_key(work, house.wrapper, subject)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealer:
    """Writes artifacts of one release under one fence; nothing of it is visible before a transaction says so."""

    house: House
    release_id: str
    fence: int
    key: bytes

    def put_file(self, path: Path, *, media_type: str, sha256: str, size: int, audience: str) -> dict[str, Any]:
        """Seal a file; returns the row that makes it visible."""
        location = self._location(sha256, path.name)
        with path.open("rb") as stream:
            self._put(location, iter(lambda: stream.read(BLOCK), b""))
        return self._row(path.name, media_type, size, sha256, location, audience)

    def put_bytes(self, name: str, raw: bytes, *, media_type: str, audience: str) -> dict[str, Any]:
        """Seal a few bytes; returns the row that makes them visible."""
        digest = sha256_hex(raw)
        location = self._location(digest, name)
        self._put(location, (raw,))
        return self._row(name, media_type, len(raw), digest, location, audience)

    def _put(self, location: str, blocks: Iterable[bytes]) -> None:
        try:
            self.house.store.put(location, encrypt(blocks, data_key=self.key, name=location))
        except ArtifactExists:  # the same bytes under the same key: this very attempt, stopped before its commit
            return

    def put_proof(self, name: str, raw: bytes, *, media_type: str, now: datetime) -> dict[str, Any]:
        """Seal a document of the bundle that is to outlive a withdrawal; returns the row that makes it visible."""
        return seal_proof(
            self.house, self.release_id, name, raw, media_type=media_type, audience="requester", fence=self.fence, now=now
        )

    def read(self, row: Mapping[str, Any]) -> bytes:
        """Read back what was just written, through the store."""
        location = str(row["location"])
        return b"".join(open_artifact(self.house.store, location, data_key=self.key).blocks())

    def _location(self, sha256: str, name: str) -> str:
        return artifact_name(release_id=self.release_id, fence=self.fence, digest=sha256, filename=name)

    @staticmethod
    def _row(name: str, media_type: str, size: int, sha256: str, location: str, audience: str) -> dict[str, Any]:
        return {
            "name": name, "media_type": media_type, "size": size, "sha256": sha256, "location": location, "audience": audience,
        }  # fmt: skip


def make_sealer(
    house: House, *, release_id: str, fence: int, now: datetime, within: Callable[[Work], object] | None = None
) -> Sealer:
    """The sealer of a release and fence; makes and stores its wrapped data key the first time.

    Args:
        house: The house.
        release_id: Whose files are to be sealed.
        fence: Of the attempt that seals them.
        now: The present moment.
        within: As `secret_of` takes it: a worker looks here whether the release is still its own.

    Raises:
        NotFound: the key was destroyed.
    """
    subject = artifact_subject(release_id, fence)
    key = secret_of(house, subject, bound_to=release_id, purpose="artifacts", now=now, within=within)
    return Sealer(house=house, release_id=release_id, fence=fence, key=key)


def remove_sealed(house: House, locations: Iterable[str]) -> bool:
    """Remove sealed bytes that nobody can open any more; False when the store leaves some of them to the worker's sweep."""
    try:
        for location in locations:
            house.store.delete(location)
    except StoreUnavailable as error:
        logger("releases").warning("sealed bytes that nobody can open wait for the sweep", detail=error.detail)
        return False
    return True


def seal_proof(
    house: House, release_id: str, name: str, raw: bytes, *, media_type: str, audience: str, now: datetime, fence: int = 0
) -> dict[str, Any]:
    """Seal a document under the release's key that no withdrawal destroys; returns the row that makes it visible."""
    subject, digest = proof_subject(release_id), sha256_hex(raw)
    key = secret_of(house, subject, bound_to=bound_to(subject), purpose="proof", now=now)
    location = artifact_name(release_id=release_id, fence=fence, digest=digest, filename=name, room="proofs")
    row = {"name": name, "media_type": media_type, "size": len(raw), "sha256": digest, "location": location}
    try:
        house.store.put(location, encrypt((raw,), data_key=key, name=location))
    except ArtifactExists:  # the same bytes under the same key: an attempt that was stopped before its commit
        return {**row, "audience": audience}
    return {**row, "audience": audience}
