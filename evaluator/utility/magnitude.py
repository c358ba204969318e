"""Are numbers still in the unit they were in?

Responsible for `utility.marginals.magnitude.<column>`, the worst and the mean: by how many powers of ten the typical size of a
number moved. Typical is the mean logarithm of the middle half of the absolute values that are not zero: a column that holds
mostly zeros, or one whose range an extreme stretches, hides a tenfold change from every distance between distributions, but not
from this. (A median alone would jump: where half of the counts are 1 and half are 2, two draws differ by a factor of two.)

Invariants:
    - 1 is tenfold in either direction; more than a hundredfold, or a column that lost all its sizes, counts as 2.
    - The interval moves the middle half by the Dvoretzky-Kiefer-Wolfowitz band; the worst's holds for all columns at once.
    - Times and texts have no unit and no magnitude.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from evaluator.utility.intervals import CONFIDENCE, dkw
from evaluator.utility.marginals import aggregate
from evaluator.utility.names import segment
from evaluator.utility.tables import FloatArray, Measured, Side, Tables
from policies.metrics import MetricResult

__all__ = ["measure"]

METHOD: Final = "powers of ten between typical sizes (mean logarithm of the middle half); DKW"
PREFIX: Final = "utility.marginals.magnitude"
MOST: Final = 2.0
ALPHA: Final = 1 - CONFIDENCE
LEVELS: Final = np.linspace(0.25, 0.75, 201)
"""Levels of the quantiles whose logarithms are averaged."""
Interval = tuple[float, float]


def measure(tables: Tables) -> dict[str, MetricResult]:
    """The change of magnitude of every numeric column."""
    numeric = [column for column in tables.continuous if column.spec.is_numeric]
    found = {column.name: _change(tables, column, len(numeric)) for column in numeric}
    return {f"{PREFIX}.{segment(name)}": result for name, result in found.items()} | aggregate(PREFIX, found)


def _change(tables: Tables, column: Measured, many: int) -> MetricResult:
    sizes: dict[Side, FloatArray] = {side: _sizes(column.values[side]) for side in ("train", "holdout", "synthetic")}
    if not len(sizes["train"]):
        why = "train holds no number but zero in this column"
        return MetricResult.not_applicable(direction="lower", method=METHOD, why=why)
    if not len(sizes["synthetic"]):
        why = "synthetic holds no number but zero in this column"
        return MetricResult.inconclusive(direction="lower", method=METHOD, why=why)
    train, synthetic = _typical(sizes["train"]), _typical(sizes["synthetic"])
    holdout = _typical(sizes["holdout"]) if len(sizes["holdout"]) else None
    return MetricResult(
        value=min(MOST, abs(synthetic - train)),
        interval=_interval(tables, sizes, ALPHA),
        confidence=CONFIDENCE,
        n=min(len(sizes["train"]), len(sizes["synthetic"])),
        direction="lower",
        method=METHOD,
        detail={
            "factor": 10.0 ** (synthetic - train),
            "floor": None if holdout is None else min(MOST, abs(holdout - train)),
            "simultaneous": _interval(tables, sizes, ALPHA / many),
        },
    )


def _sizes(values: FloatArray) -> FloatArray:
    """Absolute values of the numbers that are neither missing nor zero."""
    return np.asarray(np.abs(values[~np.isnan(values) & (values != 0)]))


def _typical(sizes: FloatArray, shift: float = 0.0) -> float:
    """Mean logarithm (base 10) of the middle half of sizes, with all levels moved by `shift`."""
    levels = np.clip(LEVELS + shift, 0.0, 1.0)
    return float(np.log10(np.quantile(sizes, levels, method="lower" if shift <= 0 else "higher")).mean())


def _interval(tables: Tables, sizes: dict[Side, FloatArray], alpha: float) -> Interval:
    """The least and the largest change between typical sizes that lie within their bands."""
    ends = []
    for side in ("train", "synthetic"):
        effective = len(sizes[side]) * tables.effective[side] / max(tables.rows[side], 1)
        half = dkw(effective, alpha=alpha / 2)
        ends.append((_typical(sizes[side], -half), _typical(sizes[side], half)))
    low, high = ends[1][0] - ends[0][1], ends[1][1] - ends[0][0]
    least = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    return min(MOST, least), min(MOST, max(abs(low), abs(high)))
