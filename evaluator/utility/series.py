"""Time as phases and as regular series.

Responsible for placing rows on the clock of the card's time index: phase of the day, week and year, the position within
train's span, and a regular series of counts and means.

Invariants:
    - A row without a time belongs to no phase and to no bucket.
    - Buckets and phases of all three tables are cut by train's clock: its resolution and its span.
    - A value column that is constant in train has no profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from evaluator.utility.tables import SIDES, FloatArray, IntArray, Side, Tables

__all__ = ["CYCLES", "DAY", "HOUR", "Clock", "Cycle", "RegularSeries", "clock", "regular_series"]

HOUR: Final = 3_600.0
DAY: Final = 86_400.0
WEEK: Final = 7 * DAY
YEAR: Final = 365.25 * DAY
THURSDAY: Final = 3  # 1970-01-01, with Monday as 0
MIN_CYCLES: Final = 2
TREND_PHASES: Final = 20
MAX_BUCKETS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Cycle:
    """A period that a profile repeats: how many phases it has, how long one turn is, and how long a bootstrap block is."""

    name: str
    phases: int
    period: float
    block: float
    labels: tuple[str, ...]


CYCLES: Final[Mapping[str, Cycle]] = {
    "daily": Cycle("daily", 24, DAY, DAY, tuple(f"{hour:02d}" for hour in range(24))),
    "weekly": Cycle("weekly", 7, WEEK, WEEK, ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")),
    "yearly": Cycle(
        "yearly", 12, YEAR, WEEK, ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    ),
    "trend": Cycle("trend", TREND_PHASES, 0.0, WEEK, tuple(str(part + 1) for part in range(TREND_PHASES))),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The time index of all three tables in seconds since 1970 (NaN where missing), and what train's clock shows."""

    times: Mapping[Side, FloatArray]
    start: float
    end: float
    has_hours: bool

    @property
    def span(self) -> float:
        """Seconds from train's first to its last row."""
        return self.end - self.start

    def covers(self, cycle: Cycle) -> bool:
        """Whether train sees the cycle turn often enough to speak of it (the year: one whole turn)."""
        if cycle.name == "daily":
            return self.has_hours and self.span >= MIN_CYCLES * cycle.period
        return self.span >= (MIN_CYCLES if cycle.name == "weekly" else 0.95) * cycle.period and self.span > 0

    def phase(self, cycle: Cycle, side: Side) -> IntArray:
        """The phase of each row, -1 without a time; times outside train's span fall into the trend's first or last part."""
        times = self.times[side]
        known = np.where(np.isnan(times), self.start, times)
        if cycle.name == "daily":
            phase = np.floor(known % DAY / HOUR)
        elif cycle.name == "weekly":
            phase = (np.floor(known / DAY) + THURSDAY) % 7
        elif cycle.name == "yearly":
            months = known.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
            phase = (months % 12).astype(np.float64)
        else:
            phase = np.clip(np.floor((known - self.start) / max(self.span, 1.0) * TREND_PHASES), 0, TREND_PHASES - 1)
        return np.where(np.isnan(times), -1, phase).astype(np.int64)


def clock(tables: Tables) -> Clock | None:
    """The clock of the card's time index; None where the card has none or train holds no time at all."""
    index = tables.card.spec.time_index
    if index is None or index not in tables.columns:
        return None
    column = tables.columns[index]
    present = column.present("train")
    if not len(present):
        return None
    return Clock(
        times={side: column.values[side] for side in SIDES},
        start=float(present.min()),
        end=float(present.max()),
        has_hours=bool(np.any(present % DAY != 0)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RegularSeries:
    """A series on a regular grid: the mean (or the count) of the rows of each bucket, NaN for an empty bucket."""

    name: str
    step: float
    values: Mapping[Side, FloatArray]


def regular_series(tables: Tables, moment: Clock) -> tuple[RegularSeries, ...]:
    """Row counts and the mean of each numeric column per bucket: an hour where train shows hours often enough, else a day.

    Counts are divided by their mean, so tables of different size compare.
    """
    step = HOUR if moment.has_hours and _is_dense(moment) else DAY
    size = int(moment.span // step) + 1
    series = [RegularSeries(name="(rows)", step=step, values={side: _counts(moment, side, step, size) for side in SIDES})]
    for column in tables.continuous:
        if column.spec.is_numeric and float(np.ptp(column.present("train")) if len(column.present("train")) else 0) > 0:
            values = {side: _means(moment, side, step, size, column.values[side]) for side in SIDES}
            series.append(RegularSeries(name=column.name, step=step, values=values))
    return tuple(series)


def _is_dense(moment: Clock) -> bool:
    hours = int(moment.span // HOUR) + 1
    times = moment.times["train"]
    filled = len(np.unique(_bucket(moment, times, HOUR)[~np.isnan(times)]))
    return hours <= MAX_BUCKETS and filled >= 0.5 * hours  # half of all hours hold a row


def _bucket(moment: Clock, times: FloatArray, step: float) -> IntArray:
    first = np.floor(moment.start / step)
    return np.where(np.isnan(times), -1, np.floor(times / step) - first).astype(np.int64)


def _counts(moment: Clock, side: Side, step: float, size: int) -> FloatArray:
    bucket = _bucket(moment, moment.times[side], step)
    inside = bucket[(bucket >= 0) & (bucket < size)]
    counts = np.bincount(inside, minlength=size).astype(np.float64)
    return counts / max(float(counts.mean()), 1e-12)


def _means(moment: Clock, side: Side, step: float, size: int, values: FloatArray) -> FloatArray:
    bucket = _bucket(moment, moment.times[side], step)
    keep = (bucket >= 0) & (bucket < size) & ~np.isnan(values)
    counts = np.bincount(bucket[keep], minlength=size)
    sums = np.bincount(bucket[keep], weights=values[keep], minlength=size)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
