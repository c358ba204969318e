"""Table ↔ codes, from the dataset card alone.

Responsible for `Field`: one or more card columns that become one or more model variables. A variable is a whole number
in [0, size); its last code is "missing" where the card allows missing values.

Invariants:
    - Nothing here looks at data to decide how to encode: bounds and values come from the card, or from `domains`, which pays.
    - Values beyond the bounds or outside the domain are clamped; how many were is told by `clamped` alone, which pays.
    - Identifier columns and free text are not encoded at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from generator.arrow import Array
from generator.arrow import compute as pc
from generator.base import BadTable
from generator.grids import Grid
from policies.columns import Column

__all__ = ["BooleanField", "CategoryField", "Codes", "Field", "NumberField", "Variable", "arrow_type"]

Codes = NDArray[np.int32]
CELLS = 512
LARGEST_WHOLE = 2.0**53
"""Up to here every whole number is a float of its own."""


def arrow_type(column: Column) -> pa.DataType:
    """The Arrow type in which a card column travels between rooms."""
    match column.type:
        case "integer":
            return pa.int64()
        case "number":
            return pa.float64()
        case "boolean":
            return pa.bool_()
        case "datetime":
            return pa.timestamp("us", tz=column.timezone)
        case "date":
            return pa.date32()
        case "category" | "text" | "id":
            return pa.string()


@dataclass(frozen=True, slots=True)
class Variable:
    """One attribute of a model.

    Attributes:
        name: Column name, or `column.part` for a part of it.
        size: How many codes, the missing one included.
        is_ordered: Whether neighbouring codes mean neighbouring values.
        missing: The code of missing values, or None.
        season: For days: the weekday of each code.
        is_season: Whether this variable is the weekday of the one before it, hence a function of it.
    """

    name: str
    size: int
    is_ordered: bool
    missing: int | None
    season: tuple[int, ...] | None = None
    is_season: bool = False


class Field(Protocol):
    """Columns that are encoded together."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Card columns that are read and written."""

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Model variables that stand for them."""

    def encode(self, batch: Mapping[str, Array]) -> list[Codes]:
        """Codes of each variable for the columns of one batch."""

    def decode(self, codes: Sequence[Codes], rng: np.random.Generator) -> dict[str, Array]:
        """Columns from codes; what a code leaves open is drawn."""


@dataclass(frozen=True, slots=True)
class CategoryField:
    """A category: the code is the place in its list of values.

    Attributes:
        name: The column.
        values: The domain.
        can_miss: Whether values can be missing.
        has_rest: Whether the last value stands for all others; else a value outside the domain counts as missing (as the
            last one where nothing can be missing).
    """

    name: str
    values: tuple[str, ...]
    can_miss: bool
    has_rest: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The column itself."""
        return (self.name,)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """One unordered variable."""
        size = len(self.values)
        return (Variable(self.name, size + self.can_miss, is_ordered=False, missing=size if self.can_miss else None),)

    def encode(self, batch: Mapping[str, Array]) -> list[Codes]:
        """Places in the list of values."""
        column = batch[self.name]
        places = pc.index_in(column, value_set=pa.array(self.values, pa.string()))
        if self.has_rest:
            places = pc.if_else(pc.and_(places.is_null(), column.is_valid()), pa.scalar(len(self.values) - 1, pa.int32()), places)
        return [_filled(places, len(self.values) - (not self.can_miss))]

    def decode(self, codes: Sequence[Codes], rng: np.random.Generator) -> dict[str, Array]:  # noqa: ARG002 - nothing is left open
        """Values at the places."""
        known = pa.array([*self.values, None] if self.can_miss else self.values, pa.string())
        return {self.name: known.take(pa.array(codes[0], pa.int32()))}

    def code_of(self, value: str) -> int | None:
        """The code of a value, or None where the domain lacks it."""
        return self.values.index(value) if value in self.values else None


@dataclass(frozen=True, slots=True)
class BooleanField:
    """A boolean: 0 is false, 1 is true."""

    name: str
    can_miss: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """The column itself."""
        return (self.name,)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """One unordered variable."""
        return (Variable(self.name, 2 + self.can_miss, is_ordered=False, missing=2 if self.can_miss else None),)

    def encode(self, batch: Mapping[str, Array]) -> list[Codes]:
        """0, 1 or missing (0 where nothing can be missing)."""
        return [_filled(pc.cast(batch[self.name], pa.int32()), 2 if self.can_miss else 0)]

    def decode(self, codes: Sequence[Codes], rng: np.random.Generator) -> dict[str, Array]:  # noqa: ARG002 - nothing is left open
        """Booleans."""
        return {self.name: pa.array([False, True, None], pa.bool_()).take(pa.array(codes[0], pa.int32()))}

    def code_of(self, value: str) -> int | None:
        """The code of `true` or `false`."""
        return {"false": 0, "true": 1}.get(value.lower())


@dataclass(frozen=True, slots=True)
class NumberField:
    """An integer or a number: the code is its cell in a grid. Missing counts as the lowest cell where the card excludes it."""

    name: str
    grid: Grid
    can_miss: bool
    is_whole: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """The column itself."""
        return (self.name,)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """One ordered variable."""
        size = self.grid.size
        return (Variable(self.name, size + self.can_miss, is_ordered=True, missing=size if self.can_miss else None),)

    def encode(self, batch: Mapping[str, Array]) -> list[Codes]:
        """Cells of the grid."""
        values = pc.cast(batch[self.name], pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        missing = np.isnan(values)
        codes = self.grid.encode(np.where(missing, self.grid.starts[0], values)).astype(np.int32)
        codes[missing] = self.grid.size if self.can_miss else 0
        return [codes]

    def decode(self, codes: Sequence[Codes], rng: np.random.Generator) -> dict[str, Array]:
        """Values drawn from the cells."""
        missing = codes[0] >= self.grid.size
        drawn = self.grid.decode(np.where(missing, 0, codes[0]).astype(np.int64), rng)
        return {self.name: self.to_arrow(drawn, missing)}

    def to_arrow(self, values: NDArray[np.float64], missing: NDArray[np.bool_]) -> Array:
        """Values in the column's Arrow type."""
        if self.is_whole:
            return pa.array(np.round(values).astype(np.int64), pa.int64(), mask=missing)
        if self.grid.step:
            digits = max(0, round(-np.log10(self.grid.step)))
            values = np.round(values, digits)
        return pa.array(values, pa.float64(), mask=missing)


def _filled(places: Array, instead: int) -> Codes:
    filled = pc.fill_null(places, pa.scalar(instead, places.type))
    return np.asarray(filled.to_numpy(zero_copy_only=False), np.int32)


def conform(batch: pa.RecordBatch | pa.Table, columns: Mapping[str, Column]) -> dict[str, Array]:
    """The card's columns of a batch in their Arrow types, NaN as missing.

    Raises:
        BadTable: a column is absent or cannot be read as its type; the message names the column and no value.
    """
    out: dict[str, Array] = {}
    for name, column in columns.items():
        place = batch.schema.get_field_index(name)
        if place < 0:
            raise BadTable(f"the table lacks the column '{name}' that the card describes")
        values = batch.column(place)
        array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        if isinstance(array, pa.ChunkedArray):
            array = pa.concat_arrays(array.chunks)
        kind = arrow_type(column)
        try:
            out[name] = array if array.type == kind else _cast(array, kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise BadTable(f"the column '{name}' cannot be read as {column.type}") from error
    return out


def _texts(numbers: Array) -> Array:
    """Floats as texts: whole numbers without a point, as codes are that a tool took for numbers."""
    is_whole = pc.and_(pc.equal(numbers, pc.floor(numbers)), pc.less(pc.abs(numbers), LARGEST_WHOLE))
    whole = pc.cast(pc.if_else(is_whole, numbers, pa.scalar(None, numbers.type)), pa.int64())
    return pc.coalesce(pc.cast(whole, pa.string()), pc.cast(numbers, pa.string()))


def _cast(array: Array, kind: pa.DataType) -> Array:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_floating(array.type) and not pa.types.is_floating(kind):
        array = pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
    if pa.types.is_string(kind) and pa.types.is_floating(array.type):
        return _texts(array)
    if pa.types.is_timestamp(kind) and pa.types.is_timestamp(array.type):
        if (array.type.tz is None) == (kind.tz is None):
            return pc.cast(array, kind, safe=False)
        if kind.tz is None:
            return pc.local_timestamp(array).cast(kind, safe=False)
        return pc.assume_timezone(array, kind.tz, ambiguous="earliest", nonexistent="latest").cast(kind, safe=False)
    return pc.cast(array, kind)
