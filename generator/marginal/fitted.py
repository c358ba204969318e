"""The fitted marginal model: a graphical model draws the bins.

Invariants:
    - Holds noisy, processed probabilities only; conditions are exact, never drawn until they hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generator.clamped import Outside
from generator.fitting import FittedBins
from generator.marginal.model import Model
from generator.marginal.sampling import sample_codes

__all__ = ["FittedMarginal"]


@dataclass(frozen=True, kw_only=True)
class FittedMarginal(FittedBins):
    """A fitted `dp-marginal` or `dp-aim`."""

    model: Model
    outside: Mapping[str, Outside] = field(default_factory=dict)

    @property
    def notes(self) -> Mapping[str, Any]:
        """Public particulars for the model card."""
        names = [variable.name for variable in self.variables]
        counted = {name: {"count": one.count, "noise": round(one.sigma, 1)} for name, one in self.outside.items()}
        cliques = [[names[i] for i in walk.clique] for walk in self.model.walks]
        return {"cliques": cliques, "values_outside_domains": counted or "not counted", **super().notes}

    def draw_bins(
        self, rows: int, *, rng: np.random.Generator, weights: Mapping[int, NDArray[np.float64]]
    ) -> list[NDArray[np.int64]]:
        """Ancestral sampling along the cliques, exact under conditions."""
        return sample_codes(self.model, rows, rng=rng, given=weights)

    def save(self, folder: Path) -> str:
        """Write the model; returns its digest."""
        from generator.marginal.saving import save

        return save(self, folder)
