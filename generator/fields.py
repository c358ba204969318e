"""From a dataset card to the fields that encode its columns.

Responsible for choosing the field of each column, for fake text, and for naming what the card leaves open.

Invariants:
    - Identifiers and text are never encoded: identifiers become synthetic keys, text becomes fake text.
    - A column whose bounds or values the card leaves open is only encoded with an estimate that was paid for.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import cast

from generator.base import GeneratorError
from generator.calendar import TimeField, day_of, groups_of
from generator.constraints import CombinationField
from generator.encoding import CELLS, BooleanField, CategoryField, Field, NumberField
from generator.grids import make_grid, outwards, step_of
from generator.relations import copies, is_open, learnt, possible_bounds
from policies.card import Constraint, DatasetCard
from policies.columns import Column

__all__ = ["make_fields", "texts"]

DAYS = 4096
"""More days than these are cells of several days, unless parts group them."""
Known = tuple[str, ...] | tuple[float, float] | tuple[datetime, datetime]


def texts(card: DatasetCard) -> tuple[str, ...]:
    """Columns of free text: nothing of them is learnt; they are filled with fake text."""
    return tuple(name for name, column in card.learnt.items() if column.type == "text")


def make_fields(card: DatasetCard, estimated: Mapping[str, Known], *, cells: int = CELLS) -> tuple[Field, ...]:
    """The fields of all columns that can be learnt, in the order of the card.

    Args:
        card: The dataset card.
        estimated: Domains of open columns: values of a category, or bounds.
        cells: At most about how many cells a number is cut into.

    Raises:
        GeneratorError: a column is open and was not estimated.
    """
    joined: dict[str, CombinationField] = {}
    for constraint in card.spec.constraints:
        if constraint.relation == "combinations":
            joined |= dict.fromkeys(constraint.columns, _combination(card, constraint))
    same = copies(card)
    made: list[Field] = []
    for name in learnt(card):
        if name in joined:
            if joined[name] not in made:
                made.append(joined[name])
        elif name not in same:
            made.append(make_field(name, card.columns[name], estimated.get(name), cells=cells))
    return tuple(made)


def _combination(card: DatasetCard, constraint: Constraint) -> CombinationField:
    can_miss = any(card.columns[name].missing for name in constraint.columns)
    return CombinationField(constraint.columns, constraint.allowed or (), can_miss)


def make_field(name: str, column: Column, estimated: Known | None, *, cells: int) -> Field:
    """The field of one column."""
    if is_open(column) and estimated is None:
        raise GeneratorError(f"the card states neither bounds nor values of '{name}', and nothing was paid to estimate them")
    if column.type == "category":
        values = column.values or cast("tuple[str, ...]", estimated)
        return CategoryField(name, values, column.missing, has_rest=column.values is None)
    if column.type == "boolean":
        return BooleanField(name, column.missing)
    if column.is_numeric:
        whole = column.type == "integer"
        step = step_of(column.decimals, whole=whole)
        low, high = possible_bounds(column) or outwards(*cast("tuple[float, float]", estimated), step=step)
        grid = make_grid(low, high, step=step, cells=cells)
        return NumberField(name, grid, column.missing, whole)
    start, end = column.time_bounds() or cast("tuple[datetime, datetime]", estimated)
    days = make_grid(float(day_of(start)), float(day_of(end)), step=1.0, cells=1 << 20)
    if days.size > DAYS and (column.parts is None or groups_of(days, column.parts) is None):
        days = make_grid(float(day_of(start)), float(day_of(end)), step=1.0, cells=DAYS)
    return TimeField(name, start, end, days, column.timezone, column.missing, column.type == "datetime", column.parts)
