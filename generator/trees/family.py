"""The generator `cart`: each column from a tree over the columns before it (synthpop's method).

Responsible for growing one tree a column and for sampling donors from its leaves.

Invariants:
    - There is no privacy guarantee: values are copied from donors, whole rows may be. `spent` is `PrivacySpent.none()`.
    - A saved model holds the train table's values; it never leaves the worker.
Source: Reiter 2005; Nowok, Raab and Dibben 2016 (synthpop).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from generator.base import FittedGenerator, GeneratorError, Progress, Train, no_progress
from generator.encoding import arrow_type, conform
from generator.hyperparameters import CartParameters
from generator.keys import fake_texts, row_keys
from generator.model_file import read_model, write_model
from generator.source import batches
from generator.trees.columns import TreeColumn
from policies.card import DatasetCard
from policies.types import GENERATORS, GeneratorInfo, PrivacySpent, PrivacyTarget

__all__ = ["Cart", "FittedCart", "create", "load"]

Floats = NDArray[np.float64]
BLOCK = 1 << 17
TRIES = 200


@dataclass(frozen=True, slots=True)
class Tree:
    """A grown tree as arrays: inner nodes split `feature <= threshold`, leaves have left = -1 and own donors."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: Floats
    donors: NDArray[np.int64]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]

    def draw(self, features: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.int64]:
        """A donor row for each row of features."""
        node = np.zeros(len(features), np.int64)
        active = np.flatnonzero(self.left[node] >= 0)
        while active.size:
            at = node[active]
            goes_left = features[active, self.feature[at]] <= self.threshold[at]
            node[active] = np.where(goes_left, self.left[at], self.right[at])
            active = active[self.left[node[active]] >= 0]
        place = np.floor(rng.random(len(features)) * self.counts[node]).astype(np.int64)
        return np.asarray(self.donors[self.starts[node] + place])


class Cart:
    """Unfitted `cart`."""

    def __init__(self, values: CartParameters) -> None:
        self.values = values

    @property
    def info(self) -> GeneratorInfo:
        """The line of the generator catalogue."""
        return GENERATORS["cart"]

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
        """Grow the trees; a privacy target is refused, since there is no guarantee to give."""
        if target is not None:
            raise GeneratorError("cart gives no privacy guarantee; it takes neither epsilon nor delta")
        wanted = {name: column for name, column in card.learnt.items() if column.type not in {"text", "id"}}
        parts = [conform(batch, wanted) for batch in batches(train)]
        arrays = {
            name: pa.concat_arrays([part[name] for part in parts]) if parts else pa.array([], arrow_type(column))
            for name, column in wanted.items()
        }
        columns = tuple(TreeColumn.of(name, column, arrays[name]) for name, column in wanted.items())
        rows = len(columns[0].numbers)
        if rows == 0:
            raise GeneratorError("the train table has no rows")
        features = np.column_stack([column.features(column.numbers) for column in columns])
        trees: list[Tree] = []
        for place, column in enumerate(columns):
            progress(place / len(columns), f"tree of {column.name}")
            trees.append(self._grow(features[:, :place], column, rng))
        progress(1.0, "fitted")
        spent = PrivacySpent.none(unit=card.spec.privacy_unit or "row")
        return FittedCart(card, columns, tuple(trees), spent)

    def _grow(self, features: NDArray[np.float32], column: TreeColumn, rng: np.random.Generator) -> Tree:
        rows = len(column.numbers)
        if features.shape[1] == 0 or (column.numbers == column.numbers[0]).all():
            stub = np.array([-1])
            return Tree(stub, stub, np.array([0]), np.zeros(1), np.arange(rows), np.array([0]), np.array([rows]))
        from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

        kind = DecisionTreeClassifier if column.is_class else DecisionTreeRegressor
        seed = int(rng.integers(1 << 31))
        grown = kind(min_samples_leaf=min(self.values.leaf_rows, rows), max_depth=self.values.depth, random_state=seed)
        aim = column.features(column.numbers).astype(np.float64)
        if not column.is_class:
            aim = np.searchsorted(np.unique(aim), aim).astype(np.float64)
        inner = grown.fit(features, aim).tree_
        leaves = inner.apply(features)
        order = np.argsort(leaves, kind="stable")
        counts = np.bincount(leaves, minlength=inner.node_count)
        return Tree(
            np.asarray(inner.children_left, np.int64), np.asarray(inner.children_right, np.int64),
            np.maximum(np.asarray(inner.feature, np.int64), 0), np.asarray(inner.threshold, np.float64),
            order, np.cumsum(counts) - counts, counts,
        )  # fmt: skip


@dataclass(frozen=True)
class FittedCart:
    """Fitted `cart`. It holds the train table's values."""

    card: DatasetCard
    columns: tuple[TreeColumn, ...]
    trees: tuple[Tree, ...]
    spent: PrivacySpent

    @property
    def info(self) -> GeneratorInfo:
        """The line of the generator catalogue."""
        return GENERATORS["cart"]

    @property
    def notes(self) -> Mapping[str, Any]:
        """Public particulars for the model card."""
        return {"order": [column.name for column in self.columns], "guarantee": "none: values are copied from train rows"}

    def sample(self, rows: int, *, rng: np.random.Generator, where: Mapping[str, str] | None = None) -> Iterator[pa.RecordBatch]:
        """Draw rows in blocks; conditions are met by drawing again."""
        wanted = self._conditions(where or {})
        made, tries = 0, 0
        while made < rows:
            size = min(BLOCK, rows - made) if not wanted else BLOCK
            numbers = self._draw(size, rng)
            for place, number in wanted.items():
                numbers = numbers[numbers[:, place] == number]
            numbers = numbers[: rows - made]
            tries += 1
            if tries > TRIES and made == 0 and not len(numbers):
                raise GeneratorError("no drawn row meets the condition")
            if len(numbers):
                yield self._batch(numbers, made, rng)
            made += len(numbers)

    def _conditions(self, where: Mapping[str, str]) -> dict[int, float]:
        names = [column.name for column in self.columns]
        wanted: dict[int, float] = {}
        for name, value in where.items():
            if name not in names or not (self.columns[names.index(name)].labels or self.card.columns[name].type == "boolean"):
                raise GeneratorError(f"a condition needs a category or boolean column; '{name}' is none")
            labels = self.columns[names.index(name)].labels or ("false", "true")
            if value not in labels:
                raise GeneratorError(f"the column '{name}' has no such value as the condition asks for")
            wanted[names.index(name)] = float(labels.index(value))
        return wanted

    def _draw(self, rows: int, rng: np.random.Generator) -> Floats:
        numbers = np.empty((rows, len(self.columns)))
        features = np.empty((rows, len(self.columns)), np.float32)
        for place, (column, tree) in enumerate(zip(self.columns, self.trees, strict=True)):
            numbers[:, place] = column.numbers[tree.draw(features[:, :place], rng)]
            features[:, place] = column.features(numbers[:, place])
        return numbers

    def _batch(self, numbers: Floats, start: int, rng: np.random.Generator) -> pa.RecordBatch:
        arrays = {column.name: column.to_arrow(numbers[:, place]) for place, column in enumerate(self.columns)}
        for name, column in self.card.columns.items():
            if column.type == "text" and column.role != "identifier":
                arrays[name] = fake_texts(len(numbers), rng)
            elif name not in arrays:
                arrays[name] = row_keys(np.arange(start, start + len(numbers)), arrow_type(column))
        return pa.RecordBatch.from_arrays([arrays[name] for name in self.card.columns], names=list(self.card.columns))

    def save(self, folder: Path) -> str:
        """Write trees and donors: the file is as confidential as the train table."""
        arrays: dict[str, np.ndarray] = {}
        for place, (column, tree) in enumerate(zip(self.columns, self.trees, strict=True)):
            arrays[f"{place}.numbers"] = column.numbers
            arrays |= {f"{place}.{part}": getattr(tree, part) for part in Tree.__slots__}
        manifest = {
            "card": self.card.model_dump(mode="json", by_alias=True),
            "columns": [column.manifest() for column in self.columns],
            "spent": self.spent.to_json(),
        }
        return write_model(folder, kind="cart", manifest=manifest, arrays=arrays)


def create(name: str, values: CartParameters) -> Cart:  # noqa: ARG001 - the shape of every family
    """Make the unfitted generator."""
    return Cart(values)


def load(folder: Path, *, digest: str) -> FittedCart:
    """Read a saved model."""
    _, manifest, arrays = read_model(folder, digest=digest)
    card = DatasetCard.model_validate(manifest["card"])
    columns = tuple(
        TreeColumn(item["name"], card.columns[item["name"]], arrays[f"{place}.numbers"], tuple(item["labels"]))
        for place, item in enumerate(manifest["columns"])
    )
    trees = tuple(Tree(**{part: arrays[f"{place}.{part}"] for part in Tree.__slots__}) for place in range(len(columns)))
    return FittedCart(card, columns, trees, PrivacySpent.from_json(manifest["spent"]))
