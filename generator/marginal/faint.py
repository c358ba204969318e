"""One-way counts of a table that noise drowns: few rows, or very little privacy loss to spend.

Where no pair could rise above the noise, everything is spent on one-way counts. Long ordered variables are counted in few groups,
the fewer the fainter the table is, and smoothed over neighbours as far as the noise itself asks for.

Responsible for how coarse the groups are, and for plausible cells out of their noisy counts.

Invariants:
    - Groups depend on public sizes and on noisy numbers of rows alone.
    - Only noisy counts are read.
Source: Leung and Barron 2006 (smoothers of several widths, mixed by their unbiased risks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from generator.encoding import Variable
from generator.marginal.denoise import nearest_counts
from generator.marginal.measure import Lens, Measured
from generator.marginal.oneway import Levels, OneWay, known, mean_of, season
from generator.smoothing import mixed_smooth

__all__ = ["faint_groups", "measure_faint"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
LEAST_GROUPS, MOST_GROUPS = 12, 40
SHORT = 32
"""Ordered variables of so few cells are counted cell by cell: codes and small counts have heavy values among light ones."""
BROAD = 12
"""Groups from which more of them ask for no more of the budget: neighbours are smoothed together."""


def measure_faint(
    lens: Lens, variables: Sequence[Variable], *, rho: Fraction, levels: Levels, clarity: float, given: Mapping[int, Floats]
) -> list[OneWay]:
    """Measure every variable once more, coarsely.

    Args:
        lens: Where measurements are made.
        variables: All variables.
        rho: What all measurements together may cost.
        levels: What is known of every variable, and with it the estimated number of rows.
        clarity: Rows over the noise of one of as many measurements as there are variables.
        given: Probabilities of variables that are known by counts of another kind.
    """
    most, rows = int(min(max(clarity, LEAST_GROUPS), MOST_GROUPS)), levels.rows
    groups = {i: faint_groups(v, most) for i, v in enumerate(variables) if not v.is_season and i not in given}
    weights = [Fraction(round(8 * min(int(of_cell.max()) + 1, BROAD) ** (2 / 3)), 8) for of_cell in groups.values()]
    found = lens.measure_cells(list(groups.items()), rho=[rho * w / sum(weights) for w in weights]) if groups else []
    counts = {one.group[0]: _with_first(one, levels.fine[one.group[0]]) for one in found}
    out: list[OneWay] = []
    for i, variable in enumerate(variables):
        if i in given:
            out.append(known(given[i], rows, 0.0))
        elif variable.is_season:
            out.append(season(out[-1], variables[i - 1], variable, rows))
        else:
            out.append(known(_shares(variable, counts[i], groups[i]), rows, counts[i].sigma ** 2))
    return out


def _with_first(one: Measured, first: Measured) -> Measured:
    """Both measurements where they are of the same cells; cells of long variables alone say next to nothing."""
    return mean_of(one, first) if one.counts.size == first.counts.size else one


def faint_groups(variable: Variable, most: int) -> Integers:
    """The group of each cell: runs of about equal length; the lowest cell of a long variable, often a heavy zero, is its own."""
    body = variable.size - (variable.missing is not None)
    if not variable.is_ordered or body <= max(most, SHORT):
        return np.arange(variable.size)
    groups = np.append(0, 1 + np.arange(body - 1) * (most - 1) // (body - 1))
    return groups if variable.missing is None else np.append(groups, most)


def _shares(variable: Variable, one: Measured, groups: Integers) -> Floats:
    """Probabilities of cells: groups smoothed over their neighbours, cells within a group alike."""
    counts = one.counts.copy()
    body = counts.size - (variable.missing is not None)
    if variable.is_ordered and body > 2:  # noqa: PLR2004 - something lies between the first and the last
        counts[1:body] = mixed_smooth(counts[1:body], sigma=one.sigma)
    clean = nearest_counts(counts, 1.0 if counts.sum() <= 0 else float(counts.sum()))
    return np.asarray((clean / clean.sum() / np.bincount(groups))[groups])
