"""The neighbourhood of people: members and as many non-members, their nearest synthetic rows, their nearest real others.

Responsible for drawing the pool that attacks are scored on, and for the one exhaustive search they share.

Invariants:
    - Members and non-members are drawn in equal number (whole privacy units), and every quantity is computed from the
      pool and the synthetic table without looking at who is a member: under random labels all scores are exchangeable.
    - The nearest real other is searched in a random part of the pool, without the row's own privacy unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluator.distances import Coded, Encoding, Neighbours, nearest
from evaluator.inputs import Inputs, Table
from evaluator.privacy.family import PrivacyOptions

__all__ = ["K", "Neighbourhood", "Pool", "halves", "neighbourhood", "pool_of", "synthetic_sample"]

Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
K = 5
"""Neighbours kept: enough for a density, few enough to stay local."""
K_FINE = 3
"""The same on the finely graded columns, where crowds are thinner."""
FINE_VALUES = 30
"""A number, date or time with more different values than this is finely graded: coming near it by chance takes luck."""
LEAST_FINE = 3
MOST_REFERENCE = 8_192
"""Real rows that are searched for the nearest other: enough to tell crowded from lonely."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Members and non-members that attacks are scored on.

    Attributes:
        train_rows, holdout_rows: Rows chosen from train and from holdout.
        unit: Unit number of each pool row, members' rows first, counted from 0 without gaps.
        member: Whether each pool row is a member's.
        coded: The rows on the distance grid.
    """

    train_rows: Indices
    holdout_rows: Indices
    unit: Indices
    member: Flags
    coded: Coded

    @property
    def units(self) -> int:
        """Number of privacy units in the pool: half of them members."""
        return int(self.unit.max()) + 1

    @property
    def unit_is_member(self) -> Flags:
        """Whether each unit is a member."""
        flags = np.zeros(self.units, dtype=np.bool_)
        flags[self.unit[self.member]] = True
        return flags

    def by_unit(self, score: Floats) -> Floats:
        """The score of a unit is the largest of its rows' scores."""
        if np.array_equal(self.unit, np.arange(len(score))):
            return score
        best = np.full(self.units, -np.inf)
        np.maximum.at(best, self.unit, score)
        return best


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """What the shared search found for every pool row.

    Attributes:
        synthetic: K nearest synthetic rows on all columns.
        real: K nearest rows of other units, in a random part of the pool.
        secrets: Positions of the sensitive columns.
        without: For each of them, the nearest synthetic row on all other columns.
        halves: Two disjoint sets of column positions, together all of them (none where there is one column only).
        linked: For each half, the nearest synthetic row on it.
        fine: The nearest synthetic row on the finely graded columns alone; None where they are all columns, or too few.
        fine_real: The `K_FINE` nearest rows of other units on them, in the same random part of the pool.
        chosen: Rows of synthetic that were searched, and that indices point into.
    """

    pool: Pool
    chosen: Indices
    synthetic: Neighbours
    real: Neighbours
    secrets: tuple[int, ...]
    without: tuple[Neighbours, ...]
    halves: tuple[tuple[int, ...], ...]
    linked: tuple[Neighbours, ...]
    fine: Neighbours | None
    fine_real: Neighbours | None


def pool_of(inputs: Inputs, options: PrivacyOptions) -> Pool:
    """Draw the pool (once per evaluation)."""
    return inputs.once(f"privacy.pool.{options.people}", lambda: _pool(inputs, options))


def _pool(inputs: Inputs, options: PrivacyOptions) -> Pool:
    rng = inputs.generator("privacy", "pool")
    encoding = Encoding.of(inputs)
    counts = [_units_within(table, options.people) for table in (inputs.train, inputs.holdout)]
    wanted = min(counts)
    train_rows, train_units = _draw(inputs.train, wanted, rng)
    holdout_rows, holdout_units = _draw(inputs.holdout, wanted, rng)
    return Pool(
        train_rows,
        holdout_rows,
        np.concatenate([train_units, holdout_units + wanted]),
        np.arange(len(train_rows) + len(holdout_rows)) < len(train_rows),
        Coded.join(encoding.train.take(train_rows), encoding.holdout.take(holdout_rows)),
    )


def _units_within(table: Table, people: int) -> int:
    """How many units can be drawn: no more than are asked for, nor than come with about twice as many rows."""
    per_unit = table.rows / table.n_units
    return max(1, min(table.n_units, people, int(2 * people / per_unit)))


def _draw(table: Table, wanted: int, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """Rows of `wanted` random units in table order, and their units renumbered from 0."""
    place = np.full(table.n_units, -1, dtype=np.int64)
    place[np.sort(rng.choice(table.n_units, wanted, replace=False))] = np.arange(wanted)
    rows = np.flatnonzero(place[table.units] >= 0)
    return rows, place[table.units[rows]]


def synthetic_sample(inputs: Inputs, most: int) -> Indices:
    """Rows of synthetic, sampled without replacement when there are more than `most`."""
    if inputs.synthetic.rows <= most:
        return np.arange(inputs.synthetic.rows)
    chosen = inputs.generator("privacy", "synthetic").choice(inputs.synthetic.rows, most, replace=False)
    return np.sort(chosen).astype(np.int64)


def neighbourhood(inputs: Inputs, options: PrivacyOptions) -> Neighbourhood:
    """Search once for all attacks (once per evaluation)."""
    key = f"privacy.neighbourhood.{options.people}.{options.max_references}"
    return inputs.once(key, lambda: _search(inputs, options))


def _search(inputs: Inputs, options: PrivacyOptions) -> Neighbourhood:
    pool = pool_of(inputs, options)
    chosen = synthetic_sample(inputs, options.max_references)
    synthetic = Encoding.of(inputs).synthetic
    if len(chosen) < synthetic.rows:
        synthetic = synthetic.take(chosen)
    everything = tuple(range(len(inputs.columns)))
    secrets = tuple(p for p, column in enumerate(inputs.columns.values()) if column.role == "sensitive" and len(everything) > 1)
    split = halves(inputs)
    graded = fine_columns(inputs)
    parts = [everything, *([other for other in everything if other != secret] for secret in secrets), *split]
    parts += [graded] if graded else []
    found = nearest(pool.coded, synthetic, k=[K, *(1 for _ in parts[1:])], parts=parts, workers=options.workers)
    fine = found.pop() if graded else None
    real = _reference(inputs, pool, graded, options)
    first = 1 + len(secrets)
    linked = tuple(found[first:])
    return Neighbourhood(
        pool, chosen, found[0], real[0], secrets, tuple(found[1:first]), split, linked, fine, real[1] if graded else None
    )


def fine_columns(inputs: Inputs) -> tuple[int, ...]:
    """Positions of numbers, dates and times of many values; none where they are all columns, or too few to place a row.

    Noise on every number moves flags and small codes by whole steps, which hides a row among all columns; on these it is near.
    """
    names = tuple(inputs.columns)
    graded = tuple(names.index(name) for name in inputs.numeric_columns() if len(inputs.domain(name)) > FINE_VALUES)
    return graded if LEAST_FINE <= len(graded) < len(names) else ()


def halves(inputs: Inputs) -> tuple[tuple[int, ...], ...]:
    """The quasi-identifiers and the rest where both have substance; otherwise columns dealt out by number of values."""
    roles = [column.role for column in inputs.columns.values()]
    if len(roles) < 2:  # noqa: PLR2004 - two halves
        return ()
    known = tuple(position for position, role in enumerate(roles) if role == "quasi-identifier")
    rest = tuple(position for position in range(len(roles)) if position not in known)
    if min(len(known), len(rest)) >= max(2, len(roles) // 4):
        return known, rest
    names = list(inputs.columns)
    order = sorted(range(len(roles)), key=lambda position: (-len(inputs.domain(names[position])), position))
    return tuple(sorted(order[::2])), tuple(sorted(order[1::2]))


def _reference(inputs: Inputs, pool: Pool, graded: tuple[int, ...], options: PrivacyOptions) -> list[Neighbours]:
    """Nearest other people of the pool, searched among a random part of it: how far from anybody a row is by nature.

    On all columns, and on the finely graded ones where there are some. The part is in random order, so that among equally near
    rows members are not found first.
    """
    rows = len(pool.unit)
    rng = inputs.generator("privacy", "reference")
    chosen = rng.choice(rows, min(rows, MOST_REFERENCE), replace=False)
    groups = (pool.unit, pool.unit[chosen])
    parts, depth = [tuple(range(len(inputs.columns)))], [K]
    if graded:
        parts, depth = [*parts, graded], [K, K_FINE]
    found = nearest(pool.coded, pool.coded.take(chosen), k=depth, parts=parts, own_group=groups, workers=options.workers)
    return [Neighbours(part.distance, chosen[part.index]) for part in found]
