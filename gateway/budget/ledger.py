"""A ledger at one moment: what stands in it, what its limit is, and whether it affords one more release.

Pure: the repository (`ledgers.py`) loads it under a lock and writes what follows from it.

Invariants:
    - Whether a request is afforded is answered here and nowhere else.
    - Without any stated limit everything is afforded, and the answer says that there is no limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from gateway.budget.entries import Charge, Entry, charges_of
from gateway.budget.limits import Limit, LimitRecord, Window, after_history
from gateway.budget.loss import PrivacyLoss
from gateway.budget.privacy_filter import PrivacyFilter, composed_epsilon, filter_for
from policies.types import BudgetFacts

__all__ = ["Ledger"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Everything that is charged for the people of one ledger.

    Attributes:
        name: The ledger that a new entry is written to.
        entries: All entries of it, and of every ledger that shares a dataset with it.
        records: The newest recorded limit of each of these ledgers, by the ledger's name.
        filters: Filters that were bound in any of them, oldest first.
        delta: δ at which ε is told when no document states one.
    """

    name: str
    entries: tuple[Entry, ...]
    records: Mapping[str, LimitRecord]
    filters: tuple[PrivacyFilter, ...]
    delta: Decimal

    @property
    def charges(self) -> tuple[Charge, ...]:
        """Reserves with their settlements."""
        return charges_of(self.entries)

    @property
    def losses(self) -> tuple[PrivacyLoss, ...]:
        """What counts, in the order of reservation."""
        return tuple(charge.loss for charge in self.charges if charge.loss.is_dp)

    def in_force(self, stated: Limit) -> Limit:
        """The limit in force, given what all documents state now."""
        return after_history(stated, self.records.values())

    def filter_under(self, limit: Limit, request: PrivacyLoss) -> PrivacyFilter | None:
        """The filter that judges a request under a limit; None where there is no limit of ε.

        A ledger in which nothing was ever read is not bound yet.
        """
        if limit.epsilon is None:
            return None
        delta = limit.delta or self.delta
        under = [known for known in self.filters if known.epsilon == limit.epsilon and known.delta == delta]
        if under and any(loss.epsilon for loss in self.losses):
            return under[-1]
        return filter_for(epsilon=limit.epsilon, delta=delta, losses=self.losses, request=request)

    def affords(self, limit: Limit, request: PrivacyLoss, now: datetime) -> bool:
        """Whether a request fits the lifetime limit and every window."""
        return self.fits(limit, request) and self.closed_until(limit, request, now) is None

    def fits(self, limit: Limit, request: PrivacyLoss) -> bool:
        """Whether a request fits the lifetime limit."""
        judge = self.filter_under(limit, request) if request.is_dp else None
        return judge is None or judge.admits((*self.losses, request))

    def within(self, window: Window, now: datetime) -> tuple[PrivacyLoss, ...]:
        """What was reserved or spent in the stretch that ends now."""
        return tuple(charge.loss for charge in self.charges if charge.loss.is_dp and charge.at > now - window.length)

    def closed_until(self, limit: Limit, request: PrivacyLoss, now: datetime) -> datetime | None:
        """When the slowest window opens for this request; None when all are open. Never restores the lifetime limit."""
        delta = limit.delta or self.delta
        times = [self._window_opens(window, delta, request, now) for window in limit.windows if request.is_dp]
        return max((time for time in times if time is not None), default=None)

    def _window_opens(self, window: Window, delta: Decimal, request: PrivacyLoss, now: datetime) -> datetime | None:
        """The earliest time at which enough has left the window; a request that never fits waits one whole window."""
        recent = [charge for charge in self.charges if charge.loss.is_dp and charge.at > now - window.length]
        for gone in range(len(recent) + 1):
            kept = [charge.loss for charge in recent[gone:]]
            epsilon = composed_epsilon([*kept, request], max(delta, request.delta or delta))
            if epsilon is not None and epsilon <= window.epsilon:
                return None if gone == 0 else recent[gone - 1].at + window.length
        return now + window.length

    def facts(self, *, stated: Limit, request: PrivacyLoss, now: datetime) -> BudgetFacts:
        """What `decide` needs to know.

        Args:
            stated: The least of the card's and of all applied policies' limits.
            request: What the request would cost at most.
            now: The time that windows look back from.
        """
        limit = self.in_force(stated)
        judge = self.filter_under(limit, request if request.is_dp else PrivacyLoss.nothing())
        return BudgetFacts(
            affords=self.fits(limit, request),
            limit_epsilon=limit.epsilon,
            limit_delta=limit.delta,
            remaining_epsilon=None if judge is None else judge.remaining(self.losses),
            lifetime_epsilon=composed_epsilon(self.losses, limit.delta or self.delta),
            window_closed_until=self.closed_until(limit, request, now),
            window_epsilon=min((window.epsilon for window in limit.windows), default=None),
        )
