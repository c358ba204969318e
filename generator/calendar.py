"""Dates and times as calendar variables.

Responsible for `TimeField`: the day within the bounds, its weekday, and for a datetime its hour.

A day is one long variable whose cells are days; its bins follow the trend. The weekday is a variable of its own, so that
other columns and the hour can depend on it; it is a function of the day, hence costs nothing to know. A day cell is drawn
given bin, weekday and hour together, so that the counts of single days keep their level and their rhythm.

Invariants:
    - The grid of days is a function of the card's public bounds alone.
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

__all__ = ["EPOCH", "TimeField", "day_of", "micros_of"]

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive on purpose: a count of days
DAY = 86_400_000_000
HOUR = 3_600_000_000
THURSDAY = 3
WEEK = 7


@dataclass(frozen=True, slots=True)
class TimeField:
    """A date or datetime: day, weekday, and hour of the day; the moment within the hour is drawn uniformly.

    Attributes:
        name: The column.
        low, high: Bounds, both inclusive.
        grid: Cells of days since 1970.
        zone: Time zone of a datetime, or None.
        can_miss: Whether values can be missing.
        has_hours: Whether it is a datetime.
    """

    name: str
    low: datetime
    high: datetime
    grid: Grid
    zone: str | None
    can_miss: bool
    has_hours: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """The column itself."""
        return (self.name,)

    @property
    def is_daily(self) -> bool:
        """Whether each cell is one day, so that it has a weekday."""
        return bool((np.diff(self.grid.starts) == 1).all()) and self.grid.size > 2 * WEEK

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Day, weekday (where cells are days) and hour."""
        size = self.grid.size
        missing = size if self.can_miss else None
        season = None
        if self.is_daily:
            season = tuple(int(d) for d in (self.grid.starts.astype(np.int64) + THURSDAY) % WEEK) + (0,) * self.can_miss
        made = [Variable(self.name, size + self.can_miss, is_ordered=True, missing=missing, season=season)]
        if season:
            made.append(Variable(f"{self.name}.weekday", WEEK, is_ordered=False, missing=None, is_season=True))
        if self.has_hours:
            made.append(Variable(f"{self.name}.hour", 24, is_ordered=True, missing=None))
        return tuple(made)

    def encode(self, batch: Mapping[str, Array]) -> list[Codes]:
        """Day cells, weekdays and hours; a missing moment counts as weekday 0, hour 0."""
        micros, missing = self.to_micros(batch[self.name])
        days, rest = np.divmod(np.clip(micros, micros_of(self.low), micros_of(self.high)), DAY)
        codes = self.grid.encode(days.astype(np.float64)).astype(np.int32)
        codes[missing] = self.grid.size if self.can_miss else 0
        made = [codes]
        if self.is_daily:
            made.append(np.where(missing, 0, (days + THURSDAY) % WEEK).astype(np.int32))
        if self.has_hours:
            made.append(np.where(missing, 0, rest // HOUR).astype(np.int32))
        return made

    def decode(self, codes: Sequence[Codes], rng: np.random.Generator) -> dict[str, Array]:
        """Moments drawn within day and hour, inside the bounds."""
        missing = codes[0] >= self.grid.size
        days = np.round(self.grid.decode(np.where(missing, 0, codes[0]).astype(np.int64), rng)).astype(np.int64)
        micros = days * DAY
        if self.has_hours:
            micros += codes[-1].astype(np.int64) * HOUR + (rng.random(days.size) * 3600).astype(np.int64) * 1_000_000
        return {self.name: self.to_arrow(micros, missing)}

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
