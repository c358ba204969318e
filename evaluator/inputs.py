"""The three tables of an evaluation, checked once and encoded once.

Responsible for turning train, holdout and synthetic Arrow tables plus a dataset card into `Inputs`: typed by the card,
restricted to the columns a generator may learn, with numbers and joint category codes computed on demand and kept.

Invariants:
    - All three tables have the same columns with the card's types; missing is null; numbers are finite.
    - Train and holdout share no privacy unit (and no identifier), and do not share rows beyond what chance explains.
    - Identifier columns never reach a metric as a value; `keys` holds them for the one check that compares them.
    - Codes of a column come from one sorted domain over the three tables, so they do not depend on the order of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute
from scipy.stats import binom

from policies.card import DatasetCard
from policies.columns import Column, ColumnType

__all__ = ["ARROW_TYPES", "Inputs", "InputsInvalid", "Table", "check_inputs"]

if TYPE_CHECKING:
    from typing import TypeAlias

    Array: TypeAlias = pa.Array[Any]

pc: Any = pyarrow.compute
"""Arrow's kernels; the stubs describe overloads more narrowly than the kernels accept."""
Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]
Which = Literal["train", "holdout", "synthetic"]
WHICH: tuple[Which, ...] = ("train", "holdout", "synthetic")
T = TypeVar("T")

ARROW_TYPES: dict[ColumnType, pa.DataType] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "category": pa.string(),
    "text": pa.string(),
    "id": pa.string(),
    "boolean": pa.bool_(),
    "datetime": pa.timestamp("us"),
    "date": pa.date32(),
}
OVERLAP_ALPHA = 1e-9
"""How improbable rows shared by train and holdout must be before the split itself is called broken."""


class InputsInvalid(ValueError):
    """The tables cannot be evaluated: the sentence says which table or column, and why. It never quotes a value."""


@dataclass(frozen=True, slots=True)
class Table:
    """One of the three tables.

    Attributes:
        which: train, holdout or synthetic.
        arrow: Learnt columns in card order, with the card's Arrow types.
        units: For train and holdout the privacy unit of each row as codes 0…n_units-1 of this table; the row number
            where a row is a person. For synthetic always the row number.
        keys: Identifier columns as strings, where the table has them.
    """

    which: Which
    arrow: pa.Table
    units: Codes
    keys: dict[str, Array]
    _numbers: dict[str, Floats] = field(default_factory=dict, compare=False, repr=False)
    _codes: dict[str, Codes] = field(default_factory=dict, compare=False, repr=False)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.arrow.num_rows)

    @property
    def n_units(self) -> int:
        """Number of privacy units (rows where a row is a person)."""
        return int(self.units.max()) + 1 if len(self.units) else 0

    def column(self, name: str) -> Array:
        """A column as one Arrow array."""
        return self.arrow.column(name).combine_chunks()

    def numeric(self, name: str) -> Floats:
        """A column as float64, missing as NaN.

        Numbers as they are, booleans as 0 and 1, dates as days and datetimes as seconds since 1970. The array is shared:
        do not write to it.

        Raises:
            TypeError: the column holds text.
        """
        if name not in self._numbers:
            self._numbers[name] = _as_float(self.column(name))
        return self._numbers[name]

    def codes(self, name: str) -> Codes:
        """A column as codes into `Inputs.domain(name)`, missing as -1. The array is shared: do not write to it."""
        return self._codes[name]

    def missing(self, name: str) -> npt.NDArray[np.bool_]:
        """Which rows have no value in a column."""
        return cast("npt.NDArray[np.bool_]", self.column(name).is_null().to_numpy(zero_copy_only=False))


@dataclass(frozen=True, slots=True)
class Inputs:
    """Checked inputs of an evaluation.

    Attributes:
        columns: The learnt columns that are evaluated, in card order.
        seed: The one seed from which every random choice of the evaluation follows.
    """

    card: DatasetCard
    columns: dict[str, Column]
    train: Table
    holdout: Table
    synthetic: Table
    seed: int
    _domains: dict[str, Array] = field(default_factory=dict, compare=False, repr=False)
    _memo: dict[str, object] = field(default_factory=dict, compare=False, repr=False)

    @property
    def tables(self) -> tuple[Table, Table, Table]:
        """Train, holdout, synthetic."""
        return self.train, self.holdout, self.synthetic

    @property
    def has_units(self) -> bool:
        """Whether the privacy unit is more than a row."""
        return self.card.spec.privacy_unit is not None

    def numeric_columns(self) -> tuple[str, ...]:
        """Columns that can be ordered and subtracted: numbers, dates and times."""
        return tuple(name for name, column in self.columns.items() if column.is_numeric or column.is_temporal)

    def category_columns(self) -> tuple[str, ...]:
        """Columns that can only be compared: categories, booleans and text."""
        return tuple(name for name, column in self.columns.items() if not (column.is_numeric or column.is_temporal))

    def domain(self, name: str) -> Array:
        """Sorted distinct values of a column over the three tables; `Table.codes` point into it."""
        return self._domains[name]

    def once(self, key: str, compute: Callable[[], T]) -> T:
        """Compute a value that several metrics need once, and keep it. The value must depend on these inputs only."""
        if key not in self._memo:
            self._memo[key] = compute()
        return cast("T", self._memo[key])

    def generator(self, *purpose: str) -> np.random.Generator:
        """A random generator for one purpose: the same for the same seed and purpose, whatever ran before."""
        words = [int.from_bytes(word.encode()[:32], "big") for word in purpose]
        return np.random.default_rng(np.random.SeedSequence([self.seed, *words]))


def check_inputs(
    *,
    train: pa.Table,
    holdout: pa.Table,
    synthetic: pa.Table,
    card: DatasetCard,
    seed: int,
    columns: Sequence[str] | None = None,
) -> Inputs:
    """Check and encode the three tables of an evaluation.

    Args:
        train: The rows a generator was fitted on, identifiers included where the card has a privacy unit.
        holdout: Rows of the same population that no generator saw.
        synthetic: What the generator wrote. Identifier columns may be absent or hold synthetic keys.
        card: The dataset card; its types are enforced.
        seed: Non-negative; drives every sample the metrics take.
        columns: Evaluate these learnt columns only (a release of some columns); all by default.

    Raises:
        InputsInvalid: a column is absent or of the wrong type, a table is empty, a number is infinite, or train and
            holdout are not disjoint.
    """
    if seed < 0:
        raise InputsInvalid("the seed is a non-negative integer")
    chosen = _chosen_columns(card, columns)
    raw = {"train": train, "holdout": holdout, "synthetic": synthetic}
    tables = [_table(which, raw[which], card, chosen) for which in WHICH]
    inputs = Inputs(card, chosen, tables[0], tables[1], tables[2], seed)
    for name in chosen:
        inputs._domains[name] = _encode(name, inputs.tables)  # noqa: SLF001 - filled once, here, before anyone reads
    _check_disjoint(inputs, train, holdout)
    return inputs


def _chosen_columns(card: DatasetCard, columns: Sequence[str] | None) -> dict[str, Column]:
    if columns is None:
        return dict(card.learnt)
    unknown = [name for name in columns if name not in card.learnt]
    if unknown:
        raise InputsInvalid(f"the card has no learnt column {', '.join(map(repr, unknown))}")
    if not columns:
        raise InputsInvalid("no column is chosen")
    return {name: column for name, column in card.learnt.items() if name in set(columns)}


def _table(which: Which, table: pa.Table, card: DatasetCard, chosen: dict[str, Column]) -> Table:
    present = set(table.column_names)
    if len(present) != table.num_columns:
        raise InputsInvalid(f"the {which} table has two columns of the same name")
    absent = [name for name in chosen if name not in present]
    if absent:
        raise InputsInvalid(f"the {which} table lacks the column {absent[0]!r} of the card ({len(absent)} absent in all)")
    if table.num_rows == 0:
        raise InputsInvalid(f"the {which} table has no rows")
    arrow = pa.table({name: _typed(which, name, column, table.column(name)) for name, column in chosen.items()})
    unit = card.spec.privacy_unit
    units = np.arange(table.num_rows, dtype=np.int32)
    if unit is not None and which != "synthetic":
        if unit not in present:
            raise InputsInvalid(f"the {which} table lacks the privacy unit {unit!r}")
        column = table.column(unit).combine_chunks()
        if column.null_count:
            raise InputsInvalid(f"{column.null_count} rows of the {which} table have no privacy unit ({unit!r} is missing)")
        units = _decoded(column.dictionary_encode().indices).astype(np.int32)
    keys = {name: pc.cast(table.column(name).combine_chunks(), pa.string()) for name in card.identifiers if name in present}
    return Table(which, arrow, units, keys)


def _typed(which: Which, name: str, column: Column, values: Any) -> Array:
    array: Any = values.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    target = ARROW_TYPES[column.type]
    if column.type == "datetime" and pa.types.is_timestamp(array.type) and array.type.tz is not None:
        array = pc.local_timestamp(array)
    if pa.types.is_floating(array.type):
        array = pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
    try:
        array = pc.cast(array, target, safe=column.type not in ("number", "datetime"))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputsInvalid(f"the column {name!r} of the {which} table cannot be read as {column.type}") from error
    if column.type == "number" and pc.any(pc.is_inf(array)).as_py():
        raise InputsInvalid(f"the column {name!r} of the {which} table holds an infinite number")
    return cast("Array", array)


def _decoded(array: Array) -> npt.NDArray[np.generic]:
    return cast("npt.NDArray[np.generic]", array.to_numpy(zero_copy_only=False))


def _as_float(array: Array) -> Floats:
    kind = array.type
    if pa.types.is_timestamp(kind):
        seconds = pc.divide(pc.cast(pc.cast(array, pa.int64()), pa.float64(), safe=False), 1e6)
        return cast("Floats", _decoded(pc.fill_null(seconds, float("nan"))))
    if pa.types.is_date32(kind):
        array = pc.cast(array, pa.int32())
    if pa.types.is_string(kind):
        raise TypeError("text has no numeric view")
    return cast("Floats", _decoded(pc.fill_null(pc.cast(array, pa.float64(), safe=False), float("nan"))))


def _encode(name: str, tables: tuple[Table, ...]) -> Array:
    """Give each table its codes of a column over the joint sorted domain, and return that domain."""
    joint: Any = pa.chunked_array([table.column(name) for table in tables]).combine_chunks().dictionary_encode()
    order = _decoded(pc.array_sort_indices(joint.dictionary)).astype(np.int64)
    rank = np.empty(len(order) + 1, dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    rank[-1] = -1
    codes = rank[_decoded(pc.fill_null(joint.indices, len(order))).astype(np.int64)]
    start = 0
    for table in tables:
        table._codes[name] = codes[start : start + table.rows]  # noqa: SLF001 - filled once, while the inputs are made
        start += table.rows
    return cast("Array", joint.dictionary.take(pa.array(order)))


def _check_disjoint(inputs: Inputs, train: pa.Table, holdout: pa.Table) -> None:
    unit = inputs.card.spec.privacy_unit
    if unit is not None:
        shared = pc.sum(pc.is_in(pc.unique(train.column(unit)), value_set=pc.unique(holdout.column(unit)))).as_py()
        if shared:
            raise InputsInvalid(f"train and holdout share {shared} privacy units ({unit!r}): the holdout is not unseen")
        return
    for name, keys in inputs.train.keys.items():
        if name in inputs.holdout.keys:
            both = (keys.drop_null(), inputs.holdout.keys[name].drop_null())
            if any(len(pc.unique(side)) < len(side) for side in both):
                continue  # not a key of rows, so it can repeat without a row being shared
            if pc.any(pc.is_in(both[0], value_set=both[1])).as_py():
                raise InputsInvalid(f"train and holdout share values of the identifier {name!r}: the holdout is not unseen")
    if _overlap_p_value(inputs) < OVERLAP_ALPHA:
        raise InputsInvalid("train and holdout share more identical rows than chance explains: the holdout is not unseen")


def _overlap_p_value(inputs: Inputs) -> float:
    """Chance of so many twin rows (groups of exactly two) lying one in train, one in holdout, were the split random."""
    rows = np.vstack([np.concatenate([t.codes(name) for t in (inputs.train, inputs.holdout)]) for name in inputs.columns]).T
    _, group, size = np.unique(_row_hash(rows), return_inverse=True, return_counts=True)
    n_train, n_holdout = inputs.train.rows, inputs.holdout.rows
    twins = size == 2  # noqa: PLR2004 - a pair
    if not twins.any():
        return 1.0
    in_train = np.bincount(group[:n_train], minlength=len(size))[twins]
    total = n_train + n_holdout
    split = 2.0 * n_train * n_holdout / (total * (total - 1.0))
    return float(binom.sf(np.sum(in_train == 1) - 1, int(twins.sum()), split))


def _row_hash(rows: Codes) -> npt.NDArray[np.uint64]:
    """A 64-bit hash of each row of codes (equal rows, equal hash; others collide with probability 2⁻⁶⁴ a pair)."""
    hashed = np.zeros(len(rows), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for column in rows.T:
            hashed = (hashed ^ (column.astype(np.int64) + 2).astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
            hashed ^= hashed >> np.uint64(29)
    return hashed
