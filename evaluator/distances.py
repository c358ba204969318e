"""Exact mixed-type nearest neighbours by vectorised blocks.

Responsible for the Gower distance between rows (range-scaled absolute difference on numbers, dates and times; mismatch on
categories; mean over columns) and for exhaustive searches of the nearest rows under it, on all or some of the columns.

Invariants:
    - Numbers are compared on a grid of at least 16 levels of their range in train and holdout together (65,534 divided
      by the number of columns, at most 16,383), so a distance is an integer count of grid steps: sums are exact, and
      neither threads nor block sizes change a result. Ties go to the reference that stands first.
    - Missing equals missing (distance 0) and differs from every value (distance 1). Values beyond the range of the real
      rows count as the end of that range. A value so far out that all others fill less than a quarter of the range (9999999999
      for "unknown") does not stretch it: it counts as the end of the range of the others.
    - A search never looks at who is in train: encodings depend on the union of train and holdout.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import local
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluator.inputs import Inputs, Table

__all__ = ["Coded", "Encoding", "Neighbours", "gower", "nearest"]

Steps = npt.NDArray[np.uint16]
Indices = npt.NDArray[np.int64]
Groups = tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]
MAX_STEPS = 65_534
MAX_LEVELS = 16_383
NOT_A_NEIGHBOUR = np.uint16(65_535)
BLOCK_PAIRS = 262_144
BLOCK_REFERENCES = 32_768
SMALL_DOMAIN = 255
FAR = 0.75
"""A gap beyond which a value is no longer one end of a column's range, as a share of the range up to that value."""
LEAST_IN_RANGE = 30
"""Different values that must be left for the others to make a range: two codes and a large one are three codes."""


@dataclass(frozen=True, slots=True)
class Coded:
    """Rows on the grid: one array per column, int16 for numbers (missing = -levels), uint8 or int32 codes for categories."""

    columns: tuple[npt.NDArray[np.generic], ...]
    is_number: tuple[bool, ...]
    levels: int
    has_missing: tuple[bool, ...]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.columns[0])

    def take(self, rows: npt.NDArray[np.integer]) -> Coded:
        """The chosen rows."""
        return Coded(
            tuple(np.ascontiguousarray(column[rows]) for column in self.columns), self.is_number, self.levels, self.has_missing
        )

    @staticmethod
    def join(first: Coded, second: Coded) -> Coded:
        """Rows of the first, then rows of the second (of one encoding)."""
        columns = tuple(np.concatenate(pair) for pair in zip(first.columns, second.columns, strict=True))
        return Coded(columns, first.is_number, first.levels, first.has_missing)


@dataclass(frozen=True, slots=True)
class Encoding:
    """The grid of an evaluation: scales come from train and holdout together."""

    names: tuple[str, ...]
    train: Coded
    holdout: Coded
    synthetic: Coded

    @classmethod
    def of(cls, inputs: Inputs) -> Encoding:
        """Encode the three tables (once per evaluation)."""
        return inputs.once("distances.encoding", lambda: _encode(inputs))

    def positions(self, names: Sequence[str]) -> tuple[int, ...]:
        """Positions of columns by name."""
        return tuple(self.names.index(name) for name in names)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The k nearest references of each query, nearest first.

    Attributes:
        distance: Mean Gower distance in [0, 1], float64 of shape (queries, k).
        index: Row of the reference, int64 of the same shape.
    """

    distance: npt.NDArray[np.float64]
    index: Indices


def _encode(inputs: Inputs) -> Encoding:
    names = tuple(inputs.columns)
    levels = max(16, min(MAX_LEVELS, MAX_STEPS // len(names)))
    numeric = frozenset(inputs.numeric_columns())
    coded: dict[str, list[npt.NDArray[np.generic]]] = {table.which: [] for table in inputs.tables}
    missing: list[bool] = []
    for name in names:
        missing.append(any(bool((table.codes(name) < 0).any()) for table in inputs.tables))
        if name in numeric:
            real = np.concatenate([inputs.train.numeric(name), inputs.holdout.numeric(name)])
            low, high = _range(np.unique(real[~np.isnan(real)]))
            for table in inputs.tables:
                coded[table.which].append(_on_grid(table.numeric(name), low, high, levels))
        else:
            small = len(inputs.domain(name)) < SMALL_DOMAIN
            for table in inputs.tables:
                codes = table.codes(name)
                coded[table.which].append((codes + 1).astype(np.uint8) if small else codes)

    def made(table: Table) -> Coded:
        return Coded(tuple(coded[table.which]), tuple(name in numeric for name in names), levels, tuple(missing))

    return Encoding(names, made(inputs.train), made(inputs.holdout), made(inputs.synthetic))


def _range(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Ends of the range of sorted different values, without those that lie far from all others; (0, 0) where there are none."""
    if len(values) == 0:
        return 0.0, 0.0
    first, last = 0, len(values) - 1
    while last - first >= LEAST_IN_RANGE:
        width = FAR * (values[last] - values[first])
        if values[last] - values[last - 1] > width:
            last -= 1
        elif values[first + 1] - values[first] > width:
            first += 1
        else:
            break
    return float(values[first]), float(values[last])


def _on_grid(values: npt.NDArray[np.float64], low: float, high: float, levels: int) -> npt.NDArray[np.int16]:
    width = high - low
    scaled = np.clip((values - low) / width if width > 0 else np.sign(values - low), 0.0, 1.0) * levels
    return np.where(np.isnan(values), -levels, np.rint(np.nan_to_num(scaled))).astype(np.int16)


class _Workspace:
    """Buffers of one thread, used again for every block: distances of a few queries to a stretch of references."""

    def __init__(self, queries: Coded, references: Coded, shape: tuple[int, int], everything: frozenset[int]) -> None:
        self.queries, self.references, self.everything = queries, references, everything
        self._whole_shape = shape
        self._difference = np.empty(shape, dtype=np.int16)
        self._mismatch = np.empty(shape, dtype=np.bool_)
        self._mismatches = np.empty(shape, dtype=np.uint8)
        self._sums: dict[frozenset[int], Steps] = {}

    def sums(self, rows: slice, cols: slice, parts: Sequence[frozenset[int]]) -> list[Steps]:
        """Distances on each part, sharing work: a part whose complement is known costs one subtraction."""
        everything, known = self.everything, set[frozenset[int]]()

        def direct(part: frozenset[int]) -> Steps:
            known.add(part)
            return self._summed(part, rows, cols, self._buffer(part, rows, cols))

        half = next((part for part in parts if part and everything - part in parts), None)
        if half is not None:
            first, second = direct(half), direct(everything - half)
            np.add(first, second, out=self._buffer(everything, rows, cols))
            known.add(everything)
        elif any(2 * len(part) > len(everything) for part in parts):
            direct(everything)
        for part in parts:
            rest = everything - part
            if part in known:
                continue
            if everything in known and len(rest) < len(part):
                subtracted = self._buffer(rest, rows, cols) if rest in known else direct(rest)
                known.add(part)
                np.subtract(self._buffer(everything, rows, cols), subtracted, out=self._buffer(part, rows, cols))
            else:
                direct(part)
        return [self._buffer(part, rows, cols) for part in parts]

    def _buffer(self, part: frozenset[int], rows: slice, cols: slice) -> Steps:
        if part not in self._sums:
            self._sums[part] = np.empty(self._whole_shape, dtype=np.uint16)
        return _corner(self._sums[part], rows, cols)

    def _summed(self, part: frozenset[int], rows: slice, cols: slice, total: Steps) -> Steps:
        mismatch, mismatches = _corner(self._mismatch, rows, cols), _corner(self._mismatches, rows, cols)
        difference = _corner(self._difference, rows, cols)
        levels = self.queries.levels
        categories = [column for column in sorted(part) if not self.queries.is_number[column]]
        numbers = [column for column in sorted(part) if self.queries.is_number[column]]
        begun = False
        for start in range(0, len(categories), SMALL_DOMAIN):
            some = categories[start : start + SMALL_DOMAIN]
            np.not_equal(*self._pair(some[0], rows, cols), out=mismatches.view(np.bool_))
            for column in some[1:]:
                np.not_equal(*self._pair(column, rows, cols), out=mismatch)
                np.add(mismatches, mismatch.view(np.uint8), out=mismatches)
            scaled = difference.view(np.uint16) if begun else total
            np.copyto(scaled, mismatches)
            np.multiply(scaled, np.uint16(levels), out=scaled)
            if begun:
                np.add(total, scaled, out=total)
            begun = True
        for column in numbers:
            one = difference if begun else total.view(np.int16)
            np.subtract(*self._pair(column, rows, cols), out=one)
            np.abs(one, out=one)
            if self.queries.has_missing[column]:
                np.minimum(one, np.int16(levels), out=one)
            if begun:
                np.add(total, one.view(np.uint16), out=total)
            begun = True
        return total

    def _pair(self, column: int, rows: slice, cols: slice) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        return self.queries.columns[column][rows, None], self.references.columns[column][None, cols]


def _corner(buffer: npt.NDArray[Any], rows: slice, cols: slice) -> npt.NDArray[Any]:
    """A contiguous view of a buffer in the shape of the block."""
    height, width = rows.stop - rows.start, cols.stop - cols.start
    return buffer.reshape(-1)[: height * width].reshape(height, width)


def _smallest(steps: Steps, k: int, offset: int) -> tuple[Steps, Indices]:
    """The k smallest of each row with their positions, smallest first, ties by position. Overwrites `steps`."""
    rows = np.arange(len(steps))
    values = np.full((len(steps), k), NOT_A_NEIGHBOUR, dtype=np.uint16)
    index = np.zeros((len(steps), k), dtype=np.int64)
    for rank in range(min(k, steps.shape[1])):
        best = steps.argmin(axis=1)
        values[:, rank] = steps[rows, best]
        index[:, rank] = best + offset
        steps[rows, best] = NOT_A_NEIGHBOUR
    return values, index


def _merge(first: tuple[Steps, Indices], second: tuple[Steps, Indices]) -> tuple[Steps, Indices]:
    values = np.hstack([first[0], second[0]])
    index = np.hstack([first[1], second[1]])
    order = np.argsort(values, axis=1, kind="stable")[:, : first[0].shape[1]]
    return np.take_along_axis(values, order, axis=1), np.take_along_axis(index, order, axis=1)


def nearest(
    queries: Coded,
    references: Coded,
    *,
    k: int | Sequence[int],
    parts: Sequence[Sequence[int]] | None = None,
    own_group: Groups | None = None,
    workers: int = 1,
) -> list[Neighbours]:
    """Find the k nearest references of every query, exhaustively, on each of several sets of columns.

    Args:
        queries: Rows whose neighbours are wanted.
        references: Rows of the same encoding that may be neighbours.
        k: Neighbours wanted, at least 1; one number for all parts or one for each. Where fewer references are
            allowed, the distance is 1 and the index 0.
        parts: Sets of column positions, one search each, sharing their work; all columns by default.
        own_group: Group of each query and of each reference; a reference of the query's own group is no neighbour.
            Used to search a pool for neighbours other than the row, or the privacy unit, itself.
        workers: Threads. The result does not depend on it.
    """
    everything = frozenset(range(len(queries.columns)))
    wanted = [everything] if parts is None else [frozenset(part) for part in parts]
    depth = [k] * len(wanted) if isinstance(k, int) else list(k)
    deepest: dict[frozenset[int], int] = {}  # a part that is asked for twice is searched once, as deep as anybody wants
    for part, most in zip(wanted, depth, strict=True):
        deepest[part] = max(most, deepest.get(part, 1))
    search = _Search(queries, references, list(deepest), list(deepest.values()), own_group)
    starts = range(0, queries.rows, search.height)
    if workers > 1:
        with ThreadPoolExecutor(workers) as pool:
            blocks = list(pool.map(search.block, starts))
    else:
        blocks = [search.block(start) for start in starts]
    found: dict[frozenset[int], Neighbours] = {}
    for position, part in enumerate(deepest):
        values = np.vstack([block[position][0] for block in blocks])
        index = np.vstack([block[position][1] for block in blocks])
        scale = float(max(1, len(part)) * queries.levels)
        found[part] = Neighbours(np.where(values == NOT_A_NEIGHBOUR, 1.0, values / scale), index)
    return [
        Neighbours(found[part].distance[:, :most], found[part].index[:, :most]) for part, most in zip(wanted, depth, strict=True)
    ]


class _Search:
    """One exhaustive search: what is looked for where, and a workspace for each thread that looks."""

    def __init__(
        self, queries: Coded, references: Coded, wanted: list[frozenset[int]], depth: list[int], own_group: Groups | None
    ) -> None:
        self.queries, self.references, self.wanted, self.depth = queries, references, wanted, depth
        width = min(BLOCK_REFERENCES, references.rows)
        self.height = max(1, BLOCK_PAIRS // width)
        self._shape = (self.height, width)
        self._groups = None if own_group is None else own_group[0]
        self._members = None if own_group is None else _members(own_group[1], int(max(groups.max() for groups in own_group)))
        self._mine = local()

    def block(self, start: int) -> list[tuple[Steps, Indices]]:
        """Nearest references of the queries from `start` on, one answer for each part; stretches of references in turn."""
        if not hasattr(self._mine, "workspace"):
            everything = frozenset(range(len(self.queries.columns)))
            self._mine.workspace = _Workspace(self.queries, self.references, self._shape, everything)
        rows = slice(start, min(start + self.height, self.queries.rows))
        best: list[tuple[Steps, Indices]] | None = None
        for left in range(0, self.references.rows, BLOCK_REFERENCES):
            cols = slice(left, min(left + BLOCK_REFERENCES, self.references.rows))
            steps = self._mine.workspace.sums(rows, cols, self.wanted)
            if self._groups is not None and self._members is not None:
                _exclude(steps, self._groups[rows], self._members, cols)
            found = [_smallest(part, most, left) for part, most in zip(steps, self.depth, strict=True)]
            best = found if best is None else [_merge(old, new) for old, new in zip(best, found, strict=True)]
        return [] if best is None else best


def _members(groups: npt.NDArray[np.integer], last: int) -> tuple[Indices, Indices]:
    """Rows sorted by group, and where each group starts (CSR form)."""
    order = np.argsort(groups, kind="stable").astype(np.int64)
    starts = np.searchsorted(groups[order], np.arange(last + 2))
    return order, starts.astype(np.int64)


def _exclude(steps: list[Steps], groups: npt.NDArray[np.integer], members: tuple[Indices, Indices], cols: slice) -> None:
    order, starts = members
    for row, group in enumerate(groups):
        own = order[starts[group] : starts[group + 1]]
        own = own[(own >= cols.start) & (own < cols.stop)] - cols.start
        for part in steps:
            part[row, own] = NOT_A_NEIGHBOUR


def gower(query: Coded, reference: Coded, pairs: tuple[Indices, Indices]) -> npt.NDArray[np.float64]:
    """Distances of given (query row, reference row) pairs in [0, 1]."""
    total = np.zeros(len(pairs[0]))
    for position, is_number in enumerate(query.is_number):
        left = query.columns[position][pairs[0]]
        right = reference.columns[position][pairs[1]]
        if is_number:
            total += np.minimum(np.abs(left.astype(np.int32) - right.astype(np.int32)), query.levels)
        else:
            total += (left != right) * float(query.levels)
    return total / float(len(query.columns) * query.levels)
