"""Teachers that each know one shard of units, and the noisy count of their votes.

A teacher is a discriminator of its shard: it takes a generated row for real if the shard's rows are, on average, more like it
than generated rows are (a nearest-mean classifier over pairs of columns).

Invariants:
    - A unit is in exactly one shard, chosen by the operating system's entropy; so one unit changes the votes of one teacher.
    - One teacher changes each of the q counts of a round by at most 1: their L2 sensitivity is √q, which is charged before
      anybody votes. The account is data-independent.
    - Sums of a shard are exact (`pairs`), so no other teacher's vote can turn on rounding.
    - What leaves are noisy counts. How many teachers there are is public, or comes from noisy counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from generator.noise import discrete_gaussian, uniform_below
from generator.pate.pairs import PairView, Weights
from generator.zcdp import Account

__all__ = ["Ballot", "Teachers", "count_votes"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
CHUNK = 1 << 11
GRAIN = 256
SOME = 1e-6


@dataclass(frozen=True, slots=True)
class Ballot:
    """Generated rows to be voted on, and how alike generated rows are to them; nothing private.

    Attributes:
        rows: Scores of the rows; their number is a square.
        weights: Of pairs of columns in what counts as alike.
        middle, spread: Mean (rounded) and standard deviation of the likeness of generated rows to each of them.
    """

    rows: Floats
    weights: Weights
    middle: Floats
    spread: Floats

    @classmethod
    def of(cls, view: PairView, rows: Floats, generated: Floats, weights: Weights) -> Ballot:
        """A ballot for teachers who compare with these generated rows."""
        without, with_goal = view.likeness(generated, rows)
        alike = weights[0] * without + weights[1] * with_goal
        return cls(rows, weights, np.round(alike.mean(axis=0) * GRAIN) / GRAIN, alike.std(axis=0) + SOME)


class Teachers:
    """One teacher a shard.

    Args:
        view: What teachers look at.
        codes: Private rows.
        owners: The unit of each row; None where a row is a unit.
        count: How many teachers.
        columns: Names of the variables, for the account.
    """

    def __init__(self, view: PairView, codes: Integers, owners: Integers | None, *, count: int, columns: tuple[str, ...]) -> None:
        self._view, self._columns, self.count = view, columns, count
        unit = np.arange(len(codes)) if owners is None else np.unique(owners, return_inverse=True)[1]
        shard = uniform_below(count, int(unit.max(initial=-1)) + 1)[unit]
        order = np.argsort(shard, kind="stable")
        self._codes, self._shards = codes[order], shard[order]

    def vote(self, ballot: Ballot, *, account: Account, rho: Fraction) -> tuple[Floats, float]:
        """How many teachers take each generated row for real, with noise; and the variance of the noise.

        Args:
            ballot: What is voted on.
            account: What pays.
            rho: What this round may cost.
        """
        root = round(len(ballot.rows) ** 0.5)
        if root * root != len(ballot.rows):
            raise ValueError("teachers vote on a square number of rows")
        variance = account.gaussian("votes of teachers", columns=self._columns, rho=rho, sensitivity=root, teachers=self.count)
        votes = count_votes(self._view, self._codes, self._shards, self.count, ballot)
        return np.asarray(votes + discrete_gaussian(variance, len(votes)), np.float64), float(variance)


def count_votes(view: PairView, codes: Integers, shards: Integers, count: int, ballot: Ballot) -> Integers:
    """How many of `count` teachers vote for each row of a ballot; `codes` stand in the order of their `shards`."""
    sums = np.zeros((count, len(ballot.rows)))
    for start in range(0, len(codes), CHUNK):
        without, with_goal = view.likeness(view.rows(codes[start : start + CHUNK]), ballot.rows)
        alike = ballot.weights[0] * without + ballot.weights[1] * with_goal - ballot.middle
        here = shards[start : start + CHUNK]
        first = np.flatnonzero(np.append(True, here[1:] != here[:-1]))
        sums[here[first]] += np.add.reduceat(alike, first, axis=0)
    return np.asarray((sums > 0).sum(axis=0), np.int64)
