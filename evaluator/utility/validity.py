"""Can these rows exist? What the card allows, and the relations that every true row satisfies.

Responsible for `utility.validity` (rows all of whose values lie in the card's bounds and lists), `utility.constraints` (rows
that keep every stated relation) and their share column by column and relation by relation.

Invariants:
    - Only the card's public statements are checked; train's own share stands beside, because a card can be wrong too.
    - A missing value breaks a column that the card declares without missing values, and keeps every relation.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import UTC
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from evaluator.statistics import Rate, wilson
from evaluator.utility.intervals import CONFIDENCE
from evaluator.utility.tables import SECONDS_PER_DAY, Measured, Side, Tables
from policies.card import Constraint
from policies.metrics import MetricResult

__all__ = ["measure"]

Flags = npt.NDArray[np.bool_]
ORDER: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}


def measure(tables: Tables) -> dict[str, MetricResult]:
    """Validity and constraints."""
    return {"utility.validity": _validity(tables), "utility.constraints": _constraints(tables)}


def _share(name: str, flags: Flags, train: Flags, detail: Mapping[str, Any]) -> MetricResult:
    rate = Rate(int(flags.sum()), len(flags))
    value = float(flags.mean())
    low, high = wilson(rate, CONFIDENCE)
    return MetricResult(
        value=value,
        interval=(min(low, value), max(high, value)),
        confidence=CONFIDENCE,
        n=len(flags),
        direction="higher",
        method=f"{name}; Wilson",
        detail={"train": float(train.mean()), **detail},
    )


def _validity(tables: Tables) -> MetricResult:
    good: dict[Side, Flags] = {side: np.ones(tables.rows[side], dtype=np.bool_) for side in ("train", "synthetic")}
    by_column: dict[str, float] = {}
    for column in tables.columns.values():
        flags = {side: _allowed(column, side) for side in good}
        by_column[column.name] = float(flags["synthetic"].mean())
        good = {side: good[side] & flags[side] for side in good}
    broken = sorted((name for name, share in by_column.items() if share < 1), key=lambda name: (by_column[name], name))
    detail = {"by_column": {name: by_column[name] for name in broken[:20]}, "columns_broken": len(broken)}
    return _share("share of rows that the card allows", good["synthetic"], good["train"], detail)


def _allowed(column: Measured, side: Side) -> Flags:
    missing = column.missing(side)
    inside = np.ones(len(missing), dtype=np.bool_)
    bounds = _bounds(column)
    if bounds is not None:
        values = column.values[side]
        inside = (values >= bounds[0]) & (values <= bounds[1])
    elif column.spec.values is not None:
        listed = np.array([label in set(column.spec.values) for label in column.labels])
        inside = listed[column.codes[side]]
    return np.asarray(np.where(missing, column.spec.missing, inside), dtype=np.bool_)


def _bounds(column: Measured) -> tuple[float, float] | None:
    """Public bounds in the unit of the values."""
    times = column.spec.time_bounds()
    if times is None:
        return column.spec.number_bounds()
    low, high = (moment.replace(tzinfo=UTC).timestamp() for moment in times)
    return (low, high) if column.spec.type == "datetime" else (low, high // SECONDS_PER_DAY * SECONDS_PER_DAY)


def _constraints(tables: Tables) -> MetricResult:
    usable = [rule for rule in tables.card.spec.constraints if all(name in tables.columns for name in rule.columns)]
    if not usable:
        return MetricResult.not_applicable(direction="higher", method="share of rows", why="the card states no relation")
    good: dict[Side, Flags] = {side: np.ones(tables.rows[side], dtype=np.bool_) for side in ("train", "synthetic")}
    by_rule = []
    for rule in usable:
        flags = {side: _keeps(tables, rule, side) for side in good}
        by_rule.append({"columns": list(rule.columns), "relation": rule.relation, "share": float(flags["synthetic"].mean())})
        good = {side: good[side] & flags[side] for side in good}
    return _share("share of rows that keep every relation", good["synthetic"], good["train"], {"by_relation": by_rule})


def _keeps(tables: Tables, rule: Constraint, side: Side) -> Flags:
    columns = [tables.columns[name] for name in rule.columns]
    unknown = np.any([column.missing(side) for column in columns], axis=0)
    if rule.relation == "combinations":
        return np.asarray(unknown | _listed(tables, rule, side))
    first, second = (column for column in columns)
    compare = ORDER[rule.relation]
    if first.is_continuous and second.is_continuous:
        return np.asarray(unknown | compare(first.values[side], second.values[side]))
    left, right = (np.asarray(_text(tables, column.name, side)) for column in (first, second))
    return np.asarray(unknown | compare(left, right))


def _listed(tables: Tables, rule: Constraint, side: Side) -> Flags:
    allowed = set(rule.allowed or ())
    rows = zip(*(_text(tables, name, side) for name in rule.columns), strict=True)
    return np.fromiter((row in allowed for row in rows), dtype=np.bool_, count=tables.rows[side])


def _text(tables: Tables, name: str, side: Side) -> list[str]:
    """Values as text, as a card writes them."""
    column = tables.columns[name]
    if not column.is_continuous:
        return [column.labels[code] for code in column.codes[side]]
    table = {"train": tables.inputs.train, "holdout": tables.inputs.holdout, "synthetic": tables.inputs.synthetic}[side]
    values = table.column(name).to_pylist()
    return [_written(value) for value in values]


def _written(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
