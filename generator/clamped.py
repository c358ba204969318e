"""How many values lie outside what the card says: a look at the data, made only where it is asked and paid for.

Responsible for the noisy counts of values beyond the bounds of numbers and times and outside the listed values of categories.
Rows are encoded as if these values were the nearest bound (or missing) whether they are counted or not.

Invariants:
    - Nothing is counted without a share of the budget; every count is charged before rows are read.
    - Only columns whose domain the card itself states are counted: an estimated domain fits what was estimated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pyarrow as pa

from generator.arrow import Array
from generator.arrow import compute as pc
from generator.calendar import day_of, micros_of
from generator.domains import as_numbers
from generator.encoding import conform
from generator.errors import BadTable
from generator.noise import discrete_gaussian
from generator.relations import copies, is_open, learnt
from generator.source import Rows
from generator.zcdp import Account
from policies.card import DatasetCard
from policies.columns import Column

__all__ = ["Outside", "count_outside", "countable"]

DAY_MICROS = 86_400_000_000.0


@dataclass(frozen=True, slots=True)
class Outside:
    """A noisy count of values outside a column's domain.

    Attributes:
        count: Values outside, not negative.
        sigma: Standard deviation of its noise, in values.
    """

    count: int
    sigma: float


def countable(card: DatasetCard) -> tuple[str, ...]:
    """Columns of which values can lie outside what the card states."""
    same = copies(card)
    stated = (n for n in learnt(card) if n not in same and not is_open(card.columns[n]))
    return tuple(n for n in stated if card.columns[n].type != "boolean")


def count_outside(rows: Rows, *, card: DatasetCard, account: Account, rho: Fraction) -> Mapping[str, Outside]:
    """Count them, with noise.

    Args:
        rows: The rows that count.
        card: The dataset card.
        account: What pays.
        rho: What all counts together may cost.

    Raises:
        BadTable: the rows can be read only once.
    """
    names = countable(card)
    if names and rows.is_single_use:
        raise BadTable("values outside the card's domains need a pass of their own: give batches that can be read again")
    variances = [
        account.gaussian("values outside the domain", columns=(name,), rho=rho / len(names), sensitivity=card.rows_per_unit)
        for name in names
    ]
    totals = dict.fromkeys(names, 0)
    wanted = {name: card.columns[name] for name in names}
    for batch in rows.batches() if names else ():
        for name, array in conform(batch, wanted).items():
            totals[name] += _outside(array, wanted[name])
    return {
        name: Outside(max(0, total + int(discrete_gaussian(variance, 1)[0])), float(variance) ** 0.5)
        for (name, total), variance in zip(totals.items(), variances, strict=True)
    }


def _outside(array: Array, column: Column) -> int:
    present = array.drop_null()
    if column.type == "category":
        return int(pc.sum(pc.invert(pc.is_in(present, value_set=pa.array(column.values or (), pa.string())))).as_py() or 0)
    values = as_numbers(present, column)
    bounds = column.number_bounds()
    if bounds is None:
        low, high = column.time_bounds() or (None, None)
        if low is None or high is None:
            return 0
        is_date = column.type == "date"
        bounds = (day_of(low), day_of(high)) if is_date else (micros_of(low) / DAY_MICROS, micros_of(high) / DAY_MICROS)
    known = values[~np.isnan(values)]
    return int(((known < bounds[0]) | (known > bounds[1])).sum())
