"""DP-SGD: Poisson-sampled units, gradients clipped per unit, secure Gaussian noise, and an exact count of steps.

Invariants:
    - A step is counted before it reads a row. What was started is spent.
    - The gradient of a unit is the sum over its rows; the sum of its rows' gradient norms bounds its norm, and all its rows
      are scaled by one factor so that this bound is at most `clip`. Adding or removing a unit moves the sum by at most `clip`.
    - An empty batch is a step like any other: noise alone.
    - The sum is divided by a public (or noisy) number of units, never by the size of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from generator.errors import GeneratorError
from generator.sgd.layers import PrivateLinear, private_layers
from generator.sgd.noise import gaussian, poisson_sample

__all__ = ["Batches", "PrivateSteps", "device_of", "is_half", "optimiser_state", "restore_optimiser"]

EMA = 0.98


@dataclass(frozen=True, slots=True)
class Batches:
    """Rows by unit, so that units can be sampled whole.

    Attributes:
        rows: Codes, one row a record.
        starts: First place of each unit in `order`, and the end.
        order: Places of records, unit after unit.
    """

    rows: Tensor
    starts: NDArray[np.int64]
    order: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Tensor, units: NDArray[np.int64] | None) -> Batches:
        """From records and, if a unit may have several, whose they are."""
        count = rows.shape[0]
        if units is None:
            return cls(rows, np.arange(count + 1), np.arange(count))
        order = np.argsort(units, kind="stable")
        ordered = units[order]
        first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if count else np.zeros(0, np.int64)
        return cls(rows, np.append(first, count), order)

    def sample(self, rate: float) -> tuple[Tensor, Tensor, int]:
        """Rows of a Poisson sample of units, the place of each row's unit, and how many units there are."""
        chosen = poisson_sample(self.starts.size - 1, rate=rate)
        lengths = self.starts[chosen + 1] - self.starts[chosen]
        owner = np.repeat(np.arange(chosen.size), lengths)
        within = np.arange(owner.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        places = self.order[np.repeat(self.starts[chosen], lengths) + within]
        device = self.rows.device
        return self.rows[torch.from_numpy(places).to(device)], torch.from_numpy(owner).to(device), chosen.size


@dataclass(slots=True)
class PrivateSteps:
    """The optimiser's side of DP-SGD for one network.

    Attributes:
        network: Its trainable numbers are all in private layers.
        batches: The private rows.
        rate: Sampling rate.
        noise_multiplier: Noise over the clipping norm.
        clip: Most norm of one unit.
        expected: Expected units in a step, from a public or noisy count.
        learning_rate: Of Adam.
        steps: How many steps will be taken in all; the rate falls along a cosine.
        started: Steps that were started.
        begin: Writes a step down before it reads a row.
        is_half: Whether networks compute in bfloat16. Norms, sums and noise stay in single precision, and norms are those of
            the very gradients that are summed, so that the clip bounds as before.
    """

    network: nn.Module
    batches: Batches
    rate: float
    noise_multiplier: float
    clip: float
    expected: float
    learning_rate: float
    steps: int
    started: int = 0
    begin: Callable[[], None] | None = None
    is_half: bool = False
    layers: list[PrivateLinear] = field(init=False)
    optimiser: torch.optim.Adam = field(init=False)
    averages: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.layers = private_layers(self.network)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=self.learning_rate, betas=(0.9, 0.99))
        self.averages = [parameter.detach().clone() for parameter in self.network.parameters()]

    def step(self, losses: Callable[[Tensor], Tensor], more: Callable[[], Tensor] | None = None) -> None:
        """Take one step.

        Args:
            losses: One loss a row, each of its own row only.
            more: A loss that reads no private row (fake rows of a GAN); its gradient is added after the noise.
        """
        if self.started >= self.steps:
            raise RuntimeError("all accounted steps were taken")
        self.started += 1
        if self.begin is not None:
            self.begin()
        rows, owner, units = self.batches.sample(self.rate)
        sums = self._clipped_sums(rows, owner, units, losses) if units else [torch.zeros_like(p) for p in self._parameters()]
        for parameter, total in zip(self._parameters(), sums, strict=True):
            noise = torch.from_numpy(gaussian(total.numel(), sigma=self.noise_multiplier * self.clip)).to(total)
            parameter.grad = (total + noise.view_as(total)) / max(1.0, self.expected)
        self._mask_gradients()
        if more is not None:
            _add_gradients(more(), self._parameters())
        part = self.started / self.steps
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate * min(1.0, part * 20) * (0.05 + 0.95 * 0.5 * (1 + np.cos(np.pi * part)))
        self.optimiser.step()
        for average, parameter in zip(self.averages, self.network.parameters(), strict=True):
            average.lerp_(parameter.detach(), 1 - min(EMA, self.started / (self.started + 9)))

    def use_averages(self) -> None:
        """Put the running averages of all numbers in place of the last ones; they are post-processing of the steps."""
        for average, parameter in zip(self.averages, self.network.parameters(), strict=True):
            parameter.data.copy_(average)

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on, the count of steps apart."""
        found = {f"parameter.{name}": parameter.detach() for name, parameter in self.network.named_parameters()}
        found |= {f"average.{place}": average for place, average in enumerate(self.averages)}
        return found | optimiser_state(self.optimiser)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state."""
        for name, parameter in self.network.named_parameters():
            parameter.data.copy_(state[f"parameter.{name}"])
        for place, average in enumerate(self.averages):
            average.copy_(state[f"average.{place}"])
        restore_optimiser(self.optimiser, state)

    def _clipped_sums(self, rows: Tensor, owner: Tensor, units: int, losses: Callable[[Tensor], Tensor]) -> list[Tensor]:
        for layer in self.layers:
            layer.is_recording = True
        try:
            with torch.autocast(rows.device.type, dtype=torch.bfloat16, enabled=self.is_half):
                total = losses(rows).sum()
            total.backward()  # type: ignore[no-untyped-call]
            norms = torch.stack([layer.squared_norms() for layer in self.layers]).sum(0).sqrt()
            bound = torch.zeros(units, device=norms.device, dtype=norms.dtype).index_add_(0, owner, norms)
            scale = self.clip * (1 - 1e-5) / bound.clamp(min=self.clip)
            factors = torch.where(torch.isfinite(bound), scale, torch.zeros_like(scale))[owner]  # else the unit is left out
            pairs = [layer.weighted_sum(factors) for layer in self.layers]
        finally:
            for layer in self.layers:
                layer.is_recording = False
        return [part for pair in pairs for part in pair]

    def _parameters(self) -> Sequence[nn.Parameter]:
        return [parameter for layer in self.layers for parameter in (layer.weight, layer.bias)]

    def _mask_gradients(self) -> None:
        """Noise on weights that do not exist is of no use."""
        for layer in self.layers:
            if layer.mask is not None and layer.weight.grad is not None:
                layer.weight.grad *= layer.mask


def _add_gradients(loss: Tensor, parameters: Sequence[nn.Parameter]) -> None:
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        assert parameter.grad is not None  # noqa: S101 - set just before
        parameter.grad += gradient


def optimiser_state(optimiser: torch.optim.Adam) -> dict[str, Tensor]:
    """The memory of an optimiser by name."""
    memory = optimiser.state_dict()["state"]
    return {f"adam.{place}.{key}": value for place, values in memory.items() for key, value in values.items()}


def restore_optimiser(optimiser: torch.optim.Adam, state: Mapping[str, Tensor]) -> None:
    """Give an optimiser its memory back."""
    memory: dict[int, dict[str, Tensor]] = {}
    for name, value in state.items():
        if name.startswith("adam."):
            _, place, key = name.split(".")
            memory.setdefault(int(place), {})[key] = value.reshape(()) if key == "step" else value.clone()
    optimiser.load_state_dict({"state": memory, "param_groups": optimiser.state_dict()["param_groups"]})


def is_half(wish: str, device: torch.device) -> bool:
    """Whether `auto`, `float32` or `bfloat16` means half precision here: by itself only on a GPU that has it."""
    return wish == "bfloat16" or (wish == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported())


def device_of(wish: str) -> torch.device:
    """The device that `auto`, `cpu` or `cuda` means here.

    Raises:
        GeneratorError: a GPU was asked for and there is none.
    """
    has_gpu = torch.cuda.is_available()
    if wish == "cuda" and not has_gpu:
        raise GeneratorError("device: cuda was asked for, and this machine has no GPU that torch can use")
    return torch.device("cuda" if has_gpu and wish != "cpu" else "cpu")
