"""Marginals of every pair of variables, also of those that share no clique.

Responsible for one exact elimination over the tree for all pairs at once, which selection needs in every round.

Invariants:
    - Exact for the fitted model; only its tables are read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generator.marginal.model import Model, margin, ratio

__all__ = ["all_pairs"]

Floats = NDArray[np.float64]


def all_pairs(model: Model, count: int) -> dict[tuple[int, int], Floats]:
    """The marginal of each pair (a, b), a < b, of variables 0 … count-1."""
    found: dict[tuple[int, int], Floats] = {}
    ones: dict[int, Floats] = {}
    for walk, table in zip(model.walks, model.tables, strict=True):
        ones |= {v: margin(table, walk.clique, (v,)) for v in walk.clique}
        for i, a in enumerate(walk.clique):
            found |= {(a, b): margin(table, walk.clique, (a, b)) for b in walk.clique[i + 1 :] if (a, b) not in found}
    near = _neighbours(model)
    moves = _Moves(model, near)
    for a in range(count):
        _reach_from(a, model, near, moves, found)
    for a in range(count):
        for b in range(a + 1, count):
            if (a, b) not in found:
                found[a, b] = np.multiply.outer(ones[a], ones[b])
    return found


def _reach_from(a: int, model: Model, near: list[list[int]], moves: _Moves, found: dict[tuple[int, int], Floats]) -> None:
    """Walk from a clique of variable `a` to those that hold an unknown partner, carrying P(a, separator)."""
    start = next(k for k, walk in enumerate(model.walks) if a in walk.clique)
    stack: list[tuple[int, int, Floats | None]] = [(start, -1, None)]
    while stack:
        place, before, reach = stack.pop()
        if reach is not None:
            for b in model.walks[place].clique:
                pair = (min(a, b), max(a, b))
                if pair not in found:
                    two = reach @ moves.to_variable(before, place, b)
                    found[pair] = two if a < b else two.T
        for after in near[place]:
            if after == before or all((min(a, b), max(a, b)) in found for b in moves.beyond(place, after) if b != a):
                continue
            if reach is not None:
                stack.append((after, place, moves.to_separator(before, place, after).carry(reach)))
            else:
                is_inside = a in model.walks[after].clique
                stack.append((after, place, None if is_inside else moves.start(place, after, a)))


def _neighbours(model: Model) -> list[list[int]]:
    near: list[list[int]] = [[] for _ in model.walks]
    for place, walk in enumerate(model.walks):
        if walk.parent is not None:
            near[place].append(walk.parent)
            near[walk.parent].append(place)
    return near


@dataclass(frozen=True, slots=True)
class _Step:
    """P(next | before) by its cells, in order of the next: most pairs of states of two overlapping separators cannot be."""

    before: NDArray[np.int64]
    first: NDArray[np.int64]
    chance: Floats

    def carry(self, reach: Floats) -> Floats:
        """P(a, next) from P(a, before)."""
        weighted = np.take(reach.T, self.before, axis=0) * self.chance[:, None]
        return np.asarray(np.add.reduceat(weighted, self.first, axis=0).T)


class _Moves:
    """Transitions between separators, made once."""

    def __init__(self, model: Model, near: list[list[int]]) -> None:
        self._model, self._near = model, near
        self._made: dict[tuple[int, int, int], Floats] = {}
        self._steps: dict[tuple[int, int, int], _Step] = {}
        self._beyond: dict[tuple[int, int], frozenset[int]] = {}

    def beyond(self, place: int, after: int) -> frozenset[int]:
        """All variables of the cliques that are reached from `place` over `after`."""
        if (place, after) not in self._beyond:
            held = set(self._model.walks[after].clique)
            for further in self._near[after]:
                if further != place:
                    held |= self.beyond(after, further)
            self._beyond[place, after] = frozenset(held)
        return self._beyond[place, after]

    def separator(self, a: int, b: int) -> tuple[int, ...]:
        walks = self._model.walks
        return walks[a].separator if walks[a].parent == b else walks[b].separator

    def start(self, place: int, after: int, variable: int) -> Floats:
        """P(variable, separator)."""
        return self._joint(place, (variable,), self.separator(place, after))

    def to_variable(self, before: int, place: int, variable: int) -> Floats:
        """P(variable | separator between `before` and `place`)."""
        key = (before, place, -1 - variable)
        if key not in self._made:
            self._made[key] = self._given(place, self.separator(before, place), (variable,))
        return self._made[key]

    def to_separator(self, before: int, place: int, after: int) -> _Step:
        """P(next separator | separator before)."""
        key = (before, place, after)
        if key not in self._steps:
            union, joint, index = self._union(place, self.separator(before, place), self.separator(place, after))
            row = _flat(index, union, self.separator(before, place), joint.shape)
            column = _flat(index, union, self.separator(place, after), joint.shape)
            order = np.argsort(column, kind="stable")
            flat = joint.ravel()
            chance = ratio(flat, np.asarray(np.bincount(row, flat), np.float64)[row])[order]
            self._steps[key] = _Step(row[order], np.flatnonzero(np.diff(column[order], prepend=-1)), chance)
        return self._steps[key]

    def _given(self, place: int, known: tuple[int, ...], wanted: tuple[int, ...]) -> Floats:
        joint = self._joint(place, known, wanted)
        return ratio(joint, np.broadcast_to(joint.sum(axis=1, keepdims=True), joint.shape))

    def _joint(self, place: int, rows: tuple[int, ...], columns: tuple[int, ...]) -> Floats:
        """P(rows, columns) of one clique as a matrix; variables on both sides must agree."""
        union, joint, index = self._union(place, rows, columns)
        sizes = joint.shape
        matrix = np.zeros((_cells(union, rows, sizes), _cells(union, columns, sizes)))
        matrix[_flat(index, union, rows, sizes), _flat(index, union, columns, sizes)] = joint.ravel()
        return matrix

    def _union(
        self, place: int, some: tuple[int, ...], others: tuple[int, ...]
    ) -> tuple[tuple[int, ...], Floats, NDArray[np.int64]]:
        """The variables of one clique that stand on either side, their joint, and the state of each in each of its cells."""
        clique, table = self._model.walks[place].clique, self._model.tables[place]
        union = tuple(v for v in clique if v in some or v in others)
        joint = margin(table, clique, union)
        return union, joint, np.indices(joint.shape).reshape(len(union), -1)


def _flat(index: NDArray[np.int64], union: tuple[int, ...], part: tuple[int, ...], sizes: tuple[int, ...]) -> NDArray[np.int64]:
    flat = np.zeros(index.shape[1], np.int64)
    for axis, variable in enumerate(union):
        if variable in part:
            flat = flat * sizes[axis] + index[axis]
    return flat


def _cells(union: tuple[int, ...], part: tuple[int, ...], sizes: tuple[int, ...]) -> int:
    return int(np.prod([sizes[axis] for axis, variable in enumerate(union) if variable in part], dtype=np.int64))
