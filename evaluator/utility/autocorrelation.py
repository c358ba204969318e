"""Does one moment tell as much about the next as it does in train?

Responsible for `utility.autocorrelation.max_abs_diff`: the largest difference of autocorrelation between train and synthetic,
over the regular series of the time index (rows and numeric columns, by hour or day) and, with privacy units, over the
successive rows of each unit.

Invariants:
    - Empty buckets are missing, not zero: every lag uses the pairs of moments that both hold a value.
    - The interval is Bartlett's standard error of each coefficient, combined and held at once for all lags and series.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri

from evaluator.utility.intervals import CONFIDENCE
from evaluator.utility.series import HOUR, RegularSeries, clock, regular_series
from evaluator.utility.tables import FloatArray, Side, Tables
from policies.metrics import MetricResult

__all__ = ["autocorrelation", "measure"]

METHOD: Final = "autocorrelation; Bartlett, Bonferroni"
NAME: Final = "utility.autocorrelation.max_abs_diff"
MIN_POINTS: Final = 30
DAILY_LAGS: Final = tuple(range(1, 15))
HOURLY_LAGS: Final = (*range(1, 25), 48, 72, 168)
UNIT_LAGS: Final = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Lagged:
    """Autocorrelation of one series at some lags: coefficient and how many pairs it rests on."""

    lags: tuple[int, ...]
    coefficients: FloatArray
    pairs: FloatArray

    @property
    def variance(self) -> FloatArray:
        """Bartlett's variance of each coefficient: (1 + 2 Σ r²) / pairs, over all smaller lags."""
        before = np.concatenate([[0.0], np.cumsum(np.square(self.coefficients))[:-1]])
        return np.asarray((1 + 2 * before) / np.maximum(self.pairs, 1.0))


def measure(tables: Tables) -> dict[str, MetricResult]:
    """The autocorrelation metric."""
    moment = clock(tables)
    if moment is None:
        return {NAME: MetricResult.not_applicable(direction="lower", method=METHOD, why="the card has no time index")}
    pairs: dict[str, tuple[Lagged, Lagged, Lagged]] = {}
    for series in regular_series(tables, moment):
        lags = HOURLY_LAGS if series.step == HOUR else DAILY_LAGS
        usable = tuple(lag for lag in lags if lag <= len(series.values["train"]) // 3)
        if usable and _points(series, "train") >= MIN_POINTS:
            pairs[series.name] = _three(series.values, usable)
    if tables.units["train"] is not None:
        pairs |= _within_units(tables, moment.times)
    if not pairs:
        why = f"train has fewer than {MIN_POINTS} moments in a row"
        return {NAME: MetricResult.inconclusive(direction="lower", method=METHOD, why=why)}
    return {NAME: _worst(pairs)}


def _points(series: RegularSeries, side: Side) -> int:
    return int(np.count_nonzero(~np.isnan(series.values[side])))


def _three(values: Mapping[Side, FloatArray], lags: tuple[int, ...]) -> tuple[Lagged, Lagged, Lagged]:
    return (
        autocorrelation(values["train"], lags),
        autocorrelation(values["synthetic"], lags),
        autocorrelation(values["holdout"], lags),
    )


def autocorrelation(values: FloatArray, lags: tuple[int, ...]) -> Lagged:
    """Autocorrelation with missing moments left out pair by pair; 0 where a lag has no pairs or nothing varies."""
    known = ~np.isnan(values)
    centred = np.where(known, values - (float(values[known].mean()) if known.any() else 0.0), 0.0)
    variance = float(np.square(centred).sum()) / max(int(known.sum()), 1)
    coefficients, pairs = np.zeros(len(lags)), np.zeros(len(lags))
    for index, lag in enumerate(lags):
        pairs[index] = np.count_nonzero(known[:-lag] & known[lag:])
        if pairs[index] > 0 and variance > 0:
            coefficients[index] = float((centred[:-lag] * centred[lag:]).sum()) / pairs[index] / variance
    return Lagged(lags, np.clip(coefficients, -1, 1), pairs)


def _within_units(tables: Tables, times: Mapping[Side, FloatArray]) -> dict[str, tuple[Lagged, Lagged, Lagged]]:
    """Successive rows of a unit as one long series with holes between the units."""
    found = {}
    for column in tables.continuous:
        if column.spec.is_numeric and len(column.present("train")):
            values: dict[Side, FloatArray] = {}
            for side in ("train", "synthetic", "holdout"):
                values[side] = _spread(tables.blocks(side), times[side], column.values[side])
            lagged = _three(values, UNIT_LAGS)
            if lagged[0].pairs[0] >= MIN_POINTS:
                found[f"{column.name} within a unit"] = lagged
    return found


def _spread(units: np.ndarray, times: FloatArray, values: FloatArray) -> FloatArray:
    order = np.lexsort((times, units))
    starts = np.flatnonzero(np.diff(units[order])) + 1
    return np.insert(values[order], np.repeat(starts, max(UNIT_LAGS)), np.nan)


def _worst(pairs: Mapping[str, tuple[Lagged, Lagged, Lagged]]) -> MetricResult:
    many = sum(len(train.lags) for train, _, _ in pairs.values())
    z = float(-ndtri((1 - CONFIDENCE) / 2 / many))
    ranked = []
    for name, (train, synthetic, holdout) in pairs.items():
        gaps = np.abs(train.coefficients - synthetic.coefficients)
        margins = z * np.sqrt(train.variance + synthetic.variance)
        floor = float(np.abs(train.coefficients - holdout.coefficients).max())
        index = int(np.argmax(gaps))
        ranked.append((float(gaps[index]), float(np.max(gaps - margins)), float(np.max(gaps + margins)), floor, index, name))
    ranked.sort(key=lambda item: (-item[0], item[5]))
    value, _, _, _, index, name = ranked[0]
    train, synthetic, _ = pairs[name]
    low, high = max(item[1] for item in ranked), max(item[2] for item in ranked)
    return MetricResult(
        value=value,
        interval=(min(max(0.0, low), value), max(min(2.0, high), value)),
        confidence=CONFIDENCE,
        n=int(min(train.pairs[index], synthetic.pairs[index])),
        direction="lower",
        method=METHOD,
        detail={
            "series": name,
            "lag": train.lags[index],
            "by_series": {item[5]: item[0] for item in ranked},
            "floor": max(item[3] for item in ranked),
            "plot": {
                "series": name,
                "lags": list(train.lags),
                "train": train.coefficients.tolist(),
                "synthetic": synthetic.coefficients.tolist(),
                "holdout": pairs[name][2].coefficients.tolist(),
                "band": float(-ndtri(0.025) / np.sqrt(max(float(train.pairs[0]), 1.0))),
            },
        },
    )
