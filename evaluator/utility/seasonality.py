"""Does the synthetic table keep the rhythm of train: hour of the day, day of the week, month of the year, trend?

Responsible for `utility.seasonality.{daily,weekly,yearly}` and `utility.trend`: the similarity of profiles, from 0 (no
rhythm left, or another one) to 1 (the same rhythm), for the number of rows and for every numeric column; the worst counts.

A profile is the mean by phase, centred and divided by the scale of the series. Similarity is 1 - |a - b| / max(|a|, |b|, c)
with a and b the profiles of train and synthetic in quadratic mean, each freed of its expected sampling noise. The floor c
is a tenth of the mean for the number of rows, a fifth of the standard deviation for a column (a rhythm that explains 4 % of its
variance), and at least ten times the noise: less than that is no rhythm, so that two flat profiles are alike. Fresh rows then
fall below 0.8 when squared noise is five times what is expected (a week of one series: once in 20,000). A flattened profile has
similarity 0, whatever its level.

Invariants:
    - Noise and interval come from a bootstrap over random groups of whole privacy units (of rows where a row is a person).
      The calendar is not resampled: the question is whether this history was kept.
    - A cycle that train does not turn twice (the year: once) is not applicable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from evaluator.utility.intervals import CONFIDENCE
from evaluator.utility.series import CYCLES, Clock, Cycle, clock
from evaluator.utility.tables import FloatArray, IntArray, Side, Tables
from policies.metrics import MetricResult

__all__ = ["measure"]

REPLICATES: Final = 200
FLAT_ROWS: Final = 0.1
FLAT_VALUES: Final = 0.2
MAX_GROUPS: Final = 400
MIN_GROUPS: Final = 20
NOISE_FLOOR: Final = 10.0
METHOD: Final = "profile similarity; group bootstrap"


@dataclass(frozen=True, slots=True)
class Sums:
    """Per block and phase: rows, and for each value column how many values and their sum."""

    rows: FloatArray
    counts: FloatArray
    totals: FloatArray


def measure(tables: Tables) -> dict[str, MetricResult]:
    """All seasonality metrics."""
    moment = clock(tables)
    results = {}
    for name, cycle in CYCLES.items():
        metric = "utility.trend" if name == "trend" else f"utility.seasonality.{name}"
        if moment is None:
            results[metric] = MetricResult.not_applicable(direction="higher", method=METHOD, why="the card has no time index")
        elif not moment.covers(cycle):
            why = (
                "train has no time of day"
                if name == "daily" and not moment.has_hours
                else f"train is too short for a {name} cycle"
            )
            results[metric] = MetricResult.not_applicable(direction="higher", method=METHOD, why=why)
        else:
            results[metric] = _similarity(tables, moment, cycle)
    return results


def _similarity(tables: Tables, moment: Clock, cycle: Cycle) -> MetricResult:
    scales = _scales(tables)
    names = list(scales)
    sides: tuple[Side, Side] = ("train", "synthetic")
    sums = {side: _sums(tables, moment, cycle, side, names) for side in sides}
    blocks = min(len(sums[side].rows) for side in sides)
    if blocks < MIN_GROUPS:
        why = f"{blocks} privacy units are too few to say how certain the profile is; {MIN_GROUPS} are needed"
        return MetricResult.inconclusive(direction="higher", method=METHOD, why=why, n=blocks)
    rng = tables.inputs.generator("utility.seasonality", cycle.name)
    spread = np.array(list(scales.values()))
    profiles = {side: _profiles(sums[side], spread, _weights(rng, len(sums[side].rows))) for side in sides}
    similar = _alike(profiles["train"], profiles["synthetic"])
    series = ["(rows)", *names]
    worst = int(np.argmin(similar[0]))
    low, high = np.quantile(similar[1:].min(axis=1), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    value = float(similar[0, worst])
    quiet = _floor_of(profiles["train"], profiles["synthetic"])
    return MetricResult(
        value=value,
        interval=(min(float(low), value), max(float(high), value)),
        confidence=CONFIDENCE,
        n=blocks,
        direction="higher",
        method=METHOD,
        detail={
            "worst": series[worst],
            "by_series": {name: float(similar[0, index]) for index, name in enumerate(series)},
            "floor": _floor(tables, moment, cycle, scales),
            "strength": {side: float(np.sqrt(np.square(profiles[side][0, worst]).mean())) for side in sides},
            "plot": {
                "labels": list(cycle.labels),
                "series": series[worst],
                **{side: profiles[side][0, worst].tolist() for side in sides},
                "quiet": float(quiet[worst]),
                "rows": {side: profiles[side][0, 0].tolist() for side in sides} | {"quiet": float(quiet[0])},
            },
        },
    )


def _scales(tables: Tables) -> dict[str, float]:
    """Numeric columns that vary in train, with their standard deviation."""
    numeric = [column for column in tables.continuous if column.spec.is_numeric and len(column.present("train"))]
    spread = {column.name: float(np.std(column.present("train"))) for column in numeric}
    return {name: scale for name, scale in spread.items() if scale > 0}


def _floor(tables: Tables, moment: Clock, cycle: Cycle, scales: Mapping[str, float]) -> float:
    """The similarity of holdout to train: what a perfect synthetic table of the holdout's size would reach."""
    rng = tables.inputs.generator("utility.seasonality.floor", cycle.name)
    sides: tuple[Side, Side] = ("train", "holdout")
    parts = [_sums(tables, moment, cycle, side, list(scales)) for side in sides]
    spread = np.array(list(scales.values()))
    return float(_alike(*(_profiles(part, spread, _weights(rng, len(part.rows))) for part in parts))[0].min())


def _sums(tables: Tables, moment: Clock, cycle: Cycle, side: Side, names: list[str]) -> Sums:
    phase = moment.phase(cycle, side)
    known = phase >= 0
    block, many = _groups(tables, side)
    cell = block[known] * cycle.phases + phase[known]
    size, shape = many * cycle.phases, (many, cycle.phases)
    rows = np.bincount(cell, minlength=size).reshape(shape).astype(np.float64)
    counts, totals = np.zeros((many, cycle.phases, len(names))), np.zeros((many, cycle.phases, len(names)))
    for index, name in enumerate(names):
        values = tables.columns[name].values[side][known]
        has = ~np.isnan(values)
        counts[:, :, index] = np.bincount(cell[has], minlength=size).reshape(shape)
        totals[:, :, index] = np.bincount(cell[has], weights=values[has], minlength=size).reshape(shape)
    return Sums(rows, counts, totals)


def _groups(tables: Tables, side: Side) -> tuple[IntArray, int]:
    """What is resampled as a whole: random groups of whole privacy units, the same whenever a table is asked for."""
    units = tables.blocks(side)
    count = int(units.max()) + 1
    many = min(count, MAX_GROUPS)
    order = tables.inputs.generator("utility.seasonality.groups", side).permutation(count)
    return (order % many)[units], many


def _weights(rng: np.random.Generator, blocks: int) -> FloatArray:
    """The first row takes every block once; each further row is one bootstrap resample."""
    drawn = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=REPLICATES)
    return np.vstack([np.ones((1, blocks)), drawn.astype(np.float64)])


def _profiles(sums: Sums, scales: FloatArray, weights: FloatArray) -> npt.NDArray[np.float64]:
    """Centred, scaled profiles: replicate by series by phase, the first series being the number of rows."""
    rows = np.einsum("rb,bp->rp", weights, sums.rows, optimize=True)
    share = rows / np.maximum(rows.mean(axis=1, keepdims=True), 1e-12) - 1
    counts = np.tensordot(weights, sums.counts, axes=1)
    totals = np.tensordot(weights, sums.totals, axes=1)
    level = totals.sum(axis=1, keepdims=True) / np.maximum(counts.sum(axis=1, keepdims=True), 1e-12)
    means = np.where(counts > 0, totals / np.maximum(counts, 1e-12), level)
    profiles = (means - level) / scales
    return np.asarray(np.concatenate([share[:, None, :], profiles.transpose(0, 2, 1)], axis=1))


def _alike(train: FloatArray, synthetic: FloatArray) -> FloatArray:
    """Similarity of profiles, replicate by series; the first replicate is the tables themselves.

    Noise adds to a squared distance: once to that of the tables, twice to that of a resample. It is taken off.
    """
    noise = np.stack([_noise(train), _noise(synthetic)])
    times = np.where(np.arange(len(train)) == 0, 1.0, 2.0)[:, None]

    def size(profile: FloatArray, of: FloatArray) -> FloatArray:
        return np.asarray(np.sqrt(np.maximum(np.square(profile).mean(axis=2) - times * of, 0)))

    largest = np.maximum(size(train, noise[0]), size(synthetic, noise[1]))
    scale = np.maximum(largest, _floor_of(train, synthetic))
    return np.asarray(np.clip(1 - size(train - synthetic, noise.sum(axis=0)) / scale, 0, 1))


def _floor_of(train: FloatArray, synthetic: FloatArray) -> FloatArray:
    """What is too little to be a rhythm, series by series."""
    flat = np.concatenate([[FLAT_ROWS], np.full(train.shape[1] - 1, FLAT_VALUES)])
    return np.asarray(np.maximum(flat, NOISE_FLOOR * np.sqrt(_noise(train) + _noise(synthetic))))


def _noise(profiles: FloatArray) -> FloatArray:
    """Expected squared sampling noise of each series' profile."""
    return np.asarray(np.square(profiles[1:] - profiles[:1]).mean(axis=(0, 2)))
