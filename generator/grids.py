"""Data-independent grids: how the range of a number is cut into cells before any data is seen.

Responsible for the cells of integers and numbers. Both are whole multiples of a step (1 for integers, 10^-decimals for
numbers), or continuous where a card gives no decimals.

Invariants:
    - A grid is a function of the card's public bounds alone (or of bounds that were paid for).
    - Every value is clamped into exactly one cell, and every drawn value lies within the bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Grid", "make_grid", "outwards", "step_of"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
WIDE = 50.0
LEAST_STEP = 1e-5


@dataclass(frozen=True, slots=True)
class Grid:
    """Cells of one number: cell i holds values in [starts[i], starts[i + 1]), the last one up to `high` inclusive.

    Attributes:
        starts: Lower edges, ascending.
        high: The largest value.
        step: Spacing of possible values; 0 where they are continuous.
    """

    starts: Floats
    high: float
    step: float

    @property
    def size(self) -> int:
        """How many cells."""
        return len(self.starts)

    def ends(self) -> Floats:
        """The largest value of each cell (the next lower edge, less one step)."""
        return np.append(self.starts[1:] - self.step, self.high)

    def encode(self, values: Floats) -> Integers:
        """The cell of each value; values beyond the bounds count as the nearest bound."""
        rounded = np.round(values / self.step) * self.step if self.step else values
        clamped = np.clip(rounded, self.starts[0], self.high)
        slack = self.step * 1e-6
        return np.searchsorted(self.starts, clamped + slack, side="right").astype(np.int64) - 1

    def decode(self, cells: Integers, rng: np.random.Generator) -> Floats:
        """A value drawn uniformly from each cell."""
        low, high = self.starts[cells], self.ends()[cells]
        return self.between(low, high, rng)

    def between(self, low: Floats, high: Floats, rng: np.random.Generator) -> Floats:
        """A possible value drawn uniformly between two possible values, both included."""
        if not self.step:
            return low + (high - low) * rng.random(low.size)
        steps = np.maximum(np.round((high - low) / self.step), 0.0)
        return np.asarray(low + np.floor(rng.random(low.size) * (steps + 1)) * self.step)


def make_grid(low: float, high: float, *, step: float, cells: int) -> Grid:
    """Cut [low, high], two possible values, into at most about `cells` cells.

    Every possible value is a cell of its own where they are few; a range that may span orders of magnitude gets cells that
    grow with the value (and one for zero), none of them wide beside the range; any other range gets cells of equal width.
    """
    if step and (high - low) / step + 1 <= cells:
        count = round((high - low) / step) + 1
        return Grid(low + step * np.arange(count, dtype=np.float64), high, step)
    if high <= low:
        return Grid(np.array([low]), high, step)
    if low >= 0 and high > WIDE * max(low, step or high * LEAST_STEP):
        edges = np.union1d(_growing(low, high, step, cells // 2), np.linspace(low, high, cells // 2 + 1)[:-1])
    elif low < 0 < high and min(-low, high) > max(-low, high) / WIDE:
        half = cells // 2
        edges = np.concatenate([-_growing(0.0, -low, step, half)[::-1], _growing(0.0, high, step, half)])
        edges[0] = low
    else:
        edges = np.linspace(low, high, cells + 1)[:-1]
    if step:
        edges = low + np.round((edges - low) / step) * step
    return Grid(np.unique(edges[(edges >= low) & (edges < high)]), high, step)


def _growing(low: float, high: float, step: float, cells: int) -> Floats:
    least = step or high * LEAST_STEP
    grown = np.geomspace(max(low, least), high, cells)
    linear = low + least * np.arange(cells)
    edges = np.maximum(grown, np.minimum(linear, high)) if step else grown
    return np.concatenate([[low], edges[:-1]])


def step_of(decimals: int | None, *, whole: bool) -> float:
    """Spacing of possible values: 1 for integers, 10^-decimals for numbers, 0 where the card does not say."""
    if whole:
        return 1.0
    return 0.0 if decimals is None else float(Decimal(1).scaleb(-decimals))


def outwards(low: float, high: float, *, step: float) -> tuple[float, float]:
    """Estimated bounds moved outwards to possible values, which leaves out none that was between them."""
    return (math.floor(low / step) * step, math.ceil(high / step) * step) if step else (low, high)
