"""A masked multi-layer network (Germain et al. 2015) over the bins of a table.

Invariants:
    - The logits of a variable depend on variables before it only; the declared target comes last.
    - Before training the network is the product of the noisy one-way histograms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from generator.sgd.engine import PrivateSteps
from generator.sgd.layers import PrivateLinear
from generator.sgd.onehot import Layout, draw_block

__all__ = ["ArNetwork"]

CHUNK = 1 << 14


class ArNetwork(nn.Module):
    """The network and its training.

    Args:
        layout: Where bins stand.
        order: Variables in the order in which they are drawn.
        width: Hidden units.
    """

    def __init__(self, layout: Layout, *, order: Sequence[int], width: int) -> None:
        super().__init__()
        self.layout, self.order, self.width = layout, tuple(order), width
        rank = np.empty(len(order), np.int64)
        rank[list(order)] = np.arange(len(order))
        self.of_bin = np.repeat(rank, layout.sizes)
        of_unit = np.arange(width) % max(1, len(order) - 1)
        self.first = PrivateLinear(layout.width, width, mask=_mask(of_unit[:, None] >= self.of_bin[None, :]), scale=2.0)
        self.second = PrivateLinear(width, width, mask=_mask(of_unit[:, None] >= of_unit[None, :]))
        self.last = PrivateLinear(width, layout.width, mask=_mask(self.of_bin[:, None] > of_unit[None, :]), scale=0.1)
        self.direct = PrivateLinear(
            layout.width, layout.width, mask=_mask(self.of_bin[:, None] > self.of_bin[None, :]), scale=0.0
        )

    def forward(self, rows: Tensor) -> Tensor:
        """Logits of all variables from one-hot rows."""
        hidden = torch.relu(self.first(rows))
        hidden = hidden + torch.relu(self.second(hidden))
        found: Tensor = self.last(hidden) + self.direct(rows)
        return found

    def start_from(self, logits: Tensor) -> None:
        """Begin as the product of the one-way histograms."""
        self.last.bias.data.copy_(logits.to(self.last.bias))

    def private_part(self) -> nn.Module:
        """All of it sees private rows."""
        return self

    def train_with(self, steps: PrivateSteps, tell: Callable[[], None]) -> None:
        """Maximise the likelihood of the rows."""
        while steps.started < steps.steps:
            steps.step(lambda codes: self.layout.cross_entropy(self(self.layout.one_hot(codes)), codes))
            tell()
        steps.use_averages()

    def more_state(self) -> dict[str, Tensor]:
        """Nothing beyond the private part."""
        return {}

    def restore_more(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to restore."""

    def sampler(self) -> ArNetwork:
        """The network draws by itself."""
        return self.eval()

    @torch.no_grad()
    def draw(self, rows: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw variable after variable."""
        parts = [self._draw(min(CHUNK, rows - start), rng) for start in range(0, rows, CHUNK)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.order)), np.int64)

    def _draw(self, rows: int, rng: np.random.Generator) -> NDArray[np.int64]:
        device = self.last.weight.device
        codes = np.zeros((rows, len(self.order)), np.int64)
        given = torch.zeros(rows, self.layout.width, device=device)
        for variable in self.order:
            start, end = self.layout.starts[variable], self.layout.starts[variable + 1]
            drawn = draw_block(self(given)[:, start:end], rng)
            codes[:, variable] = drawn
            given[torch.arange(rows, device=device), start + torch.from_numpy(drawn).to(device)] = 1.0
        return codes

    def arrays(self) -> dict[str, np.ndarray]:
        """All numbers by name."""
        return {name: parameter.detach().cpu().numpy() for name, parameter in self.named_parameters()}

    def shape(self) -> dict[str, Any]:
        """What rebuilds the network."""
        return {"sizes": list(self.layout.sizes), "order": list(self.order), "width": self.width}

    @classmethod
    def rebuilt(cls, shape: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> ArNetwork:
        """From `shape` and `arrays`."""
        found = cls(Layout(shape["sizes"]), order=shape["order"], width=shape["width"])
        found.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, strict=False)
        return found.eval()


def _mask(allowed: NDArray[np.bool_]) -> Tensor:
    return torch.from_numpy(allowed.astype(np.float32))
