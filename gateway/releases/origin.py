"""Where the log's checkpoints are published.

Invariants:
    - Of an object store only the first version of each checkpoint counts, be it hidden by a deletion or covered by a later
      writing: under Object Lock that version cannot be removed, whereas servers let a locked name be written again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gateway.access import GatewayKeys
from gateway.audit import Anchor, FileAnchor, NoteVerifier, ObjectAnchor
from gateway.audit.heads import check_anchor
from gateway.releases.house import House
from gateway.settings import Settings
from gateway.storage import ArtifactExists, ArtifactMissing, ArtifactStore, store_of
from gateway.storage.store import VersionedStore

__all__ = ["anchor_of", "check_log", "log_keys"]


def log_keys(house: House) -> tuple[NoteVerifier, ...]:
    """All keys of this log, retired ones included."""
    with house.database.read() as work:
        keys = GatewayKeys(work, house.sealing)
        origin = keys.log_origin()
        found = [key for key in keys.list() if key.purpose == "log"]
    return tuple(NoteVerifier(name=origin, public_key=key.public.raw_bytes()) for key in found)


def check_log(house: House) -> None:
    """At start-up: the database continues what was published; else nothing is served until a person has looked.

    Raises:
        VerificationFailed: it was truncated, rolled back, or the published checkpoints are gone.
    """
    check_anchor(house.database, keys=log_keys(house), anchor=anchor_of(house.settings))


def anchor_of(settings: Settings) -> Anchor:
    """The append-only file under the home folder, another file, or write-once objects in an object store."""
    target = settings.checkpoints
    if target is not None and target.startswith("s3://"):
        return _object_anchor(store_of(settings.model_copy(update={"artifacts": target})))
    return FileAnchor(Path(target) if target else settings.home.resolve() / "checkpoints.log")


def _object_anchor(store: ArtifactStore) -> ObjectAnchor:
    def put_new(name: str, raw: bytes) -> bool:
        try:
            store.put(f"checkpoints/{name}", (raw,))
        except ArtifactExists:
            return False
        return True

    def get(name: str) -> bytes | None:
        if isinstance(store, VersionedStore):
            # The prefix may meet longer names too; ours comes first among them.
            first = next(((found, version) for found, version in store.first_versions(f"checkpoints/{name}")), None)
            return None if first is None else store.fetch_version(*first)
        try:
            size = store.size(f"checkpoints/{name}")
        except ArtifactMissing:
            return None
        return store.fetch(f"checkpoints/{name}", 0, size)

    def names() -> Iterator[str]:
        if isinstance(store, VersionedStore):
            return (name.rsplit("/", 1)[-1] for name, _ in store.first_versions("checkpoints/"))
        return (found.name.rsplit("/", 1)[-1] for found in store.names("checkpoints/"))

    return ObjectAnchor(put_new=put_new, get=get, list_names=names)
