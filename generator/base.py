"""The two faces of every generator: a `Generator` can be fitted, a `FittedGenerator` can be sampled.

Responsible for the protocols that all families implement, and for the errors they raise.

Invariants:
    - Unfitted and fitted are different types: nothing that was not fitted can be sampled.
    - A fitted generator carries what it cost (`spent`) and never the rows it was fitted on, unless it says that it is not DP.
    - The request's seed drives synthetic sampling only; privacy noise and private choices come from the operating system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from generator.errors import BadHyperparameters, BadTable, Cancelled, GeneratorError, ModelCorrupt, NotAvailable
from policies.card import DatasetCard
from policies.types import GeneratorInfo, PrivacySpent, PrivacyTarget

__all__ = [
    "BadHyperparameters", "BadTable", "Cancelled", "FittedGenerator", "Generator", "GeneratorError", "ModelCorrupt",
    "NotAvailable", "Progress", "Train", "no_progress",
]  # fmt: skip

Train = pa.Table | Iterable[pa.RecordBatch]
"""A train table: whole, or batches. Batches that are larger than memory must be re-iterable (each round reads them again)."""

Progress = Callable[[float, str], None]
"""Called with the finished share in [0, 1] and the stage's name. It raises `Cancelled` to stop the fit early."""


def no_progress(share: float, stage: str) -> None:
    """A progress that tells nobody."""


@runtime_checkable
class FittedGenerator(Protocol):
    """A generator that was fitted: rows can be drawn from it."""

    @property
    def info(self) -> GeneratorInfo:
        """The line of the generator catalogue."""

    @property
    def spent(self) -> PrivacySpent:
        """What the fit cost; `PrivacySpent.none()` where there is no guarantee."""

    @property
    def notes(self) -> Mapping[str, Any]:
        """Public particulars of the fit for the model card: what was modelled, refused or replaced. Never read off the data."""

    def sample(self, rows: int, *, rng: np.random.Generator, where: Mapping[str, str] | None = None) -> Iterator[pa.RecordBatch]:
        """Draw synthetic rows.

        Args:
            rows: How many rows, at least 0.
            rng: Drives the sampling; equal states give equal rows.
            where: Category values that every row has, by column (conditional sampling).

        Raises:
            GeneratorError: a condition names an unknown column or value, or has probability 0.
        """

    def save(self, folder: Path) -> str:
        """Write `model.json` and `model.safetensors` into an existing folder; returns the digest that `load` demands."""


@runtime_checkable
class Generator(Protocol):
    """A generator with checked hyper-parameters that has seen no data."""

    @property
    def info(self) -> GeneratorInfo:
        """The line of the generator catalogue."""

    def fit(
        self,
        train: Train,
        *,
        card: DatasetCard,
        target: PrivacyTarget | None,
        rng: np.random.Generator,
        progress: Progress = no_progress,
        checkpoint: Path | None = None,
    ) -> FittedGenerator:
        """Learn from a train table.

        Args:
            train: Columns as the card names them, in its Arrow types (`encoding.arrow_type`).
            card: What is publicly known of the table.
            target: The (ε, δ) not to be exceeded for one privacy unit; None for a generator that is not DP.
            rng: For what may be reproducible; a DP generator takes no privacy noise from it.
            progress: Told the finished share; may raise `Cancelled`.
            checkpoint: A folder of this one fit, as confidential as its train table, from which it goes on after a kill;
                families that finish within seconds start anew instead and leave it empty.

        Raises:
            BadTable: the table and the card do not agree.
            GeneratorError: the target is missing, or given to a generator without any guarantee; or the folder is of another
                fit, or of one that was killed where it cannot go on.
        """
