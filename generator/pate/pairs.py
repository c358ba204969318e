"""What teachers and student of `pate-gan` look at: which values go together, in each pair of columns.

A column is a few scores, fixed functions of its bins with mean 0 and variance 1 under the noisy histogram: waves over the ranks
of an ordered column, groups of bins otherwise. The pair means, E[score of one column times score of another], are 0 where
columns are independent and hold the dependence otherwise. Two rows are alike in a pair as far as products of scores agree.

Invariants:
    - Scores come from noisy histograms and the card: no row is read to make them.
    - Scores are multiples of 1/16 within ±16, so that likeness and its sums are exact in double precision (sums below 2^37,
      which 256 scores at their bounds just reach): what one row adds cannot depend on where other rows stand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generator.sgd.prepare import Measured

__all__ = ["PairView", "Weights"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Weights = tuple[float, float]
"""Of pairs without and with a declared target."""
WAVES = 3
GROUPS = 16
LEAST = 0.02
TINY = 1e-6
GRAIN, BOUND = 16, 16.0


@dataclass(frozen=True, slots=True)
class PairView:
    """Scores of all columns.

    Attributes:
        scores: By variable: scores of each bin, of shape (bins, scores).
        goals: Variables that analysts predict.
    """

    scores: tuple[Floats, ...]
    goals: frozenset[int]

    @classmethod
    def of(cls, measured: Measured) -> PairView:
        """Scores under the noisy histograms; targets from the card."""
        scores = []
        for variable, bins, ones in zip(measured.variables, measured.bins, measured.ones, strict=True):
            alone = None if variable.missing is None else int(bins.of_cell[variable.missing])
            if alone is not None and (bins.of_cell == alone).sum() > 1:
                alone = None  # missing values hardly occur and were merged with others
            raw = _waves(ones, alone) if variable.is_ordered else _groups(ones)
            scores.append(_orthonormal(raw, ones))
        goals = frozenset(i for i, v in enumerate(measured.variables) if v.name in measured.card.spec.targets)
        return cls(tuple(scores), goals)

    @property
    def ends(self) -> list[tuple[int, int]]:
        """Where each variable's scores stand among all."""
        stops = np.cumsum([table.shape[1] for table in self.scores]).tolist()
        return list(zip([0, *stops[:-1]], stops, strict=True))

    def rows(self, codes: Integers) -> Floats:
        """All scores of each row."""
        return np.concatenate([table[codes[:, place]] for place, table in enumerate(self.scores)], axis=1)

    def likeness(self, left: Floats, right: Floats) -> tuple[Floats, Floats]:
        """How alike rows are, summed over pairs of columns without and with a target: two matrices (left, right)."""
        total, goal, squares, goal_squares = (np.zeros((len(left), len(right))) for _ in range(4))
        for place, (start, stop) in enumerate(self.ends):
            part = left[:, start:stop] @ right[:, start:stop].T
            total += part
            squares += part * part
            if place in self.goals:
                goal += part
                goal_squares += part * part
        rest = total - goal
        without = (rest * rest - squares + goal_squares) / 2
        return without, (total * total - squares) / 2 - without

    def by_pair(self, weights: Weights) -> Floats:
        """A matrix over all scores: the weight of the pair of columns they belong to, 0 within a column."""
        owner = np.repeat(np.arange(len(self.scores)), [table.shape[1] for table in self.scores])
        is_goal = np.isin(owner, sorted(self.goals))
        found = np.where(is_goal[:, None] | is_goal[None, :], weights[1], weights[0])
        return np.where(owner[:, None] == owner[None, :], 0.0, found)

    def pair_means(self, chances: list[Tensor]) -> Tensor:
        """Pair means of generated rows whose columns have these chances at each point (within a column: of no meaning)."""
        tables = [torch.from_numpy(table).to(chance) for table, chance in zip(self.scores, chances, strict=True)]
        rows = torch.cat([chance @ table for chance, table in zip(chances, tables, strict=True)], dim=1)
        found: Tensor = rows.T @ rows / rows.shape[0]
        return found


def _waves(ones: Floats, missing: int | None) -> Floats:
    """Cosines of the ranks; missing values stand in the middle and have a score of their own."""
    body = np.arange(ones.size) != (-1 if missing is None else missing)
    if body.sum() < 2:  # noqa: PLR2004 - one value has no order
        return np.eye(ones.size)
    mass = np.maximum(ones[body], TINY)
    ranks = (np.cumsum(mass) - mass / 2) / mass.sum()
    waves = np.cos(np.pi * np.outer(ranks, np.arange(1, min(WAVES, mass.size - 1) + 1)))
    found = np.zeros((ones.size, waves.shape[1]))
    found[body] = waves
    found[~body] = mass @ waves / mass.sum()
    return found if missing is None else np.c_[found, ~body]


def _groups(ones: Floats) -> Floats:
    """Each frequent bin by itself; rare ones together until they hold enough."""
    order = np.argsort(-ones, kind="stable")
    left = ones.sum() - np.cumsum(ones[order])
    group, current, held = np.zeros(ones.size, np.int64), 0, 0.0
    for rank, place in enumerate(order):
        group[place] = current
        held += ones[place]
        if held >= LEAST and left[rank] >= LEAST and current < GROUPS - 1:
            current, held = current + 1, 0.0
    return np.asarray(np.eye(current + 1)[group])


def _orthonormal(raw: Floats, ones: Floats) -> Floats:
    """The same information with mean 0, variance 1 and no correlation under the histogram, but for rounding."""
    mass = np.maximum(ones, TINY)
    mass = mass / mass.sum()
    root = np.sqrt(mass)[:, None]
    left, sizes, _ = np.linalg.svd(root * (raw - mass @ raw), full_matrices=False)
    scores = left[:, sizes > TINY] / root
    return np.asarray(np.clip(np.round(scores * GRAIN) / GRAIN, -BOUND, BOUND), np.float64)
