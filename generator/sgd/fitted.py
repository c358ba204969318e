"""A fitted neural generator: a network draws bins, and rows are made of them as the marginal family makes them.

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
import pyarrow as pa
from numpy.typing import NDArray

from generator.base import GeneratorError
from generator.constraints import copies
from generator.encoding import arrow_type
from generator.fields import texts
from generator.marginal.fitted import FittedMarginal

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
class FittedNeural(FittedMarginal):
    """A fitted neural generator; `model` of the marginal family stays unused."""

    sampler: Sampler

    @property
    def notes(self) -> Mapping[str, Any]:
        """Public particulars for the model card."""
        return {
            "network": self.sampler.shape(),
            "estimated_domains": sorted(self.domains),
            "replaced_by_fake_text": list(texts(self.card)),
            "synthetic_keys": [n for n, column in self.card.columns.items() if column.role == "identifier"],
        }

    def _block(
        self, start: int, units: int, rows: int, rng: np.random.Generator, given: Mapping[int, int]
    ) -> tuple[pa.RecordBatch, int]:
        drawn = self._drawn(rows, rng, {v: self._weights(v, cell) for v, cell in given.items()})
        binned = [drawn[:, place] for place in range(drawn.shape[1])]
        codes = self._cells(binned, rng)
        for variable, cell in given.items():
            codes[variable] = np.full(rows, cell)
        columns: dict[str, Any] = {}
        place = 0
        for field in self.fields:
            count = len(field.variables)
            columns |= field.decode([c.astype(np.int32) for c in codes[place : place + count]], rng)
            place += count
        if self.orders:
            self._repair(columns, binned, rng)
        made = self._add_keys(columns, start, units, rows, rng)
        for name, source in copies(self.card).items():
            columns[name] = columns[source].cast(arrow_type(self.card.columns[name]))
        names = list(self.card.columns)
        return pa.RecordBatch.from_arrays([columns[name] for name in names], names=names), made

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

    def save(self, folder: Path) -> str:
        """Write the model; returns its digest."""
        from generator.sgd.saving import save

        return save(self, folder)
