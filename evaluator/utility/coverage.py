"""What of train's variety survives: rare categories, all categories, the range of numbers.

Responsible for `utility.coverage.{rare,categories,range,least_kept}`.

Invariants:
    - A rare value is held by at least 20 and at most 1 % of train's privacy units. What fewer share is no utility to keep: its
      reappearance is what the privacy metrics look for.
    - Rare survival is measured against what a fair sample of train of the synthetic size would keep.
    - `least_kept` looks at values that 25 units of both tables should hold, and names the one that surely lost most.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri

from evaluator.statistics import Rate, wilson
from evaluator.utility.intervals import CONFIDENCE
from evaluator.utility.tables import FloatArray, Measured, Side, Tables
from policies.metrics import MetricResult

__all__ = ["RARE_UNITS", "measure", "units_per_code"]

RARE_UNITS: Final = 20
RARE_SHARE: Final = 0.01
TAIL: Final = 0.01
EXPECTED: Final = 25.0
SIDES: Final[tuple[Side, Side]] = ("train", "synthetic")


def measure(tables: Tables) -> dict[str, MetricResult]:
    """All coverage metrics."""
    return {
        "utility.coverage.rare": _rare(tables),
        "utility.coverage.categories": _categories(tables),
        "utility.coverage.range": _range(tables),
        "utility.coverage.least_kept": _least_kept(tables),
    }


def units_per_code(tables: Tables, column: Measured, side: Side) -> FloatArray:
    """How many privacy units hold each value of a discrete column."""
    codes, units = column.codes[side], tables.units[side]
    if units is None:
        return np.bincount(codes, minlength=len(column.labels)).astype(np.float64)
    pairs = np.unique(units * len(column.labels) + codes)
    return np.bincount(pairs % len(column.labels), minlength=len(column.labels)).astype(np.float64)


def _rare(tables: Tables) -> MetricResult:
    method = "survivors over expected; Wilson"
    kept, expected, many, lost = 0, 0.0, 0, []
    for column in tables.discrete:
        holders = units_per_code(tables, column, "train")
        shares = np.bincount(column.codes["train"], minlength=len(column.labels)) / tables.rows["train"]
        rare = (holders >= RARE_UNITS) & (shares <= RARE_SHARE)
        rare[0] = False
        present = np.bincount(column.codes["synthetic"], minlength=len(column.labels)) > 0
        kept += int((rare & present).sum())
        many += int(rare.sum())
        expected += float((1 - (1 - shares[rare]) ** tables.rows["synthetic"]).sum())
        gone = int((rare & ~present).sum())
        if gone:
            lost.append({"column": column.name, "lost": gone, "of": int(rare.sum())})
    if not many:
        return MetricResult.not_applicable(direction="higher", method=method, why="no category value is rare and shared by 20")
    if expected < 1:
        why = "too few synthetic rows for any rare value to be expected"
        return MetricResult.inconclusive(direction="higher", method=method, why=why, n=many)
    low, high = wilson(Rate(kept, many), CONFIDENCE)
    scale = many / expected
    value = min(1.0, kept / expected)
    return MetricResult(
        value=value,
        interval=(min(value, low * scale), max(value, min(1.0, high * scale))),
        confidence=CONFIDENCE,
        n=many,
        direction="higher",
        method=method,
        detail={"kept": kept, "expected": expected, "lost": sorted(lost, key=lambda item: -float(str(item["lost"])))[:10]},
    )


def _categories(tables: Tables) -> MetricResult:
    """Mean over columns of the share of train's values (shared by 20 units) that occur in synthetic, as SDMetrics averages."""
    method = "share of train's values present; mean over columns"
    shares: dict[str, float] = {}
    for column in tables.discrete:
        common = units_per_code(tables, column, "train") >= RARE_UNITS
        common[0] = False
        if common.any():
            present = np.bincount(column.codes["synthetic"], minlength=len(column.labels)) > 0
            shares[column.name] = float(present[common].mean())
    if not shares:
        return MetricResult.not_applicable(direction="higher", method=method, why="no category value is shared by 20")
    worst = min(shares, key=lambda name: (shares[name], name))
    return MetricResult(
        value=float(np.mean(list(shares.values()))),
        direction="higher",
        method=method,
        n=tables.rows["synthetic"],
        detail={"worst": shares[worst], "column": worst},
    )


def _range(tables: Tables) -> MetricResult:
    """Share of train's middle 98 % that synthetic's middle 98 % covers, mean over columns; extremes stay out of it."""
    method = "overlap of central ranges; mean over columns; normal order statistics"
    shares: dict[str, float] = {}
    ends: list[tuple[float, float]] = []
    for column in tables.continuous:
        if len(column.present("train")) and len(column.present("synthetic")):
            train, synthetic = (_central(tables, column, side) for side in SIDES)
            shares[column.name] = _overlap((train[0][1], train[1][1]), (synthetic[0][1], synthetic[1][1]))
            moved = [
                _overlap((low, high), (other_low, other_high))
                for low, high, other_low, other_high in itertools.product(train[0], train[1], synthetic[0], synthetic[1])
            ]
            ends.append((min(moved), max(moved)))
    if not shares:
        return MetricResult.not_applicable(direction="higher", method=method, why="no column has a range in both tables")
    worst = min(shares, key=lambda name: (shares[name], name))
    low, high = (float(np.mean([end[which] for end in ends])) for which in (0, 1))
    value = float(np.mean(list(shares.values())))
    return MetricResult(
        value=value,
        interval=(min(low, value), max(high, value)),
        confidence=CONFIDENCE,
        direction="higher",
        method=method,
        n=tables.rows["synthetic"],
        detail={"worst": shares[worst], "column": worst},
    )


def _central(tables: Tables, column: Measured, side: Side) -> FloatArray:
    """Both ends of the middle 98 %: each as lower bound, estimate and upper bound, four ends of two tables at once."""
    values = column.present(side)
    effective = len(values) * tables.effective[side] / max(tables.rows[side], 1)
    reach = float(-ndtri((1 - CONFIDENCE) / 2 / 4)) * math.sqrt(TAIL * (1 - TAIL) / max(effective, 1.0))
    places = [[max(0.0, end - reach), end, min(1.0, end + reach)] for end in (TAIL, 1 - TAIL)]
    return np.asarray(np.quantile(values, places))


def _overlap(train: tuple[float, float], synthetic: tuple[float, float]) -> float:
    """Share of train's range that the other covers; a range of one value is covered when it lies within the other."""
    width = float(train[1] - train[0])
    if width <= 0:
        return float(synthetic[0] <= train[0] <= synthetic[1])
    return float(max(0.0, (min(train[1], synthetic[1]) - max(train[0], synthetic[0])) / width))


@dataclass(frozen=True, slots=True)
class Kept:
    """A category value: its share of the privacy units of train and synthetic, and how many these are."""

    column: str
    label: str
    shares: tuple[float, float]
    units: tuple[float, float]

    @property
    def ratio(self) -> float:
        """Share in synthetic over share in train."""
        return self.shares[1] / self.shares[0]

    def interval(self, alpha: float) -> tuple[float, float]:
        """Katz's interval of the ratio; for a value that vanished what a Poisson count of zero still allows."""
        if self.ratio == 0:
            return 0.0, -math.log(alpha / 2) / (self.units[1] * self.shares[0])
        error = math.sqrt(sum((1 - share) / (share * units) for share, units in zip(self.shares, self.units, strict=True)))
        reach = math.exp(float(-ndtri(alpha / 2)) * error)
        return self.ratio / reach, self.ratio * reach


def _least_kept(tables: Tables) -> MetricResult:
    """The ratio of shares of the value that surely lost most: a region that was dropped has 0."""
    method = "share over its share in train, where it surely fell most; Katz, Bonferroni"
    found = [kept for column in tables.discrete for kept in _plentiful(tables, column)]
    if not found:
        why = f"no category value that {EXPECTED:.0f} privacy units of both tables should hold"
        return MetricResult.not_applicable(direction="higher", method=method, why=why)
    alpha = (1 - CONFIDENCE) / len(found)
    ranked = sorted(found, key=lambda kept: (kept.interval(alpha)[1], kept.column, kept.label))
    worst = ranked[0]
    value, (low, high) = min(1.0, worst.ratio), worst.interval(alpha)
    return MetricResult(
        value=value,
        interval=(min(low, value), max(min(1.0, high), value)),
        confidence=CONFIDENCE,
        n=tables.rows["synthetic"],
        direction="higher",
        method=method,
        detail={
            "column": worst.column,
            "category": worst.label,
            "train": worst.shares[0],
            "synthetic": worst.shares[1],
            "next": [{"column": kept.column, "category": kept.label, "value": kept.ratio} for kept in ranked[:10]],
            "of": len(found),
        },
    )


def _plentiful(tables: Tables, column: Measured) -> Iterator[Kept]:
    """Values that 20 units of train hold and 25 of both tables should: counted by unit where synthetic rows have units too."""
    if tables.units["train"] is None or tables.units["synthetic"] is not None:
        many = {side: float(len(np.unique(tables.blocks(side)))) for side in SIDES}
        share = {side: units_per_code(tables, column, side) / max(many[side], 1.0) for side in SIDES}
    else:
        many = {side: tables.effective[side] for side in SIDES}
        share = {side: np.bincount(column.codes[side], minlength=len(column.labels)) / tables.rows[side] for side in SIDES}
    for code in np.flatnonzero(units_per_code(tables, column, "train") >= RARE_UNITS):
        part, other = float(share["train"][code]), float(share["synthetic"][code])
        if code and part * min(many.values()) >= EXPECTED:
            yield Kept(column.name, column.labels[code], (part, other), (many["train"], many["synthetic"]))
