"""Columns as a matrix for learning: one for trees, one for linear models.

Responsible for turning columns of a table into features, the same way for train, holdout and synthetic.

Invariants:
    - Scales, medians and the choice of common categories come from train; an analyst's choice would differ, but by the same
      amount for models trained on train and on synthetic.
    - Text, identifiers and the target are no features. A time is its position, hour, weekday and month.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from evaluator.utility.series import DAY, HOUR
from evaluator.utility.tables import FloatArray, IntArray, Measured, Side, Tables

__all__ = ["Features", "feature_matrix", "standard", "telling"]

FlagArray = npt.NDArray[np.bool_]
MAX_LEVELS: Final = 60
MAX_ONE_HOT: Final = 30
MAX_FEATURES: Final = 200
HUGE: Final = 1e100
LARGE: Final = 1e30


@dataclass(frozen=True, slots=True)
class Features:
    """Rows of one table as numbers.

    Attributes:
        plain: For trees: numbers in units of train's spread with NaN, categories as ranks of frequency.
        linear: For linear models: standardised numbers, indicators of categories and of missing values, and a constant.
    """

    plain: FloatArray
    linear: FloatArray


def feature_matrix(tables: Tables, side: Side, rows: IntArray, *, without: Sequence[str], linear: bool = True) -> Features:
    """Features of some rows of a table.

    Args:
        tables: All three tables.
        side: Whose rows.
        rows: Which rows.
        without: Columns that are no features (targets).
        linear: Whether the matrix for linear models is made too; else it is empty.
    """
    columns = [c for c in tables.columns.values() if c.name not in without and c.spec.type != "text"][:MAX_FEATURES]
    plain: list[FloatArray] = []
    wide: list[FloatArray] = [np.ones(len(rows))]
    for column in columns:
        if column.is_continuous:
            for part, reference in zip(_numbers(column, side), _numbers(column, "train"), strict=True):
                scaled = standard(part[rows], reference)
                plain.append(scaled)
                wide += _linear(scaled, reference) if linear else []
            continue
        codes = _levels(column, side)[rows]
        plain.append(codes)
        if linear:
            wide += [(codes == level).astype(np.float64) for level in range(min(MAX_ONE_HOT, int(_sizes(column)) - 1))]
    matrix = np.column_stack(plain) if plain else np.zeros((len(rows), 1))
    return Features(matrix, np.column_stack(wide) if linear else np.empty((len(rows), 0)))


def telling(matrix: FloatArray) -> FlagArray:
    """Columns in which rows differ: a column without any value cannot be binned, and one with a single value tells nothing."""
    gone = np.isnan(matrix)
    least, most = np.where(gone, np.inf, matrix).min(axis=0), np.where(gone, -np.inf, matrix).max(axis=0)
    return np.asarray(least < most)


def _numbers(column: Measured, side: Side) -> list[FloatArray]:
    values = column.values[side]
    if not column.spec.is_temporal:
        return [values]
    parts = [values, np.floor(values / DAY) % 7]
    if column.spec.type == "datetime":
        parts.append(np.floor(values % DAY / HOUR))
    known = np.where(np.isnan(values), 0.0, values)
    months = (known.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) % 12).astype(np.float64)
    return [*parts, np.where(np.isnan(values), np.nan, months)]


def _sizes(column: Measured) -> int:
    return min(len(column.labels), MAX_LEVELS)


def _levels(column: Measured, side: Side) -> FloatArray:
    """Ranks of frequency in train, the commonest first; rare and unknown values share the last rank."""
    counts = np.bincount(column.codes["train"], minlength=len(column.labels))
    rank = np.empty(len(counts), dtype=np.float64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return np.asarray(np.minimum(rank, MAX_LEVELS - 1)[column.codes[side]])


def standard(values: FloatArray, reference: FloatArray) -> FloatArray:
    """Values less the median of a reference, in units of its spread; NaN stays. Trees and R2 see no difference."""
    known = np.clip(reference[~np.isnan(reference)], -HUGE, HUGE)
    middle = float(np.median(known)) if len(known) else 0.0
    spread = float(np.std(known)) if len(known) else 1.0
    return np.asarray(np.clip((np.clip(values, -HUGE, HUGE) - middle) / (spread or 1.0), -LARGE, LARGE))


def _linear(scaled: FloatArray, reference: FloatArray) -> list[FloatArray]:
    """Clipped at 8 spreads, with the missing ones marked where train misses some."""
    missing = np.isnan(scaled)
    filled = np.clip(np.where(missing, 0.0, scaled), -8, 8)
    return [filled, missing.astype(np.float64)] if bool(np.isnan(reference).any()) else [filled]
