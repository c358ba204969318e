"""Profile a source table for its steward: aggregates that help to write and to check a card.

Invariants:
    - Aggregates only. No smallest or largest value, no category that the card does not list; quantiles only above 100 values,
      to three digits.
    - Everything is JSON-safe and finite.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute

from policies.card import DatasetCard
from policies.columns import Column
from policies.tables import read_table

__all__ = ["profile", "profile_file", "scan_file"]

compute: Any = pyarrow.compute
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
LEAST_FOR_QUANTILES = 100
DIGITS = 3


def profile(table: pa.Table, *, card: DatasetCard | None = None) -> dict[str, Any]:
    """Describe a table in aggregates.

    Args:
        table: As read by `policies.tables`.
        card: Adds roles, shares outside bounds, listed categories, rows per unit and uniqueness of quasi-identifiers.

    Returns:
        `rows`, `duplicate_rows`, `columns` (name → facts), `units` and `uniqueness` (None without a card that names them).
    """
    columns = {name: _column(table.column(name), card.columns.get(name) if card else None) for name in table.column_names}
    quasi = [name for name in card.with_role("quasi-identifier") if name in table.column_names] if card else []
    unit = card.spec.privacy_unit if card else None
    return {
        "rows": table.num_rows,
        "duplicate_rows": table.num_rows - _groups(table, table.column_names).num_rows if table.num_rows else 0,
        "columns": columns,
        "units": _units(table, unit, card.rows_per_unit) if card and unit is not None else None,
        "uniqueness": _uniqueness(table, quasi) if quasi and table.num_rows else None,
    }


def profile_file(path: str, card: dict[str, Any] | None = None) -> dict[str, Any]:
    """`profile` of a file, for a bounded child process; the card as JSON."""
    known = None if card is None else DatasetCard.model_validate(card)
    read = read_table(Path(path), card=known)
    return {**profile(read.table, card=known), "notes": list(read.notes)}


def scan_file(path: str, card: dict[str, Any] | None = None) -> dict[str, Any]:
    """`scan_pii` of a file, for a bounded child process; the card as JSON."""
    from gateway.catalogue.pii import scan_pii

    read = read_table(Path(path), card=None if card is None else DatasetCard.model_validate(card))
    return {**scan_pii(read.table), "notes": list(read.notes)}


def _groups(table: pa.Table, names: list[str]) -> pa.Table:
    return table.group_by(names, use_threads=False).aggregate([([], "count_all")])


def _column(column: Any, known: Column | None) -> dict[str, Any]:
    rows = len(column)
    missing = column.null_count
    facts: dict[str, Any] = {
        "type": known.type if known else str(column.type),
        "role": known.role if known else None,
        "missing": missing,
        "missing_share": _rounded(missing / rows) if rows else 0.0,
        "distinct": int(compute.count_distinct(column, mode="only_valid").as_py()),
    }
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        facts |= _numbers(column, known)
    elif pa.types.is_string(column.type):
        facts |= _texts(column, known)
    elif pa.types.is_boolean(column.type):
        facts["true_share"] = _rounded(compute.mean(compute.cast(column, pa.float64())).as_py())
    return facts


def _numbers(column: Any, known: Column | None) -> dict[str, Any]:
    numbers = compute.drop_null(compute.cast(column, pa.float64(), safe=False))
    finite = numbers.filter(compute.is_finite(numbers))
    facts: dict[str, Any] = {"zeros": int(compute.sum(compute.equal(finite, 0.0)).as_py() or 0)}
    if len(finite) >= LEAST_FOR_QUANTILES:
        found = compute.quantile(finite, q=list(QUANTILES), interpolation="linear").to_pylist()
        facts["quantiles"] = {str(q): _rounded(value) for q, value in zip(QUANTILES, found, strict=True)}
        facts["mean"] = _rounded(compute.mean(finite).as_py())
        facts["deviation"] = _rounded(compute.stddev(finite).as_py())
    bounds = known.number_bounds() if known else None
    if bounds is not None:
        outside = compute.or_(compute.less(finite, bounds[0]), compute.greater(finite, bounds[1]))
        facts["outside_bounds"] = int(compute.sum(outside).as_py() or 0)
    return facts


def _texts(column: Any, known: Column | None) -> dict[str, Any]:
    counts = compute.value_counts(compute.drop_null(column))
    sizes = counts.field("counts") if len(counts) else pa.array([], pa.int64())
    facts: dict[str, Any] = {
        "seen_once": int(compute.sum(compute.equal(sizes, 1)).as_py() or 0),
        "seen_under_five": int(compute.sum(compute.less(sizes, 5)).as_py() or 0),
        "mean_length": _rounded(compute.mean(compute.utf8_length(column)).as_py()),
    }
    if known is not None and known.values is not None:
        seen = dict(zip(counts.field("values").to_pylist(), sizes.to_pylist(), strict=True)) if len(counts) else {}
        facts["values"] = {value: int(seen.get(value, 0)) for value in known.values}
    return facts


def _units(table: pa.Table, unit: str, most: int) -> dict[str, Any]:
    counts = _groups(table, [unit]).column("count_all")
    above = compute.greater(counts, most)
    return {
        "column": unit,
        "units": len(counts),
        "median_rows": _rounded(compute.quantile(counts, q=0.5)[0].as_py()) if len(counts) else None,
        "above_limit": int(compute.sum(above).as_py() or 0),
        "rows_beyond_limit": int(compute.sum(compute.if_else(above, compute.subtract(counts, most), 0)).as_py() or 0),
    }


def _uniqueness(table: pa.Table, quasi: list[str]) -> dict[str, Any]:
    """How many combinations of quasi-identifiers only one row, or fewer than five, have (k-anonymity, Sweeney 2002)."""
    counts = _groups(table, quasi).column("count_all")
    single = int(compute.sum(compute.equal(counts, 1)).as_py() or 0)
    small = int(compute.sum(compute.if_else(compute.less(counts, 5), counts, 0)).as_py() or 0)
    return {
        "columns": quasi,
        "combinations": len(counts),
        "unique_rows": single,
        "unique_share": _rounded(single / table.num_rows),
        "rows_in_groups_under_five": small,
    }


def _rounded(value: float | None) -> float | None:
    """Three significant digits; None for what is no finite number."""
    if value is None or not math.isfinite(value):
        return None
    return 0.0 if value == 0 else float(f"{value:.{DIGITS}g}")
