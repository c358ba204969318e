"""The three tables as aligned arrays: what every utility and fairness metric reads.

Responsible for turning the columns of checked inputs into numbers (NaN where missing) or into codes of one shared
dictionary, once, for bins of them, and for equally large parts of train and holdout.

Invariants:
    - Identifiers are never measured; text is measured by its length.
    - Code 0 of a discrete column means missing; the other codes follow the sorted values, so they do not depend on row order.
    - A synthetic row belongs to the unit that its synthetic key names; without such keys it stands alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from evaluator.inputs import Inputs, Table
from policies.card import DatasetCard
from policies.columns import Column

__all__ = ["SIDES", "FloatArray", "IntArray", "Measured", "Side", "Tables", "tables_of"]

pc: Any = pyarrow.compute
Side = Literal["train", "holdout", "synthetic"]
SIDES: Final[tuple[Side, ...]] = ("train", "holdout", "synthetic")
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BINS: Final = 10
SECONDS_PER_DAY: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One column of all three tables.

    Attributes:
        values: Continuous columns: numbers, seconds since 1970, or lengths of texts; NaN where missing.
        codes: Discrete columns: index into `labels`; 0 is missing.
        labels: Discrete columns: the values behind the codes, `labels[0]` standing for missing.
    """

    name: str
    spec: Column
    is_continuous: bool
    values: Mapping[Side, FloatArray]
    codes: Mapping[Side, IntArray]
    labels: tuple[str, ...] = ()

    def missing(self, side: Side) -> npt.NDArray[np.bool_]:
        """Which rows of a table lack a value."""
        return np.isnan(self.values[side]) if self.is_continuous else self.codes[side] == 0

    def present(self, side: Side) -> FloatArray:
        """The values of a continuous column that are not missing."""
        values = self.values[side]
        return values[~np.isnan(values)]


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Train, holdout and synthetic, column by column."""

    inputs: Inputs
    rows: Mapping[Side, int]
    columns: Mapping[str, Measured]
    units: Mapping[Side, IntArray | None]
    _bins: dict[tuple[str, int], tuple[dict[Side, IntArray], int]] = field(default_factory=dict, repr=False)

    @property
    def card(self) -> DatasetCard:
        """The dataset card."""
        return self.inputs.card

    @cached_property
    def continuous(self) -> tuple[Measured, ...]:
        """Columns with an order and a distance."""
        return tuple(column for column in self.columns.values() if column.is_continuous)

    @cached_property
    def discrete(self) -> tuple[Measured, ...]:
        """Columns of unordered values."""
        return tuple(column for column in self.columns.values() if not column.is_continuous)

    def blocks(self, side: Side) -> IntArray:
        """For each row the number of its privacy unit; every row its own where a row is a person."""
        units = self.units[side]
        return np.arange(self.rows[side]) if units is None else units

    @cached_property
    def effective(self) -> Mapping[Side, float]:
        """Rows that count as independent: Kish's (Σm)²/Σm² over the rows m of each privacy unit."""
        return {side: _kish(self.units[side], self.rows[side]) for side in SIDES}

    @cached_property
    def matched(self) -> Mapping[Side, IntArray]:
        """Row numbers of equally large random parts T1 and H1 of train and holdout, in whole privacy units."""
        size = min(self.rows["train"], self.rows["holdout"])
        return {side: self._part(side, size) for side in ("train", "holdout")}

    def _part(self, side: Side, size: int) -> IntArray:
        blocks = self.blocks(side)
        order = self.inputs.generator("utility.matched", side).permutation(int(blocks.max()) + 1 if len(blocks) else 0)
        rank = order[blocks]
        by_unit = np.argsort(rank, kind="stable")
        return np.sort(by_unit[:size])

    def binned(self, name: str, bins: int = BINS) -> tuple[Mapping[Side, IntArray], int]:
        """Codes of any column and how many there are: numbers cut at quantiles of train, 0 is missing.

        A value that fills more than one quantile (many zeros) is a bin of its own.
        """
        key = (name, bins)
        if key not in self._bins:
            column = self.columns[name]
            self._bins[key] = _cut(column, bins) if column.is_continuous else (dict(column.codes), len(column.labels))
        return self._bins[key]


def _kish(units: IntArray | None, rows: int) -> float:
    if units is None or rows == 0:
        return float(rows)
    counts = np.bincount(units).astype(np.float64)
    return float(counts.sum() ** 2 / np.square(counts).sum())


def _cut(column: Measured, bins: int) -> tuple[dict[Side, IntArray], int]:
    present = column.present("train")
    inner = np.quantile(present, np.linspace(0, 1, bins + 1)[1:-1], method="lower") if len(present) else np.empty(0)
    edges = np.unique(inner)
    codes: dict[Side, IntArray] = {}
    for side in SIDES:
        values = column.values[side]
        codes[side] = np.where(np.isnan(values), 0, 1 + np.searchsorted(edges, values, side="left")).astype(np.int64)
    return codes, len(edges) + 2


def tables_of(inputs: Inputs) -> Tables:
    """The arrays of checked inputs; made once and shared by all utility and fairness metrics."""
    return inputs.once("utility.tables", lambda: _tables(inputs))


def _tables(inputs: Inputs) -> Tables:
    sides: dict[Side, Table] = {"train": inputs.train, "holdout": inputs.holdout, "synthetic": inputs.synthetic}
    return Tables(
        inputs=inputs,
        rows={side: table.rows for side, table in sides.items()},
        columns={name: _measured(name, spec, inputs, sides) for name, spec in inputs.columns.items()},
        units={side: _units(table, inputs) for side, table in sides.items()},
    )


def _units(table: Table, inputs: Inputs) -> IntArray | None:
    unit = inputs.card.spec.privacy_unit
    if unit is None:
        return None
    if table.which != "synthetic":
        return table.units.astype(np.int64)
    keys = table.keys.get(unit)
    if keys is None:
        return table.codes(unit).astype(np.int64) + 1 if unit in inputs.columns else None
    indices = keys.dictionary_encode(null_encoding="encode").indices
    return np.asarray(indices.to_numpy(zero_copy_only=False), dtype=np.int64)


def _measured(name: str, spec: Column, inputs: Inputs, sides: Mapping[Side, Table]) -> Measured:
    if spec.is_numeric or spec.is_temporal:
        values = {side: table.numeric(name) for side, table in sides.items()}
        if spec.type == "date":
            values = {side: days * SECONDS_PER_DAY for side, days in values.items()}
        return Measured(name=name, spec=spec, is_continuous=True, values=values, codes={})
    if spec.type == "text":
        values = {side: _lengths(table.column(name)) for side, table in sides.items()}
        return Measured(name=name, spec=spec, is_continuous=True, values=values, codes={})
    labels = tuple(_label(value) for value in inputs.domain(name).to_pylist())
    codes = {side: table.codes(name).astype(np.int64) + 1 for side, table in sides.items()}
    return Measured(name=name, spec=spec, is_continuous=False, values={}, codes=codes, labels=("", *labels))


def _label(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _lengths(column: Any) -> FloatArray:
    lengths = pc.cast(pc.utf8_length(column), pa.float64())
    return np.asarray(pc.fill_null(lengths, float("nan")).to_numpy(zero_copy_only=False), dtype=np.float64)
