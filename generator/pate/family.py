"""The generator `pate-gan` (Jordon, Yoon and van der Schaar 2019), with the data-independent account of its votes.

Invariants:
    - Student and generator see generated rows and noisy votes; no private row reaches either.
    - Histograms and votes are charged to one zCDP account before they are made.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import nn

from generator.base import FittedGenerator, GeneratorError, Progress, Train, no_progress
from generator.gan.network import GanNetwork
from generator.pate.teachers import Teachers
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

RATE = 1e-3


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
        progress(0.02, "histograms")
        measured, private, account = measure(train, card=card, target=target, share=self.values.histogram_share)
        network = self._taught(measured, private, account, rng, progress)
        progress(1.0, "fitted")
        return FittedNeural(name="pate-gan", spent=account.spent(), sampler=network, **measured.fitted_facts())

    def _taught(
        self, measured: Measured, private: Private, account: Account, rng: np.random.Generator, progress: Progress
    ) -> GanNetwork:
        values, device = self.values, device_of(self.values.device)
        layout = Layout([bins.size for bins in measured.bins])
        widths = (values.generator_width, values.discriminator_width)
        network = GanNetwork(layout, noise=values.noise_width, widths=widths).to(device)
        network.start_from(log_ones(measured.ones))
        names = tuple(variable.name for variable in measured.variables)
        teachers = Teachers(private.codes, private.owners, sizes=layout.sizes, count=values.teachers, columns=names)
        share = account.left / values.rounds
        seen, told = [], []
        for place in range(values.rounds):
            fakes = network.draw(values.root_queries**2, rng=rng)
            seen.append(torch.from_numpy(fakes))
            told.append(torch.from_numpy(teachers.vote(fakes, account=account, rho=Fraction(share))).float())
            rows, votes = torch.cat(seen).to(device), torch.cat(told).to(device)
            _study(network, layout.one_hot(rows), (votes > votes.median()).float(), values.student_steps)
            progress(0.1 + 0.88 * (place + 1) / values.rounds, "votes")
        return network.eval()


def _study(network: GanNetwork, rows: torch.Tensor, labels: torch.Tensor, steps: int) -> None:
    """Teach the student the votes, and the generator what the student takes for real."""
    student = torch.optim.Adam(network.discriminator.parameters(), lr=RATE)
    own = torch.optim.Adam(network.own_parameters(), lr=RATE / 2, betas=(0.5, 0.9))
    for _ in range(steps):
        student.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(network.discriminator(rows), labels).backward()  # type: ignore[no-untyped-call]
        student.step()
        network.generator_step(own)


def create(_name: str, values: PateParameters) -> PateGan:
    """Make the unfitted generator."""
    return PateGan(values)


def load(folder: Path, *, digest: str) -> FittedNeural:
    """Read a saved model."""
    return load_with(folder, digest=digest, rebuild=GanNetwork.rebuilt)
