"""A GAN over the bins of a table: the generator never sees a private row, the discriminator only under DP-SGD.

Invariants:
    - Only `losses` of the discriminator reads private rows; its layers are private, one row at a time (pac = 1).
    - The generator and the discriminator's view of generated rows are post-processing: they need neither clipping nor noise.
    - A gradient penalty reads generated rows alone; there is no conditional vector: no batch is chosen by what stands in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from generator.gan.generator import RowGenerator
from generator.sgd.engine import PrivateSteps, optimiser_state, restore_optimiser
from generator.sgd.layers import PrivateLinear
from generator.sgd.onehot import Layout

__all__ = ["GanNetwork"]

FAKES = 1024
GENERATOR_RATE = 5e-4
ANCHOR = 5.0
STEEPNESS, QUIET = 0.1, 1.0
"""Cost of a steep score at generated rows, and up to which noise multiplier; more noise is brake enough."""


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


class GanNetwork(RowGenerator):
    """Both networks and their training.

    Args:
        layout: Where bins stand.
        noise: Dimensions of the generator's input.
        widths: Hidden units of generator and discriminator.
        generator_steps: Generator steps after each discriminator step.
    """

    def __init__(self, layout: Layout, *, noise: int, widths: tuple[int, int], generator_steps: int = 1) -> None:
        super().__init__(layout, noise=noise, width=widths[0])
        self.generator_steps = generator_steps
        self.steepness = 0.0
        self.discriminator = Discriminator(layout.width, widths[1])
        self._mean = [parameter.detach().clone() for parameter in self.own_parameters()]
        self._own = torch.optim.Adam(self.own_parameters(), lr=GENERATOR_RATE, betas=(0.5, 0.9))

    def start_from(self, logits: Tensor) -> None:
        """Begin as the product of the one-way histograms."""
        super().start_from(logits)
        self._mean = [parameter.detach().clone() for parameter in self.own_parameters()]

    def private_part(self) -> nn.Module:
        """The discriminator alone sees private rows."""
        return self.discriminator

    def train_with(self, steps: PrivateSteps, tell: Callable[[], None]) -> None:
        """Alternate."""
        self.steepness = STEEPNESS if steps.noise_multiplier <= QUIET else 0.0
        while steps.started < steps.steps:
            steps.step(self._real_losses, self._fake_loss)
            for _ in range(self.generator_steps):
                self._generator_step()
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

    def sampler(self) -> RowGenerator:
        """The generator draws, with the running means of its numbers; the discriminator is left behind."""
        for mean, parameter in zip(self._mean, self.own_parameters(), strict=True):
            parameter.data.copy_(mean)
        return self.eval()

    def _generator_step(self) -> None:
        """One step of the generator against the discriminator as it is; no private row is read."""
        loss = nn.functional.softplus(-self.discriminator(self.fakes(FAKES))).mean()
        self.descend(loss + ANCHOR * self.strayed(self.chances(FAKES)), self._own)

    def _real_losses(self, codes: Tensor) -> Tensor:
        return nn.functional.softplus(-self.discriminator(self.layout.one_hot(codes)))

    def _fake_loss(self) -> Tensor:
        """Generated rows look generated, and the score is not steep where they are (Mescheder et al. 2018: R2)."""
        with torch.no_grad():
            rows = self.fakes(FAKES)
        scores = self.discriminator(rows.requires_grad_())
        loss = nn.functional.softplus(scores).mean()
        if not self.steepness:
            return loss
        (slopes,) = torch.autograd.grad(scores.sum(), rows, create_graph=True)
        return loss + self.steepness / 2 * slopes.square().sum(1).mean()
