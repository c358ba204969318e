"""Domains that a card leaves open, estimated under differential privacy.

Responsible for the bounds of numbers and times and for the values of categories, and for what these estimates cost.

Invariants:
    - Grids are data-independent: powers of two, then even cuts of what the noisy counts left.
    - A category's value appears only if its noisy count passes a threshold that a value of one unit alone passes with
      probability at most the δ charged for it.
Source: Korolova et al. 2009; Wilkins et al. 2024 (thresholded histograms with Gaussian noise, approximate zCDP).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from decimal import ROUND_DOWN, Decimal, localcontext
from fractions import Fraction

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from generator.arrow import Array
from generator.arrow import compute as pc
from generator.calendar import EPOCH
from generator.encoding import conform
from generator.errors import BadTable
from generator.fields import Known
from generator.noise import discrete_gaussian
from generator.relations import kept_delta, open_columns
from generator.source import Rows
from generator.zcdp import Account
from policies.card import DatasetCard
from policies.columns import Column

__all__ = ["estimate_domains", "even_parts", "kept_delta", "open_columns"]

Floats = NDArray[np.float64]
ZOOMS = 2
CUTS = 48
REST = "other"
"""The last value of an estimated category: it stands for all that are not told apart, those that are called so included."""
FIRST_DAY, LAST_DAY = -36_525.0, 54_787.0  # 1869-12-31 to 2120-01-01


def estimate_domains(rows: Rows, *, card: DatasetCard, account: Account, rho: Fraction, delta: Decimal) -> Mapping[str, Known]:
    """Estimate every open domain.

    Args:
        rows: The rows that count.
        card: The dataset card.
        account: What pays.
        rho: What all estimates together may cost.
        delta: Probability with which a value of one unit alone may appear, all categories together.

    Raises:
        BadTable: the rows can be read only once.
    """
    todo = open_columns(card)
    if todo and rows.is_single_use:
        raise BadTable(f"the card leaves the domain of '{next(iter(todo))}' open: give batches that can be read again")
    found: dict[str, Known] = {}
    shares = iter(even_parts(delta, sum(column.type == "category" for column in todo.values())))
    for name, column in todo.items():
        part = rho / len(todo)
        if column.type == "category":
            found[name] = _values(rows, name, column, card, account, part, next(shares))
        elif column.is_numeric:
            low, high = _bounds(rows, name, column, card, account, part)
            found[name] = (math.floor(low), math.ceil(high)) if column.type == "integer" else (low, high)
        else:
            low, high = _bounds(rows, name, column, card, account, part)
            found[name] = (EPOCH + timedelta(days=math.floor(low)), EPOCH + timedelta(days=math.ceil(high) + 1, seconds=-1))
    return found


def even_parts(whole: Decimal, count: int) -> tuple[Decimal, ...]:
    """About equal parts whose sum is the whole exactly (a third of it, three times, is not)."""
    if not count:
        return ()
    with localcontext(rounding=ROUND_DOWN, prec=12):
        part = whole / count
    return (*[part] * (count - 1), whole - part * (count - 1))


def _values(
    rows: Rows, name: str, column: Column, card: DatasetCard, account: Account, rho: Fraction, delta: Decimal
) -> tuple[str, ...]:
    m = card.rows_per_unit
    variance = account.gaussian("category values above a threshold", columns=(name,), rho=rho, sensitivity=m, failure=delta)
    threshold = m + math.sqrt(2 * float(variance) * math.log(m / float(delta)))
    counts: Counter[str] = Counter()
    for batch in rows.batches():
        array = conform(batch, {name: column})[name]
        for item in pc.value_counts(array.drop_null()).to_pylist():
            counts[item["values"]] += item["counts"]
    noisy = np.array(list(counts.values()), np.int64) + discrete_gaussian(variance, len(counts))
    kept = sorted(value for value, count in zip(counts, noisy.tolist(), strict=True) if count > threshold)
    return (*(value for value in kept if value != REST), REST)


def _bounds(rows: Rows, name: str, column: Column, card: DatasetCard, account: Account, rho: Fraction) -> tuple[float, float]:
    """Outer edges of the first and last cell that hold more than noise; dyadic cells first, then even cuts."""
    if column.is_temporal:
        edges = np.linspace(FIRST_DAY, LAST_DAY, 251)
    else:
        powers = 2.0 ** np.arange(0 if column.type == "integer" else -30, 63)
        edges = np.concatenate([-powers[::-1], [0.0], powers])
    low, high = float(edges[0]), float(edges[-1])
    for _ in range(1 + ZOOMS):
        variance = account.gaussian(
            "bounds", columns=(name,), rho=rho / (1 + ZOOMS), sensitivity=card.rows_per_unit, cells=len(edges) - 1
        )
        counts = _histogram(rows, name, column, edges) + discrete_gaussian(variance, len(edges) - 1)
        threshold = math.sqrt(2 * float(variance) * math.log(100 * len(edges)))
        full = np.flatnonzero(counts > threshold)
        if full.size == 0:
            break
        low, high = float(edges[full[0]]), float(edges[full[-1] + 1])
        edges = np.linspace(low, high, CUTS + 1)
    return low, high


def _histogram(rows: Rows, name: str, column: Column, edges: Floats) -> NDArray[np.int64]:
    total = np.zeros(len(edges) - 1, np.int64)
    for batch in rows.batches():
        values = as_numbers(conform(batch, {name: column})[name], column)
        values = values[~np.isnan(values)]
        place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(total) - 1)
        total += np.bincount(place, minlength=len(total))
    return total


def as_numbers(array: Array, column: Column) -> Floats:
    """Values of a number as floats, of a date or time as days since 1970; NaN where missing."""
    if not column.is_temporal:
        return np.asarray(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
    local = pc.local_timestamp(array) if column.timezone else array
    micros = local.cast(pa.timestamp("us")).cast(pa.int64())
    days = pc.divide(micros.cast(pa.float64()), 86_400_000_000.0)
    return np.asarray(days.to_numpy(zero_copy_only=False), np.float64)
