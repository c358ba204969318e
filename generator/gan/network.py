"""A GAN over the bins of a table: the generator never sees a private row, the discriminator only under DP-SGD.

Invariants:
    - Only `losses` of the discriminator reads private rows; its layers are private, one row at a time (pac = 1).
    - The generator and the discriminator's view of generated rows are post-processing: they need neither clipping nor noise.
    - There is no gradient penalty and no conditional vector: no batch is chosen by what stands in it.
    - Before training the generator is the product of the noisy one-way histograms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from generator.sgd.engine import PrivateSteps, optimiser_state, restore_optimiser
from generator.sgd.layers import PrivateLinear
from generator.sgd.onehot import Layout

__all__ = ["GanNetwork"]

CHUNK = 1 << 14
TEMPERATURE = 0.5
FAKES = 1024
GENERATOR_RATE = 5e-4
ANCHOR = 5.0
LEAST = 1e-6


class Discriminator(nn.Module):
    """One score a row."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.first = PrivateLinear(inputs, width, scale=2.0)
        self.second = PrivateLinear(width, width, scale=1.4)
        self.last = PrivateLinear(width, 1)

    def forward(self, rows: Tensor) -> Tensor:
        """Scores: above 0 for rows that look real."""
        hidden = nn.functional.leaky_relu(self.first(rows), 0.2)
        found: Tensor = self.last(nn.functional.leaky_relu(self.second(hidden), 0.2))
        return found[:, 0]


class GanNetwork(nn.Module):
    """Both networks and their training.

    Args:
        layout: Where bins stand.
        noise: Dimensions of the generator's input.
        widths: Hidden units of generator and discriminator.
        generator_steps: Generator steps after each discriminator step.
    """

    def __init__(self, layout: Layout, *, noise: int, widths: tuple[int, int], generator_steps: int = 1) -> None:
        super().__init__()
        self.layout, self.noise, self.widths, self.generator_steps = layout, noise, widths, generator_steps
        self.body = nn.Sequential(nn.Linear(noise, widths[0]), nn.ReLU(), nn.Linear(widths[0], widths[0]), nn.ReLU())
        self.head = nn.Linear(widths[0], layout.width)
        self.discriminator = Discriminator(layout.width, widths[1])
        self.one_ways = torch.cat([torch.full((size,), 1 / size) for size in layout.sizes])
        self._mean = [parameter.detach().clone() for parameter in self.own_parameters()]
        self._own = torch.optim.Adam(self.own_parameters(), lr=GENERATOR_RATE, betas=(0.5, 0.9))

    def start_from(self, logits: Tensor) -> None:
        """Begin as the product of the one-way histograms."""
        self.head.bias.data.copy_(logits.to(self.head.bias))
        self.one_ways = torch.cat([torch.softmax(block, 1)[0] for block in self.layout.blocks(logits[None, :])]).to(
            self.head.bias
        )
        self._mean = [parameter.detach().clone() for parameter in self.own_parameters()]

    def logits(self, points: Tensor) -> Tensor:
        """Logits of all variables."""
        found: Tensor = self.head(self.body(points))
        return found

    def fakes(self, rows: int) -> Tensor:
        """Generated rows, one-hot forwards and soft backwards."""
        points = torch.randn(rows, self.noise, device=self.head.weight.device)
        return torch.cat(
            [
                nn.functional.gumbel_softmax(block, tau=TEMPERATURE, hard=True)
                for block in self.layout.blocks(self.logits(points))
            ],
            dim=1,
        )

    def private_part(self) -> nn.Module:
        """The discriminator alone sees private rows."""
        return self.discriminator

    def train_with(self, steps: PrivateSteps, tell: Callable[[], None]) -> None:
        """Alternate."""
        while steps.started < steps.steps:
            steps.step(self._real_losses, self._fake_loss)
            for _ in range(self.generator_steps):
                self.generator_step(self._own)
            for mean, parameter in zip(self._mean, self.own_parameters(), strict=True):
                mean.lerp_(parameter.detach(), 0.02)
            tell()

    def more_state(self) -> dict[str, Tensor]:
        """The generator's side: numbers, running means and its optimiser's memory."""
        found = {f"own.{place}": parameter.detach() for place, parameter in enumerate(self.own_parameters())}
        found |= {f"mean.{place}": mean for place, mean in enumerate(self._mean)}
        return found | optimiser_state(self._own)

    def restore_more(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state."""
        for place, (mean, parameter) in enumerate(zip(self._mean, self.own_parameters(), strict=True)):
            parameter.data.copy_(state[f"own.{place}"])
            mean.copy_(state[f"mean.{place}"])
        restore_optimiser(self._own, state)

    def generator_step(self, own: torch.optim.Optimizer) -> None:
        """One step of the generator against the discriminator as it is; no private row is read."""
        loss = nn.functional.softplus(-self.discriminator(self.fakes(FAKES))).mean() + ANCHOR * self._strayed()
        for parameter, gradient in zip(self.own_parameters(), torch.autograd.grad(loss, self.own_parameters()), strict=True):
            parameter.grad = gradient
        own.step()

    def sampler(self) -> GanNetwork:
        """The generator draws, with the running means of its numbers; the discriminator is left behind."""
        for mean, parameter in zip(self._mean, self.own_parameters(), strict=True):
            parameter.data.copy_(mean)
        return self.eval()

    @torch.no_grad()
    def draw(self, rows: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
        """Generate from Gaussian points."""
        parts = []
        for start in range(0, rows, CHUNK):
            points = torch.from_numpy(rng.standard_normal((min(CHUNK, rows - start), self.noise))).float()
            parts.append(self.layout.draw(self.logits(points.to(self.head.weight.device)), rng))
        return np.concatenate(parts) if parts else np.zeros((0, len(self.layout.sizes)), np.int64)

    def arrays(self) -> dict[str, np.ndarray]:
        """All numbers of the generator by name."""
        found = (*self.body.named_parameters(prefix="body"), *self.head.named_parameters(prefix="head"))
        return {name: parameter.detach().cpu().numpy() for name, parameter in found}

    def shape(self) -> dict[str, Any]:
        """What rebuilds the generator."""
        return {"sizes": list(self.layout.sizes), "noise": self.noise, "widths": list(self.widths)}

    @classmethod
    def rebuilt(cls, shape: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> GanNetwork:
        """From `shape` and `arrays`."""
        found = cls(Layout(shape["sizes"]), noise=shape["noise"], widths=(shape["widths"][0], shape["widths"][1]))
        found.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, strict=False)
        return found.eval()

    def own_parameters(self) -> list[nn.Parameter]:
        """The numbers of the generator."""
        return [*self.body.parameters(), *self.head.parameters()]

    def _strayed(self) -> Tensor:
        """How far generated rows are from the noisy one-way histograms, as a divergence; the histograms are paid for."""
        blocks = self.layout.blocks(self.logits(torch.randn(FAKES, self.noise, device=self.head.weight.device)))
        wanted = self.layout.blocks(self.one_ways[None, :])
        parts = [
            (want * (want.clamp(min=LEAST).log() - torch.softmax(block, 1).mean(0, keepdim=True).clamp(min=LEAST).log())).sum()
            for block, want in zip(blocks, wanted, strict=True)
        ]
        return torch.stack(parts).sum()

    def _real_losses(self, codes: Tensor) -> Tensor:
        return nn.functional.softplus(-self.discriminator(self.layout.one_hot(codes)))

    def _fake_loss(self) -> Tensor:
        with torch.no_grad():
            rows = self.fakes(FAKES)
        return nn.functional.softplus(self.discriminator(rows)).mean()
