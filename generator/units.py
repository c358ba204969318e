"""Whose rows: how many rows a privacy unit has, when it begins, and how long it waits.

Responsible for the small per-unit histograms and for grouping synthetic rows under synthetic keys by them.

Invariants:
    - Histograms are noisy and charged: one unit moves one cell of sizes and of first days, and at most m - 1 gaps.
    - Grouping rows is post-processing; keys are numbers of synthetic units and of nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from generator.calendar import micros_of
from generator.domains import as_numbers
from generator.encoding import conform
from generator.grids import Grid, make_grid
from generator.marginal.denoise import nearest_counts, shrink
from generator.noise import discrete_gaussian
from generator.source import Rows
from generator.zcdp import Account
from policies.card import DatasetCard

__all__ = ["UnitModel", "learn_units"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
SECOND = 1_000_000
DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class UnitModel:
    """Noisy histograms about units.

    Attributes:
        sizes: Probability that a unit is a row without a key (cell 0), or has 1, 2, … m rows.
        firsts: Probability of each cell of the first day, or empty without a time index.
        gaps: Probability of each gap cell (seconds), or empty.
        low, high: Bounds of the time index in microseconds.
    """

    sizes: Floats
    firsts: Floats
    gaps: Floats
    low: int
    high: int

    def draw_sizes(self, rows: int, rng: np.random.Generator) -> tuple[Integers, NDArray[np.bool_]]:
        """Sizes of units that together own exactly that many rows (the last may be cut short), and which have no key."""
        mean = float((self.sizes * np.maximum(1, np.arange(self.sizes.size))).sum())
        cells = np.zeros(0, np.int64)
        while np.maximum(cells, 1).sum() < rows:
            more = int((rows - np.maximum(cells, 1).sum()) / mean * 1.05) + 8
            cells = np.append(cells, _stratified(self.sizes, more, rng))
        sizes = np.maximum(cells, 1)
        ends = np.cumsum(sizes)
        last = int(np.searchsorted(ends, rows))
        sizes = sizes[: last + 1]
        sizes[-1] -= ends[last] - rows
        return sizes, cells[: last + 1] == 0

    def assign(self, times: Integers | None, rows: int, rng: np.random.Generator) -> tuple[Integers, Integers | None]:
        """A unit for each row (-1 without a key), and times in which rows of one unit follow each other as the gaps say.

        Args:
            times: Microseconds of the time index by row; None without one.
            rows: How many rows.
            rng: Drives the draws.
        """
        if not rows:
            return np.zeros(0, np.int64), times
        sizes, is_keyless = self.draw_sizes(rows, rng)
        owner = np.repeat(np.where(is_keyless, -1, np.arange(sizes.size)), sizes)
        if times is None or not self.gaps.size:
            return rng.permutation(owner), times
        starts = np.cumsum(sizes) - sizes
        is_first = np.zeros(rows, bool)
        is_first[starts] = True
        gaps = self._gap_grid().decode(_stratified(self.gaps, rows, rng), rng) * SECOND
        gaps[is_first] = 0
        walked = np.cumsum(gaps)
        walked -= np.repeat(walked[starts], sizes)
        length = np.maximum.reduceat(walked, starts)
        fits = np.minimum(1.0, (self.high - self.low) / np.maximum(length, 1))
        walked *= np.repeat(fits, sizes)
        first = self._first_grid().decode(_stratified(self.firsts, sizes.size, rng), rng) * DAY_SECONDS * SECOND
        first = np.clip(first, self.low, np.maximum(self.low, self.high - length * fits))
        slots = np.repeat(first, sizes) + walked
        order, by_time = np.argsort(slots, kind="stable"), np.argsort(times, kind="stable")
        unit, moved = np.empty(rows, np.int64), times.copy()
        unit[by_time] = owner[order]
        row_of_slot = np.empty(rows, np.int64)
        row_of_slot[order] = by_time
        together = ~is_first & (gaps == 0)
        anchor = np.maximum.accumulate(np.where(together, 0, np.arange(rows)))
        moved[row_of_slot] = times[row_of_slot[anchor]]
        return unit, moved

    def _gap_grid(self) -> Grid:
        return gap_grid(self.low, self.high)

    def _first_grid(self) -> Grid:
        return first_grid(self.low, self.high)


def gap_grid(low: int, high: int) -> Grid:
    """Cells of waiting times in seconds: zero is its own, the others grow."""
    return make_grid(0.0, max(1.0, float((high - low) // SECOND)), step=1.0, cells=64)


def first_grid(low: int, high: int) -> Grid:
    """Cells of days since 1970."""
    day = DAY_SECONDS * SECOND
    return make_grid(float(low // day), float(high // day), step=1.0, cells=48)


def learn_units(
    rows: Rows, *, card: DatasetCard, account: Account, rho: Fraction, bounds: Mapping[str, tuple[datetime, datetime]]
) -> UnitModel:
    """Measure the histograms of units.

    Args:
        rows: The bounded rows.
        card: The dataset card, which names a privacy unit.
        account: What pays.
        rho: What all histograms together may cost.
        bounds: Bounds of time columns, from the card or paid for.
    """
    units = rows.units if rows.units is not None else np.zeros(0, np.int64)
    m, index = card.rows_per_unit, card.spec.time_index
    unit_name = card.spec.privacy_unit or "row"
    part = rho if index is None or m == 1 else rho / 3
    variance = account.gaussian("rows per unit", columns=(unit_name,), rho=part, sensitivity=1, cells=m + 1)
    keyed, counts = np.unique(units, return_counts=True)
    cells = np.where(keyed >= rows.first_keyless, 0, counts)
    sizes = _noisy(np.bincount(cells, minlength=m + 1), variance)
    if not card.columns[unit_name].missing:
        sizes = np.append(0.0, sizes[1:]) / max(sizes[1:].sum(), 1e-12)
    if index is None or m == 1:
        return UnitModel(sizes, np.zeros(0), np.zeros(0), 0, 0)
    low, high = (micros_of(moment) for moment in bounds[index])
    columns = (unit_name, index)
    first_variance = account.gaussian("first day of a unit", columns=columns, rho=part, sensitivity=1)
    gap_variance = account.gaussian("gaps within a unit", columns=columns, rho=part, sensitivity=max(1, m - 1))
    days = np.concatenate(
        [np.zeros(0), *(as_numbers(conform(b, {index: card.columns[index]})[index], card.columns[index]) for b in rows.batches())]
    )
    known = ~np.isnan(days)
    seconds, whose = np.clip(days[known] * DAY_SECONDS, low / SECOND, high / SECOND), units[known]
    order = np.lexsort((seconds, whose))
    seconds, whose = seconds[order], whose[order]
    is_first = np.append(True, whose[1:] != whose[:-1])[: whose.size]
    gap_cells, first_cells = gap_grid(low, high), first_grid(low, high)
    first = np.bincount(first_cells.encode(seconds[is_first] // DAY_SECONDS), minlength=first_cells.size)
    gap = np.bincount(gap_cells.encode(np.diff(seconds)[~is_first[1:]].round()), minlength=gap_cells.size)
    return UnitModel(sizes, _noisy(first, first_variance), _noisy(gap, gap_variance), low, high)


def _noisy(counts: Integers, variance: Fraction) -> Floats:
    noisy = (counts + discrete_gaussian(variance, counts.size)).astype(np.float64)
    total = max(1.0, float(noisy.sum()))
    sigma = float(variance) ** 0.5
    body = nearest_counts(noisy, total)
    smooth = body.copy()
    smooth[1:-1] = np.convolve(np.pad(body[1:-1], 2, mode="edge"), np.full(5, 0.2), mode="valid") if body.size > 2 else body[1:-1]  # noqa: PLR2004
    best = shrink(noisy, sigma=sigma, predicted=smooth, total=total)
    return np.asarray(best / best.sum())


def _stratified(weights: Floats, count: int, rng: np.random.Generator) -> Integers:
    """Draws that hold each cell's expected number, rounded, in random order."""
    place = (np.arange(count) + rng.random()) / max(count, 1)
    heights = np.cumsum(weights) / weights.sum()
    drawn = np.searchsorted(heights, np.minimum(place, 1 - 1e-12), side="right")
    return rng.permutation(np.minimum(drawn, weights.size - 1)).astype(np.int64)
