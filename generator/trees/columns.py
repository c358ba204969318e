"""Columns as numbers that a tree can split, and back.

Responsible for the two faces of a column: `features` (what trees read) and `values` (what donors give).

Invariants:
    - Lossless: a donor's value is returned exactly, missing included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from generator.arrow import Array
from generator.arrow import compute as pc
from generator.encoding import arrow_type
from policies.columns import Column

__all__ = ["TreeColumn"]

Floats = NDArray[np.float64]
MISSING = -1e18


@dataclass(frozen=True, slots=True)
class TreeColumn:
    """One train column.

    Attributes:
        name: Its name.
        column: Its line in the card.
        numbers: Ordered columns: values; others: place in `labels`. NaN where missing.
        labels: Distinct texts of a category, the frequent ones first; empty for ordered columns.
    """

    name: str
    column: Column
    numbers: Floats
    labels: tuple[str, ...]

    @classmethod
    def of(cls, name: str, column: Column, array: Array) -> TreeColumn:
        """Read an Arrow array in the card's type."""
        if column.type == "category":
            counts = sorted(pc.value_counts(array.drop_null()).to_pylist(), key=lambda c: (-c["counts"], c["values"]))
            labels = tuple(str(c["values"]) for c in counts)
            places = pc.index_in(array, value_set=pa.array(labels, pa.string()), skip_nulls=True)
            places = pc.if_else(pc.is_null(array), None, places)
            return cls(name, column, _floats(places), labels)
        whole = array
        if column.type == "datetime":
            whole = (array if column.timezone is None else pc.local_timestamp(array)).cast(pa.int64())
        elif column.type == "date":
            whole = array.cast(pa.int32())
        return cls(name, column, _floats(whole), ())

    @property
    def is_class(self) -> bool:
        """Whether a tree should predict classes rather than a number."""
        return (self.column.type == "category" and len(self.labels) <= 40) or self.column.type == "boolean"  # noqa: PLR2004

    def features(self, numbers: Floats) -> NDArray[np.float32]:
        """What trees split on: missing values lie below all others."""
        return np.where(np.isnan(numbers), MISSING, numbers).astype(np.float32)

    def to_arrow(self, numbers: Floats) -> Array:
        """The column's Arrow array."""
        missing = np.isnan(numbers)
        kind = arrow_type(self.column)
        filled = np.where(missing, 0, numbers)
        if self.column.type == "category":
            labels: Array = pa.array([*self.labels], pa.string())
            return labels.take(pa.array(filled.astype(np.int64), mask=missing))
        if self.column.type == "number":
            return pa.array(filled, kind, mask=missing)
        whole = pa.array(np.round(filled).astype(np.int64), mask=missing)
        match self.column.type:
            case "boolean":
                return whole.cast(pa.bool_())
            case "date":
                return whole.cast(pa.int32()).cast(kind)
            case "datetime":
                naive = whole.cast(pa.timestamp("us"))
                zone = self.column.timezone
                return naive if zone is None else pc.assume_timezone(naive, zone, ambiguous="earliest", nonexistent="latest")
            case _:
                return whole.cast(kind)

    def manifest(self) -> dict[str, Any]:
        """JSON-safe particulars for a saved model."""
        return {"name": self.name, "labels": list(self.labels)}


def _floats(array: Array) -> Floats:
    return np.asarray(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
