"""One quality score that compares with SDMetrics' quality report.

Responsible for `utility.overall`, `utility.overall.shapes` and `utility.overall.pair_trends`: the same definitions as SDMetrics
0.32 (Column Shapes, Column Pair Trends, and their mean), computed without its copies of the tables.

What is reproduced, oddities included: only pairs that are related in train count (|Pearson| above 0.5, Cramer's V above 0.3);
numbers of a mixed pair are cut into ten equal bins of *each table's own* range, so a shifted synthetic column can look aligned;
a missing value falls into the last bin. SDMetrics draws 50,000 rows at random above that size, we use all rows.

Invariants:
    - The score is a mean and says nothing about the worst column or pair: gate on `utility.pairs.*` instead.
    - The interval is the mean of the columns' (or pairs') half-widths, which holds however they hang together.
"""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np

from evaluator.utility.intervals import CONFIDENCE, around, correlation_change, dkw_pair, tv_margin
from evaluator.utility.marginals import ks_distance, shares
from evaluator.utility.tables import FloatArray, IntArray, Measured, Side, Tables
from policies.metrics import MetricResult

__all__ = ["column_shape", "measure", "pair_trend"]

METHOD: Final = "SDMetrics quality report, all rows"
RELATED_NUMBERS: Final = 0.5
RELATED_CATEGORIES: Final = 0.3
EQUAL_BINS: Final = 10
MAX_COLUMNS: Final = 150
SIDES: Final[tuple[Side, Side]] = ("train", "synthetic")


def measure(tables: Tables) -> dict[str, MetricResult]:
    """The score and its two halves."""
    columns = [column for column in tables.columns.values() if column.spec.type != "text"]
    shapes = {column.name: column_shape(column) for column in columns}
    known = {name: score for name, score in shapes.items() if score is not None}
    if not known:
        none = MetricResult.not_applicable(direction="higher", method=METHOD, why="no column that SDMetrics scores")
        return dict.fromkeys(("utility.overall", "utility.overall.shapes", "utility.overall.pair_trends"), none)
    bins = {column.name: _bins(column) for column in columns}
    pairs = list(itertools.combinations(columns[:MAX_COLUMNS], 2))
    trends = {
        (first.name, second.name): pair_trend(first, second, bins[first.name], bins[second.name]) for first, second in pairs
    }
    found = {pair: score for pair, score in trends.items() if score is not None}
    halves = {"shapes": _mean(list(known.values()), [_shape_margin(tables, tables.columns[name]) for name in known])}
    if found:
        margins = [_trend_margin(tables, pair, score, bins) for pair, score in found.items()]
        halves["pair_trends"] = _mean(list(found.values()), margins)
    results = {f"utility.overall.{name}": _result(tables, half) for name, half in halves.items()}
    if not found:
        results["utility.overall.pair_trends"] = MetricResult.not_applicable(
            direction="higher", method=METHOD, why="no pair of columns is related in train"
        )
    detail = {**{name: half[0] for name, half in halves.items()}, "columns": len(known), "pairs": len(found)}
    whole = _mean([half[0] for half in halves.values()], [half[1] for half in halves.values()])
    return results | {"utility.overall": _result(tables, whole, of_columns=len(columns), **detail)}


def _mean(scores: list[float], margins: list[float]) -> tuple[float, float]:
    """A mean and its half-width: at most the mean of the half-widths, however the scores hang together."""
    return float(np.mean(scores)), float(np.mean(margins))


def _result(tables: Tables, score: tuple[float, float], **detail: object) -> MetricResult:
    return MetricResult(
        value=score[0],
        interval=around(*score),
        confidence=CONFIDENCE,
        direction="higher",
        method=f"{METHOD}; mean half-width",
        n=min(tables.rows["train"], tables.rows["synthetic"]),
        detail=detail,
    )


def _shape_margin(tables: Tables, column: Measured) -> float:
    """Half-width of one column's score (as for the distance that it is one minus)."""
    sizes = [tables.effective[side] * (1 - float(np.mean(column.missing(side)))) for side in SIDES]
    if column.is_continuous:
        return dkw_pair(*sizes)
    parts = [column.codes[side][column.codes[side] > 0] for side in SIDES]
    both = zip(parts, sizes, strict=True)
    return min(1.0, sum(tv_margin(shares(part, len(column.labels)), n, alpha=(1 - CONFIDENCE) / 2) for part, n in both))


def _trend_margin(
    tables: Tables, pair: tuple[str, str], score: float, bins: dict[str, dict[Side, tuple[IntArray, int]]]
) -> float:
    """Half-width of one pair's score."""
    first, second = (tables.columns[name] for name in pair)
    if first.is_continuous and second.is_continuous:
        train, synthetic = (_pearson(first.values[side], second.values[side]) or 0.0 for side in SIDES)
        sizes = (tables.effective["train"], tables.effective["synthetic"])
        low, high = correlation_change(train, synthetic, sizes=sizes, alpha=1 - CONFIDENCE)
        return max(1 - score - low / 2, high / 2 - (1 - score), 0.0)
    margin = 0.0
    for side in SIDES:
        (codes, size), (others, width) = bins[pair[0]][side], bins[pair[1]][side]
        joint = shares(codes * width + others, size * width)
        margin += tv_margin(joint, tables.effective[side], alpha=(1 - CONFIDENCE) / 2)
    return min(1.0, margin)


def column_shape(column: Measured) -> float | None:
    """KSComplement or TVComplement of one column; None where a table holds no value."""
    if column.is_continuous:
        train, synthetic = column.present("train"), column.present("synthetic")
        return 1 - ks_distance(train, synthetic) if len(train) and len(synthetic) else None
    present = [column.codes[side][column.codes[side] > 0] for side in SIDES]
    if not len(present[0]) or not len(present[1]):
        return None
    size = len(column.labels)
    return 1 - 0.5 * float(np.abs(shares(present[0], size) - shares(present[1], size)).sum())


def _bins(column: Measured) -> dict[Side, tuple[IntArray, int]]:
    """Codes of a column in each table; numbers in ten equal bins of that table's range, NaN in the last, as SDMetrics has it."""
    if not column.is_continuous:
        return {side: (column.codes[side], len(column.labels)) for side in SIDES}
    codes: dict[Side, tuple[IntArray, int]] = {}
    for side in SIDES:
        present = column.present(side)
        edges = _edges(present) if len(present) else np.zeros(1)
        codes[side] = (np.digitize(column.values[side], bins=edges).astype(np.int64), EQUAL_BINS + 2)
    return codes


def _edges(present: FloatArray) -> FloatArray:
    """Ends of ten equal bins; one end where floats of this size lie too far apart for ten."""
    low, high = float(present.min()), float(present.max())
    ends = (low, high) if low < high else (low - 0.5, high + 0.5)
    if len(np.unique(np.linspace(*ends, EQUAL_BINS + 1))) <= EQUAL_BINS:
        return np.array([low])
    return np.asarray(np.histogram_bin_edges(present, bins=EQUAL_BINS))


def pair_trend(
    first: Measured, second: Measured, first_bins: dict[Side, tuple[IntArray, int]], second_bins: dict[Side, tuple[IntArray, int]]
) -> float | None:
    """CorrelationSimilarity of two numbers, ContingencySimilarity of all other pairs; None for a pair that does not count."""
    if first.is_continuous and second.is_continuous:
        train = _pearson(first.values["train"], second.values["train"])
        synthetic = _pearson(first.values["synthetic"], second.values["synthetic"])
        if train is None or synthetic is None or abs(train) <= RELATED_NUMBERS:
            return None
        return 1 - abs(train - synthetic) / 2
    joint: list[FloatArray] = []
    for side in SIDES:
        (codes, size), (others, width) = first_bins[side], second_bins[side]
        joint.append(shares(codes * width + others, size * width).reshape(size, width))
    if _cramer(joint[0]) <= RELATED_CATEGORIES:
        return None
    return 1 - 0.5 * float(np.abs(joint[0] - joint[1]).sum())


def _cramer(joint: FloatArray) -> float:
    """Cramer's V of a table of shares, without correction; 0 where one side has a single value."""
    filled = joint[joint.sum(axis=1) > 0][:, joint.sum(axis=0) > 0]
    degrees = min(filled.shape) - 1
    if degrees < 1:
        return 0.0
    expected = filled.sum(axis=1, keepdims=True) * filled.sum(axis=0, keepdims=True)
    return float(np.sqrt((np.square(filled - expected) / expected).sum() / degrees))


def _pearson(first: FloatArray, second: FloatArray) -> float | None:
    if np.nanmin(first, initial=np.inf) == np.nanmax(first, initial=-np.inf):
        return None
    if np.nanmin(second, initial=np.inf) == np.nanmax(second, initial=-np.inf):
        return None
    both = ~(np.isnan(first) | np.isnan(second))
    x, y = first[both], second[both]
    if len(x) < 2:  # noqa: PLR2004 - one point has no correlation
        return None
    x, y = (part / (float(np.abs(part).max()) or 1.0) for part in (x, y))
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt(np.square(x).sum()) * np.sqrt(np.square(y).sum()))
    return float((x * y).sum()) / scale if scale > 0 else None
