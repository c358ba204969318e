"""A graphical model over a junction tree: calibrated clique tables, fitted to marginals, asked for any pair, sampled.

Responsible for inference (iterative proportional fitting on the tree) and for exact ancestral sampling.

Invariants:
    - After `fit` neighbouring cliques agree on their separators, so the product of conditionals is a distribution.
    - Everything here is post-processing of noisy marginals: no function sees a row of the train table.
Source: Jirousek and Preucil 1995 (proportional fitting on junction trees).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from generator.marginal.junction import JunctionTree, Walk

__all__ = ["Model"]

Floats = NDArray[np.float64]
Constraint = tuple[tuple[int, ...], Floats]
TINY = 1e-300


def margin(table: Floats, clique: Sequence[int], keep: Sequence[int]) -> Floats:
    """The marginal of a clique table on some of its variables; both in ascending order."""
    drop = tuple(axis for axis, variable in enumerate(clique) if variable not in keep)
    return table.sum(axis=drop) if drop else table


def spread(values: Floats, clique: Sequence[int], over: Sequence[int]) -> Floats:
    """A table over `over` shaped so that it broadcasts against a table over `clique`."""
    sizes = iter(values.shape)
    return values.reshape([next(sizes) if variable in over else 1 for variable in clique])


def ratio(wanted: Floats, present: Floats) -> Floats:
    """Wanted / present, 0 where nothing is present."""
    return np.divide(wanted, present, out=np.zeros_like(wanted), where=present > TINY)


class Model:
    """Clique tables on a junction tree.

    Args:
        tree: The cliques.
        ones: One-way probabilities of every variable.
        masks: Tables of 0 and 1 by group of variables; a 0 is impossible.
        first: A variable that the sampling should start with.
    """

    def __init__(
        self, tree: JunctionTree, ones: Sequence[Floats], masks: Mapping[tuple[int, ...], Floats], first: int | None
    ) -> None:
        self.walks: list[Walk] = tree.walk(first)
        self.tables: list[Floats] = []
        for walk in self.walks:
            table = np.ones([tree.sizes[i] for i in walk.clique])
            for variable in walk.clique:
                table = table * spread(ones[variable], walk.clique, (variable,))
            for group, mask in masks.items():
                if set(group) <= set(walk.clique):
                    table = table * spread(mask, walk.clique, group)
            self.tables.append(table / max(table.sum(), TINY))

    @classmethod
    def of(cls, walks: Sequence[Walk], tables: Sequence[Floats]) -> Model:
        """A model whose tables are known."""
        made = cls.__new__(cls)
        made.walks, made.tables = list(walks), list(tables)
        return made

    def home(self, group: Sequence[int]) -> int:
        """Index of the smallest clique that holds a group."""
        holding = [k for k, walk in enumerate(self.walks) if set(group) <= set(walk.clique)]
        return min(holding, key=lambda k: self.tables[k].size)

    def fit(self, constraints: Sequence[Constraint], *, sweeps: int, tolerance: float = 1e-4) -> None:
        """Fit clique tables to marginals: from clique to clique and back, until marginals move less than `tolerance`."""
        homes: dict[int, list[Constraint]] = {}
        for group, wanted in constraints:
            homes.setdefault(self.home(group), []).append((group, wanted))
        tour = self._tour()
        for _ in range(sweeps):
            moved = 0.0
            previous: int | None = None
            for place in tour:
                if previous is not None and self._are_linked(previous, place):
                    self._pass(previous, place)
                for group, wanted in homes.get(place, ()):
                    moved = max(moved, self._scale(place, group, wanted))
                previous = place
            if moved < tolerance:
                break
        self._settle()

    def pair(self, a: int, b: int) -> Floats | None:
        """The marginal of two variables that stand in one clique, or None."""
        for walk, table in zip(self.walks, self.tables, strict=True):
            if a in walk.clique and b in walk.clique:
                two = margin(table, walk.clique, (a, b))
                return two if a < b else two.T
        return None

    def group(self, group: Sequence[int]) -> Floats:
        """The marginal of variables that stand in one clique."""
        place = self.home(group)
        return margin(self.tables[place], self.walks[place].clique, group)

    def _scale(self, place: int, group: tuple[int, ...], wanted: Floats) -> float:
        clique, table = self.walks[place].clique, self.tables[place]
        present = margin(table, clique, group)
        table *= spread(ratio(wanted, present), clique, group)
        total = table.sum()
        if total > TINY:
            table /= total
        return float(np.abs(wanted - present).sum())

    def _pass(self, source: int, goal: int) -> None:
        over = self.walks[goal].separator if self.walks[goal].parent == source else self.walks[source].separator
        wanted = margin(self.tables[source], self.walks[source].clique, over)
        present = margin(self.tables[goal], self.walks[goal].clique, over)
        self.tables[goal] *= spread(ratio(wanted, present), self.walks[goal].clique, over)

    def _settle(self) -> None:
        """The tour ends at the root, the one table that is up to date: tell the others."""
        for place, walk in enumerate(self.walks):
            if walk.parent is not None:
                self._pass(walk.parent, place)

    def _are_linked(self, a: int, b: int) -> bool:
        return self.walks[a].parent == b or self.walks[b].parent == a

    def _tour(self) -> list[int]:
        """Places in the order of a walk down and up again, so that each step goes to a neighbour."""
        below: dict[int, list[int]] = {}
        for place, walk in enumerate(self.walks):
            if walk.parent is not None:
                below.setdefault(walk.parent, []).append(place)
        tour: list[int] = []
        for root, walk in enumerate(self.walks):
            stack = [(root, False)] if walk.parent is None else []
            while stack:
                place, is_back = stack.pop()
                tour.append(place)
                if not is_back:
                    for child in reversed(below.get(place, [])):
                        stack.extend(((place, True), (child, False)))
        return tour
