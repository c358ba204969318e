"""Real rows seen through parts of their columns: whole, but for one or two columns, and on the quasi-identifiers.

Responsible for the list of parts that are looked through, and for collecting, for every part, which real rows one person
alone has and which of them stand in the synthetic table.

Invariants:
    - A row that differs from a synthetic row in at most two columns matches it under at least one listed part, however
      many columns there are: with more than `MAX_GROUPS` columns they are left out in groups, two groups at a time.
    - Nothing here looks at who is in train.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from evaluator.inputs import Inputs
from evaluator.privacy.rows import Matches, RealRows, real_rows

__all__ = ["STRATA", "Isolation", "Part", "isolation", "parts"]

MAX_GROUPS = 14
PAIR_ROWS = 200_000
"""Above so many rows (real and synthetic together) pairs of columns are not left out: cost stays near-linear."""
BATCH = 8
STRATA = 128
"""Strata of crowdedness: eight octaves of rows one column away times sixteen of rows two columns away."""
NO_COUNTS = np.zeros(0, dtype=np.int64)
LEAST_LEFT = 3
"""A part of fewer columns says too little about a row to be looked through."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some columns of the table, the words that name them on a report card, and how many groups of columns are left out."""

    columns: tuple[int, ...]
    words: str
    leaves_out: int


@dataclass(frozen=True, slots=True)
class Isolation:
    """How alone each real row is.

    Attributes:
        whole: Matches of whole rows.
        near_one: Other rows that differ in one column at most, counted over the columns.
        stratum: Strata of growing crowdedness, from the counts of rows that differ in one column and in two.
        through: Each part that was looked through, with who is alone under it and who of them was found.
    """

    whole: Matches
    near_one: npt.NDArray[np.int64]
    stratum: npt.NDArray[np.int64]
    through: tuple[tuple[Part, Matches], ...]


def isolation(inputs: Inputs, workers: int = 1) -> Isolation:
    """Look through all parts and sort rows by crowdedness (once per evaluation; threads do not change it)."""
    return inputs.once("privacy.isolation", lambda: _isolation(inputs, real_rows(inputs), workers))


def _isolation(inputs: Inputs, rows: RealRows, workers: int) -> Isolation:
    width = len(rows.names)
    whole = rows.matches(*rows.totals(range(width)))
    near_one = np.zeros(len(rows.unit), dtype=np.int64)
    near_two = np.zeros(len(rows.unit), dtype=np.int64)
    seen: list[tuple[Part, Matches]] = []
    with ThreadPoolExecutor(workers) as threads:
        for batch in _batches(tuple(parts(inputs))):  # counts of neighbours are summed up and not kept
            for part, matches in zip(
                batch, threads.map(lambda part: rows.matches(*rows.totals(part.columns)), batch), strict=True
            ):
                if part.leaves_out == 1:
                    near_one += np.maximum(matches.twins - whole.twins, 0)
                elif part.leaves_out > 1:
                    near_two += matches.twins
                seen.append((part, Matches(matches.alone, matches.alone & matches.found, NO_COUNTS)))
    stratum = np.minimum(_octave(near_one), STRATA // 16 - 1) * 16 + np.minimum(_octave(near_two), 15)
    return Isolation(whole, near_one, stratum, tuple(seen))


def _batches(listed: tuple[Part, ...]) -> Iterator[tuple[Part, ...]]:
    for start in range(0, len(listed), BATCH):
        yield listed[start : start + BATCH]


def _octave(count: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """0 for none, 1 for one, 2 for two and three, 3 for four to seven and so on."""
    octave: npt.NDArray[np.int64] = np.ceil(np.log2(count + 1.0)).astype(np.int64)
    return octave


def parts(inputs: Inputs) -> Iterator[Part]:
    """The parts that near copies are looked for through."""
    names = tuple(inputs.columns)
    everything = frozenset(range(len(names)))

    def but(left_out: frozenset[int], words: str, groups: int) -> Iterator[Part]:
        kept = everything - left_out
        if left_out and len(kept) >= LEAST_LEFT:
            yield Part(tuple(sorted(kept)), words, groups)

    for column in sorted(everything):
        yield from but(frozenset({column}), f"all but {names[column]}", 1)
    if sum(table.rows for table in inputs.tables) <= PAIR_ROWS:
        groups = _groups(inputs)
        for one, two in combinations(range(len(groups)), 2):
            left_out = groups[one] | groups[two]
            yield from but(left_out, "all but " + " and ".join(names[column] for column in sorted(left_out)), 2)
    for role in ("quasi-identifier", "sensitive"):
        chosen = tuple(position for position, name in enumerate(names) if inputs.columns[name].role == role)
        if LEAST_LEFT <= len(chosen) < len(names) - 2:
            yield Part(chosen, f"the {role}s" if role == "quasi-identifier" else "the sensitive columns", 0)


def _groups(inputs: Inputs) -> list[frozenset[int]]:
    """Columns in at most `MAX_GROUPS` groups; columns with many values stand alone for as long as there is room."""
    order = sorted(range(len(inputs.columns)), key=lambda p: (-len(inputs.domain(list(inputs.columns)[p])), p))
    groups: list[set[int]] = [set() for _ in range(min(MAX_GROUPS, len(order)))]
    for place, column in enumerate(order):
        groups[place if place < len(groups) else len(groups) - 1 - place % len(groups)].add(column)
    return [frozenset(group) for group in groups]
