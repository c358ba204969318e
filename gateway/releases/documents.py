"""What the registered documents say about a dataset today: its card, the policies, and the budget that they state together.

Invariants:
    - A budget is about people, not about a table: the cards and policies of all datasets that share a ledger state its limit.
    - Policies that only watch state no limit.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.budget import Ledgers, Limit, limit_of
from gateway.catalogue import Datasets, Policies, RegisteredDataset
from gateway.db import Work
from gateway.errors import NotFound
from policies.card import DatasetCard
from policies.schema import ReleasePolicy

__all__ = ["earlier_limits", "enforceable", "limits_of", "registered"]


def registered(work: Work, name: str) -> RegisteredDataset | None:
    """The newest version of a dataset, or None: an unknown dataset is a refusal, no error."""
    try:
        return Datasets(work).get(name)
    except NotFound:
        return None


def enforceable(work: Work) -> tuple[ReleasePolicy, ...]:
    """The current version of every applied policy."""
    return tuple(applied.policy for applied in Policies(work).list())


def limits_of(work: Work, card: DatasetCard, *, policies: Sequence[ReleasePolicy] | None = None) -> tuple[Limit, ...]:
    """What is stated about the people of a dataset, beside its own card: by policies, and by the cards that share its ledger.

    Args:
        card: The dataset's newest card.
        policies: The current version of every policy, where the caller has them.
    """
    every = enforceable(work) if policies is None else policies
    shared = Ledgers(work).kin(card).datasets
    others = (registered(work, name) for name in sorted(shared - {card.name}))
    cards = [
        limit_of(other.card.spec.budget, source=f"card of {other.name}")
        for other in others
        if other is not None and other.card.spec.budget is not None
    ]
    return (*cards, *(limit for policy in every if any(map(policy.covers, sorted(shared))) for limit in _stated(policy)))


def earlier_limits(work: Work, dataset: str) -> tuple[Limit, ...]:
    """What every version of every policy stated about a dataset, also before there was one of this name."""
    policies = Policies(work)
    versions = (version.policy for applied in policies.list() for version in policies.versions(applied.name))
    return tuple(limit for policy in versions if policy.covers(dataset) for limit in _stated(policy))


def _stated(policy: ReleasePolicy) -> tuple[Limit, ...]:
    if not policy.is_enforced or policy.spec.budget is None:
        return ()
    return (limit_of(policy.spec.budget, source=policy.name),)
