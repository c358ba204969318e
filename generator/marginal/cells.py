"""From bins back to cells.

Responsible for drawing a cell within each drawn bin, for days within bin and weekday.

Invariants:
    - A drawn cell belongs to the drawn bin; cells of probability 0 are not drawn while the bin has others.
    - Draws are stratified within rows that share the same bin and the same further key.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from generator.encoding import Variable
from generator.marginal.bins import Bins

__all__ = ["draw_cells", "season_table"]

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
WEEK = 7


def draw_cells(bins: Bins, drawn: Integers, *, rng: np.random.Generator, within: Integers | None = None) -> Integers:
    """A cell for each drawn bin.

    Args:
        bins: The variable's bins.
        drawn: Drawn bins.
        rng: Drives the draws.
        within: A further key: rows that share bin and key together get the cells in their expected numbers.
    """
    return _draw(bins.of_cell, bins.cells, drawn, np.zeros_like(drawn) if within is None else within, rng)


def draw_days(
    bins: Bins, variable: Variable, drawn: Integers, weekday: Integers, *, rng: np.random.Generator, within: Integers
) -> Integers:
    """A day for each drawn bin and weekday; where a bin lacks the weekday, any of its days."""
    classes = bins.of_cell * WEEK + np.asarray(variable.season)
    if variable.missing is not None:
        classes[variable.missing] = bins.of_cell[variable.missing] * WEEK
    held = np.bincount(classes, bins.cells, bins.size * WEEK)
    wanted = drawn * WEEK + weekday
    lacks = held[wanted] <= 0
    cells = np.empty(drawn.size, np.int64)
    cells[lacks] = draw_cells(bins, drawn[lacks], rng=rng)
    cells[~lacks] = _draw(classes, bins.cells, wanted[~lacks], within[~lacks], rng)
    return cells


def season_table(bins: Bins, variable: Variable) -> Floats:
    """P(bin, weekday) of days, known from the days alone."""
    season = np.asarray(variable.season)
    return np.asarray(np.bincount(bins.of_cell * WEEK + season, bins.cells, bins.size * WEEK), float).reshape(bins.size, WEEK)


def _draw(classes: Integers, weights: Floats, wanted: Integers, within: Integers, rng: np.random.Generator) -> Integers:
    if not wanted.size:
        return wanted
    cells = np.argsort(classes, kind="stable")
    ordered, heights = classes[cells], np.cumsum(weights[cells])
    first = np.searchsorted(ordered, wanted, side="left")
    last = np.searchsorted(ordered, wanted, side="right") - 1
    low = heights[first] - weights[cells][first]
    rows = np.lexsort((rng.random(wanted.size), within, wanted))
    run = np.cumsum(np.append(0, (np.diff(wanted[rows]) != 0) | (np.diff(within[rows]) != 0)))
    counts = np.bincount(run)
    rank = np.arange(wanted.size) - (np.cumsum(counts) - counts)[run]
    place = (rank + rng.random(counts.size)[run]) / counts[run]
    height = low[rows] + np.minimum(place, 1 - 1e-9) * (heights[last] - low)[rows]
    found = np.searchsorted(heights, height, side="right")
    out = np.empty(wanted.size, np.int64)
    out[rows] = cells[np.clip(found, first[rows], last[rows])]
    return out
