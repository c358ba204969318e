"""Between bins and the one-hot rows that networks read.

Invariants:
    - Columns of the one-hot matrix are those of the bins, variable after variable; nothing is scaled by data.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Layout", "log_ones"]

FLOOR = 1e-6


class Layout:
    """Where each variable's bins stand.

    Args:
        sizes: Bins of each variable.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = tuple(int(size) for size in sizes)
        self.starts = (0, *accumulate(self.sizes))
        self.width = self.starts[-1]

    def one_hot(self, codes: Tensor) -> Tensor:
        """Codes of shape (rows, variables) as rows of zeros and ones."""
        offsets = torch.tensor(self.starts[:-1], device=codes.device)
        rows = torch.zeros(codes.shape[0], self.width, device=codes.device)
        return rows.scatter_(1, codes + offsets, 1.0)

    def blocks(self, values: Tensor) -> list[Tensor]:
        """The part of each variable."""
        return list(torch.split(values, list(self.sizes), dim=1))

    def cross_entropy(self, logits: Tensor, codes: Tensor) -> Tensor:
        """Per row: the sum over variables of -log p(code)."""
        parts = [
            torch.nn.functional.cross_entropy(block, codes[:, place], reduction="none")
            for place, block in enumerate(self.blocks(logits))
        ]
        return torch.stack(parts).sum(0)

    def draw(self, logits: Tensor, rng: np.random.Generator) -> NDArray[np.int64]:
        """One code of each variable by row, from its softmax."""
        drawn = [draw_block(block, rng) for block in self.blocks(logits)]
        return np.stack(drawn, axis=1)


def draw_block(logits: Tensor, rng: np.random.Generator) -> NDArray[np.int64]:
    """One code by row from the softmax of one variable."""
    heights = np.asarray(torch.softmax(logits.double(), dim=1).cumsum(1).cpu().numpy(), np.float64)
    place = rng.random((heights.shape[0], 1)) * heights[:, -1:]
    return np.asarray(np.minimum((place >= heights).sum(axis=1), heights.shape[1] - 1), np.int64)


def log_ones(ones: Sequence[NDArray[np.float64]]) -> Tensor:
    """Logits of the noisy one-way histograms: where a network starts."""
    parts = [np.log(np.maximum(np.asarray(one, np.float64), FLOOR)) for one in ones]
    return torch.from_numpy(np.concatenate(parts)).float()
