"""Register datasets and apply policies, each with its event, in one transaction.

Invariants:
    - A card with an open question is never registered; a table that cannot be read with its card is neither.
    - The key that decides train and holdout is made once per dataset name and never changes.
    - A policy that lint refuses is not applied.
    - What a card or a policy states as its budget is noted in the ledger in the same transaction, and the limit that is in force
      from then on, with its windows, stands in the event. A dataset's first card finds what policies stated before it came.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from gateway.audit import Log
from gateway.budget import Ledgers, ledger_name
from gateway.catalogue import AppliedPolicy, Datasets, Policies, RegisteredDataset
from gateway.db import Work
from gateway.releases.artifacts import secret_of
from gateway.releases.documents import earlier_limits, limits_of, registered
from gateway.releases.house import House
from policies.canonical import digest as digest_of
from policies.card import DatasetCard
from policies.schema import ReleasePolicy

__all__ = ["apply_policy", "register_dataset", "split_key"]

CATALOGUE: Final = "catalogue"
"""Held while a document is registered, so that a dataset and a policy that arrive together do not miss each other."""


def register_dataset(
    house: House, card: DatasetCard, *, source: str, source_digest: str | None, by: str, now: datetime
) -> RegisteredDataset:
    """Add a version of a dataset.

    Args:
        card: Checked, without TODO, and found to fit its table.
        source: Folder below which the card's source lies.
        source_digest: SHA-256 of the table's bytes; a changed table is a new version.
        by: Who registers.
        now: When.
    """
    split_key(house, card.name, now=now)
    with house.database.begin() as work:
        work.hold(CATALOGUE)
        is_new = registered(work, card.name) is None
        made = Datasets(work).register(card, digest=digest_of(card), source=source, source_digest=source_digest, by=by, now=now)
        limits = (*limits_of(work, card), *(earlier_limits(work, card.name) if is_new else ()))
        limit = Ledgers(work).note_limits(card, limits=limits, by=by, now=now)
        Log(work).append(
            "dataset.registered", at=now, actor=by, dataset=card.name,
            data={
                "version": made.version, "digest": made.digest, "source_digest": source_digest,
                "ledger": ledger_name(card), "limit": limit.to_json(),
            },
        )  # fmt: skip
        work.commit()
    return made


def split_key(house: House, dataset: str, *, now: datetime) -> bytes:
    """The secret that decides the side of every privacy unit of a dataset: made once, for the dataset's life."""
    return secret_of(house, f"split:{dataset}", bound_to=f"split:{dataset}", purpose="split", now=now)


def apply_policy(house: House, policy: ReleasePolicy, *, by: str, now: datetime) -> AppliedPolicy:
    """Add a version of a policy.

    Raises:
        Conflict: the version number has another content, or was passed over.
    """
    with house.database.begin() as work:
        work.hold(CATALOGUE)
        applied = Policies(work).apply(policy, digest=digest_of(policy), by=by, now=now)
        limits = _note_limits(work, policy, by=by, now=now)
        Log(work).append(
            "policy.applied", at=now, actor=by,
            data={
                "policy": policy.name,
                "version": policy.version,
                "digest": applied.digest,
                "datasets": list(policy.spec.datasets),
                "limits": limits,
            },
        )  # fmt: skip
        work.commit()
    return applied


def _note_limits(work: Work, policy: ReleasePolicy, *, by: str, now: datetime) -> dict[str, Any]:
    """Note what is stated now about every registered dataset of a policy; answers the limits in force by dataset."""
    cards = [known.card for name in policy.spec.datasets if (known := registered(work, name)) is not None]
    ledgers = Ledgers(work)
    return {
        card.name: ledgers.note_limits(card, limits=limits_of(work, card), by=by, now=now).to_json()
        for card in sorted(cards, key=ledger_name)
    }
