"""Ancestral sampling from a fitted model.

Responsible for turning clique tables into rows of codes: root first, then each clique given its separator.

Invariants:
    - Draws are stratified: a cell gets its expected number of rows, rounded up or down at random, so that rows carry as
      little sampling noise as rows can.
    - A cell of probability 0 is never drawn.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from generator.base import GeneratorError
from generator.marginal.model import Model, margin

__all__ = ["sample_codes"]

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
GOLDEN = (5**0.5 - 1) / 2


def sample_codes(
    model: Model, rows: int, *, rng: np.random.Generator, given: Mapping[int, Floats] | None = None
) -> list[Integers]:
    """Draw codes of all variables.

    Args:
        model: The fitted model.
        rows: How many rows.
        rng: Drives the draws.
        given: For some variables, weights by which their codes are kept (conditional sampling).

    Raises:
        GeneratorError: the conditions have probability 0.
    """
    tables = _conditioned(model, given or {})
    count = 1 + max(v for walk in model.walks for v in walk.clique)
    codes = [np.zeros(0, np.int64)] * count
    for walk, table in zip(model.walks, tables, strict=True):
        new = tuple(v for v in walk.clique if v not in walk.separator)
        order = [walk.clique.index(v) for v in (*walk.separator, *new)]
        sizes = [table.shape[axis] for axis in order]
        known = int(np.prod(sizes[: len(walk.separator)], dtype=np.int64))
        matrix = table.transpose(order).reshape(known, -1)
        above = np.zeros(rows, np.int64)
        for variable, size in zip(walk.separator, sizes, strict=False):
            above = above * size + codes[variable]
        drawn = _draw(matrix, above, _order(codes, known=set(walk.separator), rows=rows), rng)
        for variable, size in zip(reversed(new), reversed(sizes), strict=False):
            codes[variable] = drawn % size
            drawn = drawn // size
    return codes


def _order(codes: list[Integers], *, known: set[int], rows: int) -> Integers:
    """A number per row that puts rows with equal codes in other variables beside each other."""
    key = np.zeros(rows, np.int64)
    span = 1
    for variable, drawn in enumerate(codes):
        if drawn.size and variable not in known:
            size = int(drawn.max()) + 1
            if span * size >= 1 << 62:
                break
            key, span = key * size + drawn, span * size
    return key


def _draw(matrix: Floats, above: Integers, order_key: Integers, rng: np.random.Generator) -> Integers:
    """A column of the matrix for each row number in `above`, stratified within equal row numbers.

    Rows that are alike in other variables get far-apart quantiles (multiples of the golden ratio), so that a draw is also
    balanced against variables it does not depend on.
    """
    rows = above.size
    order = np.lexsort((rng.random(rows), order_key, above))
    counts = np.bincount(above, minlength=matrix.shape[0])
    starts = np.cumsum(counts) - counts
    sorted_above = above[order]
    rank = np.arange(rows) - starts[sorted_above]
    height = (rank * GOLDEN + rng.random((matrix.shape[0],))[sorted_above]) % 1.0
    order = order[np.lexsort((height, sorted_above))]
    place = (rank + rng.random((matrix.shape[0],))[sorted_above]) / np.maximum(counts[sorted_above], 1)
    heights = np.cumsum(matrix, axis=1)
    total = heights[:, -1:]
    heights = np.divide(heights, total, out=np.zeros_like(heights), where=total > 0)
    heights[:, -1] = np.where(total[:, 0] > 0, heights[:, -1], 1.0)
    flat = (heights + np.arange(len(heights))[:, None]).ravel()
    found = np.searchsorted(flat, sorted_above + np.minimum(place, 1 - 1e-12), side="right")
    drawn = np.empty(rows, np.int64)
    drawn[order] = np.minimum(found - sorted_above * matrix.shape[1], matrix.shape[1] - 1)
    return drawn


def _conditioned(model: Model, given: Mapping[int, Floats]) -> list[Floats]:
    """Clique tables given evidence: children tell parents how likely it is below them."""
    if not given:
        return model.tables
    tables = [table.copy() for table in model.tables]
    done: set[int] = set()
    for table, walk in zip(tables, model.walks, strict=True):
        for variable in set(given) & set(walk.clique) - done:
            shape = [len(given[variable]) if v == variable else 1 for v in walk.clique]
            np.multiply(table, given[variable].reshape(shape), out=table)
            done.add(variable)
    for place in range(len(tables) - 1, -1, -1):
        walk = model.walks[place]
        if walk.parent is None:
            if tables[place].sum() <= 0:
                raise GeneratorError("no row of the model meets the condition")
            continue
        above = model.walks[walk.parent].clique
        before = margin(model.tables[place], walk.clique, walk.separator)
        after = margin(tables[place], walk.clique, walk.separator)
        message = np.divide(after, before, out=np.zeros_like(after), where=before > 0)
        sizes = iter(message.shape)
        tables[walk.parent] *= message.reshape([next(sizes) if v in walk.separator else 1 for v in above])
    return tables
