"""Distances from synthetic rows to the closest real ones: reported, and honest that they do not bound leakage.

Responsible for `privacy.dcr.*` and `privacy.nndr.ratio`.

Invariants:
    - Train and holdout are searched in samples of equal size, so the distances can be compared.
    - These figures may warn and never clear: five verbatim copies in a hundred hardly move them.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from evaluator.distances import Encoding, Neighbours, nearest
from evaluator.inputs import Inputs
from evaluator.privacy.family import Family, PrivacyOptions
from evaluator.privacy.neighbours import pool_of
from policies.metrics import MetricResult

__all__ = ["RECORDS"]

Floats = npt.NDArray[np.float64]
SAMPLE = 4_096
RESAMPLES = 200
LEAST = 100
NAMES = ("privacy.dcr.share", "privacy.dcr.p05_ratio", "privacy.dcr.p01_ratio", "privacy.nndr.ratio")
WARNING = "does not bound leakage: a few copied rows hardly move it"
PLOT_POINTS = 40


def _records(inputs: Inputs, options: PrivacyOptions) -> dict[str, MetricResult]:
    pool = pool_of(inputs, options)
    rng = inputs.generator("privacy", "records")
    size = min(len(pool.train_rows), len(pool.holdout_rows))
    if min(size, inputs.synthetic.rows) < LEAST:
        why = f"{min(size, inputs.synthetic.rows)} rows in the smallest table; {LEAST} are needed"
        return {
            name: MetricResult.inconclusive(direction="higher" if "ratio" in name else "lower", method=WARNING, why=why)
            for name in NAMES
        }
    encoding = Encoding.of(inputs)
    rows = np.sort(rng.choice(inputs.synthetic.rows, min(SAMPLE, inputs.synthetic.rows), replace=False))
    queries = encoding.synthetic.take(rows)
    sides = [
        nearest(queries, table.take(np.sort(rng.choice(chosen, size, replace=False))), k=2, workers=options.workers)[0]
        for table, chosen in ((encoding.train, pool.train_rows), (encoding.holdout, pool.holdout_rows))
    ]
    return {NAMES[0]: _share(sides[0], sides[1], options), **_ratios(sides[0], sides[1], options, rng)}


def _share(train: Neighbours, holdout: Neighbours, options: PrivacyOptions) -> MetricResult:
    """P(nearer to train) + ties / 2. The interval allows for hubs: real rows that are nearest to many synthetic ones."""
    near, far = train.distance[:, 0], holdout.distance[:, 0]
    outcome = np.where(near < far, 1.0, np.where(near > far, 0.0, 0.5))
    n = len(outcome)
    swing = 0.0
    for side in (train, holdout):
        weight = np.bincount(side.index[:, 0], np.abs(outcome - 0.5) > 0)
        swing += float((weight**2).sum()) / 8.0
    half = float(ndtri(0.5 + options.confidence / 2)) * math.sqrt(max(swing, float(((outcome - 0.5) ** 2).sum()))) / n
    value = float(outcome.mean())
    levels = np.quantile(np.concatenate([near, far]), np.linspace(0.01, 0.99, PLOT_POINTS))
    return MetricResult(
        value=value,
        interval=(max(0.0, value - half), min(1.0, value + half)),
        confidence=options.confidence,
        n=n,
        direction="lower",
        method=f"share nearer to train than to as many holdout rows; hub-corrected interval; {WARNING}",
        detail={
            "ties": float((near == far).mean()),
            "plot": {"x": levels.tolist(), "train": _cdf(near, levels), "holdout": _cdf(far, levels)},
        },
    )


def _cdf(values: Floats, levels: Floats) -> list[float]:
    return [float(share) for share in np.searchsorted(np.sort(values), levels, side="right") / len(values)]


def _ratios(train: Neighbours, holdout: Neighbours, options: PrivacyOptions, rng: np.random.Generator) -> dict[str, MetricResult]:
    """Percentiles of distance, and the median ratio of nearest to second, train over holdout; bootstrap over rows."""
    draws = rng.integers(0, len(train.distance), size=(RESAMPLES, len(train.distance)))
    results = {}
    for name, level in ((NAMES[1], 0.05), (NAMES[2], 0.01)):
        results[name] = _ratio(train.distance[:, 0], holdout.distance[:, 0], level, draws, options)
    ratios = [side.distance[:, 0] / np.maximum(side.distance[:, 1], 1e-12) for side in (train, holdout)]
    ratios = [np.where(side.distance[:, 1] == 0, 1.0, r) for side, r in zip((train, holdout), ratios, strict=True)]
    results[NAMES[3]] = _ratio(ratios[0], ratios[1], 0.5, draws, options)
    return results


def _ratio(near: Floats, far: Floats, level: float, draws: npt.NDArray[np.int64], options: PrivacyOptions) -> MetricResult:
    method = f"quantile {level:g} of train over quantile {level:g} of holdout; percentile bootstrap; {WARNING}"
    top, bottom = float(np.quantile(near, level)), float(np.quantile(far, level))
    if bottom == 0.0:
        why = "the holdout itself has this distance zero: rows repeat, and a ratio says nothing"
        return MetricResult.not_applicable(direction="higher", method=method, why=why, train=top)
    resampled = np.quantile(near[draws], level, axis=1) / np.maximum(np.quantile(far[draws], level, axis=1), 1e-12)
    tail = (1 - options.confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return MetricResult(
        value=top / bottom,
        interval=(float(min(low, top / bottom)), float(min(max(high, top / bottom), 1e6))),
        confidence=options.confidence,
        n=len(near),
        direction="higher",
        method=method,
        detail={"train": top, "holdout": bottom},
    )


RECORDS = Family(
    name="privacy.dcr",
    names=("privacy.dcr", "privacy.nndr"),
    run=_records,
    cost="4,096 synthetic rows against the people of the pool",
)
