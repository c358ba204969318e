"""Few bins out of many cells, decided by noisy one-way counts.

Responsible for merging cells that hold too little to be modelled together with other variables, and for drawing cells
within bins.

Invariants:
    - Only noisy counts are read: merging is post-processing.
    - Missing values are a bin of their own unless they hardly occur.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generator.encoding import Variable

__all__ = ["Bins", "make_bins"]

SHORT = 24
SETTLES = 5
ROOMY = 1.5
"""How many times its fair share a bin of light cells holds: fewer bins than could be, each above the noise."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Bins:
    """Which bin each cell belongs to, and how probable each cell is.

    Attributes:
        of_cell: Bin of each cell.
        cells: Probability of each cell.
        size: How many bins.
    """

    of_cell: Integers
    cells: Floats
    size: int

    def ones(self) -> Floats:
        """Probability of each bin."""
        return np.asarray(np.bincount(self.of_cell, self.cells, self.size), float)


def make_bins(variable: Variable, cells: Floats, *, most: int, least: float) -> Bins:
    """Merge cells into bins.

    Args:
        variable: Whose cells they are.
        cells: Denoised probabilities of the cells.
        most: At most how many bins.
        least: Least probability of a bin worth modelling.
    """
    if variable.is_season:
        return Bins(np.arange(variable.size), cells, variable.size)
    body = variable.size - (variable.missing is not None)
    ordered = _ordered if variable.is_ordered else _nominal
    of_cell = np.zeros(variable.size, np.int64)
    of_cell[:body] = ordered(cells[:body], most=most, least=least)
    size = int(of_cell[:body].max()) + 1
    if variable.missing is not None:
        if cells[variable.missing] >= min(least, 0.002):
            of_cell[variable.missing], size = size, size + 1
        else:
            cells = cells.copy()
            cells[variable.missing] = 0.0
            of_cell[variable.missing] = int(np.argmax(np.bincount(of_cell[:body], cells[:body])))
    total = cells.sum()
    return Bins(of_cell, cells / total if total > 0 else np.full(variable.size, 1 / variable.size), size)


def _ordered(cells: Floats, *, most: int, least: float) -> Integers:
    """Runs of about equal mass; a cell that alone holds as much is its own bin."""
    total = max(cells.sum(), 1e-12)
    share = least * total if len(cells) <= max(most, SHORT) else max(_fair_share(cells, most), least * total)
    of_cell = np.zeros(len(cells), np.int64)
    current, held = 0, 0.0
    for i, mass in enumerate(cells):
        is_full = held > 0 and (held + mass / 2 > share or mass >= share)
        if is_full and (held >= least * total or mass >= share):
            current += 1
            held = 0.0
        of_cell[i] = current
        held += mass
    if current > 0 and held < least * total:
        of_cell[of_cell == current] = current - 1
    return of_cell


def _fair_share(cells: Floats, most: int) -> float:
    """The mass of a bin: heavy cells stand alone, and what is left of the mass fills what is left of the bins.

    A column that is mostly zero would otherwise keep two or three bins for everything else.
    """
    share = float(cells.sum()) / most
    for _ in range(SETTLES):
        heavy = cells >= share
        share = ROOMY * float(cells[~heavy].sum()) / max(most - int(heavy.sum()), 1)
    return share


def _nominal(cells: Floats, *, most: int, least: float) -> Integers:
    """The most frequent values one by one, all others together."""
    total = max(cells.sum(), 1e-12)
    order = np.argsort(-cells, kind="stable")
    keep = [int(i) for i in order if cells[i] >= least * total]
    if len(keep) > most - 1 and len(cells) > most:
        keep = keep[: most - 1]
    keep = sorted(keep)
    if len(keep) >= len(cells) - 1:
        return np.arange(len(cells))
    of_cell = np.full(len(cells), len(keep), np.int64)
    of_cell[keep] = np.arange(len(keep))
    return of_cell
