"""The dataset card: what a steward states in public about a confidential table.

Responsible for the shape of `kind: Dataset` documents and for the questions that other rooms ask of them.

Invariants:
    - Everything in a card is public knowledge. Nothing in it is ever read off the data.
    - Unknown keys are errors. A card that was constructed has consistent types, roles, bounds and references.
    - A bound or a domain that is absent means: not publicly known, so a DP generator must pay for estimating it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, Self

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from policies.columns import NAME, CategoryValue, Column, Role, Strict
from policies.quantities import Duration

__all__ = [
    "Budget",
    "BudgetWindow",
    "CardMetadata",
    "CardSpec",
    "Constraint",
    "DatasetCard",
    "Holdout",
]


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
