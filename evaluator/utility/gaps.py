"""Do events follow each other as they do in train?

Responsible for `utility.gaps.ks` (time between successive rows of one privacy unit; of the whole table where a row is a person)
and `utility.unit_rows.ks` (how many rows a unit has).

Invariants:
    - Intervals come from a bootstrap that draws whole privacy units, or stretches of 50 successive gaps.
    - Without units the larger table is thinned to the size of the smaller: half the rows have twice the gaps, and no change.
    - A synthetic table without repeated units, where train has them, is inconclusive: the gaps were not made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from evaluator.utility.curves import grid
from evaluator.utility.intervals import CONFIDENCE, around, dkw_pair
from evaluator.utility.marginals import ks_distance
from evaluator.utility.series import Clock, clock
from evaluator.utility.tables import FloatArray, IntArray, Side, Tables
from policies.metrics import MetricResult

__all__ = ["measure"]

METHOD: Final = "Kolmogorov-Smirnov of gaps; block bootstrap"
UNIT_METHOD: Final = "Kolmogorov-Smirnov of rows per unit; DKW"
REPLICATES: Final = 100
BLOCK: Final = 50
MIN_GAPS: Final = 30
MAX_GAPS: Final = 200_000
GRID: Final = 400


@dataclass(frozen=True, slots=True)
class Gaps:
    """Gaps in seconds, and the block that each belongs to."""

    lengths: FloatArray
    blocks: IntArray


def measure(tables: Tables) -> dict[str, MetricResult]:
    """Gap times and rows per unit."""
    return {"utility.gaps.ks": _gap_metric(tables), "utility.unit_rows.ks": _unit_rows(tables)}


def _gap_metric(tables: Tables) -> MetricResult:
    moment = clock(tables)
    if moment is None:
        return MetricResult.not_applicable(direction="lower", method=METHOD, why="the card has no time index")
    train, synthetic = _pair(tables, moment, "train", "synthetic")
    if len(train.lengths) < MIN_GAPS:
        why = f"train has {len(train.lengths)} gaps between rows of one unit; {MIN_GAPS} are needed"
        return MetricResult.not_applicable(direction="lower", method=METHOD, why=why)
    if len(synthetic.lengths) < MIN_GAPS:
        why = f"the synthetic table has {len(synthetic.lengths)} gaps between rows of one unit; {MIN_GAPS} are needed"
        return MetricResult.inconclusive(direction="lower", method=METHOD, why=why, n=len(synthetic.lengths))
    value = ks_distance(train.lengths, synthetic.lengths)
    low, high = _interval(tables, train, synthetic)
    part, other = _pair(tables, moment, "train", "holdout")
    floor = ks_distance(part.lengths, other.lengths) if len(part.lengths) and len(other.lengths) else None
    points = grid(train.lengths)
    return MetricResult(
        value=value,
        interval=(min(low, value), max(high, value)),
        confidence=CONFIDENCE,
        n=min(len(train.lengths), len(synthetic.lengths)),
        direction="lower",
        method=METHOD,
        detail={
            "floor": floor,
            "per": "privacy unit" if tables.units["train"] is not None else "table",
            "plot": {
                "x": points.tolist(),
                "train": _cdf(train.lengths, points),
                "synthetic": _cdf(synthetic.lengths, points),
            },
        },
    )


def _cdf(values: FloatArray, points: FloatArray) -> list[float]:
    found: list[float] = (np.searchsorted(np.sort(values), points, side="right") / len(values)).tolist()
    return found


def _pair(tables: Tables, moment: Clock, first: Side, second: Side) -> tuple[Gaps, Gaps]:
    """Gaps of two tables, as many rows of each where the gaps are those of the whole table."""
    if tables.units["train"] is not None:
        return _within_units(tables, moment, first), _within_units(tables, moment, second)
    known = {side: moment.times[side][~np.isnan(moment.times[side])] for side in (first, second)}
    rows = min(len(known[first]), len(known[second]), MAX_GAPS)
    thinned = []
    for side in (first, second):
        keep = tables.inputs.generator("utility.gaps.thin", first, side).permutation(len(known[side]))[:rows]
        lengths = np.diff(np.sort(known[side][keep]))
        thinned.append(Gaps(lengths, np.arange(len(lengths)) // BLOCK))
    return thinned[0], thinned[1]


def _within_units(tables: Tables, moment: Clock, side: Side) -> Gaps:
    """Gaps between successive rows of a unit, at most 200,000; none where rows are not joined by a key."""
    units = tables.units[side]
    if units is None:
        return Gaps(np.empty(0), np.empty(0, dtype=np.int64))
    known = ~np.isnan(moment.times[side])
    moments, owners = moment.times[side][known], units[known]
    order = np.lexsort((moments, owners))
    lengths, same = np.diff(moments[order]), np.diff(owners[order]) == 0
    return Gaps(lengths[same][:MAX_GAPS], owners[order][1:][same][:MAX_GAPS])


def _interval(tables: Tables, train: Gaps, synthetic: Gaps) -> tuple[float, float]:
    """Percentiles of the distance over resampled blocks, on a grid of quantiles of both tables, freed of its bootstrap bias."""
    both = np.concatenate([train.lengths, synthetic.lengths])
    grid = np.unique(np.quantile(both, np.linspace(0, 1, GRID)))
    curves = []
    for name, gaps in (("train", train), ("synthetic", synthetic)):
        counts, sizes = _histograms(gaps, grid)
        rng = tables.inputs.generator("utility.gaps", name)
        weights = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=REPLICATES).astype(np.float64)
        weights = np.vstack([np.ones(len(sizes)), weights])
        totals = weights @ sizes
        curves.append(np.cumsum(weights @ counts, axis=1) / np.maximum(totals, 1.0)[:, None])
    distances = np.abs(curves[0] - curves[1]).max(axis=1)
    excess = float(np.mean(distances[1:]) - distances[0])
    low, high = np.quantile(distances[1:] - excess, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return max(0.0, float(low)), min(1.0, float(high))


def _histograms(gaps: Gaps, grid: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Per block how many gaps end in each cell of the grid, and how many there are; blocks are merged to at most 500."""
    dense = np.unique(gaps.blocks, return_inverse=True)[1]
    dense = dense % min(500, int(dense.max()) + 1)
    many = int(dense.max()) + 1
    cell = np.searchsorted(grid, gaps.lengths, side="left").clip(0, len(grid) - 1)
    counts = np.bincount(dense * len(grid) + cell, minlength=many * len(grid)).reshape(many, len(grid)).astype(np.float64)
    return counts, np.asarray(counts.sum(axis=1))


def _unit_rows(tables: Tables) -> MetricResult:
    if tables.units["train"] is None:
        return MetricResult.not_applicable(direction="lower", method=UNIT_METHOD, why="a row is a person")
    if tables.units["synthetic"] is None:
        why = "the synthetic table has no keys that join the rows of one unit"
        return MetricResult.inconclusive(direction="lower", method=UNIT_METHOD, why=why)
    train, synthetic, holdout = (_counts(tables.units[side]) for side in ("train", "synthetic", "holdout"))
    value = ks_distance(train, synthetic)
    return MetricResult(
        value=value,
        interval=around(value, dkw_pair(len(train), len(synthetic))),
        confidence=CONFIDENCE,
        n=min(len(train), len(synthetic)),
        direction="lower",
        method=UNIT_METHOD,
        detail={
            "floor": ks_distance(train, holdout),
            "mean_train": float(train.mean()),
            "mean_synthetic": float(synthetic.mean()),
        },
    )


def _counts(units: IntArray | None) -> FloatArray:
    counts = np.bincount(units if units is not None else np.empty(0, dtype=np.int64))
    return counts[counts > 0].astype(np.float64)
