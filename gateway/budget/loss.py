"""What a release costs, in the form that the ledger stores and composes.

Invariants:
    - A loss has a composable form: ρ, a Rényi curve, or plain (ε, δ); the weaker form is never used where a stronger is known.
    - What is reserved is an upper bound of what the trainer will spend: both come from `generator.privacy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from typing import Any, Self

from gateway.budget.curve import Curve, round_up
from policies.types import Neighbours, PrivacySpent

__all__ = ["PrivacyLoss"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyLoss:
    """The privacy loss of one release for one unit.

    Attributes:
        epsilon, delta: The guarantee as a pair; both None when the generator gives none.
        unit: `row` or the privacy-unit column.
        neighbours: Which tables are neighbours.
        method: The accountant, in words.
        rho: zCDP parameter, if that is the accountant.
        rdp: Rényi curve as (order, loss) points, if that is the accountant.
        failure_delta: The part of δ with which the curve itself may fail (approximate zCDP); it adds up across releases.
    """

    epsilon: Decimal | None
    delta: Decimal | None
    unit: str
    neighbours: Neighbours | None
    method: str
    rho: Decimal | None = None
    rdp: tuple[tuple[Decimal, Decimal], ...] = ()
    failure_delta: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        if (self.epsilon is None) != (self.delta is None):
            raise ValueError("a loss has both ε and δ, or neither")
        if self.epsilon is None or self.delta is None:
            if self.rho is not None or self.rdp or self.failure_delta:
                raise ValueError("a loss without ε has no curve")
            return
        if not (self.epsilon.is_finite() and self.epsilon >= 0):
            raise ValueError(f"ε is a finite number, at least 0, not {self.epsilon}")
        if not (self.delta.is_finite() and 0 <= self.delta < 1):
            raise ValueError(f"δ lies in [0, 1), not {self.delta}")
        if not (self.failure_delta.is_finite() and 0 <= self.failure_delta <= self.delta):
            raise ValueError("the δ of failure lies between 0 and δ")
        if self.neighbours is None:
            raise ValueError("a loss names its neighbours")

    @classmethod
    def none(cls, *, unit: str = "row") -> Self:
        """A non-DP release: no number can be put to it."""
        return cls(epsilon=None, delta=None, unit=unit, neighbours=None, method="none")

    @classmethod
    def nothing(cls, *, unit: str = "row", neighbours: Neighbours = "add-remove") -> Self:
        """No data was read."""
        zero = Decimal(0)
        return cls(epsilon=zero, delta=zero, unit=unit, neighbours=neighbours, method="not read", rho=zero)

    @classmethod
    def of(cls, spent: PrivacySpent) -> Self:
        """From what a generator reports."""
        if spent.epsilon is None or spent.delta is None:
            return cls.none(unit=spent.unit)
        return cls(
            epsilon=spent.epsilon,
            delta=spent.delta,
            unit=spent.unit,
            neighbours=spent.neighbours,
            method=spent.accountant,
            rho=spent.rho,
            rdp=tuple((Decimal(str(order)), round_up(Decimal(loss))) for order, loss in spent.rdp),
            failure_delta=_failure_delta(spent),
        )

    def with_pure(self, epsilon: Decimal | None) -> Self:
        """This loss and a further look at the data that is ε-DP for the same unit and neighbours; without ε as it is.

        Pure ε-DP is ε²/2-zCDP (Bun and Steinke 2016, proposition 1.4), and its Rényi loss is at most ε at every order.
        """
        if epsilon is None or self.epsilon is None:
            return self
        concentrated = epsilon * epsilon / 2
        points = ((order, round_up(loss + min(epsilon, order * concentrated))) for order, loss in self.rdp)
        return replace(
            self,
            epsilon=self.epsilon + epsilon,
            rho=None if self.rho is None else round_up(self.rho + concentrated),
            rdp=tuple(points),
            method=f"{self.method}; noisy metrics",
        )

    @property
    def is_dp(self) -> bool:
        """Whether there is a guarantee to compose."""
        return self.epsilon is not None

    @property
    def failure(self) -> Decimal:
        """The δ that adds up: of the curve's own failure, or all of δ when only (ε, δ) is known."""
        if self.rho is None and not self.rdp:
            return self.delta or Decimal(0)
        return self.failure_delta

    def curve(self) -> Curve:
        """The Rényi curve (that of pure ε, up to a failure of δ, when only the pair is known)."""
        if self.epsilon is None:
            raise ValueError("a release without ε has no curve")
        return _curve(self.epsilon, self.rho, self.rdp)

    def to_row(self) -> dict[str, Any]:
        """Columns of a ledger entry."""
        return {
            "epsilon": self.epsilon,
            "delta": self.delta,
            "unit": self.unit,
            "neighbours": self.neighbours,
            "method": self.method,
            "rho": self.rho,
            "rdp": [[str(order), str(loss)] for order, loss in self.rdp] or None,
            "failure_delta": self.failure_delta if self.is_dp else None,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Back from `to_row`."""
        return cls(
            epsilon=row["epsilon"],
            delta=row["delta"],
            unit=row["unit"],
            neighbours=row["neighbours"],
            method=row["method"],
            rho=row["rho"],
            rdp=tuple((Decimal(order), Decimal(loss)) for order, loss in row["rdp"] or ()),
            failure_delta=row["failure_delta"] or Decimal(0),
        )


@lru_cache(maxsize=4096)
def _curve(epsilon: Decimal, rho: Decimal | None, rdp: tuple[tuple[Decimal, Decimal], ...]) -> Curve:
    if rho is not None:
        return Curve.of_rho(rho)
    return Curve.of_points(rdp) if rdp else Curve.of_epsilon(epsilon)


def _failure_delta(spent: PrivacySpent) -> Decimal:
    """What mechanisms report as the δ of their own failure (threshold selection of a domain)."""
    stated = (mechanism.parameters.get("failure_delta") for mechanism in spent.mechanisms)
    return sum((Decimal(str(delta)) for delta in stated if delta is not None), Decimal(0))
