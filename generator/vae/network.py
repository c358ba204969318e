"""A variational autoencoder (Kingma and Welling 2014) over the bins of a table.

Invariants:
    - Encoder and decoder consist of private layers: both see private rows. There is no batch normalisation.
    - Before training the decoder is the product of the noisy one-way histograms, whatever the latent point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from generator.sgd.engine import PrivateSteps
from generator.sgd.layers import PrivateLinear
from generator.sgd.onehot import Layout

__all__ = ["VaeNetwork"]

CHUNK = 1 << 14
LEAST_LOG, MOST_LOG = -8.0, 4.0


class VaeNetwork(nn.Module):
    """The network and its training.

    Args:
        layout: Where bins stand.
        latent: Dimensions of a latent point.
        width: Hidden units of encoder and decoder.
        beta: Weight of the divergence from the prior.
    """

    def __init__(self, layout: Layout, *, latent: int, width: int, beta: float) -> None:
        super().__init__()
        self.layout, self.latent, self.width, self.beta = layout, latent, width, beta
        self.read = PrivateLinear(layout.width, width, scale=2.0)
        self.place = PrivateLinear(width, 2 * latent, scale=0.5)
        self.spread = PrivateLinear(latent, width, scale=1.0)
        self.write = PrivateLinear(width, layout.width, scale=0.5)

    def start_from(self, logits: Tensor) -> None:
        """Begin as the product of the one-way histograms."""
        self.write.bias.data.copy_(logits.to(self.write.bias))

    def decode(self, points: Tensor) -> Tensor:
        """Logits of all variables."""
        found: Tensor = self.write(torch.relu(self.spread(points)))
        return found

    def losses(self, codes: Tensor) -> Tensor:
        """Per row: the negative evidence bound, from one latent draw."""
        placed = self.place(torch.relu(self.read(self.layout.one_hot(codes))))
        mean, log_variance = placed[:, : self.latent], placed[:, self.latent :].clamp(LEAST_LOG, MOST_LOG)
        points = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        found: Tensor = self.layout.cross_entropy(self.decode(points), codes) + self.beta * divergence
        return found

    def private_part(self) -> nn.Module:
        """All of it sees private rows."""
        return self

    def train_with(self, steps: PrivateSteps, tell: Callable[[], None]) -> None:
        """Maximise the evidence bound of the rows."""
        while steps.started < steps.steps:
            steps.step(self.losses)
            tell()
        steps.use_averages()

    def more_state(self) -> dict[str, Tensor]:
        """Nothing beyond the private part."""
        return {}

    def restore_more(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to restore."""

    def sampler(self) -> VaeNetwork:
        """The network draws by itself."""
        return self.eval()

    @torch.no_grad()
    def draw(self, rows: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
        """Decode points of the prior."""
        device = self.write.weight.device
        parts = []
        for start in range(0, rows, CHUNK):
            points = rng.standard_normal((min(CHUNK, rows - start), self.latent))
            parts.append(self.layout.draw(self.decode(torch.from_numpy(points).float().to(device)), rng))
        return np.concatenate(parts) if parts else np.zeros((0, len(self.layout.sizes)), np.int64)

    def arrays(self) -> dict[str, np.ndarray]:
        """All numbers by name."""
        return {name: parameter.detach().cpu().numpy() for name, parameter in self.named_parameters()}

    def shape(self) -> dict[str, Any]:
        """What rebuilds the network."""
        return {"sizes": list(self.layout.sizes), "latent": self.latent, "width": self.width, "beta": self.beta}

    @classmethod
    def rebuilt(cls, shape: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> VaeNetwork:
        """From `shape` and `arrays`."""
        found = cls(Layout(shape["sizes"]), latent=shape["latent"], width=shape["width"], beta=shape["beta"])
        found.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})
        return found.eval()
