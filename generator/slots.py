"""Tables of time slots: one row an hour, say. Which day each synthetic row gets, so that slots are filled evenly and in rhythm.

Responsible for recognising such a table by its card and its (noisy) probabilities, for giving drawn rows to slots, and for
how strongly neighbouring days are alike in the volume that the table counts.

Invariants:
    - Only drawn codes, stored probabilities and noisy autocovariances are read: everything here is post-processing.
    - A row keeps its hour, its weekday and its bin of days; only a slot that nobody was drawn for takes another row of its
      hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generator.calendar import WEEK, TimeField
from generator.encoding import CategoryField, Field, NumberField
from generator.source import ranks
from policies.card import DatasetCard

__all__ = ["LAGS", "Candidates", "Pace", "cut_values", "hour_place", "is_even", "seats", "slots_of"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
HOURS = 24
LAGS = (24, 168)
EVEN_HOURS = 0.1
EVEN_DAYS = 0.25
MOST = 0.97
SLOW_DAYS = 14.0
FAST = 0.6
TOTALS = (0.0, 0.2, 0.4, 0.55, 0.65, 0.75, 0.82, 0.88, 0.93, 0.97)
SPLITS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Pace:
    """How the volume of one hour goes with that of the same hour a day and a week before.

    Attributes:
        place: The variable that holds the volume.
        values: What each of its cells counts, in [0, 1].
        day, week: Autocorrelation of these values at 24 and 168 hours, from noisy counts.
    """

    place: int
    values: Floats
    day: float
    week: float


@dataclass(frozen=True, slots=True)
class Candidates:
    """Rows that were drawn for a table of slots, more than it has.

    Attributes:
        bins: Bin of days of each row.
        weekday: Its weekday.
        hour: Its hour, in [0, 24).
        level: The cell of what is counted, by row; None where no pace is known.
        season: The weekday of each day.
        of_day: The bin of each day.
    """

    bins: Integers
    weekday: Integers
    hour: Integers
    level: Integers | None
    season: Integers
    of_day: Integers


def slots_of(fields: Sequence[Field], card: DatasetCard, cells: Sequence[Floats]) -> tuple[int, int] | None:
    """Places of day and hour in a table of time slots; None where the table is none.

    Args:
        fields: How columns are encoded.
        card: The dataset card.
        cells: Probability of each cell by variable.
    """
    index, place = card.spec.time_index, 0
    for field in fields:
        if isinstance(field, TimeField) and field.name == index and field.is_daily and not field.can_miss:
            break
        place += len(field.variables)
    else:
        return None
    hour = hour_place(fields, index)
    if hour is None or card.spec.privacy_unit is not None:
        return None
    return (place, hour) if is_even(cells[place], cells[hour]) else None


def hour_place(fields: Sequence[Field], index: str | None) -> int | None:
    """The place of the variable that holds the hour: the time index's own, or a column whose domain in the card is 0 to 23."""
    place, found = 0, None
    for field in fields:
        if isinstance(field, TimeField) and field.name == index and field.learns_hours:
            return place + 1 + field.has_weekday
        is_number = isinstance(field, NumberField) and field.is_whole and field.grid.size == HOURS and field.grid.starts[0] == 0
        is_category = isinstance(field, CategoryField) and field.values == tuple(str(hour) for hour in range(HOURS))
        if found is None and (is_number or is_category):
            found = place
        place += len(field.variables)
    return found


def is_even(days: Floats, hours: Floats) -> bool:
    """Whether rows are spread over days and hours as evenly as a table of slots has them."""
    day, hour = days / max(days.mean(), 1e-12), hours / max(hours.mean(), 1e-12)
    return bool(hour.size == HOURS and hour.std() < EVEN_HOURS and day.std() < EVEN_DAYS)


def cut_values(field: Field, shares: Floats) -> Floats:
    """The middle of each cell of a number over the value that three rows in a hundred exceed, at most 1; missing counts as 0.

    Sums of such values keep the rhythm of the sums themselves, and no row moves them by more than 1.

    Args:
        field: A number.
        shares: Probability of each of its cells.
    """
    if not isinstance(field, NumberField):
        raise TypeError("only numbers have values to add up")
    middle = np.maximum((field.grid.starts + field.grid.ends()) / 2, 0.0)
    known = np.cumsum(shares[: middle.size])
    top = max(float(middle[np.searchsorted(known, MOST * known[-1])]), 1e-12)
    return np.append(np.minimum(middle / top, 1.0), np.zeros(shares.size - middle.size))


def seats(rows: int, drawn: Candidates, pace: Pace | None, rng: np.random.Generator) -> tuple[Integers, Integers]:
    """Choose rows out of the candidates, and a day for each, so that each slot (day and hour) holds as many as any other.

    Args:
        rows: How many rows to choose; at most as many as there are.
        drawn: The candidates.
        pace: How alike neighbouring days are; None: no more than their bins make them.
        rng: Drives what chance decides.

    Returns:
        Which rows, and the day of each.
    """
    slots = drawn.season.size * HOURS
    room = np.full(slots, rows // slots)
    room[rng.permutation(slots)[: rows % slots]] += 1
    place = np.repeat(np.arange(slots), room)
    kind = (drawn.of_day * WEEK + drawn.season)[place // HOURS] * HOURS + place % HOURS
    offers = _Offers.of(drawn, kind, rng)
    chance = rng.standard_normal(rows)
    if pace is None or drawn.level is None:
        at, picked = offers.matched(_heights(chance, place))
    else:
        slow, fast = _moods(drawn.season.size, rng)
        best, worth = np.inf, pace.values[drawn.level]
        at = picked = np.zeros(0, np.int64)
        for total in TOTALS:
            for split in SPLITS if total else SPLITS[:1]:
                mood = (total * split) ** 0.5 * slow + (total * (1 - split)) ** 0.5 * fast
                trial = offers.matched(_heights(mood[place // HOURS] + (1 - total) ** 0.5 * chance, place))
                gap = _gap(pace, np.bincount(place[trial[0]], worth[trial[1]], slots).astype(float))
                if gap < best:
                    best, (at, picked) = gap, trial
    return _filled(rows, drawn, place, at, picked, rng)


@dataclass(frozen=True, slots=True)
class _Offers:
    """Seats and rows by kind: bin of days, weekday and hour.

    Attributes:
        order: Rows by kind, and within a kind by what they count.
        kind: The kind of each seat.
        first: Where in `order` the rows of each kind begin.
        many: How many rows each kind has.
    """

    order: Integers
    kind: Integers
    first: Integers
    many: Integers

    @classmethod
    def of(cls, drawn: Candidates, kind: Integers, rng: np.random.Generator) -> _Offers:
        """Sort the rows."""
        kinds = (drawn.bins * WEEK + drawn.weekday) * HOURS + drawn.hour
        many = np.bincount(kinds, minlength=int(kind.max(initial=0)) + 1)
        level = np.zeros(kinds.size) if drawn.level is None else drawn.level
        return cls(np.lexsort((rng.random(kinds.size), level, kinds)), kind, np.cumsum(many) - many, many)

    def matched(self, heights: Floats) -> tuple[Integers, Integers]:
        """Seats, and for each a row that stands about so high among the rows of its kind, no row twice.

        Args:
            heights: In [0, 1), by seat.
        """
        order = np.lexsort((heights, self.kind))
        order = order[ranks(self.kind[order]) < self.many[self.kind[order]]]
        kind = self.kind[order]
        rank, asked = ranks(kind), np.bincount(kind, minlength=self.many.size)
        least = np.floor(heights[order] * self.many[kind]).astype(np.int64)
        # as many rows must be left above as seats follow; the running maximum then never leaves its kind
        place = self.first[kind] + np.minimum(least, self.many[kind] - asked[kind] + rank)
        count = np.arange(place.size)
        place = np.maximum.accumulate(place - count) + count if place.size else place
        return order, self.order[place]


def _heights(score: Floats, place: Integers) -> Floats:
    """Where the score of each seat stands among all seats of its hour, in [0, 1)."""
    hour = place % HOURS
    order = np.lexsort((score, hour))
    out = np.empty(score.size)
    out[order] = (ranks(hour[order]) + 0.5) / np.maximum(np.bincount(hour, minlength=HOURS)[hour[order]], 1)
    return out


def _moods(days: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A slow and a fast random course of days, each of variance 1."""
    reach = np.arange(-4 * SLOW_DAYS, 4 * SLOW_DAYS + 1)
    kernel = np.exp(-0.5 * (reach / SLOW_DAYS) ** 2)
    slow = np.convolve(rng.standard_normal(days + reach.size - 1), kernel, mode="valid") / np.sqrt((kernel**2).sum())
    fast = rng.standard_normal(days)
    for day in range(1, days):
        fast[day] = FAST * fast[day - 1] + (1 - FAST**2) ** 0.5 * fast[day]
    return slow, fast


def _gap(pace: Pace, volume: Floats) -> float:
    """How far the autocorrelations of a series are from those that it should have."""
    series = volume - volume.mean()
    square = max(float((series**2).sum()), 1e-12)
    day, week = (float((series[lag:] * series[:-lag]).sum()) / square for lag in LAGS)
    return (day - pace.day) ** 2 + (week - pace.week) ** 2


def _filled(
    rows: int, drawn: Candidates, place: Integers, at: Integers, picked: Integers, rng: np.random.Generator
) -> tuple[Integers, Integers]:
    """Rows and days in random order; seats that nobody was drawn for go to rows left over, of the same hour where possible."""
    day = place[at] // HOURS
    if picked.size < rows:
        free = place[np.setdiff1d(np.arange(rows), at)]
        left = rng.permutation(np.setdiff1d(np.arange(drawn.bins.size), picked))
        left = left[np.argsort(drawn.hour[left], kind="stable")]
        near = left[((np.arange(free.size) + 0.5) * left.size / free.size).astype(np.int64)]
        picked, day = np.append(picked, near), np.append(day, free[np.argsort(free % HOURS, kind="stable")] // HOURS)
    shuffled = rng.permutation(rows)
    return picked[shuffled], day[shuffled]
