"""Clean one-way counts out of noisy ones, measured at one or two resolutions.

Responsible for combining a fine and a coarse measurement of an ordered variable, and for smoothing what is only noise.

Invariants:
    - Only noisy counts are read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generator.encoding import Variable
from generator.marginal.denoise import nearest_counts, row_count, shrink
from generator.marginal.measure import Lens, Measured

__all__ = ["Levels", "OneWay", "coarse_map", "known", "mean_of", "measure_levels", "one_way", "season"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
FINE = 48
GROUPS = 40
GROUP_CELLS = 4
LEAST_SHARE = 2e-4
FLAT = 5.0


def coarse_map(variable: Variable) -> Integers | None:
    """Groups of neighbouring cells for a second, coarse count of a long ordered variable; None for a short one."""
    if not variable.is_ordered or variable.size <= FINE:
        return None
    body = variable.size - (variable.missing is not None)
    count = min(GROUPS, body // GROUP_CELLS)
    groups = np.arange(variable.size) * count // body
    if variable.missing is not None:
        groups[variable.missing] = count
    return groups


@dataclass(frozen=True, slots=True)
class OneWay:
    """What is known of one variable's cells.

    Attributes:
        clean: Plausible counts: not negative, smoothed, summing to the number of rows.
        noisy: Unbiased counts.
        fine: Noise variance of one cell within its group.
        groups: Group of each cell.
        held: Noise variance of each group's sum.
    """

    clean: Floats
    noisy: Floats
    fine: float
    groups: Integers
    held: Floats

    def in_bins(self, of_cell: Integers, size: int) -> tuple[Floats, Floats]:
        """Unbiased counts of bins and their noise variances."""
        overlap = np.zeros((size, len(self.held)))
        np.add.at(overlap, (of_cell, self.groups), 1.0)
        part = overlap / np.bincount(self.groups, minlength=len(self.held))
        variance = (part**2 * self.held + overlap * (1 - part) * self.fine).sum(axis=1)
        return np.asarray(np.bincount(of_cell, self.noisy, size), float), np.asarray(variance)


@dataclass(frozen=True, slots=True)
class Levels:
    """Noisy counts of every variable at its resolutions; measuring again pools with what was known."""

    fine: dict[int, Measured]
    coarse: dict[int, Measured]

    @property
    def rows(self) -> float:
        """The estimated number of rows."""
        return row_count([self.coarse.get(i, one) for i, one in self.fine.items()])

    def pooled(self, other: Levels) -> Levels:
        """Both measurements, each weighed by its noise."""
        return Levels(
            {i: mean_of(one, other.fine[i]) for i, one in self.fine.items()},
            {i: mean_of(one, other.coarse[i]) for i, one in self.coarse.items()},
        )

    def one_ways(self, variables: Sequence[Variable], given: Mapping[int, Floats] | None = None) -> list[OneWay]:
        """What is known of each variable; for some, their probabilities were `given` by counts of another kind."""
        out: list[OneWay] = []
        for i, variable in enumerate(variables):
            if given and i in given:
                noise = float(np.mean([one.sigma**2 for one in self.fine.values()]))
                out.append(known(given[i], self.rows, noise if variable.size > FINE else 0.0))
            elif variable.is_season:
                out.append(season(out[-1], variables[i - 1], variable, self.rows))
            else:
                out.append(one_way(variable, self.fine[i], self.coarse.get(i), self.rows))
        return out


def known(shares: Floats, rows: float, noise: float) -> OneWay:
    """A variable whose cells are known: nothing that is measured later moves them; noise only says how wide its bins are."""
    counts, cells = shares * rows, np.arange(shares.size)
    return OneWay(counts, counts, noise, cells, np.full(shares.size, 1e-3))


def measure_levels(lens: Lens, variables: Sequence[Variable], *, rho: Fraction, given: Collection[int] = ()) -> Levels:
    """Measure every variable but those that are known; a weekday is not measured, its day tells it.

    Args:
        lens: Where measurements are made.
        variables: All variables.
        rho: What all measurements together may cost.
        given: Places of variables that are known by counts of another kind.
    """
    asked = [i for i, v in enumerate(variables) if not v.is_season and i not in given]
    coarse = {i: groups for i in asked if (groups := coarse_map(variables[i])) is not None}
    maps = [(i, np.arange(variables[i].size)) for i in asked] + list(coarse.items())
    weight = {i: Fraction(round(8 * min(variables[i].size, GROUPS) ** (2 / 3)), 8) for i in asked}
    share = rho / sum(weight.values())
    shares = [share * weight[i] / (2 if i in coarse else 1) for i in asked] + [share * weight[i] / 2 for i in coarse]
    found = lens.measure_cells(maps, rho=shares)
    return Levels(
        {one.group[0]: one for one in found[: len(asked)]}, {one.group[0]: one for one in found[len(asked) :]}
    )  # fmt: skip


def mean_of(a: Measured, b: Measured) -> Measured:
    """Two measurements of the same counts, each weighed by its noise."""
    weights = 1 / a.sigma**2, 1 / b.sigma**2
    total = sum(weights)
    return Measured(a.group, (a.counts * weights[0] + b.counts * weights[1]) / total, total**-0.5)


def season(days: OneWay, day: Variable, weekday: Variable, rows: float) -> OneWay:
    """A weekday's counts, as its days tell them."""
    of_day = np.asarray(day.season)
    noisy, variance = days.in_bins(of_day, weekday.size)
    clean = np.bincount(of_day, days.clean, weekday.size)
    return OneWay(clean * rows / max(clean.sum(), 1e-9), noisy, float(variance.mean()), np.arange(weekday.size), variance)


def one_way(variable: Variable, fine: Measured, coarse: Measured | None, rows: float) -> OneWay:
    """Combine the measurements of one variable."""
    groups = coarse_map(variable)
    if coarse is None or groups is None:
        single = np.arange(variable.size)
        flat = np.full(variable.size, rows / variable.size)
        prior = _smoothed(nearest_counts(fine.counts, rows), variable) if variable.is_ordered else flat
        clean = _never_none(shrink(fine.counts, sigma=fine.sigma, predicted=prior, total=rows), variable, rows)
        return OneWay(clean, fine.counts, fine.sigma**2, single, np.full(variable.size, fine.sigma**2))
    size = np.bincount(groups)
    held = np.bincount(groups, fine.counts)
    weight = 1 / coarse.sigma**2
    other = 1 / (size * fine.sigma**2)
    both = (coarse.counts * weight + held * other) / (weight + other)
    noisy = fine.counts + ((both - held) / size)[groups]
    if variable.season is not None and _is_flat(variable, fine, both, size, 1 / (weight + other)):
        flat = np.full(variable.size, rows / variable.size)
        return OneWay(flat, flat, fine.sigma**2, groups, 1 / (weight + other))
    whole = nearest_counts(both, rows)
    smooth = _within(
        _smoothed((whole / size)[groups], variable) * _rhythm(variable, noisy, (whole / size)[groups]), groups, whole
    )
    best = shrink(noisy, sigma=fine.sigma, predicted=smooth, total=rows)
    return OneWay(_within(best, groups, whole), noisy, fine.sigma**2, groups, 1 / (weight + other))


def _is_flat(variable: Variable, fine: Measured, held: Floats, size: Integers, variance: Floats) -> bool:
    """Whether days, weekdays and groups of days vary no more than their noise does, which leaves even days the best guess."""
    if variable.missing is not None:
        return False
    week = np.asarray(np.bincount(np.asarray(variable.season), fine.counts), float)
    days = np.bincount(np.asarray(variable.season))
    noise = fine.sigma**2
    scores = (
        _excess(held, size, variance),
        _excess(week, days, days * noise),
        _excess(fine.counts, np.ones(variable.size), np.full(variable.size, noise)),
    )
    return max(scores) < FLAT


def _excess(counts: Floats, cells: NDArray[Any], noise: NDArray[Any]) -> float:
    """How many standard deviations the squared deviation from evenness lies above what noise explains."""
    even = counts.sum() / cells.sum() * cells
    score, freedom = float(((counts - even) ** 2 / noise).sum()), counts.size - 1
    return float((score - freedom) / (2 * freedom) ** 0.5)


def _never_none(clean: Floats, variable: Variable, rows: float) -> Floats:
    """A few rows for every value between public bounds: a count drowned in noise does not say that nobody has the value.

    Without them the ends of a short range vanish now and then, and whoever cuts the range into parts cuts it elsewhere.
    """
    if not variable.is_ordered:
        return clean
    held = np.maximum(clean, LEAST_SHARE * rows)
    if variable.missing is not None:
        held[variable.missing] = clean[variable.missing]
    return np.asarray(held * (clean.sum() / max(float(held.sum()), 1e-9)))


def _rhythm(variable: Variable, noisy: Floats, level: Floats) -> Floats:
    """How much more a day of this weekday holds than its neighbours, from all days of that weekday together."""
    if variable.season is None:
        return np.ones(variable.size)
    season = np.asarray(variable.season)
    held, expected = np.bincount(season, noisy), np.bincount(season, level)
    factor = np.maximum(held, 0.0) / np.maximum(expected, 1e-9)
    if variable.missing is not None:
        return np.where(np.arange(variable.size) == variable.missing, 1.0, factor[season])
    return np.asarray(factor[season])


def _within(counts: Floats, groups: Integers, held: Floats) -> Floats:
    """Counts scaled so that each group holds what it should."""
    return np.asarray(counts * (held / np.maximum(np.bincount(groups, counts), 1e-9))[groups])


def _smoothed(counts: Floats, variable: Variable) -> Floats:
    """A running mean over neighbouring cells; the missing cell keeps its own count."""
    body = variable.size - (variable.missing is not None)
    width = max(3, body // GROUPS | 1)
    padded = np.pad(counts[:body], width // 2, mode="edge")
    smooth = counts.copy()
    smooth[:body] = np.convolve(padded, np.full(width, 1 / width), mode="valid")
    return smooth
