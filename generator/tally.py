"""Counts of every pair of variables, cell by cell, made while rows pass by once.

Responsible for one pass over tables that are too large to hold as codes: whatever is asked for later - a variable, a pair, a
triple with one variable named beforehand, in whichever bins - is a sum of these counts.

Invariants:
    - Memory depends on the card alone (cells of its variables), never on the number of rows.
    - These are true counts: they stay with the source, and `marginal.measure` alone reads them, for looks that were charged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import prod
from typing import Self

import numpy as np
from numpy.typing import NDArray

from generator.encoding import Codes

__all__ = ["Tally"]

Integers = NDArray[np.int64]
Group = tuple[int, ...]
MOST_COUNTERS = 48 << 20
"""At most 384 MiB of counters."""
EASY_COUNTERS = MOST_COUNTERS // 2


class Tally:
    """Joint counts of groups of variables.

    Args:
        sizes: Cells of each variable.
        groups: What is counted, each in ascending order.
    """

    def __init__(self, sizes: Sequence[int], groups: Sequence[Group]) -> None:
        self._sizes = tuple(sizes)
        self._counts = {group: np.zeros(prod(sizes[v] for v in group), np.int64) for group in groups}

    @classmethod
    def planned(cls, sizes: Sequence[int], third: int | None) -> Self | None:
        """A tally of all pairs, each with the third variable where that fits; None where even pairs do not fit.

        Args:
            sizes: Cells of each variable.
            third: A variable that groups of three will be asked with, or None.
        """
        fitting = (groups for groups in _plans(len(sizes), third) if _counters(sizes, groups) <= MOST_COUNTERS)
        groups = next(fitting, None)
        return None if groups is None else cls(sizes, groups)

    @staticmethod
    def fits(sizes: Sequence[int], third: int | None) -> bool:
        """Whether one pass can count whatever may be asked for later, with counters that are quickly added up."""
        return _counters(sizes, _plans(len(sizes), third)[0]) <= EASY_COUNTERS

    def add(self, chunk: Sequence[Codes]) -> None:
        """Count the rows of a chunk."""
        wide = [codes.astype(np.int64) for codes in chunk]
        shifted: dict[Group, Integers] = {}
        for group, total in self._counts.items():
            head = group[:-1]
            if head not in shifted:
                shifted = {head: self._index(wide, head)}
            found = np.bincount(shifted[head] * self._sizes[group[-1]] + wide[group[-1]], minlength=total.size)
            np.add(total, found, out=total)

    def can_tell(self, group: Group) -> bool:
        """Whether a group's counts are a sum of what was counted."""
        return self._home(group) is not None

    def tells_all_with(self, third: int | None) -> bool:
        """Whether every pair can be told, together with the third variable where there is one."""
        count = len(self._sizes)
        return third is None or all(self.can_tell(tuple(sorted({a, b, third}))) for a, b in combinations(range(count), 2))

    def counts(self, group: Group, maps: Mapping[int, Integers]) -> Integers:
        """Counts of a group in the given bins, one axis a variable.

        Args:
            group: Variables in ascending order; `can_tell` holds for them.
            maps: Bin of each cell, by variable.
        """
        home = self._home(group)
        if home is None:
            raise KeyError(group)
        table = self._counts[home].reshape([self._sizes[v] for v in home])
        table = table.sum(axis=tuple(axis for axis, v in enumerate(home) if v not in group))
        for axis, variable in enumerate(group):
            table = _merged(table, axis, maps[variable])
        return table

    def _home(self, group: Group) -> Group | None:
        wanted = set(group)
        holding = [other for other in self._counts if wanted <= set(other)]
        return min(holding, key=lambda other: self._counts[other].size, default=None)

    def _index(self, chunk: Sequence[Integers], group: Group) -> Integers:
        index = chunk[group[0]] if group else np.zeros(len(chunk[0]), np.int64)
        for variable in group[1:]:
            index = index * self._sizes[variable] + chunk[variable]
        return index


def _plans(count: int, third: int | None) -> list[list[Group]]:
    """What to count, the most telling first: all pairs with the third variable, and all pairs alone."""
    pairs: list[Group] = list(combinations(range(count), 2)) or [(v,) for v in range(count)]
    triples: list[Group] = [tuple(sorted({*pair, third})) for pair in pairs if third is not None and third not in pair]
    return [groups for groups in (triples, pairs) if groups] or [[]]


def _counters(sizes: Sequence[int], groups: Sequence[Group]) -> int:
    return sum(prod(sizes[v] for v in group) for group in groups)


def _merged(table: Integers, axis: int, of_cell: Integers) -> Integers:
    """Sum the cells of one axis into bins."""
    moved = np.moveaxis(table, axis, 0)
    out = np.zeros((int(of_cell.max()) + 1, *moved.shape[1:]), np.int64)
    np.add.at(out, of_cell, moved)
    return np.moveaxis(out, 0, axis)
