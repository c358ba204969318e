"""Register datasets and apply policies, each with its event, in one transaction.

Invariants:
    - A card with an open question is never registered; a table that cannot be read with its card is neither.
    - The key that decides train and holdout is made once per dataset name and never changes.
    - A policy that lint refuses is not applied; the limit it states is noted in the ledger at once.
"""

from __future__ import annotations

from datetime import datetime

from gateway.audit import Log
from gateway.budget import Ledgers
from gateway.catalogue import AppliedPolicy, Datasets, Policies, RegisteredDataset
from gateway.db import Work
from gateway.releases.artifacts import secret_of
from gateway.releases.house import House
from gateway.releases.request import enforceable, limits_of
from policies.canonical import digest as digest_of
from policies.card import DatasetCard
from policies.schema import ReleasePolicy

__all__ = ["apply_policy", "register_dataset", "split_key"]


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
        made = Datasets(work).register(card, digest=digest_of(card), source=source, source_digest=source_digest, by=by, now=now)
        Log(work).append(
            "dataset.registered", at=now, actor=by, dataset=card.name,
            data={"version": made.version, "digest": made.digest, "source_digest": source_digest},
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
        applied = Policies(work).apply(policy, digest=digest_of(policy), by=by, now=now)
        _note_limits(work, policy, by=by, now=now)
        Log(work).append(
            "policy.applied", at=now, actor=by,
            data={
                "policy": policy.name,
                "version": policy.version,
                "digest": applied.digest,
                "datasets": list(policy.spec.datasets),
            },
        )  # fmt: skip
        work.commit()
    return applied


def _note_limits(work: Work, policy: ReleasePolicy, *, by: str, now: datetime) -> None:
    known = {dataset.name: dataset for dataset in Datasets(work).list()}
    for name in policy.spec.datasets:
        if name in known:
            limits = limits_of(enforceable(work), name)
            Ledgers(work).note_limits(known[name].card, limits=limits, by=by, now=now)
