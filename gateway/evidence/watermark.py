"""A watermark on low-order digits that tells one release from all others, where a policy asks for it.

Values are cut into pairs of neighbours on the column's grid (2k and 2k + 1 steps). A keyed hash of column and k chooses half of
the pairs, and in each of them one of the two neighbours, by which both are written. Nothing else of a row decides, so the mark
survives other orders of rows and columns, subsets of either, and other file formats. A file that owes the release nothing has
the chosen neighbour in half of its distinct values; a marked one in about three quarters.

Invariants:
    - A value moves by one step of its grid at most, never out of the card's bounds, and only where its pair is rare: what many
      rows have in common, a zero or a price, is left alone.
    - Columns bound by constraints, targets and protected columns bear no mark.
    - The mark is a function of released values and a key: no confidential row is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.stats import binom

from gateway.evidence.cells import hash_text_key
from policies.card import DatasetCard

__all__ = ["Agreement", "agreement", "bearing", "mark"]

Integers = NDArray[np.int64]
LEAST_STEPS = 1000
RARE = 0.0005
MOST_STEPS = 2**52


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far a file bears a release's mark.

    Attributes:
        agree: Distinct values that are the chosen neighbour of their pair.
        of: Distinct values that were looked at.
    """

    agree: int
    of: int

    @property
    def chance(self) -> float:
        """Probability of so many in a file that owes the release nothing (binomial tail at one half)."""
        return float(binom.sf(self.agree - 1, self.of, 0.5)) if self.of else 1.0


def bearing(card: DatasetCard) -> dict[str, int]:
    """Which columns can bear a mark, with the decimals of their grids: those with a thousand steps between their bounds."""
    spec = card.spec
    bound = {name for rule in spec.constraints for name in rule.columns}
    kept_out = bound | {*spec.targets, *spec.protected, *card.identifiers}
    found = {}
    for name, column in card.columns.items():
        decimals = 0 if column.type == "integer" else column.decimals
        limits = column.number_bounds()
        if name in kept_out or decimals is None or limits is None:
            continue
        is_exact = max(map(abs, limits)) * 10**decimals < MOST_STEPS  # beyond, a double no longer holds every step
        if is_exact and (limits[1] - limits[0]) * 10**decimals >= LEAST_STEPS:
            found[name] = decimals
    return found


def mark(table: pa.Table, *, card: DatasetCard, key: bytes) -> pa.Table:
    """Mark a table.

    Args:
        table: The synthetic table.
        card: Says which columns can bear a mark, and their bounds.
        key: The key of this release.

    Returns:
        The same rows; no value differs by more than one step of its grid.
    """
    for name, decimals in bearing(card).items():
        if name not in table.column_names:
            continue
        place = table.column_names.index(name)
        field = table.schema.field(place)
        cells = table.column(name).combine_chunks()
        limits = card.columns[name].number_bounds() or (-np.inf, np.inf)
        table = table.set_column(place, field, pa.chunked_array([_marked(cells, name, decimals, limits, key)]))
    return table


def agreement(table: pa.Table, *, marks: Mapping[str, int], key: bytes) -> Agreement:
    """How far a file bears the mark of a release whose columns and decimals are given."""
    agree = of = 0
    for name, decimals in marks.items():
        if name not in table.column_names:
            continue
        values = pd.to_numeric(table.column(name).to_pandas(), errors="coerce").to_numpy(dtype=float)
        steps = np.unique(_steps(values[np.isfinite(values)], decimals))
        chosen = _chosen(name, steps >> 1, key)
        agree += int(((steps & 1) == (chosen & 1)).sum())
        of += len(steps)
    return Agreement(agree=agree, of=of)


def _marked(cells: Any, name: str, decimals: int, limits: tuple[float, float], key: bytes) -> Any:
    values = cells.to_numpy(zero_copy_only=False).astype(float)
    present = np.isfinite(values) & (np.abs(values) * 10**decimals < MOST_STEPS)
    steps = _steps(values[present], decimals)
    pairs, inverse, counts = np.unique(steps >> 1, return_inverse=True, return_counts=True)
    chosen = _chosen(name, pairs, key)
    made = 2 * pairs + (chosen & 1)
    low, high = (limit * 10**decimals for limit in limits)
    bears = (chosen >> 1 & 1 == 1) & (counts <= max(1.0, RARE * len(values))) & (made >= low) & (made <= high)
    moved = np.where(bears[inverse], made[inverse], steps)
    values[present] = moved / 10**decimals
    fresh = pa.array(values, mask=~np.isfinite(values), type=pa.float64())
    return fresh.cast(cells.type)


def _steps(values: NDArray[np.float64], decimals: int) -> Integers:
    small = values[np.abs(values) * 10**decimals < MOST_STEPS]
    return np.asarray(np.rint(small * 10**decimals).astype(np.int64))


def _chosen(name: str, pairs: Integers, key: bytes) -> Integers:
    """Keyed bits of each pair: the lowest chooses the neighbour, the next one whether the pair is marked."""
    texts = np.asarray([f"{name}\x1f{pair}" for pair in pairs.tolist()], dtype=object)
    if not len(texts):
        return pairs
    hashes = pd.util.hash_array(texts, hash_key=hash_text_key(key), categorize=False)
    return np.asarray((hashes >> np.uint64(7)).astype(np.int64))
