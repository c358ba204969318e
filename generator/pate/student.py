"""The student: a discriminator that learns from noisy votes on generated rows where real rows are.

Each vote tells, but for noise, how much more alike real rows are to one generated row than generated rows are: a linear
function of how the pair means of real rows differ from those of generated rows. All votes of all rounds are one regression for
the pair means of real rows under a Gaussian prior, as wide as makes the votes most probable. By those pair means the student
tells rows apart, and as its other side is generated rows it keeps up with the generator between votes, which costs nothing.

Invariants:
    - It sees generated rows and noisy counts: all of it is post-processing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generator.pate.pairs import PairView
from generator.pate.teachers import Ballot

__all__ = ["Student"]

Floats = NDArray[np.float64]
DENSITY = 1 / math.sqrt(2 * math.pi)
WIDTHS = (0.01, 0.02, 0.04, 0.08, 0.16)
CHANCE = 0.5
"""Variance of one teacher's vote, twice: those of one teacher on several rows go together."""


@dataclass(slots=True)
class Student:
    """What was voted on, and what the votes said.

    Attributes:
        view: What it looks at.
    """

    view: PairView
    _ballots: list[Ballot] = field(default_factory=list)
    _answers: list[Floats] = field(default_factory=list)
    _doubts: list[Floats] = field(default_factory=list)

    def hear(
        self, ballot: Ballot, votes: Floats, *, expected: Floats, variance: float, teachers: int, rows: float, now: Floats
    ) -> None:
        """Take in a round.

        Args:
            ballot: What was voted on.
            votes: Noisy counts.
            expected: Counts to be expected if real rows were like generated ones.
            variance: Of the noise.
            teachers: How many voted.
            rows: Noisy number of rows that they know together.
            now: Pair means of generated rows.
        """
        slope = DENSITY * math.sqrt(max(rows / teachers, 1.0)) * teachers
        known = now * self.view.by_pair(ballot.weights) / 2
        offset = np.einsum("nd,de,ne->n", ballot.rows, known, ballot.rows, optimize=True) / ballot.spread
        self._ballots.append(ballot)
        self._answers.append((votes - expected) / slope + offset)
        self._doubts.append(np.full(len(votes), (variance + CHANCE * teachers) / slope**2))

    def pair_means(self) -> Tensor:
        """What it takes for the pair means of real rows (0 within a column)."""
        rows = np.concatenate([ballot.rows for ballot in self._ballots])
        spread = np.concatenate([ballot.spread for ballot in self._ballots])
        without, with_goal = (part / np.outer(spread, spread) for part in self.view.likeness(rows, rows))
        ours = self._ballots[-1].weights
        kernels = torch.from_numpy(ours[0] ** 2 * without), torch.from_numpy(ours[1] ** 2 * with_goal)
        answers, doubts = (torch.from_numpy(np.concatenate(parts)) for parts in (self._answers, self._doubts))
        widths, weights = _most_probable(kernels, answers, doubts, is_split=bool(self.view.goals))
        scaled = rows * (weights.numpy() / spread)[:, None]
        prior = self.view.by_pair((ours[0] * widths[0] ** 2, ours[1] * widths[1] ** 2))
        return torch.from_numpy(scaled.T @ rows * prior)


def _most_probable(
    kernels: tuple[Tensor, Tensor], answers: Tensor, doubts: Tensor, *, is_split: bool
) -> tuple[tuple[float, float], Tensor]:
    """Widths of the prior under which the answers are most probable, and the regression's weights."""
    middle = WIDTHS[len(WIDTHS) // 2]
    goal = max(WIDTHS, key=lambda width: _solved(kernels, (middle, width), answers, doubts)[0]) if is_split else middle
    widths = max(((width, goal) for width in WIDTHS), key=lambda pair: _solved(kernels, pair, answers, doubts)[0])
    return widths, _solved(kernels, widths, answers, doubts)[1]


def _solved(kernels: tuple[Tensor, Tensor], widths: tuple[float, float], answers: Tensor, doubts: Tensor) -> tuple[float, Tensor]:
    """Log-probability of the answers (up to a constant) and the weights of the regression."""
    covariance = widths[0] ** 2 * kernels[0] + widths[1] ** 2 * kernels[1] + torch.diag(doubts)
    factor = torch.linalg.cholesky(covariance)
    weights = torch.cholesky_solve(answers[:, None], factor)[:, 0]
    return float(-0.5 * answers @ weights - factor.diagonal().log().sum()), weights
