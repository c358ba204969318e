"""Groups of people by a column: who a synthetic table may serve worse than others.

Responsible for `Groups`: the values of a category or boolean, or the quarters of a number, as one group each.

Invariants:
    - A group is named only if at least 20 privacy units of train are in it; smaller ones together are "(others)".
    - Rows without a value are in no group.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np

from evaluator.utility.coverage import RARE_UNITS, units_per_code
from evaluator.utility.tables import SIDES, IntArray, Measured, Side, Tables
from policies.card import DatasetCard

__all__ = ["OTHERS", "Groups", "grouping_columns", "groups_of"]

MAX_GROUPS: Final = 20
QUARTERS: Final = 4
OTHERS: Final = "(others)"
MAX_COLUMNS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """The groups of a column.

    Attributes:
        labels: Names of the groups.
        members: For each table the group of each row, -1 for none.
    """

    column: str
    labels: tuple[str, ...]
    members: dict[Side, IntArray]

    def count(self, side: Side) -> IntArray:
        """Rows of each group."""
        members = self.members[side]
        return np.bincount(members[members >= 0], minlength=len(self.labels)).astype(np.int64)


def grouping_columns(tables: Tables) -> tuple[str, ...]:
    """The card's protected columns; where it names none, its categorical quasi-identifiers with few values."""
    protected = tuple(name for name in tables.card.spec.protected if name in tables.columns)
    return protected or _few_valued(tables, tables.card)


def _few_valued(tables: Tables, card: DatasetCard) -> tuple[str, ...]:
    names = [name for name in card.with_role("quasi-identifier") if name in tables.columns]
    found = [name for name in names if not tables.columns[name].is_continuous and len(tables.columns[name].labels) <= MAX_GROUPS]
    return tuple(found[:MAX_COLUMNS])


def groups_of(tables: Tables, name: str) -> Groups:
    """The groups of a column; made once."""
    return tables.inputs.once(f"utility.groups.{name}", lambda: _groups(tables, tables.columns[name]))


def _groups(tables: Tables, column: Measured) -> Groups:
    if column.is_continuous:
        return _quarters(column)
    holders = units_per_code(tables, column, "train")
    holders[0] = 0
    order = [int(code) for code in np.argsort(-holders, kind="stable") if holders[code] >= RARE_UNITS][:MAX_GROUPS]
    place = np.full(len(column.labels), len(order), dtype=np.int64)
    place[order], place[0] = np.arange(len(order)), -1
    members = {side: place[column.codes[side]] for side in SIDES}
    labels = [column.labels[code] for code in order]
    rest = any(bool(np.any(codes == len(order))) for codes in members.values())
    return Groups(column=column.name, labels=(*labels, OTHERS) if rest else tuple(labels), members=members)


def _quarters(column: Measured) -> Groups:
    present = column.present("train")
    edges = (
        np.unique(np.quantile(present, np.linspace(0, 1, QUARTERS + 1)[1:-1], method="lower")) if len(present) else np.empty(0)
    )
    members = {}
    for side in SIDES:
        values = column.values[side]
        members[side] = np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="left")).astype(np.int64)
    bounds = [f"{edge:g}" for edge in edges]
    labels = [f"up to {bounds[0]}"] if bounds else ["all"]
    labels += [f"{low} to {high}" for low, high in itertools.pairwise(bounds)]
    labels += [f"above {bounds[-1]}"] if bounds else []
    return Groups(column=column.name, labels=tuple(labels), members=members)
