"""Relations that every true row satisfies, kept in every synthetic row.

Responsible for orders between two columns (a ≤ b) and for lists of allowed combinations.

Combinations are one variable, so that no other can be drawn. For orders the model never draws an impossible pair of bins
(`order_mask`), and values are drawn again inside their bins where they would violate it (`Orders.repair`).

Invariants:
    - Relations come from the card alone.
    - A relation says nothing about rows in which one of the values is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from generator.arrow import Array
from generator.arrow import compute as pc
from generator.base import GeneratorError
from generator.calendar import DAY, TimeField, micros_of
from generator.encoding import Codes, Field, NumberField, Variable
from generator.relations import copies
from policies.card import DatasetCard

__all__ = [
    "CombinationField", "Interval", "Order", "as_floats", "bin_interval", "from_floats", "order_mask", "orders_of",
    "repaired", "step_of_field",
]  # fmt: skip

Floats = NDArray[np.float64]
SECOND = 1_000_000.0


@dataclass(frozen=True, slots=True)
class CombinationField:
    """Category columns of which only listed combinations occur: one variable, the place in the list.

    A row outside the list, or with a missing value, counts as all missing (as the last combination where nothing can miss).
    """

    columns: tuple[str, ...]
    allowed: tuple[tuple[str, ...], ...]
    can_miss: bool

    @property
    def variables(self) -> tuple[Variable, ...]:
        """One unordered variable."""
        size = len(self.allowed)
        name = "+".join(self.columns)
        return (Variable(name, size + self.can_miss, is_ordered=False, missing=size if self.can_miss else None),)

    def encode(self, batch: Mapping[str, Array]) -> list[Codes]:
        """Places in the list of combinations."""
        keys = pa.array(["\x1f".join(row) for row in self.allowed], pa.string())
        texts = pc.binary_join_element_wise(*(batch[name].cast(pa.string()) for name in self.columns), "\x1f")
        places = pc.index_in(texts, value_set=keys).fill_null(len(self.allowed) - (not self.can_miss))
        return [np.asarray(places.to_numpy(zero_copy_only=False), np.int32)]

    def decode(self, codes: Sequence[Codes], rng: np.random.Generator) -> dict[str, Array]:  # noqa: ARG002 - nothing is left open
        """Values of the combinations."""
        place = pa.array(codes[0], pa.int32())
        tail = [None] if self.can_miss else []
        return {
            name: pa.array([*(row[i] for row in self.allowed), *tail], pa.string()).take(place)
            for i, name in enumerate(self.columns)
        }


@dataclass(frozen=True, slots=True)
class Order:
    """`low` ≤ `high` (or <) between two columns, `gap` apart at least."""

    low: str
    high: str
    gap: float


def orders_of(card: DatasetCard, fields: Sequence[Field]) -> tuple[Order, ...]:
    """All order relations as ≤ with a least gap, implied ones included; a copied column is named by the one it is copied from."""
    by_name = {name: field for field in fields for name in field.columns}
    same = copies(card)
    gaps: dict[tuple[str, str], float] = {}
    for constraint in card.spec.constraints:
        if constraint.relation in {"combinations", "=="}:
            continue
        a, b = (same.get(name, name) for name in constraint.columns)
        if a == b:
            continue
        strict = _unit(by_name[a], by_name[b]) if constraint.relation in {"<", ">"} else 0.0
        pair = (a, b) if constraint.relation.startswith("<") else (b, a)
        gaps[pair] = max(strict, gaps.get(pair, 0.0))
    for middle in by_name:
        for a, x in list(gaps):
            for y, b in list(gaps):
                if x == middle == y and a != b:
                    gaps[a, b] = max(gaps.get((a, b), 0.0), gaps[a, x] + gaps[y, b])
    return tuple(Order(a, b, gap) for (a, b), gap in gaps.items())


def _unit(a: Field, b: Field) -> float:
    if isinstance(a, TimeField) and isinstance(b, TimeField):
        return SECOND if a.has_hours and b.has_hours else float(DAY)
    return max((f.grid.step for f in (a, b) if isinstance(f, NumberField)), default=0.0) or 1e-9


@dataclass(frozen=True, slots=True)
class Interval:
    """Least and greatest value of each bin or row, in the column's own unit (microseconds for times)."""

    low: Floats
    high: Floats


def cell_interval(field: Field) -> Interval:
    """Least and greatest value of each cell of a column's first variable."""
    if isinstance(field, NumberField):
        return Interval(field.grid.starts, field.grid.ends())
    if isinstance(field, TimeField):
        first, last = field.spans()
        low = np.maximum(first * DAY, micros_of(field.low))
        last = (last + 1) * DAY - SECOND if field.has_hours else last * DAY
        high = np.minimum(last, micros_of(field.high) // 1_000_000 * 1_000_000)
        return Interval(low, np.maximum(low, high))
    raise GeneratorError("only numbers and times have intervals")


def bin_interval(field: Field, of_cell: NDArray[np.int64], size: int) -> Interval:
    """Least and greatest value of each bin; infinite for a bin that is only missing values."""
    cells = cell_interval(field)
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    body = of_cell[: cells.low.size]
    np.minimum.at(low, body, cells.low)
    np.maximum.at(high, body, cells.high)
    return Interval(low, high)


def order_mask(low: Interval, high: Interval, gap: float) -> Floats:
    """1 where a bin of the lesser column can stand beside a bin of the greater one."""
    possible = low.low[:, None] + gap <= high.high[None, :]
    only_missing = ~np.isfinite(low.low)[:, None] | ~np.isfinite(high.low)[None, :]
    return (possible | only_missing).astype(np.float64)


def repaired(
    values: Mapping[str, Floats], missing: Mapping[str, NDArray[np.bool_]], spans: Mapping[str, Interval],
    orders: Sequence[Order], steps: Mapping[str, float], rng: np.random.Generator,
) -> dict[str, Floats]:  # fmt: skip
    """Values in which every order holds; rows that violate one get new values within their spans.

    Args:
        values: Drawn values by column.
        missing: Which of them are missing.
        spans: From where to where each row's value may be drawn.
        orders: The orders, implied ones included.
        steps: Spacing of possible values by column; 0 where they are continuous.
        rng: Drives the draws.
    """
    out = {name: column.copy() for name, column in values.items()}
    top = {name: spans[name].high.copy() for name in values}
    for order in orders:
        both = ~missing[order.low] & ~missing[order.high]
        limit = np.where(both, spans[order.high].high - order.gap, np.inf)
        top[order.low] = np.minimum(top[order.low], limit)
    for name in _sorted(list(values), orders):
        floor = spans[name].low.copy()
        for order in orders:
            if order.high == name:
                both = ~missing[order.low] & ~missing[name]
                floor = np.maximum(floor, np.where(both, out[order.low] + order.gap, -np.inf))
        bad = ~missing[name] & ((out[name] < floor) | (out[name] > top[name]))
        out[name][bad] = _between(floor[bad], top[name][bad], steps[name], rng)
    return out


def _between(low: Floats, high: Floats, step: float, rng: np.random.Generator) -> Floats:
    if not step:
        return low + np.maximum(high - low, 0.0) * rng.random(low.size)
    start = np.ceil(low / step - 1e-6) * step
    count = np.maximum(np.floor((high - start) / step + 1e-6), 0.0)
    return np.asarray(start + np.floor(rng.random(low.size) * (count + 1)) * step)


def as_floats(field: Field, array: Array) -> tuple[Floats, NDArray[np.bool_]]:
    """Values of a column in its own unit (microseconds for times) and which are missing."""
    if isinstance(field, TimeField):
        micros, missing = field.to_micros(array)
        return micros.astype(np.float64), missing
    values = np.asarray(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
    return np.nan_to_num(values), np.isnan(values)


def from_floats(field: Field, values: Floats, missing: NDArray[np.bool_]) -> Array:
    """A column of such values; those beyond the bounds are missing where the column can be, else the nearest bound.

    Raises:
        GeneratorError: the column is neither a number nor a time.
    """
    cells = cell_interval(field)
    low, high = cells.low.min(), cells.high.max()
    can_miss = getattr(field, "can_miss", False)
    absent = missing | (can_miss & ((values < low) | (values > high)))
    known = np.where(absent, low, np.clip(values, low, high))
    if isinstance(field, TimeField):
        return field.to_arrow(known.astype(np.int64), absent)
    if isinstance(field, NumberField):
        return field.to_arrow(known, absent)
    raise GeneratorError("only numbers and times have an order")


def step_of_field(field: Field) -> float:
    """Spacing of a column's possible values in its own unit."""
    if isinstance(field, TimeField):
        return SECOND if field.has_hours else float(DAY)
    return field.grid.step if isinstance(field, NumberField) else 0.0


def _sorted(names: list[str], orders: Sequence[Order]) -> list[str]:
    """Lesser columns first."""
    return sorted(names, key=lambda name: sum(order.high == name for order in orders))
