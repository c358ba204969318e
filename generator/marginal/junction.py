"""Junction trees of bounded width that grow one group of variables at a time.

Responsible for the shape of the model: which variables stand together in a clique, and which cliques are neighbours.

Invariants:
    - Running intersection: the cliques that hold a variable are connected.
    - No clique is a subset of its neighbour; a planned growth says beforehand how large its new cliques are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

__all__ = ["JunctionTree", "Walk"]

Group = frozenset[int]


@dataclass(frozen=True, slots=True)
class Walk:
    """One step of a walk from a root to all cliques: go to `clique` from `parent` (None at a root) over `separator`."""

    clique: tuple[int, ...]
    parent: int | None
    separator: tuple[int, ...]


class JunctionTree:
    """A forest of cliques over variables 0 … n-1 with given sizes."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = tuple(sizes)
        self._cliques: dict[int, Group] = {i: frozenset((i,)) for i in range(len(sizes))}
        self._near: dict[int, set[int]] = {i: set() for i in range(len(sizes))}
        self._next = len(sizes)
        self._homes: list[set[int]] = [{i} for i in range(len(sizes))]
        self._parts = list(range(len(sizes)))

    def cells(self, group: Group) -> int:
        """How many cells a clique of these variables has."""
        return prod(self.sizes[i] for i in group)

    def holds(self, group: Group) -> bool:
        """Whether one clique holds all these variables."""
        return bool(self._holding(group))

    def _holding(self, group: Group) -> set[int]:
        """The cliques that hold all these variables."""
        first, *others = (self._homes[variable] for variable in group)
        return first.intersection(*others)

    def cost(self, group: Group) -> int:
        """Cells of the largest clique that joining this group would make; 0 where it stands together already."""
        if len(group) == 2 and len({self._parts[variable] for variable in group}) == 2:  # noqa: PLR2004 - a pair, in two trees
            return self.cells(group)
        trial: JunctionTree = self
        largest = 0
        members = sorted(group, key=lambda i: -self.sizes[i])
        for count in range(2, len(members) + 1):
            part = frozenset(members[:count])
            if not trial.holds(part):
                plan = trial._plan(part - {members[count - 1]}, members[count - 1])
                largest = max(largest, *(self.cells(new) for new in plan.new))
                if count < len(members):
                    trial = trial.copy() if trial is self else trial
                    trial._grow(plan)  # noqa: SLF001 - a copy of this very class
        return largest

    def join(self, group: Group) -> None:
        """Grow the tree until one clique holds all variables of the group."""
        members = sorted(group, key=lambda i: -self.sizes[i])
        for count in range(2, len(members) + 1):
            if not self.holds(frozenset(members[:count])):
                self._grow(self._plan(frozenset(members[: count - 1]), members[count - 1]))

    def copy(self) -> JunctionTree:
        """An independent copy."""
        other = JunctionTree(self.sizes)
        other._cliques, other._next = dict(self._cliques), self._next
        other._near = {node: set(near) for node, near in self._near.items()}
        other._homes, other._parts = [set(homes) for homes in self._homes], list(self._parts)
        return other

    def walk(self, first: int | None = None) -> list[Walk]:
        """All cliques, parents before children; `first` is a variable that the first root should hold."""
        order: list[Walk] = []
        place: dict[int, int] = {}
        nodes = sorted(self._cliques, key=lambda n: (first not in self._cliques[n], min(self._cliques[n]), n))
        for root in nodes:
            stack: list[tuple[int, int | None]] = [(root, None)] if root not in place else []
            while stack:
                node, parent = stack.pop()
                place[node] = len(order)
                shared = self._cliques[node] & self._cliques[parent] if parent is not None else frozenset()
                above = None if parent is None else place[parent]
                order.append(Walk(tuple(sorted(self._cliques[node])), above, tuple(sorted(shared))))
                stack.extend((near, node) for near in sorted(self._near[node], reverse=True) if near not in place)
        return order

    def _plan(self, group: Group, variable: int) -> _Plan:
        """How to bring `variable` to a clique that holds `group`: the shortest path between the two."""
        starts = sorted(self._homes[variable])
        goals = self._holding(group)
        before: dict[int, int | None] = dict.fromkeys(starts)
        queue = deque(starts)
        end = next((node for node in starts if node in goals), None)
        while queue and end is None:
            node = queue.popleft()
            for near in sorted(self._near[node]):
                if near not in before:
                    before[near] = node
                    queue.append(near)
                    if near in goals:
                        end = near
                        break
        if end is None:
            return _Plan((min(starts), min(goals)), (group | {variable},), is_bridge=True)
        path = [end]
        while (previous := before[path[-1]]) is not None:
            path.append(previous)
        path.reverse()
        cliques = [self._cliques[node] for node in path]
        seps = [a & b for a, b in pairwise(cliques)]
        new = [a | b | {variable} for a, b in pairwise(seps)]
        return _Plan(tuple(path), (*new, seps[-1] | group | {variable}), is_bridge=False)

    def _grow(self, plan: _Plan) -> None:
        made = [self._add(clique) for clique in plan.new]
        if plan.is_bridge:
            one, other = (self._parts[min(self._cliques[node])] for node in plan.path)
            self._parts = [one if part == other else part for part in self._parts]
            self._link(plan.path[0], made[0])
            self._link(made[0], plan.path[1])
        else:
            for a, b in pairwise(plan.path):
                self._near[a].discard(b)
                self._near[b].discard(a)
            chain = [plan.path[0], *made]
            for a, b in pairwise(chain):
                self._link(a, b)
            for node, old in zip(made, plan.path[1:], strict=True):
                self._link(node, old)
        for node in (*plan.path, *made):
            self._absorb(node)

    def _add(self, clique: Group) -> int:
        node, self._next = self._next, self._next + 1
        self._cliques[node], self._near[node] = clique, set()
        for variable in clique:
            self._homes[variable].add(node)
        return node

    def _link(self, a: int, b: int) -> None:
        self._near[a].add(b)
        self._near[b].add(a)

    def _absorb(self, node: int) -> None:
        """Remove a clique that its neighbour contains."""
        if node not in self._cliques:
            return
        for near in sorted(self._near[node]):
            if self._cliques[node] <= self._cliques[near]:
                for other in self._near.pop(node):
                    self._near[other].discard(node)
                    if other != near:
                        self._link(other, near)
                for variable in self._cliques.pop(node):
                    self._homes[variable].discard(node)
                return


@dataclass(frozen=True, slots=True)
class _Plan:
    path: tuple[int, ...]
    new: tuple[Group, ...]
    is_bridge: bool
