"""Whose rows: how many rows a privacy unit has, when it begins, and how long it waits.

Responsible for the small per-unit histograms and for grouping synthetic rows under synthetic keys by them.

Invariants:
    - Histograms are noisy and charged: one unit moves one cell of sizes and of first days, and gaps as one
      vector of bounded length.
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
from generator.marginal.denoise import nearest_counts
from generator.noise import discrete_gaussian
from generator.rhythm import GRAIN, bounded_counts, unit_length
from generator.smoothing import mixed_smooth
from generator.source import Rows
from generator.zcdp import Account
from policies.card import DatasetCard

__all__ = ["Assigned", "UnitModel", "learn_units"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
SECOND = 1_000_000
DAY_SECONDS = 86_400.0
SHORT_GAPS = (60.0, 600.0, 3_600.0, 21_600.0)
WINDOW = 256
"""Among so many rows that follow each other in time, rows that are alike are given to the same units."""
TAIL = 16
"""Size classes of units beyond m, each √2 times the one before."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """To whom synthetic rows belong.

    Attributes:
        unit: Number of the unit by row; -1 without a key.
        times: Microseconds of the time index by row; None where nothing was moved.
        first: By row, the row that is the first of the same unit.
    """

    unit: Integers
    times: Integers | None
    first: Integers


@dataclass(frozen=True, slots=True)
class UnitModel:
    """Noisy histograms about units.

    Attributes:
        sizes: Probability that a unit is a row without a key (cell 0), or has 1, 2, … m rows.
        firsts: Probability of each cell of the first day, or empty without a time index.
        gaps: Probability of each gap cell (seconds), or empty.
        low, high: Bounds of the time index in microseconds.
        rows: Estimated number of rows that have a key, those beyond m of a unit included; only the fit asks for it.
    """

    sizes: Floats
    firsts: Floats
    gaps: Floats
    low: int
    high: int
    rows: float = 0.0

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

    def assign(
        self, times: Integers | None, rows: int, rng: np.random.Generator, *, likeness: Integers | None = None
    ) -> Assigned:
        """A unit for each row, and times in which rows of one unit follow each other as the gaps say.

        Args:
            times: Microseconds of the time index by row; None without one.
            rows: How many rows.
            rng: Drives the draws.
            likeness: Rows with near numbers are alike in what the rows of a unit share; they are put together where times allow.
        """
        if not rows:
            return Assigned(np.zeros(0, np.int64), times, np.zeros(0, np.int64))
        sizes, is_keyless = self.draw_sizes(rows, rng)
        owner = np.repeat(np.where(is_keyless, -1, np.arange(sizes.size)), sizes)
        place = np.repeat(np.arange(sizes.size), sizes)
        starts = np.cumsum(sizes) - sizes
        if times is None or not self.gaps.size:
            row_of_slot = rng.permutation(rows) if likeness is None else np.lexsort((rng.random(rows), likeness))
            return Assigned(*_by_row(row_of_slot, owner, row_of_slot[starts][place]))
        is_first = np.zeros(rows, bool)
        is_first[starts] = True
        gaps = self._gap_grid().decode(_stratified(self.gaps, rows, rng), rng) * SECOND
        gaps[is_first] = 0
        order = np.argsort(self._slots(gaps, starts, sizes, rng), kind="stable")
        by_time = np.argsort(times, kind="stable")
        row_of_slot = np.empty(rows, np.int64)
        row_of_slot[order] = by_time
        if likeness is not None:
            wanted = likeness[row_of_slot[starts]][place]
            window = np.arange(rows) // WINDOW
            by_time = by_time[np.lexsort((likeness[by_time], window))]
            row_of_slot[order[np.lexsort((wanted[order], window))]] = by_time
        together = ~is_first & (gaps == 0)
        anchor = np.maximum.accumulate(np.where(together, 0, np.arange(rows)))
        moved = times.copy()
        moved[row_of_slot] = times[row_of_slot[anchor]]
        unit, _, first = _by_row(row_of_slot, owner, row_of_slot[starts][place])
        return Assigned(unit, moved, first)

    def _slots(self, gaps: Floats, starts: Integers, sizes: Integers, rng: np.random.Generator) -> Floats:
        """A moment for each row of each unit: its first day, then gap after gap, shortened where they would leave the bounds."""
        walked = np.cumsum(gaps)
        walked -= np.repeat(walked[starts], sizes)
        length = np.maximum.reduceat(walked, starts)
        fits = np.minimum(1.0, (self.high - self.low) / np.maximum(length, 1))
        first = self._first_grid().decode(_stratified(self.firsts, sizes.size, rng), rng) * DAY_SECONDS * SECOND
        first = np.clip(first, self.low, np.maximum(self.low, self.high - length * fits))
        return np.asarray(np.repeat(first, sizes) + walked * np.repeat(fits, sizes))

    def _gap_grid(self) -> Grid:
        return gap_grid(self.low, self.high)

    def _first_grid(self) -> Grid:
        return first_grid(self.low, self.high)


def _by_row(row_of_slot: Integers, owner: Integers, first: Integers) -> tuple[Integers, None, Integers]:
    """What is known of slots, by row: the unit (and no times), and the row that is the first of its unit."""
    unit, head = np.empty(owner.size, np.int64), np.empty(owner.size, np.int64)
    unit[row_of_slot], head[row_of_slot] = owner, first
    return unit, None, head


def gap_grid(low: int, high: int) -> Grid:
    """Cells of waiting times in seconds: zero is its own, a few up to a day, then each a quarter longer than the one before."""
    longest = max(1.0, float((high - low) // SECOND))
    days = np.round(DAY_SECONDS * 1.25 ** np.arange(np.ceil(np.log(max(longest / DAY_SECONDS, 1.0)) / np.log(1.25)) + 1))
    edges = np.array([0.0, 1.0, *SHORT_GAPS, *days])
    return Grid(edges[edges < max(longest, 1.5)], longest, 1.0)


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
    m, index = card.rows_per_unit, card.spec.time_index
    unit_name = card.spec.privacy_unit or "row"
    part = rho if index is None or m == 1 else rho / 5
    variance = account.gaussian("rows per unit", columns=(unit_name,), rho=part, sensitivity=1, cells=m + 1 + TAIL)
    sizes, held = _sizes(rows, card, variance)
    if index is None or m == 1:
        return UnitModel(sizes, np.zeros(0), np.zeros(0), 0, 0, held)
    low, high = (micros_of(moment) for moment in bounds[index])
    columns, length = (unit_name, index), unit_length(m - 1)
    first_variance = account.gaussian("first day of a unit", columns=columns, rho=part, sensitivity=1)
    gap_variance = account.gaussian("gaps within a unit", columns=columns, rho=3 * part, sensitivity=GRAIN * length, grain=GRAIN)
    seconds, whose = _moments(rows, card, index, low, high)
    is_first = np.append(True, whose[1:] != whose[:-1])[: whose.size]
    gap_cells, first_cells = gap_grid(low, high), first_grid(low, high)
    first = np.bincount(first_cells.encode(seconds[is_first] // DAY_SECONDS), minlength=first_cells.size)
    cells = gap_cells.encode(np.diff(seconds)[~is_first[1:]].round())
    gap = bounded_counts(whose[1:][~is_first[1:]], cells, size=gap_cells.size, length=length)
    return UnitModel(sizes, _noisy(first, first_variance), _noisy(gap, gap_variance), low, high, held)


def _sizes(rows: Rows, card: DatasetCard, variance: Fraction) -> tuple[Floats, float]:
    """Probability of 0 (no key), 1, … m rows; and how many rows have a key, counting units beyond m by classes of their size."""
    m = card.rows_per_unit
    classes = m * 2.0 ** (np.arange(TAIL + 1) / 2)
    beyond = np.searchsorted(classes, rows.unit_rows, side="left").clip(1, TAIL) - 1
    cells = np.where(rows.unit_rows <= m, rows.unit_rows, m + 1 + beyond)
    counts = np.bincount(cells, minlength=m + 1 + TAIL)
    counts[0] = 0 if rows.units is None else int((rows.units >= rows.first_keyless).sum())
    noisy = counts + discrete_gaussian(variance, counts.size)
    least = 0 if card.columns[card.spec.privacy_unit or ""].missing else 1
    body = np.append(noisy[least:m], noisy[m:].sum())
    # what cannot be is left out before cleaning: zeroed afterwards, the cells that are left could all be zero
    sizes = np.append(np.zeros(least), _clean(body.astype(np.float64), float(variance) ** 0.5))
    tail = noisy[m + 1 :].astype(np.float64)
    seen = np.cumprod(tail > 2 * float(variance) ** 0.5).astype(bool)
    units = max(float(body.sum()), 1.0) * sizes
    more = (tail * (np.sqrt(classes[:-1] * classes[1:]) - m))[seen].sum()
    return sizes, float((units * np.arange(m + 1)).sum() + more)


def _moments(rows: Rows, card: DatasetCard, index: str, low: int, high: int) -> tuple[Floats, Integers]:
    """Seconds since 1970 and unit of each row with a time, by unit and time."""
    column = {index: card.columns[index]}
    parts = [as_numbers(conform(batch, column)[index], card.columns[index]) for batch in rows.batches()]
    days = np.concatenate([np.zeros(0), *parts])
    units = rows.units if rows.units is not None else np.zeros(0, np.int64)
    known = ~np.isnan(days)
    seconds, whose = np.clip(days[known] * DAY_SECONDS, low / SECOND, high / SECOND), units[known]
    order = np.lexsort((seconds, whose))
    return seconds[order], whose[order]


def _noisy(counts: Integers, variance: Fraction) -> Floats:
    return _clean((counts + discrete_gaussian(variance, counts.size)).astype(np.float64), float(variance) ** 0.5)


def _clean(noisy: Floats, sigma: float) -> Floats:
    """Probabilities out of noisy counts: smoothed between neighbours as far as the noise says, the first and last cell apart.

    Counts that noise makes less than nothing tell nothing: every cell is as probable.
    """
    if noisy.sum() <= 0:
        return np.full(noisy.size, 1 / noisy.size)
    best = noisy.copy()
    if noisy.size > 2:  # noqa: PLR2004 - something lies between the first and the last
        best[1:-1] = mixed_smooth(noisy[1:-1], sigma=sigma)
    return np.asarray(nearest_counts(best, max(1.0, float(noisy.sum()))) / max(1.0, float(noisy.sum())))


def _stratified(weights: Floats, count: int, rng: np.random.Generator) -> Integers:
    """Draws that hold each cell's expected number, rounded, in random order."""
    place = (np.arange(count) + rng.random()) / max(count, 1)
    heights = np.cumsum(weights) / weights.sum()
    drawn = np.searchsorted(heights, np.minimum(place, 1 - 1e-12), side="right")
    return rng.permutation(np.minimum(drawn, weights.size - 1)).astype(np.int64)
