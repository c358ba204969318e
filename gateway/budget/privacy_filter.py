"""The privacy filter: whether one more release keeps the ledger within its limit, whatever was learnt from the earlier ones.

Later requests are chosen by people who saw earlier releases, so plain composition theorems (parameters fixed beforehand) do
not apply. Two filters do, and a ledger is bound to one of them before its first release under a limit:

- `renyi`: at one order α fixed beforehand, the losses of all releases sum to at most ε - c(α, δ), where c is the conversion
  constant (the Rényi filter of Feldman and Zrnic 2021: for a fixed order and a fixed allowance, stopping before the sum would
  exceed it makes the whole interaction RDP with that allowance, under full adaptivity). One tenth of δ is kept for curves that
  may themselves fail; those δ add up (the approximate-zCDP filter of Whitehouse, Ramdas, Rogers and Wu 2023).
- `basic`: the ε and the δ of all releases add up to at most the limit (the basic filter of Rogers, Roth, Ullman and Vadhan
  2016). Chosen only when the first request fits it and does not fit `renyi` (a single release that takes the whole limit).

Invariants:
    - The order and the mode are a function of the limit and of the first request under it, never of released data.
    - A release whose own δ is above the limit's is never admitted.
    - All comparisons are between exact decimals; what is charged is rounded up and what is allowed is rounded down.

Taking the best order anew at each request would be tighter by a little, and wrong: it is a union over filters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Literal

from gateway.budget.curve import ORDERS, Curve, conversion_constant, round_down, round_up
from gateway.budget.loss import PrivacyLoss
from generator.zcdp import epsilon_of_rho

__all__ = ["PrivacyFilter", "composed_epsilon", "filter_for", "total_curve"]

FAILURE_SHARE = Decimal("0.1")
REPORTING_GRID = Decimal("1e-6")
DELTA_GRID = Decimal("1e-24")
Mode = Literal["renyi", "basic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyFilter:
    """A filter bound to a limit.

    Attributes:
        epsilon, delta: The limit.
        mode: Which theorem it rests on.
        order: The fixed Rényi order; None in basic mode.
    """

    epsilon: Decimal
    delta: Decimal
    mode: Mode
    order: Decimal | None

    def admits(self, losses: Iterable[PrivacyLoss]) -> bool:
        """Whether all these losses together, the request last, keep the limit."""
        every = [loss for loss in losses if loss.is_dp]
        if any(loss.delta is not None and loss.delta > self.delta for loss in every[-1:]):
            return False
        if self.order is None:
            return _sum_of_epsilon(every) <= self.epsilon and _sum_of_delta(every) <= self.delta
        failures = sum((loss.failure for loss in every), Decimal(0))
        total = _total_at(every, self.order)
        return total is not None and failures <= self.delta * FAILURE_SHARE and total <= self.allowance

    @property
    def allowance(self) -> Decimal:
        """How much may be charged at the order (renyi), or the limit of ε (basic)."""
        if self.order is None:
            return self.epsilon
        return self.epsilon - conversion_constant(self.order, self.delta * (1 - FAILURE_SHARE))

    def remaining(self, losses: Iterable[PrivacyLoss]) -> Decimal:
        """The largest ε, at the limit's δ, that one more zCDP release (or in basic mode: any) can have; rounded down."""
        every = [loss for loss in losses if loss.is_dp]
        if not any(loss.epsilon for loss in every):
            return self.epsilon
        if self.order is None:
            return max(Decimal(0), self.epsilon - _sum_of_epsilon(every))
        total = _total_at(every, self.order)
        left = Decimal(0) if total is None else max(Decimal(0), self.allowance - total)
        if left == 0:
            return Decimal(0)
        return min(self.epsilon, _epsilon_of_rho(round_down(left / self.order), self.delta))


def filter_for(*, epsilon: Decimal, delta: Decimal, losses: Iterable[PrivacyLoss], request: PrivacyLoss) -> PrivacyFilter:
    """The filter to bind a ledger to, before the first release under a limit.

    Args:
        epsilon: Limit.
        delta: Limit.
        losses: What earlier limits already let through.
        request: The first request under this limit.
    """
    renyi = PrivacyFilter(epsilon=epsilon, delta=delta, mode="renyi", order=_order_for(epsilon, delta))
    basic = PrivacyFilter(epsilon=epsilon, delta=delta, mode="basic", order=None)
    every = [*losses, request]
    return basic if not renyi.admits(every) and basic.admits(every) else renyi


@lru_cache(maxsize=1024)
def _order_for(epsilon: Decimal, delta: Decimal) -> Decimal:
    """The order that lets the most zCDP through: it maximises (ε - c(α, δ)) / α."""
    kept = delta * (1 - FAILURE_SHARE)
    return max(ORDERS, key=lambda order: (epsilon - conversion_constant(order, kept)) / order)


def _epsilon_of_rho(rho: Decimal, delta: Decimal) -> Decimal:
    """The ε that a zCDP generator may be asked for so that it takes at most ρ, rounded down."""
    found = Decimal(epsilon_of_rho(float(rho), float(delta))) - REPORTING_GRID
    return max(Decimal(0), round_down(found, REPORTING_GRID))


def total_curve(losses: Iterable[PrivacyLoss]) -> Curve:
    """Composition at every order."""
    total = Curve.zero()
    for curve in _curves(list(losses)):
        total = total.plus(curve)
    return total


def _total_at(losses: list[PrivacyLoss], order: Decimal) -> Decimal | None:
    """Composition at one order."""
    found = [curve.at(order) for curve in _curves(losses)]
    known = [loss for loss in found if loss is not None]
    return sum(known, Decimal(0)) if len(known) == len(found) else None


def _curves(losses: list[PrivacyLoss]) -> Iterator[Curve]:
    """Curves under one relation: once any release guards replacement, additions and removals count as the pairs they make up."""
    is_mixed = len({loss.neighbours for loss in losses}) > 1
    for loss in losses:
        if not (is_mixed and loss.neighbours == "add-remove"):
            yield loss.curve()
        else:
            yield Curve.of_rho(4 * loss.rho) if loss.rho is not None else loss.curve().for_pairs()


def composed_epsilon(losses: Iterable[PrivacyLoss], delta: Decimal) -> Decimal | None:
    """ε of these releases taken together at `delta`: the less of the composed curve's and of the plain sum's; for display."""
    every = [loss for loss in losses if loss.is_dp]
    if not every:
        return Decimal(0)
    failures = sum((loss.failure for loss in every), Decimal(0))
    by_curve = total_curve(every).epsilon(delta - failures) if failures < delta else None
    by_sum = _sum_of_epsilon(every) if _sum_of_delta(every) <= delta else None
    found = [figure for figure in (by_curve, by_sum) if figure is not None]
    return min(found) if found else None


def _pairs(losses: list[PrivacyLoss]) -> list[tuple[Decimal, Decimal]]:
    """(ε, δ) of each loss under the relation of the whole: a pair costs 2ε and (1 + e^ε)·δ."""
    is_mixed = len({loss.neighbours for loss in losses}) > 1
    found = []
    for loss in losses:
        epsilon, delta = loss.epsilon or Decimal(0), loss.delta or Decimal(0)
        if is_mixed and loss.neighbours == "add-remove":
            delta *= 1 + epsilon.exp()
            epsilon *= 2
        found.append((round_up(epsilon), round_up(delta, DELTA_GRID)))  # dust is charged as a whole grain, so sums are exact
    return found


def _sum_of_epsilon(losses: list[PrivacyLoss]) -> Decimal:
    return sum((epsilon for epsilon, _ in _pairs(losses)), Decimal(0))


def _sum_of_delta(losses: list[PrivacyLoss]) -> Decimal:
    return sum((delta for _, delta in _pairs(losses)), Decimal(0))
