"""The generating network of `dp-ctgan` and `pate-gan`: Gaussian points become bins, all columns at once.

Invariants:
    - It never sees a private row; whatever trains it sees only its own rows and what was paid for.
    - Before training it is the product of the noisy one-way histograms, and training is held near them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from generator.sgd.onehot import Layout

__all__ = ["RowGenerator"]

CHUNK = 1 << 14
TEMPERATURE = 0.5
LEAST = 1e-6


class RowGenerator(nn.Module):
    """Draws rows of bins.

    Args:
        layout: Where bins stand.
        noise: Dimensions of the input.
        width: Hidden units.
    """

    def __init__(self, layout: Layout, *, noise: int, width: int) -> None:
        super().__init__()
        self.layout, self.noise, self.width = layout, noise, width
        self.body = nn.Sequential(nn.Linear(noise, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.head = nn.Linear(width, layout.width)
        self.one_ways = torch.cat([torch.full((size,), 1 / size) for size in layout.sizes])

    def start_from(self, logits: Tensor) -> None:
        """Begin as the product of the one-way histograms."""
        self.head.bias.data.copy_(logits.to(self.head.bias))
        blocks = self.layout.blocks(logits[None, :])
        self.one_ways = torch.cat([torch.softmax(block, 1)[0] for block in blocks]).to(self.head.bias)

    def logits(self, points: Tensor) -> Tensor:
        """Logits of all variables."""
        found: Tensor = self.head(self.body(points))
        return found

    def points(self, rows: int) -> Tensor:
        """Gaussian points where the network is."""
        return torch.randn(rows, self.noise, device=self.head.weight.device)

    def chances(self, rows: int) -> list[Tensor]:
        """The probability of each bin, by variable, at so many points."""
        return [torch.softmax(block, 1) for block in self.layout.blocks(self.logits(self.points(rows)))]

    def fakes(self, rows: int) -> Tensor:
        """Generated rows, one-hot forwards and soft backwards."""
        blocks = self.layout.blocks(self.logits(self.points(rows)))
        return torch.cat([nn.functional.gumbel_softmax(block, tau=TEMPERATURE, hard=True) for block in blocks], dim=1)

    def strayed(self, chances: list[Tensor]) -> Tensor:
        """How far generated rows are from the noisy one-way histograms, as a divergence; the histograms are paid for."""
        wanted = self.layout.blocks(self.one_ways[None, :])
        parts = [
            (want * (want.clamp(min=LEAST).log() - chance.mean(0, keepdim=True).clamp(min=LEAST).log())).sum()
            for chance, want in zip(chances, wanted, strict=True)
        ]
        return torch.stack(parts).sum()

    def own_parameters(self) -> list[nn.Parameter]:
        """The numbers of the generator."""
        return [*self.body.parameters(), *self.head.parameters()]

    def descend(self, loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
        """One step of the generator alone."""
        for parameter, gradient in zip(self.own_parameters(), torch.autograd.grad(loss, self.own_parameters()), strict=True):
            parameter.grad = gradient
        optimiser.step()

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
        return {"sizes": list(self.layout.sizes), "noise": self.noise, "width": self.width}

    @classmethod
    def rebuilt(cls, shape: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """From `shape` and `arrays`."""
        found = cls(Layout(shape["sizes"]), noise=shape["noise"], width=shape["width"])
        found.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, strict=False)
        return found.eval()
