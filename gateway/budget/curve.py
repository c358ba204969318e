"""Rényi curves in exact decimals: what one release costs at every order, how costs add, what a sum means as ε.

Invariants:
    - Points are rounded up when they enter, and sums are exact: a composed curve never understates.
    - Orders are a fixed grid. A curve that lacks an order answers with its next higher one (a Rényi loss grows with its order).
    - The conversion constant is computed with 60 decimal digits and rounded up; no binary float decides whether a budget holds.

Sources: Mironov 2017 (RDP); Bun and Steinke 2016 (ρ-zCDP is the line ρ·α; lemma 8.8: approximate zCDP);
Canonne, Kamath and Steinke 2020, proposition 12 (RDP to (ε, δ)), which `dp_accounting.rdp.compute_epsilon` also uses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, localcontext
from functools import lru_cache
from typing import Self

__all__ = ["ORDERS", "Curve", "conversion_constant", "round_down", "round_up"]

GRID = Decimal("1e-12")
FIGURE = Decimal("1e-6")
DIGITS = 60
LEAST_PAIR_ORDER = Decimal(2)

ORDERS: tuple[Decimal, ...] = (
    *(Decimal(tenth) / 10 for tenth in range(11, 110)),
    *(Decimal(order) for order in range(11, 64)),
    *(
        Decimal(order)
        for order in (64, 72, 80, 88, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 2048)
    ),
)
"""Orders at which curves are stored and compared, ascending."""
PLACES = {order: place for place, order in enumerate(ORDERS)}


def round_up(number: Decimal, grid: Decimal = GRID) -> Decimal:
    """The least multiple of `grid` that is not below `number`."""
    return number.quantize(grid, rounding=ROUND_CEILING, context=Context(prec=DIGITS))


def round_down(number: Decimal, grid: Decimal = GRID) -> Decimal:
    """The greatest multiple of `grid` that is not above `number`."""
    return number.quantize(grid, rounding=ROUND_FLOOR, context=Context(prec=DIGITS))


@dataclass(frozen=True, slots=True)
class Curve:
    """The Rényi loss at each of `ORDERS`; None where nothing finite is known.

    Attributes:
        values: One value an order, not negative.
    """

    values: tuple[Decimal | None, ...]

    def __post_init__(self) -> None:
        if len(self.values) != len(ORDERS):
            raise ValueError("a curve has one value for each order")
        if any(value is not None and not (value.is_finite() and value >= 0) for value in self.values):
            raise ValueError("a Rényi loss is a finite number, at least 0")

    @classmethod
    def zero(cls) -> Self:
        """The curve of doing nothing."""
        return cls((Decimal(0),) * len(ORDERS))

    @classmethod
    def of_rho(cls, rho: Decimal) -> Self:
        """The line of ρ-zCDP."""
        if not (rho.is_finite() and rho >= 0):
            raise ValueError("rho is a finite number, at least 0")
        return cls(tuple(round_up(rho * order) for order in ORDERS))

    @classmethod
    def of_points(cls, points: Iterable[tuple[Decimal, Decimal]]) -> Self:
        """The curve through stated points; an order in between takes the next higher one.

        Args:
            points: (order, loss) pairs; orders above 1, losses finite and not negative.
        """
        known = sorted(points)
        if not known:
            raise ValueError("a curve needs at least one point")
        if any(not (order.is_finite() and order > 1) for order, _ in known):
            raise ValueError("an order is a finite number above 1")

        values: list[Decimal | None] = []
        least: Decimal | None = None
        for order in reversed(ORDERS):
            while known and known[-1][0] >= order:
                loss = known.pop()[1]
                least = loss if least is None else min(least, loss)
            values.append(None if least is None else round_up(least))
        return cls(tuple(reversed(values)))

    @classmethod
    def of_epsilon(cls, epsilon: Decimal) -> Self:
        """The curve of pure ε-DP: min(ε, α·ε²/2) (Bun and Steinke 2016, proposition 3.3)."""
        return cls(tuple(round_up(min(epsilon, order * epsilon * epsilon / 2)) for order in ORDERS))

    def plus(self, other: Self) -> Self:
        """Adaptive composition: losses add at every order."""
        pairs = zip(self.values, other.values, strict=True)
        return type(self)(tuple(None if a is None or b is None else a + b for a, b in pairs))

    def for_pairs(self) -> Self:
        """The same look under replacement of one unit: a removal and an addition.

        Mironov 2017, proposition 2, with one doubling: 3·R(2α) at order α, proven for 2α ≥ 4. Below α = 2 the loss at 2 stands
        in, because a Rényi loss grows with its order.
        """
        known = dict(zip(ORDERS, self.values, strict=True))

        def at(order: Decimal) -> Decimal | None:
            looked_at = 2 * max(order, LEAST_PAIR_ORDER)
            above = [loss for stated, loss in known.items() if stated >= looked_at and loss is not None]
            return 3 * min(above) if above else None

        return type(self)(tuple(at(order) for order in ORDERS))

    def at(self, order: Decimal) -> Decimal | None:
        """The loss at one order of the grid."""
        return self.values[PLACES[order]]

    def epsilon(self, delta: Decimal) -> Decimal | None:
        """The least ε over all orders at `delta`, rounded up to the reporting grid; None when no order is finite."""
        if not any(self.values):
            return Decimal(0) if all(value == 0 for value in self.values) else None
        found = [
            max(Decimal(0), value + conversion_constant(order, delta))
            for order, value in zip(ORDERS, self.values, strict=True)
            if value is not None
        ]
        return round_up(min(found), FIGURE) if found else None


@lru_cache(maxsize=65536)
def conversion_constant(order: Decimal, delta: Decimal) -> Decimal:
    """What is added to the loss at `order` to get ε at `delta`, rounded up: ln(1 - 1/α) - ln(δ·α) / (α - 1)."""
    with localcontext() as context:
        context.prec = DIGITS
        return round_up((1 - 1 / order).ln() - (delta * order).ln() / (order - 1))
