"""Dataset cards as they were registered: every version stays, none is edited.

Invariants:
    - A version is one card: registering the same card again gives the same version, any other card the next one.
    - What is read back has the digest that was registered, or reading fails.
    - Versions of a name count 1, 2, 3 … without gaps.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select

from gateway.db import Work
from gateway.db.tables.catalogue import dataset
from gateway.errors import InvalidRequest, NotFound, VerificationFailed
from policies.canonical import canonical_json
from policies.canonical import digest as digest_of
from policies.card import DatasetCard

__all__ = ["Datasets", "RegisteredDataset"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredDataset:
    """One version of a dataset.

    Attributes:
        digest: Of the card's canonical form.
        source: Where the table lies, as resolved at registration.
        source_digest: Of the table's bytes, where it was computed.
    """

    name: str
    version: int
    card: DatasetCard
    digest: str
    source: str
    source_digest: str | None
    registered_at: datetime
    registered_by: str


class Datasets:
    """The registered datasets, within one transaction."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def register(
        self, card: DatasetCard, *, digest: str, source: str, source_digest: str | None = None, by: str, now: datetime
    ) -> RegisteredDataset:
        """Add a card, unless it is the newest version already.

        Args:
            card: Checked and free of TODO.
            digest: Of its canonical form; compared.
            source: Resolved location of the table.
            source_digest: Of the table's bytes; a changed table is a new version too.
            by: Who registers.
            now: When.

        Raises:
            InvalidRequest: the digest is not the card's.
        """
        if digest != digest_of(card):
            raise InvalidRequest("the digest is not the one of this card", code="digest-mismatch")
        newest = self._newest(card.name)
        if newest is not None and (newest.digest, newest.source, newest.source_digest) == (digest, source, source_digest):
            return newest
        version = 1 if newest is None else newest.version + 1
        row = {
            "name": card.name, "version": version, "digest": digest, "card": json.loads(canonical_json(card)),
            "source": source, "source_digest": source_digest, "registered_at": now, "registered_by": by,
        }  # fmt: skip
        self._work.execute(insert(dataset).values(**row))
        return self.get(card.name, version)

    def get(self, name: str, version: int | None = None) -> RegisteredDataset:
        """One version of a dataset; the newest where none is named.

        Raises:
            NotFound: there is no such dataset or version.
            VerificationFailed: what is stored is not what was registered.
        """
        query = select(dataset).where(dataset.c.name == name).order_by(dataset.c.version.desc()).limit(1)
        row = self._work.execute(query if version is None else query.where(dataset.c.version == version)).mappings().first()
        if row is None:
            which = f"the dataset '{name}'" if version is None else f"version {version} of the dataset '{name}'"
            raise NotFound(f"{which} is not registered", unlock=("ticketgate dataset list shows what is registered",))
        return _registered(row)

    def list(self) -> tuple[RegisteredDataset, ...]:
        """The newest version of every dataset, by name."""
        newest = select(dataset.c.name, func.max(dataset.c.version).label("version")).group_by(dataset.c.name).subquery()
        same = (dataset.c.name == newest.c.name) & (dataset.c.version == newest.c.version)
        rows = self._work.execute(select(dataset).join(newest, same).order_by(dataset.c.name)).mappings()
        return tuple(_registered(row) for row in rows)

    def versions(self, name: str) -> tuple[RegisteredDataset, ...]:
        """All versions of a dataset, oldest first."""
        rows = self._work.execute(select(dataset).where(dataset.c.name == name).order_by(dataset.c.version)).mappings()
        return tuple(_registered(row) for row in rows)

    def _newest(self, name: str) -> RegisteredDataset | None:
        try:
            return self.get(name)
        except NotFound:
            return None


def _registered(row: Any) -> RegisteredDataset:
    card = DatasetCard.model_validate(row["card"])
    if digest_of(card) != row["digest"]:
        raise VerificationFailed(f"the stored card of '{row['name']}' version {row['version']} was altered")
    names = ("name", "version", "digest", "source", "source_digest", "registered_at", "registered_by")
    return RegisteredDataset(card=card, **{name: row[name] for name in names})
