"""What all rows of a unit share: its attributes, kept equal in all its synthetic rows.

Responsible for columns that a card states to be `per_unit`: which rows are alike in them, and the one value that the rows of a
unit get.

Invariants:
    - Everything here is post-processing of drawn rows; that a column is constant within a unit is the card's public statement.
    - Orders between a shared column and one that varies hold in every row afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from generator.arrow import Array
from generator.constraints import Order, as_floats, from_floats
from generator.encoding import Field
from policies.card import DatasetCard

__all__ = ["likeness", "shared"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
LARGEST = 1 << 62


def likeness(card: DatasetCard, fields: Sequence[Field], codes: Sequence[Integers]) -> Integers | None:
    """A number per row; rows with near numbers share most of what the card states to be shared. None where nothing is."""
    named = set(card.per_unit)
    columns: list[tuple[int, Integers]] = []
    place = 0
    for field in fields:
        for variable in field.variables:
            if named & set(field.columns):
                columns.append((variable.size, codes[place]))
            place += 1
    if not columns:
        return None
    key, span = np.zeros(len(columns[0][1]), np.int64), 1
    for size, code in sorted(columns, key=lambda column: column[0]):
        if span * size >= LARGEST:
            break
        key, span = key * size + code, span * size
    return key


def shared(
    columns: Mapping[str, Array], first: Integers, *, card: DatasetCard, fields: Sequence[Field], orders: Sequence[Order]
) -> dict[str, Array]:
    """The shared columns with one value for all rows of a unit.

    Args:
        columns: Drawn columns; all orders hold in each row.
        first: By row, the row that is the first of the same unit.
        card: The dataset card.
        fields: How columns are encoded.
        orders: Orders between columns, implied ones included.
    """
    by_name = {name: field for field in fields for name in field.columns}
    out: dict[str, Array] = {}
    for name in set(card.per_unit) & set(columns):
        taken: Any = columns[name].take(pa.array(first))
        rows = [order for order in orders if name in (order.low, order.high) and not _both_shared(order, card)]
        out[name] = _moved(name, taken, first, columns, by_name, rows) if rows else taken
    return out


def _both_shared(order: Order, card: DatasetCard) -> bool:
    return order.low in card.per_unit and order.high in card.per_unit


def _moved(
    name: str, taken: Array, first: Integers, columns: Mapping[str, Array], fields: Mapping[str, Field], orders: Sequence[Order]
) -> Array:
    """A shared value moved as far as the varying columns of the unit's rows demand; missing where that leaves its bounds."""
    values, missing = as_floats(fields[name], taken)
    for order in orders:
        is_low = order.low == name
        other, absent = as_floats(fields[order.high if is_low else order.low], columns[order.high if is_low else order.low])
        limit = np.full(first.size, np.inf)
        np.minimum.at(limit, first, np.where(absent, np.inf, other - order.gap if is_low else -(other + order.gap)))
        values = np.minimum(values, limit[first]) if is_low else np.maximum(values, -limit[first])
    return from_floats(fields[name], values, missing)
