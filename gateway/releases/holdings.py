"""What people hold, or are about to hold, of a dataset: the facts of differencing rules and of the first-release review.

Invariants:
    - A release that was let out counts for ever, also when it was withdrawn or has expired: nobody un-sees it.
    - A permitted request that has not ended counts like a release, so that two requests at once cannot both be the last one that
      a rule allows. For the first-release review only what was let out counts.
    - People are told apart by their accounts, so a second name of one person holds nothing of its own.
"""

from __future__ import annotations

from decimal import Decimal

from gateway.catalogue import Datasets
from gateway.db import Work
from gateway.releases.repository import Holding, Releases
from gateway.releases.states import Status
from policies.types import HistoryFacts, PrincipalFacts

__all__ = ["LEFT_THE_HOUSE", "MAY_LEAVE", "history_of"]

LEFT_THE_HOUSE = (Status.RELEASED, Status.EXPIRED, Status.WITHDRAWN)
MAY_LEAVE = (Status.QUEUED, Status.GENERATING, Status.EVALUATING, Status.IN_REVIEW)


def history_of(work: Work, dataset: str, *, requester: PrincipalFacts) -> HistoryFacts:
    """Earlier releases of a dataset as its next requester meets them.

    Args:
        work: A transaction that holds the dataset's ledger, so that nobody else decides meanwhile.
        dataset: Its name.
        requester: Who asks.
    """
    every = Releases(work).holdings(dataset, status=(*LEFT_THE_HOUSE, *MAY_LEAVE))
    mine = [holding for holding in every if holding.account_id == requester.account_id]
    names = {holding.account_id: holding.principal for holding in every} | {requester.account_id: requester.name}
    return HistoryFacts(
        releases_of_dataset=len(every),
        releases_let_out=sum(holding.status in LEFT_THE_HOUSE for holding in every),
        releases_to_principal=len(mine),
        epsilon_to_principal=sum((Decimal(holding.request["epsilon"] or 0) for holding in mine), Decimal(0)),
        columns_to_principal=frozenset().union(*(_columns(work, dataset, holding) for holding in mine)),
        recipients=frozenset(names[holding.account_id] for holding in every),
    )


def _columns(work: Work, dataset: str, holding: Holding) -> frozenset[str]:
    """The columns of a release: those asked for, or all that the card of its time lets a generator learn."""
    asked = holding.request.get("columns")
    if asked:
        return frozenset(asked)
    return frozenset(Datasets(work).get(dataset, version=holding.dataset_version).card.learnt)
