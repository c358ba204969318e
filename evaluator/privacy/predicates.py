"""Conjunctions of conditions on columns, and which of them exactly one person of a table satisfies.

Responsible for predicates made from seed rows and for counting who satisfies them, sixty-four rows to a machine word.

Invariants:
    - A condition is "has the value of the seed row" on categories and missing values, "at least" or "at most" on numbers.
    - Counts are exact, and neither threads nor the length of a stretch of rows change them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluator.distances import Coded

__all__ = ["Predicates", "drawn", "satisfied_by_one"]

Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
STRETCH = 4_096
"""Rows that are looked at together: the words of 20,000 predicates then take 10 MiB."""
CONDITIONS = 256
NOBODY = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Predicates:
    """Conjunctions over columns.

    Attributes:
        seeds: Row that each predicate takes its values from.
        uses: `uses[p, c]`: whether predicate p looks at column c.
        upward: `upward[p, c]`: whether a number must be at least, not at most, that of the seed row.
    """

    seeds: Indices
    uses: Flags
    upward: Flags

    def take(self, chosen: npt.NDArray[Any]) -> Predicates:
        """The chosen predicates."""
        return Predicates(self.seeds[chosen], self.uses[chosen], self.upward[chosen])


def drawn(table: Coded, columns: int, attempts: int, rng: np.random.Generator) -> Predicates:
    """Predicates on so many random columns of random rows; numbers point away from the median, where few people are."""
    seeds = rng.integers(0, table.rows, attempts)
    order = rng.random((attempts, len(table.columns))).argsort(axis=1)
    upward = np.zeros(order.shape, dtype=np.bool_)
    for position, is_number in enumerate(table.is_number):
        if is_number:
            column: npt.NDArray[Any] = table.columns[position]
            upward[:, position] = column[seeds] >= np.median(column)
    return Predicates(seeds, order < columns, upward)


@dataclass(frozen=True, slots=True)
class _Conditions:
    """The different conditions that predicates put on one column: who asks (`users`), and which of them (`which`)."""

    users: Indices
    which: Indices
    value: npt.NDArray[Any]
    kind: npt.NDArray[np.int8]


def satisfied_by_one(predicates: Predicates, seeds: Coded, table: Coded, unit: Indices | None, workers: int) -> Flags:
    """Whether exactly one row (one privacy unit, where units are given) of a table satisfies each predicate.

    Args:
        predicates: Made from rows of `seeds`.
        seeds: The table that the values are taken from, of the same encoding as `table`.
        table: The table that is searched.
        unit: Unit of each of its rows, or None where rows are counted.
        workers: Threads.
    """
    owner = np.arange(table.rows) if unit is None else unit
    conditions = [_conditions(predicates, seeds, position) for position in range(len(seeds.columns))]
    many = len(predicates.seeds)

    largest = int(np.bincount(np.unique(owner, return_inverse=True)[1].reshape(-1)).max()) if unit is not None else 1

    def looked(start: int) -> tuple[Indices, Indices]:
        rows = slice(start, min(start + STRETCH, table.rows))
        return _owners(_satisfying(conditions, table, rows, many), owner[rows], largest)

    first, last = np.full(many, NOBODY), np.full(many, -1)
    with ThreadPoolExecutor(workers) as threads:
        for low, high in threads.map(looked, range(0, table.rows, STRETCH)):
            np.minimum(first, low, out=first)
            np.maximum(last, high, out=last)
    return np.asarray(first == last)


def _conditions(predicates: Predicates, seeds: Coded, position: int) -> _Conditions:
    users = np.flatnonzero(predicates.uses[:, position])
    value = seeds.columns[position][predicates.seeds[users]]
    kind = np.zeros(len(users), dtype=np.int8)  # equal: a category, or a missing number
    if seeds.is_number[position]:
        kind = np.where(value.astype(np.int64) < 0, 0, np.where(predicates.upward[users, position], 1, -1)).astype(np.int8)
    key = value.astype(np.int64) * 4 + kind
    _, place, which = np.unique(key, return_index=True, return_inverse=True)
    return _Conditions(users, which.reshape(-1), value[place], kind[place])


def _satisfying(conditions: list[_Conditions], table: Coded, rows: slice, many: int) -> Words:
    """For each predicate, which of a stretch of rows satisfy it: one bit a row."""
    words = np.full((many, -(-(rows.stop - rows.start) // 64)), np.iinfo(np.uint64).max, dtype=np.uint64)
    for position, asked in enumerate(conditions):
        if len(asked.users):
            words[asked.users] &= _holding(asked, table.columns[position][rows])[asked.which]
    return words


def _owners(words: Words, owner: Indices, largest: int) -> tuple[Indices, Indices]:
    """Smallest and largest unit of a stretch that satisfies each predicate (nobody: `NOBODY` and -1).

    More rows than the `largest` unit has belong to two people at least, whoever they are.
    """
    count = np.bitwise_count(words).sum(axis=1)
    first, last = np.where(count > largest, -1, NOBODY), np.where(count > largest, NOBODY, -1)
    few = np.flatnonzero((count > 0) & (count <= largest))
    for start in range(0, len(few), CONDITIONS):
        asking = few[start : start + CONDITIONS]
        bits = np.unpackbits(words[asking].view(np.uint8), axis=1, count=len(owner), bitorder="little").view(np.bool_)
        line, row = np.nonzero(bits)
        starts = np.flatnonzero(np.diff(line, prepend=-1))
        first[asking] = np.minimum.reduceat(owner[row], starts)
        last[asking] = np.maximum.reduceat(owner[row], starts)
    return first, last


def _holding(asked: _Conditions, column: npt.NDArray[Any]) -> Words:
    """For each condition, the rows that meet it: one bit a row, padded with 0."""
    width = -(-len(column) // 64)
    packed = np.zeros((len(asked.value), width * 8), dtype=np.uint8)
    for start in range(0, len(asked.value), CONDITIONS):
        some = slice(start, start + CONDITIONS)
        value, kind = asked.value[some, None], asked.kind[some]
        meets = column == value
        if (kind > 0).any():
            meets[kind > 0] = column >= value[kind > 0]
        if (kind < 0).any():
            meets[kind < 0] = (column <= value[kind < 0]) & (column >= 0)
        bits = np.packbits(meets, axis=1, bitorder="little")
        packed[some, : bits.shape[1]] = bits
    return packed.view(np.uint64)
