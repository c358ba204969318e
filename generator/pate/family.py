"""The generator `pate-gan` (after Jordon, Yoon and van der Schaar 2019), with the data-independent account of its votes.

Invariants:
    - Student and generator see generated rows and noisy votes; no private row reaches either.
    - Histograms and votes are charged to one zCDP account before they are made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from generator.base import FittedGenerator, GeneratorError, Progress, Train, no_progress
from generator.gan.generator import RowGenerator
from generator.pate.pairs import PairView, Weights
from generator.pate.student import Student
from generator.pate.teachers import Ballot, Teachers, count_votes
from generator.sgd.engine import device_of
from generator.sgd.fitted import FittedNeural
from generator.sgd.onehot import Layout, log_ones
from generator.sgd.parameters import PateParameters
from generator.sgd.prepare import Measured, Private, measure
from generator.sgd.saving import load_with
from generator.zcdp import Account
from policies.card import DatasetCard
from policies.types import GENERATORS, GeneratorInfo, PrivacyTarget

__all__ = ["PateGan", "create", "load"]

RATE = 3e-3
BATCH = 1024
ANCHOR = 20.0
LIVELY = 3.0
"""How much a first hidden unit moves a logit: a generator of independent columns is a saddle point, and it begins beside it."""
UNITS_A_TEACHER = 8
MOST_TEACHERS = 20_000
COMPARED = 4096
PRETENDED = 4000
VOTING: Weights = (1.0, 4.0)
LEARNING: Weights = (1.0, 4.0)


@dataclass(frozen=True, slots=True)
class School:
    """What teaches the generator."""

    view: PairView
    teachers: Teachers
    student: Student
    rows: float


class PateGan:
    """Unfitted `pate-gan`."""

    def __init__(self, values: PateParameters) -> None:
        self.values = values

    @property
    def info(self) -> GeneratorInfo:
        """The line of the generator catalogue."""
        return GENERATORS["pate-gan"]

    def fit(
        self,
        train: Train,
        *,
        card: DatasetCard,
        target: PrivacyTarget | None,
        rng: np.random.Generator,
        progress: Progress = no_progress,
        checkpoint: Path | None = None,  # noqa: ARG002 - a handful of rounds of some seconds each
    ) -> FittedGenerator:
        """Learn from a train table under (ε, δ)-differential privacy; `rng` draws rows to vote on, never noise."""
        if target is None:
            raise GeneratorError("pate-gan needs a privacy target: epsilon and delta")
        device = device_of(self.values.device)  # what this machine lacks is said before anything is read
        progress(0.02, "histograms")
        measured, private, account = measure(train, card=card, target=target, share=self.values.histogram_share)
        network = self._taught(measured, private, account, rng, progress, device)
        progress(1.0, "fitted")
        return FittedNeural(name="pate-gan", spent=account.spent(), sampler=network, **measured.fitted_facts())

    def _taught(
        self, measured: Measured, private: Private, account: Account, rng: np.random.Generator, progress: Progress,
        device: torch.device,
    ) -> RowGenerator:  # fmt: skip
        values, view = self.values, PairView.of(measured)
        network = RowGenerator(
            Layout([bins.size for bins in measured.bins]), noise=values.noise_width, width=values.generator_width
        ).to(device)
        network.start_from(log_ones(measured.ones))
        network.head.weight.data *= LIVELY
        count = values.teachers or min(MOST_TEACHERS, max(2, round(measured.expected_units / UNITS_A_TEACHER)))
        names = tuple(variable.name for variable in measured.variables)
        teachers = Teachers(view, private.codes, private.owners, count=count, columns=names)
        school = School(view, teachers, Student(view), measured.rows)
        share = account.left / values.rounds
        for place in range(values.rounds):
            _ask(school, network, queries=values.root_queries**2, account=account, rho=Fraction(share), rng=rng)
            for part in _follow(network, school, values.student_steps):
                progress(0.05 + 0.94 * (place + part) / values.rounds, "votes")
        return network.eval()


def _ask(
    school: School, network: RowGenerator, *, queries: int, account: Account, rho: Fraction, rng: np.random.Generator
) -> None:
    """Have the teachers vote on generated rows, and the student hear it.

    What independent teachers would vote if real rows were like generated ones is found by teachers of generated rows.
    """
    view, count = school.view, school.teachers.count
    compared = view.rows(network.draw(COMPARED, rng=rng))
    ballot = Ballot.of(view, view.rows(network.draw(queries, rng=rng)), compared, VOTING)
    votes, variance = school.teachers.vote(ballot, account=account, rho=rho)
    some = min(count, PRETENDED)
    shards = np.sort(rng.integers(0, some, max(1, round(school.rows * some / count))))
    expected = count_votes(view, network.draw(len(shards), rng=rng), shards, some, ballot).astype(np.float64) * (count / some)
    with torch.no_grad():
        now = view.pair_means(network.chances(COMPARED)).double().cpu().numpy()
    school.student.hear(ballot, votes, expected=expected, variance=variance, teachers=count, rows=school.rows, now=now)


def _follow(network: RowGenerator, school: School, steps: int) -> Iterator[float]:
    """Train the generator until the student cannot tell its rows from real ones by pairs of columns; yields the part done.

    The student's score of a row is linear in the row's pairs; scored against the generator as it is, the generator's ascent on
    it is the descent on the squared distance of pair means.
    """
    device = network.head.weight.device
    wanted = school.student.pair_means().float().to(device)
    weights = torch.from_numpy(school.view.by_pair(LEARNING)).float().to(device)
    own = torch.optim.Adam(network.own_parameters(), lr=RATE, betas=(0.9, 0.99))
    for step in range(steps):
        for group in own.param_groups:
            group["lr"] = RATE * (0.05 + 0.95 * 0.5 * (1 + np.cos(np.pi * step / steps)))
        chances = network.chances(BATCH)
        apart = school.view.pair_means(chances) - wanted
        network.descend((weights * apart.square()).sum() / 2 + ANCHOR * network.strayed(chances), own)
        yield (step + 1) / steps


def create(_name: str, values: PateParameters) -> PateGan:
    """Make the unfitted generator."""
    return PateGan(values)


def load(folder: Path, *, digest: str) -> FittedNeural:
    """Read a saved model."""
    return load_with(folder, digest=digest, rebuild=RowGenerator.rebuilt)
