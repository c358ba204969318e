"""One column of a dataset card: its type, its role and what is publicly known of its domain.

Responsible for the shape of a column and for reading its bounds and values as the cells have them.

Invariants:
    - Bounds have one kind: numbers for numbers, days or times for times, and the lower one is not above the upper one.
    - Times are wall times of the column's zone; values of a category are text, spelt as they stand in the file.
"""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Literal, Self, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

__all__ = ["NAME", "CategoryValue", "Column", "ColumnType", "Role", "Strict"]

ColumnType = Literal["integer", "number", "category", "boolean", "datetime", "date", "text", "id"]
Role = Literal["identifier", "quasi-identifier", "sensitive", "other"]
Bound = Decimal | datetime | date


def _only_a_day(value: object) -> object:
    """Midnight is a time, not a day: as an upper bound it would let the whole day in, and its offset would be lost."""
    if isinstance(value, datetime) or (isinstance(value, str) and len(value) > len("2026-01-31")):
        raise ValueError("this is a time, not a day")
    return value


def _bound(value: object, read: ValidatorFunctionWrapHandler) -> object:
    try:
        return read(value)
    except ValidationError:
        shown = str(value)[:80]
        raise ValueError(f"a bound is a number, a date as 2026-01-31 or a time as 2026-01-31T18:00:00, not '{shown}'") from None


BoundValue = Annotated[
    Decimal | Annotated[date, BeforeValidator(_only_a_day)] | datetime,
    Field(union_mode="left_to_right"),
    WrapValidator(_bound),
]
NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"
PART = r"^(trend|year|month|week|weekday|day|hour|minute|holiday\([A-Z]{2}\))$"
NUMERIC: frozenset[str] = frozenset({"integer", "number"})
TEMPORAL: frozenset[str] = frozenset({"datetime", "date"})


def _scalar_text(value: object) -> object:
    """YAML reads `[1, 2, true]` as numbers and booleans; a category value is the text that stands in the file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | Decimal | float) else value


CategoryValue = Annotated[str, BeforeValidator(_scalar_text), Field(max_length=1000)]


class Strict(BaseModel):
    """A document node: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Column(Strict):
    """One column: its type, its role and what is publicly known of its domain."""

    type: ColumnType = Field(description="What its values are.")
    role: Role = Field(
        default="other",
        description="identifier: never released; quasi-identifier: others may know it; sensitive: a secret; other: neither.",
    )
    bounds: tuple[BoundValue, BoundValue] | None = Field(
        default=None, description="Smallest and largest possible value, both inclusive."
    )
    values: tuple[CategoryValue, ...] | None = Field(default=None, description="Every possible value of a category.")
    parts: tuple[Annotated[str, Field(pattern=PART)], ...] | None = Field(
        default=None, description="Calendar parts by which a datetime is modelled."
    )
    missing: bool = Field(default=True, description="Whether the column can hold missing values. Public knowledge.")
    decimals: int | None = Field(default=None, ge=0, le=12, description="Digits after the point of a number.")
    timezone: str | None = Field(default=None, description="IANA zone in which a datetime is to be understood.")
    per_unit: bool | None = Field(
        default=None, description="Whether all rows of one privacy unit have the same value, as its date of birth."
    )
    description: str | None = Field(default=None, max_length=1000, description="What the column means.")

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, zone: str | None) -> str | None:
        if zone is not None:
            try:
                ZoneInfo(zone)
            except (ZoneInfoNotFoundError, ValueError) as error:
                message = f"'{zone}' is not an IANA time zone such as Europe/London"
                raise ValueError(message) from error
        return zone

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.bounds is not None:
            self._check_bounds(self.bounds)
        if self.values is not None and self.type != "category":
            raise ValueError(f"values belong to a category, not to a column of type {self.type}")
        if self.values is not None and (not self.values or len(set(self.values)) != len(self.values)):
            raise ValueError("values must be present and different from each other")
        if self.parts is not None and self.type != "datetime":
            raise ValueError("parts belong to a column of type datetime")
        if self.timezone is not None and self.type != "datetime":
            raise ValueError("timezone belongs to a column of type datetime")
        if self.decimals is not None and self.type != "number":
            raise ValueError("decimals belong to a column of type number")
        if (self.type == "id") != (self.role == "identifier") and self.type == "id":
            raise ValueError("a column of type id has the role identifier")
        return self

    def _check_bounds(self, bounds: tuple[Bound, Bound]) -> None:
        low, high = bounds
        if self.type in NUMERIC:
            if not (isinstance(low, Decimal) and isinstance(high, Decimal) and low.is_finite() and high.is_finite()):
                raise ValueError(f"bounds of a column of type {self.type} are two finite numbers")
            if low > high:
                raise ValueError(f"the lower bound {low} is above the upper bound {high}")
            return
        if self.type in TEMPORAL:
            if isinstance(low, Decimal) or isinstance(high, Decimal):
                raise ValueError(f"bounds of a column of type {self.type} are two dates or times")
            offsets = {bound.utcoffset() for bound in bounds if isinstance(bound, datetime)}
            if self.timezone is None and len(offsets) > 1:
                raise ValueError("the bounds have different UTC offsets: name the column's `timezone`")
            start, end = cast("tuple[datetime, datetime]", self.time_bounds())
            if start > end:
                raise ValueError(f"the lower bound {low} is after the upper bound {high}")
            return
        raise ValueError(f"bounds belong to numbers, dates and times, not to a column of type {self.type}")

    @property
    def is_numeric(self) -> bool:
        """Whether values are numbers that can be ordered and subtracted."""
        return self.type in NUMERIC

    @property
    def is_temporal(self) -> bool:
        """Whether values are dates or times."""
        return self.type in TEMPORAL

    def number_bounds(self) -> tuple[float, float] | None:
        """Bounds of a numeric column as floats, or None when they are not publicly known."""
        if self.bounds is None or not self.is_numeric:
            return None
        low, high = cast("tuple[Decimal, Decimal]", self.bounds)
        return float(low), float(high)

    def time_bounds(self) -> tuple[datetime, datetime] | None:
        """Bounds of a date or datetime column as naive wall times; an upper bound given as a day includes that day.

        Returns:
            Wall times, as the cells have them: in the column's zone where it names one, so that a bound with an offset is moved
            there; otherwise in the offset as written.
        """
        if self.bounds is None or not self.is_temporal:
            return None
        low, high = (cast("date | datetime", bound) for bound in self.bounds)
        return self._wall_time(low, time.min), self._wall_time(high, time.max)

    def _wall_time(self, bound: date | datetime, hour: time) -> datetime:
        if not isinstance(bound, datetime):
            return datetime.combine(bound, hour)
        if bound.tzinfo is not None and self.timezone is not None:
            bound = bound.astimezone(ZoneInfo(self.timezone))
        return bound.replace(tzinfo=None)
