"""The dataset card: what a steward states in public about a confidential table.

Responsible for the shape of `kind: Dataset` documents and for the questions that other rooms ask of them.

Invariants:
    - Everything in a card is public knowledge. Nothing in it is ever read off the data.
    - Unknown keys are errors. A card that was constructed has consistent types, roles, bounds and references.
    - A bound or a domain that is absent means: not publicly known, so a DP generator must pay for estimating it.
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

from policies.quantities import Duration

__all__ = [
    "Budget",
    "BudgetWindow",
    "CardMetadata",
    "CardSpec",
    "Column",
    "ColumnType",
    "Constraint",
    "DatasetCard",
    "Holdout",
    "Role",
]

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


class Constraint(Strict):
    """A relation that every true row satisfies: an order between two columns, or a list of allowed combinations."""

    columns: tuple[str, ...] = Field(min_length=2, max_length=6, description="The columns that are related.")
    relation: Literal["<", "<=", ">", ">=", "==", "combinations"] = Field(
        description="How the first column stands to the second, or `combinations`."
    )
    allowed: tuple[tuple[CategoryValue, ...], ...] | None = Field(
        default=None, description="For `combinations`: every row of values that can occur together."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.relation == "combinations":
            if not self.allowed or any(len(row) != len(self.columns) for row in self.allowed):
                raise ValueError("combinations need `allowed`: rows with one value for each of the columns")
        elif len(self.columns) != 2 or self.allowed is not None:  # noqa: PLR2004 - an order relates two columns
            raise ValueError(f"the relation {self.relation} is between exactly two columns")
        return self


class Holdout(Strict):
    """The share of privacy units that no generator ever sees."""

    fraction: Decimal = Field(default=Decimal("0.2"), gt=0, lt=1, description="Share of units that are held out.")


class BudgetWindow(Strict):
    """A speed: it slows spending and gives nothing back."""

    epsilon: Decimal = Field(gt=0, le=1000, description="Most ε of all releases within any stretch of this length.")
    length: Duration = Field(description="How long the stretch is, as in 30d. What leaves it stays spent for ever.")


class Budget(Strict):
    """The most privacy loss that all releases together may cause."""

    epsilon: Decimal = Field(gt=0, le=1000, description="Most ε of all releases together.")
    delta: Decimal = Field(gt=0, lt=1, description="Most δ of all releases together.")
    windows: tuple[BudgetWindow, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=8,
        description="Speeds that must be kept too: each slows spending and never restores any of the limit above.",
    )

    @model_validator(mode="after")
    def _windows_slow(self) -> Self:
        for window in self.windows or ():
            if window.epsilon >= self.epsilon:
                raise ValueError(f"a window of ε {window.epsilon} slows nothing: all releases together may cost {self.epsilon}")
        return self


class CardMetadata(Strict):
    """Who answers for the dataset and under which rules it stands."""

    name: str = Field(pattern=NAME, description="The dataset's name, as requests and policies say it.")
    steward: str | None = Field(default=None, description="The principal who answers for it.")
    classification: str | None = Field(default=None, description="As in `confidential`; told to readers of evidence.")
    frameworks: tuple[str, ...] = Field(default=(), description="Rules under which the table stands, such as GDPR.")
    description: str | None = Field(default=None, max_length=4000, description="What the table is.")


class CardSpec(Strict):
    """The table itself: where it is, whom it protects, what its columns are."""

    source: str = Field(
        min_length=1, max_length=1024, description="Path relative to the card or below the source store, or s3://bucket/key."
    )
    privacy_unit: str | None = Field(
        default=None, description="Column that says whose row it is; left out: one row is one person."
    )
    max_rows_per_unit: int | None = Field(
        default=None, ge=1, le=1_000_000, description="How many rows of one unit count; needed with privacy_unit."
    )
    holdout: Holdout = Holdout()
    time_index: str | None = Field(default=None, description="Column by which rows are ordered in time.")
    public_rows: int | None = Field(default=None, ge=1, description="The row count, if it is public knowledge.")
    targets: tuple[str, ...] = Field(default=(), description="Columns that analysts usually predict.")
    protected: tuple[str, ...] = Field(default=(), description="Columns by which fairness is measured.")
    constraints: tuple[Constraint, ...] = Field(default=(), description="Relations that every true row satisfies.")
    budget: Budget | None = Field(default=None, description="Limit of all releases together; policies can only lower it.")
    budget_group: str | None = Field(
        default=None, pattern=NAME, description="Datasets about the same people share the ledger of this name."
    )
    columns: dict[str, Column] = Field(min_length=1, description="Every column, in the order of the table.")

    @field_validator("columns", mode="before")
    @classmethod
    def _from_canonical_form(cls, columns: object) -> object:
        """Canonical JSON writes columns as an array of objects with a name, because their order means something."""
        if not isinstance(columns, list):
            return columns
        named = [dict(column) for column in columns if isinstance(column, dict) and isinstance(column.get("name"), str)]
        names = [column.pop("name") for column in named]
        if len(names) != len(columns) or len(set(names)) != len(names):
            raise ValueError("columns are a mapping from name to column, or a list of columns with different names")
        return dict(zip(names, named, strict=True))

    @model_validator(mode="after")
    def _references_exist(self) -> Self:
        for where, names in (
            ("privacy_unit", (self.privacy_unit,)),
            ("time_index", (self.time_index,)),
            ("targets", self.targets),
            ("protected", self.protected),
            *(("constraints", constraint.columns) for constraint in self.constraints),
        ):
            for name in names:
                if name is not None and name not in self.columns:
                    raise ValueError(f"{where} names the column '{name}', which the card does not have")
        if self.privacy_unit is not None and self.max_rows_per_unit is None:
            raise ValueError("a privacy_unit needs max_rows_per_unit: how many rows of one unit may count")
        if self.privacy_unit is None and self.max_rows_per_unit is not None:
            raise ValueError("max_rows_per_unit needs a privacy_unit")
        if self.time_index is not None and not self.columns[self.time_index].is_temporal:
            raise ValueError(f"time_index names '{self.time_index}', which is neither a date nor a datetime")
        self._check_per_unit()
        if all(column.role == "identifier" for column in self.columns.values()):
            raise ValueError("every column is an identifier: there is nothing to learn")
        return self

    def _check_per_unit(self) -> None:
        named = {name for name, column in self.columns.items() if column.per_unit}
        if named and self.privacy_unit is None:
            raise ValueError(f"'{min(named)}' is per_unit, but the card names no privacy_unit")
        if self.time_index in named:
            raise ValueError(f"time_index names '{self.time_index}', which is per_unit: all rows of a unit would be at one time")
        for constraint in self.constraints:
            inside = named & set(constraint.columns)
            if constraint.relation in {"combinations", "=="} and inside and not inside >= set(constraint.columns):
                raise ValueError(
                    f"'{min(inside)}' is per_unit; so must be the other columns of the relation '{constraint.relation}'"
                )


class DatasetCard(Strict):
    """A dataset card as it stands in a file (contract: `kind: Dataset`)."""

    api_version: Literal["ticketgate/v1"] = Field(alias="apiVersion", description="The edition of this format.")
    kind: Literal["Dataset"] = Field(description="What the document is.")
    metadata: CardMetadata
    spec: CardSpec

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.metadata.name

    @property
    def columns(self) -> dict[str, Column]:
        """All columns in the order of the card."""
        return self.spec.columns

    @property
    def learnt(self) -> dict[str, Column]:
        """Columns that a generator may learn: all but identifiers."""
        return {name: column for name, column in self.columns.items() if column.role != "identifier"}

    @property
    def identifiers(self) -> tuple[str, ...]:
        """Columns that are never released and only replaced by synthetic keys."""
        return tuple(name for name, column in self.columns.items() if column.role == "identifier")

    @property
    def rows_per_unit(self) -> int:
        """The most rows of one privacy unit that may count: 1 where a row is a person."""
        return self.spec.max_rows_per_unit or 1

    @property
    def per_unit(self) -> tuple[str, ...]:
        """Columns in which all rows of one privacy unit have the same value."""
        return tuple(name for name, column in self.columns.items() if column.per_unit)

    def with_role(self, role: Role) -> tuple[str, ...]:
        """Names of the columns that have a role."""
        return tuple(name for name, column in self.columns.items() if column.role == role)
