"""The `ctgan` package behind our protocols: non-DP, for comparison and where a policy allows it.

Invariants:
    - There is no privacy guarantee, and everything here says so.
    - The package's saved model holds its training data; it is never written: `save` refuses.
    - Rows that leave lie within the card's bounds and values; identifiers are replaced by synthetic keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from generator.base import BadTable, FittedGenerator, GeneratorError, Progress, Train, no_progress
from generator.encoding import arrow_type, conform
from generator.fields import texts
from generator.hyperparameters import PackagedParameters
from generator.keys import fake_texts, row_keys
from generator.relations import learnt
from generator.source import batches
from policies.card import DatasetCard
from policies.types import GENERATORS, GeneratorInfo, PrivacySpent, PrivacyTarget

__all__ = ["FittedPackaged", "Packaged"]

MISSING = "\x00missing"
MICROS = 1_000_000
CHUNK = 1 << 14
MOST_ROUNDS = 200


@dataclass(frozen=True, slots=True)
class Packaged:
    """Unfitted `ctgan` or `tvae`."""

    name: str
    values: PackagedParameters

    @property
    def info(self) -> GeneratorInfo:
        """The line of the generator catalogue."""
        return GENERATORS[self.name]

    def fit(
        self,
        train: Train,
        *,
        card: DatasetCard,
        target: PrivacyTarget | None,
        rng: np.random.Generator,
        progress: Progress = no_progress,
        checkpoint: Path | None = None,  # noqa: ARG002 - it fits within seconds or cannot be resumed
    ) -> FittedGenerator:
        """Learn from a train table, without any privacy guarantee."""
        if target is not None:
            raise GeneratorError(f"{self.name} gives no guarantee; it takes no privacy target")
        names = learnt(card)
        if not names:
            raise GeneratorError("the card has no column that can be learnt")
        columns = {name: card.columns[name] for name in names}
        parts = [pa.RecordBatch.from_pydict(dict(conform(batch, columns))) for batch in batches(train)]
        if not sum(part.num_rows for part in parts):
            raise BadTable("the train table has no row")
        frame, discrete = _frame(pa.Table.from_batches(parts), card)
        progress(0.05, "training")
        model = _trained(self.name, self.values, frame, discrete, rng)
        progress(1.0, "fitted")
        return FittedPackaged(self.name, card, model, tuple(names))


@dataclass(frozen=True, slots=True)
class FittedPackaged:
    """A fitted `ctgan` or `tvae`. It holds what it learnt from, in the clear: it never leaves the worker."""

    name: str
    card: DatasetCard
    model: Any
    columns: tuple[str, ...]

    @property
    def info(self) -> GeneratorInfo:
        """The line of the generator catalogue."""
        return GENERATORS[self.name]

    @property
    def spent(self) -> PrivacySpent:
        """No guarantee."""
        return PrivacySpent.none(unit=self.card.spec.privacy_unit or "row")

    @property
    def notes(self) -> Mapping[str, Any]:
        """Public particulars for the model card."""
        return {"package": "ctgan", "guarantee": "none", "replaced_by_fake_text": list(texts(self.card))}

    def sample(self, rows: int, *, rng: np.random.Generator, where: Mapping[str, str] | None = None) -> Iterator[pa.RecordBatch]:
        """Draw rows; conditions are met by drawing until they hold."""
        if not rows:
            yield self._batch(self._nothing(), 0, rng)
            return
        done = 0
        for _ in range(MOST_ROUNDS):
            if done >= rows:
                return
            frame = _drawn(self.model, min(CHUNK, rows - done) if not where else CHUNK, rng)
            for name, value in (where or {}).items():
                if name not in self.columns or self.card.columns[name].type not in {"category", "boolean"}:
                    raise GeneratorError(f"a condition needs a category or boolean column that is learnt; '{name}' is none")
                frame = frame[frame[name] == value]
            frame = frame.head(rows - done)
            if len(frame):
                yield self._batch(frame, done, rng)
                done += len(frame)
        if done < rows:
            raise GeneratorError("the condition holds so rarely in this model that rows cannot be drawn under it")

    def save(self, folder: Path) -> str:
        """Refused: a saved model of this package is its training data."""
        raise GeneratorError(f"a model of {self.name} holds its training data and is never saved ({folder.name} stays empty)")

    def _nothing(self) -> pd.DataFrame:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in self.columns})

    def _batch(self, frame: pd.DataFrame, start: int, rng: np.random.Generator) -> pa.RecordBatch:
        arrays = []
        for name, column in self.card.columns.items():
            if name in self.columns:
                arrays.append(_arrow(frame[name].to_numpy(object), self.card, name))
            elif column.type == "text" and column.role != "identifier":
                arrays.append(fake_texts(len(frame), rng))
            else:
                arrays.append(row_keys(np.arange(start, start + len(frame)), arrow_type(column)))
        return pa.RecordBatch.from_arrays(arrays, names=list(self.card.columns))


def _frame(table: pa.Table, card: DatasetCard) -> tuple[pd.DataFrame, list[str]]:
    """Numbers as floats, everything else as text; a missing number becomes the mean."""
    found: dict[str, Any] = {}
    discrete = []
    for name in table.column_names:
        column, values = card.columns[name], table[name]
        if column.is_numeric or column.is_temporal:
            plain = values.cast(pa.int64()) if column.type == "datetime" else values
            plain = plain.cast(pa.int32()).cast(pa.int64()) if column.type == "date" else plain
            numbers = plain.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            known = numbers[~np.isnan(numbers)]
            found[name] = np.nan_to_num(numbers, nan=float(known.mean()) if known.size else 0.0)
        else:
            texts_ = values.cast(pa.string()).to_pylist()
            found[name] = np.array([MISSING if text is None else text for text in texts_], object)
            discrete.append(name)
    return pd.DataFrame(found), discrete


def _arrow(values: Any, card: DatasetCard, name: str) -> Any:
    """Back to the card's type, within its bounds."""
    column = card.columns[name]
    if not (column.is_numeric or column.is_temporal):
        plain = [None if value == MISSING else value for value in values]
        return pa.array(plain, pa.string()).cast(arrow_type(column))
    numbers = np.asarray(values, np.float64)
    if (bounds := column.number_bounds()) is not None:
        numbers = np.clip(numbers, *bounds)
    if (span := column.time_bounds()) is not None:
        low, high = (np.datetime64(moment, "us").astype(np.int64) for moment in span)
        day = 86_400 * MICROS if column.type == "date" else 1
        numbers = np.clip(numbers, -(-int(low) // day), int(high) // day)
    if column.type == "number":
        return pa.array(numbers if column.decimals is None else np.round(numbers, column.decimals), pa.float64())
    whole = pa.array(np.round(numbers).astype(np.int64))
    return whole.cast(pa.int32()).cast(arrow_type(column)) if column.type == "date" else whole.cast(arrow_type(column))


def _trained(name: str, values: PackagedParameters, frame: pd.DataFrame, discrete: list[str], rng: np.random.Generator) -> Any:
    import ctgan
    import torch

    torch.manual_seed(int(rng.integers(2**31)))
    kind = ctgan.CTGAN if name == "ctgan" else ctgan.TVAE
    arguments: dict[str, Any] = {
        "epochs": values.epochs,
        "batch_size": values.batch_size,
        "enable_gpu": torch.cuda.is_available(),
    }
    model = kind(**arguments)
    model.set_random_state(int(rng.integers(2**31)))
    model.fit(frame, discrete)
    return model


def _drawn(model: Any, rows: int, rng: np.random.Generator) -> pd.DataFrame:
    model.set_random_state(int(rng.integers(2**31)))
    found = model.sample(rows)
    return pd.DataFrame(found)
