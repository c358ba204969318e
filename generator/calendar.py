"""Dates and times as calendar variables.

Responsible for `TimeField`: the day within the bounds, its weekday, and for a datetime its hour; and for which of these a card's
`parts` ask for.

A day is one long variable whose cells are days; its bins follow the trend. The weekday is a variable of its own, so that
other columns and the hour can depend on it; it is a function of the day, hence costs nothing to know. A day cell is drawn
given bin, weekday and hour together, so that the counts of single days keep their level and their rhythm. Where a card's parts
are coarser, the cells are groups of days (weeks, months, years, or all days), and what no part names is drawn evenly.

Invariants:
    - The grid of days is a function of the card's public bounds and parts alone.
    - Every drawn moment lies within the bounds; times are those of the column's time zone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from generator.arrow import Array
from generator.arrow import compute as pc
from generator.encoding import Codes, Variable
from generator.grids import Grid

__all__ = ["EPOCH", "TimeField", "day_of", "groups_of", "micros_of"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive on purpose: a count of days
DAY = 86_400_000_000
HOUR = 3_600_000_000
MINUTE = 60_000_000
SECOND = 1_000_000
THURSDAY = 3
WEEK = 7


@dataclass(frozen=True, slots=True)
class TimeField:
    """A date or datetime: day, weekday, hour and minute of the day; what no part names is drawn evenly.

    Attributes:
        name: The column.
        low, high: Bounds, both inclusive.
        grid: Cells of days since 1970.
        zone: Time zone of a datetime, or None.
        can_miss: Whether values can be missing.
        has_hours: Whether it is a datetime.
        parts: The calendar parts that the card asks for; None: days, weekday and hour.
    """

    name: str
    low: datetime
    high: datetime
    grid: Grid
    zone: str | None
    can_miss: bool
    has_hours: bool
    parts: tuple[str, ...] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The column itself."""
        return (self.name,)

    @property
    def is_daily(self) -> bool:
        """Whether each cell is one day, so that it has a weekday."""
        return self.groups is None and bool((np.diff(self.grid.starts) == 1).all()) and self.grid.size > 2 * WEEK

    @property
    def groups(self) -> Integers | None:
        """The group of each cell of the grid where the parts ask for less than single days; else None."""
        return None if self.parts is None else groups_of(self.grid, self.parts)

    @property
    def size(self) -> int:
        """How many cells or groups of days."""
        groups = self.groups
        return self.grid.size if groups is None else int(groups.max()) + 1

    @property
    def learns_hours(self) -> bool:
        """Whether the hour is a variable."""
        return self.has_hours and (self.parts is None or "hour" in self.parts)

    @property
    def learns_minutes(self) -> bool:
        """Whether the minute is a variable."""
        return self.has_hours and self.parts is not None and "minute" in self.parts

    @property
    def has_weekday(self) -> bool:
        """Whether the weekday is a variable: always known of single days, else where a part asks for it."""
        return self.is_daily or (self.groups is not None and "weekday" in (self.parts or ()))

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Day or group of days, weekday, hour, minute, as far as they are learnt."""
        size = self.size
        missing = size if self.can_miss else None
        season = None
        if self.is_daily:
            season = tuple(int(d) for d in (self.grid.starts.astype(np.int64) + THURSDAY) % WEEK) + (0,) * self.can_miss
        made = [Variable(self.name, size + self.can_miss, is_ordered=True, missing=missing, season=season)]
        if self.has_weekday:
            made.append(Variable(f"{self.name}.weekday", WEEK, is_ordered=False, missing=None, is_season=season is not None))
        if self.learns_hours:
            made.append(Variable(f"{self.name}.hour", 24, is_ordered=True, missing=None))
        if self.learns_minutes:
            made.append(Variable(f"{self.name}.minute", 60, is_ordered=True, missing=None))
        return tuple(made)

    def encode(self, batch: Mapping[str, Array]) -> list[Codes]:
        """Cells, weekdays, hours and minutes; a missing moment counts as weekday 0, hour 0, minute 0."""
        micros, missing = self.to_micros(batch[self.name])
        days, rest = np.divmod(np.clip(micros, micros_of(self.low), micros_of(self.high)), DAY)
        cells, groups = self.grid.encode(days.astype(np.float64)), self.groups
        codes = (cells if groups is None else groups[cells]).astype(np.int32)
        codes[missing] = self.size if self.can_miss else 0
        made = [codes]
        if self.has_weekday:
            made.append(np.where(missing, 0, (days + THURSDAY) % WEEK).astype(np.int32))
        if self.learns_hours:
            made.append(np.where(missing, 0, rest // HOUR).astype(np.int32))
        if self.learns_minutes:
            made.append(np.where(missing, 0, rest % HOUR // MINUTE).astype(np.int32))
        return made

    def decode(self, codes: Sequence[Codes], rng: np.random.Generator) -> dict[str, Array]:
        """Moments drawn within what the codes say, inside the bounds."""
        parts = dict(zip((v.name.removeprefix(self.name) for v in self.variables), codes, strict=True))
        missing = codes[0] >= self.size
        cells = np.where(missing, 0, codes[0]).astype(np.int64)
        if self.groups is not None:
            cells = _day_within(self.groups, self.weekdays(), cells, parts.get(".weekday"), rng)
        micros = np.round(self.grid.decode(cells, rng)).astype(np.int64) * DAY
        if self.has_hours:
            hours = parts[".hour"].astype(np.int64) if self.learns_hours else rng.integers(0, 24, micros.size)
            seconds = (rng.random(micros.size) * 3600).astype(np.int64)
            if self.learns_minutes:
                seconds = parts[".minute"].astype(np.int64) * 60 + seconds % 60
            micros += hours * HOUR + seconds * SECOND
        return {self.name: self.to_arrow(micros, missing)}

    def weekdays(self) -> Integers:
        """The weekday of the first day of each cell of the grid, Monday being 0."""
        return np.asarray((self.grid.starts.astype(np.int64) + THURSDAY) % WEEK, np.int64)

    def spans(self) -> tuple[Floats, Floats]:
        """First and last day of each cell or group of days."""
        groups = self.groups
        if groups is None:
            return self.grid.starts, self.grid.ends()
        first, last = np.full(self.size, np.inf), np.full(self.size, -np.inf)
        np.minimum.at(first, groups, self.grid.starts)
        np.maximum.at(last, groups, self.grid.ends())
        return first, last

    def to_micros(self, array: Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Local microseconds since 1970 and which are missing."""
        local = array if self.zone is None else pc.local_timestamp(array)
        missing = np.asarray(local.is_null().to_numpy(zero_copy_only=False), bool)
        micros = local.cast(pa.timestamp("us")).cast(pa.int64()).fill_null(0)
        return np.array(micros.to_numpy(zero_copy_only=False), np.int64), missing

    def to_arrow(self, micros: NDArray[np.int64], missing: NDArray[np.bool_]) -> Array:
        """Local microseconds, clipped to the bounds, in the column's Arrow type."""
        clipped = np.clip(micros, micros_of(self.low), micros_of(self.high))
        if not self.has_hours:
            return pa.array((clipped // DAY).astype(np.int32), pa.int32(), mask=missing).cast(pa.date32())
        naive = pa.array(clipped, pa.int64(), mask=missing).cast(pa.timestamp("us"))
        if self.zone is None:
            return naive
        return pc.assume_timezone(naive, self.zone, ambiguous="earliest", nonexistent="latest")


def micros_of(moment: datetime) -> int:
    """Microseconds since 1970-01-01 of a naive moment."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def day_of(moment: datetime) -> int:
    """Days since 1970-01-01."""
    return (moment - EPOCH).days


def groups_of(grid: Grid, parts: Sequence[str]) -> Integers | None:
    """Groups of days that calendar parts tell apart; None where they tell single days apart.

    `day` and `holiday(…)` ask for single days, and so do `trend` and `weekday` together; `trend` alone asks for weeks. No
    calendar of holidays is built in: where single days are learnt, holidays are among them.
    """
    names = set(parts)
    if "day" in names or {"trend", "weekday"} <= names or any(name.startswith("holiday") for name in names):
        return None
    days = grid.starts.astype(np.int64)
    if names & {"trend", "week"}:
        weeks = (days + THURSDAY) // WEEK
        return np.asarray(weeks - weeks[0], np.int64)
    months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    key = np.zeros(days.size, np.int64)
    if "year" in names:
        key += months // 12 * 12
    if "month" in names:
        key += months % 12
    return np.asarray(np.unique(key, return_inverse=True)[1], np.int64)


def _day_within(
    groups: Integers, weekdays: Integers, drawn: Integers, weekday: Codes | None, rng: np.random.Generator
) -> Integers:
    """A cell of each drawn group, evenly; one of the drawn weekday where the group has it."""
    kinds = np.zeros(groups.size, np.int64) if weekday is None else weekdays
    wanted = drawn * WEEK + (0 if weekday is None else weekday.astype(np.int64))
    keys = groups * WEEK + kinds
    order = np.argsort(keys, kind="stable")
    first, last = (np.searchsorted(keys[order], wanted, side=side) for side in ("left", "right"))
    cells = order[np.minimum(first + (rng.random(drawn.size) * (last - first)).astype(np.int64), order.size - 1)]
    lacks = first == last
    if lacks.any():
        cells[lacks] = _day_within(groups, weekdays, drawn[lacks], None, rng)
    return np.asarray(cells, np.int64)
