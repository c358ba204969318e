"""The fit that all DP-SGD generators share: plan, measure, train, report.

Invariants:
    - The noise is the plan's, and the report tells ε with the plan's own function for the steps that were started.
    - Row counts enter as public or noisy numbers only.
    - A fit that goes on from a checkpoint measures nothing again and counts every step that was ever started.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from generator.base import FittedGenerator, GeneratorError, Progress, Train, no_progress
from generator.domains import kept_delta, open_columns
from generator.plans import plan
from generator.saving import facts_from, parts_of
from generator.sgd.accounting import Schedule, accountant_of, enough_noise, epsilon_of, rdp_of
from generator.sgd.checkpoint import Checkpoint, fingerprint_of
from generator.sgd.engine import Batches, PrivateSteps, device_of, is_half
from generator.sgd.fitted import FittedNeural, Sampler
from generator.sgd.noise import NOISE_SOURCE
from generator.sgd.onehot import Layout
from generator.sgd.parameters import SgdParameters
from generator.sgd.prepare import Measured, Private, encode, measure
from policies.card import DatasetCard
from policies.types import GENERATORS, GeneratorInfo, Mechanism, PrivacySpent, PrivacyTarget

__all__ = ["Network", "NeuralGenerator"]

SAVES = 20
"""How often a fit with a checkpoint is saved; a kill loses at most a twentieth of its steps."""
TENSOR = "training."


class Network(Protocol):
    """A network in training."""

    def private_part(self) -> torch.nn.Module:
        """The part that sees private rows."""

    def train_with(self, steps: PrivateSteps, tell: Callable[[], None]) -> None:
        """Take all steps that are left; call `tell` after each."""

    def more_state(self) -> dict[str, Tensor]:
        """What training changes outside of the private part, by name."""

    def restore_more(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `more_state`."""

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
        self, name: str, values: SgdParameters, build: Callable[[Measured, Layout, int | None, torch.device], Network]
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
        checkpoint: Path | None = None,
    ) -> FittedGenerator:
        """Learn from a train table under (ε, δ)-differential privacy; `rng` is not used: private noise has no seed."""
        if target is None:
            raise GeneratorError(f"{self.name} needs a privacy target: epsilon and delta")
        device_of(self.values.device)  # what this machine lacks is said before anything is read
        inner = PrivacyTarget(epsilon=target.epsilon, delta=target.delta - kept_delta(card, target))
        planned = plan(
            generator=self.name, target=inner, hyperparameters=self.values.model_dump(), public_rows=card.spec.public_rows,
            unit=card.spec.privacy_unit or "row", has_open=bool(open_columns(card)),
        )  # fmt: skip
        if planned.schedule is None or planned.noise_multiplier is None:
            raise GeneratorError(planned.problem or "this configuration cannot be trained")
        with Checkpoint(checkpoint, fingerprint=self._fingerprint(card, target)) as kept:
            progress(0.02, "histograms")
            saved = kept.state()
            if saved is None:
                measured, private, _ = measure(train, card=card, target=target, share=self.values.histogram_share)
            else:
                measured = _measured(*saved)
                private = encode(train, measured)
            schedule = _as_measured(planned.schedule, measured)
            noise = enough_noise(schedule, least=planned.noise_multiplier, epsilon=inner.epsilon, delta=inner.delta)
            network, steps = self._begun(measured, private, schedule, noise, kept)
            if saved is None:
                _keep(kept, measured, network, steps)
            else:
                _restore(network, steps, saved[1])
            self._train(network, steps, measured, kept, progress)
        done = replace(schedule, steps=steps.started)
        spent = self._spent(measured, done, noise, target, inner.delta)
        progress(1.0, "fitted")
        return FittedNeural(name=self.name, spent=spent, sampler=network.sampler(), **measured.fitted_facts())

    def _fingerprint(self, card: DatasetCard, target: PrivacyTarget) -> str:
        return fingerprint_of(
            {
                "generator": self.name,
                "hyperparameters": self.values.model_dump(mode="json"),
                "card": card.model_dump(mode="json", by_alias=True),
                "target": [str(target.epsilon), str(target.delta)],
            }
        )

    def _begun(
        self, measured: Measured, private: Private, schedule: Schedule, noise: float, kept: Checkpoint
    ) -> tuple[Network, PrivateSteps]:
        device = device_of(self.values.device)
        layout = Layout([bins.size for bins in measured.bins])
        goal = next((i for i, v in enumerate(measured.variables) if v.name in measured.card.spec.targets), None)
        network = self._build(measured, layout, goal, device)
        steps = PrivateSteps(
            network=network.private_part(),
            batches=Batches.of(torch.from_numpy(private.codes).to(device), private.owners),
            rate=schedule.sampling_rate,
            noise_multiplier=noise,
            clip=self.values.clip,
            expected=schedule.sampling_rate * measured.expected_units,
            learning_rate=self.values.learning_rate,
            steps=schedule.steps,
            started=kept.started,
            begin=kept.begin_step,
            is_half=is_half(self.values.precision, device),
        )
        return network, steps

    def _train(self, network: Network, steps: PrivateSteps, measured: Measured, kept: Checkpoint, progress: Progress) -> None:
        every = max(1, steps.steps // SAVES)

        def tell() -> None:
            if steps.started % every == 0 or steps.started == steps.steps:
                _keep(kept, measured, network, steps)
            progress(0.05 + 0.94 * steps.started / steps.steps, "training")

        network.train_with(steps, tell)

    def _spent(self, measured: Measured, done: Schedule, noise: float, target: PrivacyTarget, delta: Decimal) -> PrivacySpent:
        part = float(measured.rho / measured.total)
        facts: Mapping[str, Any] = {
            "columns": [variable.name for variable in measured.variables], "sampling": "poisson, by unit",
            "sampling_rate": done.sampling_rate, "steps": done.steps, "noise_multiplier": noise, "clip": self.values.clip,
        }  # fmt: skip
        return PrivacySpent(
            epsilon=epsilon_of(done, noise_multiplier=noise, delta=delta),
            delta=target.delta,
            unit=measured.spent.unit,
            neighbours="add-remove",
            accountant=accountant_of(done),
            mechanisms=(*measured.spent.mechanisms, Mechanism(name="DP-SGD", parameters=facts, share=1 - part)),
            noise_source=NOISE_SOURCE,
            rdp=rdp_of(done, noise_multiplier=noise),
        )


def _keep(kept: Checkpoint, measured: Measured, network: Network, steps: PrivateSteps) -> None:
    """Save all that a later process needs beside the train table."""
    if not kept.is_kept:
        return
    manifest, arrays = parts_of(measured)
    manifest["measured"] = {"rows": measured.rows, "total": str(measured.total), "rho": str(measured.rho)}
    tensors = {**{f"steps.{n}": t for n, t in steps.state().items()}, **{f"more.{n}": t for n, t in network.more_state().items()}}
    kept.save(manifest, arrays | {TENSOR + name: tensor.cpu().numpy() for name, tensor in tensors.items()})


def _measured(manifest: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Measured:
    facts = manifest["measured"]
    return Measured(
        rows=facts["rows"], total=Fraction(facts["total"]), rho=Fraction(facts["rho"]), **facts_from(manifest, arrays)
    )


def _restore(network: Network, steps: PrivateSteps, arrays: Mapping[str, np.ndarray]) -> None:
    def part(prefix: str) -> dict[str, Tensor]:
        start = f"{TENSOR}{prefix}."
        return {name.removeprefix(start): torch.from_numpy(a.copy()) for name, a in arrays.items() if name.startswith(start)}

    steps.restore(part("steps"))
    network.restore_more(part("more"))


def _as_measured(planned: Schedule, measured: Measured) -> Schedule:
    """The schedule with the noise that the counts were given, rounded down."""
    variances = [Fraction(m.parameters["variance"]) for m in measured.spent.mechanisms] if planned.is_plain else []
    sigmas = tuple(math.nextafter(math.sqrt(variance), 0.0) for variance in variances)
    return replace(planned, rho=_up(float(measured.rho)), sigmas=sigmas)


def _up(number: float) -> float:
    return math.nextafter(number, math.inf) if number else 0.0
