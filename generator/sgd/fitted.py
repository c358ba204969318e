"""A fitted neural generator: a network draws the bins.

Invariants:
    - Holds trained numbers and noisy histograms, never a row.
    - Conditions are met by drawing until they hold; one that hardly ever holds is refused instead of being approximated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from generator.base import GeneratorError
from generator.fitting import FittedBins

__all__ = ["FittedNeural", "Sampler"]

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
CHUNK = 1 << 14
MOST_ROUNDS = 400


class Sampler(Protocol):
    """What draws bins: a trained network."""

    def draw(self, rows: int, *, rng: np.random.Generator) -> Integers:
        """Codes of shape (rows, variables)."""

    def arrays(self) -> dict[str, np.ndarray]:
        """All numbers by name."""

    def shape(self) -> dict[str, Any]:
        """What `load` needs to rebuild the network around its numbers."""


@dataclass(frozen=True, kw_only=True)
class FittedNeural(FittedBins):
    """A fitted `dp-ctgan`, `dp-tvae`, `dp-ar` or `pate-gan`."""

    sampler: Sampler

    @property
    def notes(self) -> Mapping[str, Any]:
        """Public particulars for the model card."""
        return {"network": self.sampler.shape(), **super().notes}

    def draw_bins(self, rows: int, *, rng: np.random.Generator, weights: Mapping[int, Floats]) -> list[Integers]:
        """Draw, and under conditions draw again until they hold."""
        drawn = self._drawn(rows, rng, weights)
        return [drawn[:, place] for place in range(drawn.shape[1])]

    def save(self, folder: Path) -> str:
        """Write the model; returns its digest."""
        from generator.sgd.saving import save

        return save(self, folder)

    def _drawn(self, rows: int, rng: np.random.Generator, weights: Mapping[int, Floats]) -> Integers:
        if not rows:
            return np.zeros((0, len(self.bins)), np.int64)
        if not weights:
            return self.sampler.draw(rows, rng=rng)
        parts, have = [], 0
        for _ in range(MOST_ROUNDS):
            part = self.sampler.draw(CHUNK, rng=rng)
            chance = np.ones(CHUNK)
            for variable, weight in weights.items():
                chance *= (weight / weight.max())[part[:, variable]]
            kept = part[rng.random(CHUNK) < chance]
            parts.append(kept)
            have += len(kept)
            if have >= rows:
                return np.concatenate(parts)[:rows]
        raise GeneratorError("the condition holds so rarely in this model that rows cannot be drawn under it")
