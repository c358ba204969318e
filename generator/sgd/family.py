"""The fit that all DP-SGD generators share: plan, measure, train, report.

Invariants:
    - The noise is the plan's, and the report tells ε with the plan's own function for the steps that were started.
    - Row counts enter as public or noisy numbers only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Protocol

import numpy as np
import torch

from generator.base import BadTable, FittedGenerator, GeneratorError, Progress, Train, no_progress
from generator.encoding import CELLS
from generator.plans import plan
from generator.sgd.accounting import ACCOUNTANT, Schedule, epsilon_of, rdp_of
from generator.sgd.engine import Batches, PrivateSteps, device_of
from generator.sgd.fitted import FittedNeural, Sampler
from generator.sgd.noise import NOISE_SOURCE
from generator.sgd.onehot import Layout
from generator.sgd.parameters import SgdParameters
from generator.sgd.prepare import Prepared, kept_delta, prepare
from policies.card import DatasetCard
from policies.types import GENERATORS, GeneratorInfo, Mechanism, PrivacySpent, PrivacyTarget

__all__ = ["Network", "NeuralGenerator"]


class Network(Protocol):
    """A network in training."""

    def private_part(self) -> torch.nn.Module:
        """The part that sees private rows."""

    def train_with(self, steps: PrivateSteps, tell: Callable[[], None]) -> None:
        """Take all steps; call `tell` after each."""

    def sampler(self) -> Sampler:
        """What draws bins afterwards."""


class NeuralGenerator:
    """An unfitted generator that is trained by DP-SGD.

    Args:
        name: Its name in the catalogue.
        values: Its hyper-parameters.
        build: Makes the network for a layout, the noisy one-way logits' source and the variable that analysts predict.
    """

    def __init__(
        self, name: str, values: SgdParameters, build: Callable[[Prepared, Layout, int | None, torch.device], Network]
    ) -> None:
        self.name = name
        self.values = values
        self._build = build

    @property
    def info(self) -> GeneratorInfo:
        """The line of the generator catalogue."""
        return GENERATORS[self.name]

    def fit(
        self,
        train: Train,
        *,
        card: DatasetCard,
        target: PrivacyTarget | None,
        rng: np.random.Generator,  # noqa: ARG002 - private noise has no seed
        progress: Progress = no_progress,
    ) -> FittedGenerator:
        """Learn from a train table under (ε, δ)-differential privacy; `rng` is not used: private noise has no seed."""
        if target is None:
            raise GeneratorError(f"{self.name} needs a privacy target: epsilon and delta")
        inner = PrivacyTarget(epsilon=target.epsilon, delta=target.delta - kept_delta(card, target))
        planned = plan(
            generator=self.name, target=inner, hyperparameters=self.values.model_dump(), public_rows=card.spec.public_rows
        )
        if planned.schedule is None or planned.noise_multiplier is None:
            raise GeneratorError(planned.problem or "this configuration cannot be trained")
        progress(0.02, "histograms")
        prepared = prepare(train, card=card, target=target, share=self.values.histogram_share)
        if not prepared.codes.shape[0]:
            raise BadTable("the train table has no row")
        sampler, started = self._train(prepared, card, planned.schedule, planned.noise_multiplier, progress)
        spent = self._spent(prepared, planned.schedule, planned.noise_multiplier, started, target, inner.delta)
        progress(1.0, "fitted")
        return FittedNeural(
            name=self.name, card=card, fields=prepared.fields, bins=prepared.bins,
            orders=prepared.orders, units=prepared.units, spent=spent, domains=prepared.domains, cells=CELLS, sampler=sampler,
        )  # fmt: skip

    def _train(
        self, prepared: Prepared, card: DatasetCard, schedule: Schedule, noise: float, progress: Progress
    ) -> tuple[Sampler, int]:
        device = device_of(self.values.device)
        layout = Layout([bins.size for bins in prepared.bins])
        goal = next((i for i, v in enumerate(prepared.variables) if v.name in card.spec.targets), None)
        network = self._build(prepared, layout, goal, device)
        steps = PrivateSteps(
            network=network.private_part(),
            batches=Batches.of(torch.from_numpy(prepared.codes).to(device), prepared.owners),
            rate=schedule.sampling_rate,
            noise_multiplier=noise,
            clip=self.values.clip,
            expected=schedule.sampling_rate * prepared.expected_units,
            learning_rate=self.values.learning_rate,
            steps=schedule.steps,
        )
        network.train_with(steps, lambda: progress(0.05 + 0.94 * steps.started / steps.steps, "training"))
        return network.sampler(), steps.started

    def _spent(
        self, prepared: Prepared, schedule: Schedule, noise: float, started: int, target: PrivacyTarget, delta: Decimal
    ) -> PrivacySpent:
        rho = prepared.account.total - prepared.account.left
        done = Schedule(sampling_rate=schedule.sampling_rate, steps=started, rho=_up(float(rho)))
        part = float(rho / prepared.account.total)
        before: tuple[Mechanism, ...] = tuple(prepared.account.spent().mechanisms)
        facts: Mapping[str, Any] = {
            "columns": [variable.name for variable in prepared.variables], "sampling": "poisson, by unit",
            "sampling_rate": schedule.sampling_rate, "steps": started, "noise_multiplier": noise, "clip": self.values.clip,
        }  # fmt: skip
        return PrivacySpent(
            epsilon=epsilon_of(done, noise_multiplier=noise, delta=delta),
            delta=target.delta,
            unit=prepared.account.spent().unit,
            neighbours="add-remove",
            accountant=ACCOUNTANT,
            mechanisms=(*before, Mechanism(name="DP-SGD", parameters=facts, share=1 - part)),
            noise_source=NOISE_SOURCE,
            rdp=rdp_of(done, noise_multiplier=noise),
        )


def _up(number: float) -> float:
    return math.nextafter(number, math.inf) if number else 0.0
