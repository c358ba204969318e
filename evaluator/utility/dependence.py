"""Is what two columns told about each other still there?

Responsible for `utility.pairs.dependence.{worst,mean}`: of the mutual information of two columns in train, the share that is
left in synthetic, over all pairs that surely tell something about each other in train. 0 is a relation that is gone, 1 one that
is as strong (or stronger: what was invented shows in `utility.pairs.mutual_information`).

A weak relation that breaks moves neither total variation nor a correlation by much, and yet it may be the only thing an analyst
looks for. Measured against itself it is plain.

Invariants:
    - A pair counts when its information in train is at least 1 % of the smaller entropy and six standard errors above zero,
      and the synthetic table is large enough to have shown half of it with the same certainty.
    - Among pairs that lost alike much (in steps of 0.05) the one that was strongest in train is named.
    - The interval divides the ends of two normal intervals; the worst's holds for all counted pairs at once (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scipy.special import ndtri

from evaluator.utility.intervals import CONFIDENCE
from evaluator.utility.tables import Tables
from policies.metrics import MetricResult

__all__ = ["Information", "measure"]

PREFIX: Final = "utility.pairs.dependence"
METHOD: Final = "mutual information left, of train's; delta"
LEAST: Final = 0.01
SURE: Final = 6.0
ALIKE: Final = 0.05
ALPHA: Final = 1 - CONFIDENCE
Estimate = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Information:
    """What two columns tell about each other: nats and standard error, in train, synthetic, and parts of train and holdout.

    Attributes:
        entropy: The smaller entropy of the two columns in train, in nats.
    """

    columns: tuple[str, ...]
    entropy: float
    train: Estimate
    synthetic: Estimate
    train_part: Estimate
    holdout_part: Estimate


def measure(tables: Tables, found: Sequence[Information], total: int) -> dict[str, MetricResult]:
    """The worst and the mean share of information left."""
    scale = math.sqrt(tables.effective["train"] / max(tables.effective["synthetic"], 1.0))
    counted = [pair for pair in found if _counts(pair, scale)]
    n = min(tables.rows["train"], tables.rows["synthetic"])
    if not counted:
        why = "no two columns surely tell anything about each other in train"
        none = MetricResult.not_applicable(direction="higher", method=METHOD, why=why)
        return {f"{PREFIX}.worst": none, f"{PREFIX}.mean": none}
    shares = {pair.columns: _share(pair.train, pair.synthetic) for pair in counted}
    floors = {pair.columns: _share(pair.train_part, pair.holdout_part) for pair in counted}
    intervals = {pair.columns: _interval(pair, ALPHA / len(counted)) for pair in counted}
    strength = {pair.columns: pair.train[0] for pair in counted}
    ranked = sorted(shares, key=lambda columns: (int(shares[columns] / ALIKE), -strength[columns], columns))
    worst, many = ranked[0], len(counted)
    measured = {"pairs": many, "measured": len(found), "of": total}
    low, high = min(one for one, _ in intervals.values()), min(other for _, other in intervals.values())
    return {
        f"{PREFIX}.worst": MetricResult(
            value=shares[worst],
            interval=(min(low, shares[worst]), max(high, shares[worst])),
            confidence=CONFIDENCE,
            n=n,
            direction="higher",
            method=f"{METHOD}; least, Bonferroni",
            detail={
                "columns": list(worst),
                "next": [{"columns": list(columns), "value": shares[columns]} for columns in ranked[:10]],
                "floor": min(floors.values()),
                **measured,
            },
        ),
        f"{PREFIX}.mean": MetricResult(
            value=sum(shares.values()) / many,
            interval=(sum(one for one, _ in intervals.values()) / many, sum(other for _, other in intervals.values()) / many),
            confidence=CONFIDENCE,
            n=n,
            direction="higher",
            method=f"{METHOD}; mean",
            detail={"floor": sum(floors.values()) / many, **measured},
        ),
    }


def _counts(pair: Information, scale: float) -> bool:
    """`scale` is how much wider a standard error is in the synthetic table than in train."""
    nats, error = pair.train
    return nats >= LEAST * pair.entropy and nats >= SURE * error and nats / 2 >= SURE * error * scale / math.sqrt(2)


def _share(whole: Estimate, left: Estimate) -> float:
    return min(1.0, left[0] / whole[0]) if whole[0] > 0 else 1.0


def _interval(pair: Information, alpha: float) -> tuple[float, float]:
    """The ends of two normal intervals, each at half the level, divided; wider than exact and never too narrow."""
    z = float(-ndtri(alpha / 4))
    (train, error), (synthetic, other) = pair.train, pair.synthetic
    least, most = max(train - z * error, 1e-12), train + z * error
    low, high = max(0.0, synthetic - z * other) / most, (synthetic + z * other) / least
    value = _share(pair.train, pair.synthetic)
    return min(1.0, low, value), max(min(1.0, high), value)
