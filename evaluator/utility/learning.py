"""Train on synthetic, train on train, predict the holdout: the models that several metrics look at.

Responsible for `predictions`: for every target of the card, three models (linear, boosting, forest), each trained on train and
on synthetic, and their scores on the same holdout rows.

Invariants:
    - Models run on one thread each and side by side; their scores depend on the seed and the tables alone.
    - At most 40,000 rows train a model (a quarter of it for more than two classes) and at most 40,000 holdout rows
      are predicted; a larger table is sampled by unit.
    - A training table with one class only yields a constant score: that is its result, not an error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final, Literal

import numpy as np
from scipy.special import expit
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from threadpoolctl import threadpool_limits

from evaluator.utility.features import Features, feature_matrix, standard, telling
from evaluator.utility.linear import fit_logistic, fit_ridge
from evaluator.utility.tables import FloatArray, IntArray, Measured, Side, Tables

__all__ = ["MODELS", "TRAINED", "Predicted", "Task", "Trained", "boosting", "in_parallel", "predictions", "sampled_rows"]

MODELS: Final = ("linear", "boosting", "forest")
MAX_TRAINING: Final = 40_000
MAX_TESTED: Final = 40_000
MAX_CLASSES: Final = 10
MIN_ROWS: Final = 50
MIN_CLASS: Final = 10
ONE_FOREST: Final = Lock()
"""Held by a forest: scikit-learn swaps the warning filters of the whole process while one runs, and two at once break that."""
Trained = Literal["train", "synthetic"]
TRAINED: Final[tuple[Trained, Trained]] = ("train", "synthetic")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is predicted.

    Attributes:
        classes: Labels of the classes; empty for a number.
        values: Class numbers, or numbers in units of train's spread, of the rows used, per table.
        rows: Which rows of each table are used.
    """

    target: str
    classes: tuple[str, ...]
    values: Mapping[Side, FloatArray]
    rows: Mapping[Side, IntArray]

    @property
    def is_regression(self) -> bool:
        """Whether a number is predicted."""
        return not self.classes


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """Scores on the holdout: rows by classes (a single column for numbers), by model and by what it was trained on."""

    task: Task
    scores: Mapping[tuple[str, Trained], FloatArray] = field(repr=False)
    refused: str | None = None


def predictions(tables: Tables) -> dict[str, Predicted]:
    """Scores of all models for all targets; made once for all metrics that need them."""
    return tables.inputs.once("utility.predictions", lambda: {name: _predict(tables, name) for name in _targets(tables)})


def _targets(tables: Tables) -> list[str]:
    return [name for name in tables.card.spec.targets if name in tables.columns and tables.columns[name].spec.type != "text"]


def sampled_rows(tables: Tables, side: Side, usable: IntArray, limit: int, *purpose: str) -> IntArray:
    """At most `limit` of some rows, in whole privacy units chosen at random, in the order of the table."""
    if len(usable) <= limit:
        return usable
    units = tables.blocks(side)[usable]
    order = tables.inputs.generator("utility.sample", side, *purpose).permutation(int(units.max()) + 1)
    return np.sort(usable[np.argsort(order[units], kind="stable")[:limit]])


def in_parallel(jobs: Mapping[Any, Any]) -> dict[Any, Any]:
    """Call every job on a thread of its own; numerical libraries stay on one thread within each."""
    workers = max(1, min(len(jobs), len(os.sched_getaffinity(0))))

    def alone() -> None:
        threadpool_limits(limits=1)

    with ThreadPoolExecutor(max_workers=workers, initializer=alone) as pool:
        futures = {key: pool.submit(job) for key, job in jobs.items()}
        return {key: future.result() for key, future in futures.items()}


def _predict(tables: Tables, target: str) -> Predicted:
    task = _task(tables, target)
    smallest = min((len(task.rows[side]), side) for side in ("train", "holdout", "synthetic"))
    if smallest[0] < MIN_ROWS:
        return Predicted(
            task=task, scores={}, refused=f"{smallest[1]} has {smallest[0]} rows with a target; {MIN_ROWS} are needed"
        )
    tested = task.values["holdout"]
    if not task.is_regression and np.count_nonzero(np.bincount(tested.astype(np.int64)) >= MIN_CLASS) < 2:  # noqa: PLR2004
        return Predicted(task=task, scores={}, refused=f"holdout has no two classes of at least {MIN_CLASS} rows")
    matrices = {side: feature_matrix(tables, side, task.rows[side], without=(target,)) for side in task.rows}
    seed = int(tables.inputs.generator("utility.models", target).integers(2**31))
    jobs = {
        (model, trained): _Job(model, task, matrices[trained], task.values[trained], matrices["holdout"], seed)
        for trained in TRAINED
        for model in ("forest", "boosting", "linear")
    }
    return Predicted(task=task, scores=in_parallel(jobs))


def _task(tables: Tables, target: str) -> Task:
    column = tables.columns[target]
    most = MAX_TRAINING if _is_quick(column) else MAX_TRAINING // 4
    limits: dict[Side, int] = {"train": most, "holdout": MAX_TESTED, "synthetic": most}
    rows = {side: sampled_rows(tables, side, np.flatnonzero(~column.missing(side)), limits[side], target) for side in limits}
    if column.is_continuous and not _is_small(column):
        values = {side: standard(column.values[side][rows[side]], column.values["train"]) for side in limits}
        return Task(target=target, classes=(), values=values, rows=rows)
    codes, labels = _classes(column)
    values = {side: codes[side][rows[side]].astype(np.float64) for side in limits}
    return Task(target=target, classes=labels, values=values, rows=rows)


def _is_quick(column: Measured) -> bool:
    """Two classes or a number need one model; every further class needs one more, on fewer rows."""
    return (column.is_continuous and not _is_small(column)) or len(column.labels) <= 3  # noqa: PLR2004 - missing, yes and no


def _is_small(column: Measured) -> bool:
    """An integer with at most ten values in train is a class."""
    return column.spec.type == "integer" and len(np.unique(column.present("train"))) <= MAX_CLASSES


def _classes(column: Measured) -> tuple[dict[Side, IntArray], tuple[str, ...]]:
    """Class numbers: train's ten commonest values in sorted order, and one class for all others where there are more."""
    sides: tuple[Side, ...] = ("train", "holdout", "synthetic")
    if column.is_continuous:
        kinds = np.unique(column.present("train"))
        codes = {side: np.searchsorted(kinds, np.nan_to_num(column.values[side])).clip(0, len(kinds) - 1) for side in sides}
        return codes, tuple(f"{kind:g}" for kind in kinds)
    counts = np.bincount(column.codes["train"], minlength=len(column.labels))
    counts[0] = 0
    kept = np.sort(np.argsort(-counts, kind="stable")[: min(MAX_CLASSES, int(np.count_nonzero(counts)))])
    place = np.full(len(column.labels), len(kept), dtype=np.int64)
    place[kept] = np.arange(len(kept))
    labels = [column.labels[code] for code in kept]
    others = any(bool(np.any(place[column.codes[side]][column.codes[side] > 0] == len(kept))) for side in sides)
    return {side: place[column.codes[side]] for side in sides}, (*labels, "(others)") if others else tuple(labels)


@dataclass(frozen=True, slots=True)
class _Job:
    """One model to train and the scores it gives."""

    model: str
    task: Task
    training: Features
    values: FloatArray
    tested: Features
    seed: int

    def __call__(self) -> FloatArray:
        if self.task.is_regression:
            return self._numbers()
        present = np.unique(self.values)
        if len(present) == 1:
            constant = np.zeros((len(self.tested.plain), len(self.task.classes)))
            constant[:, int(present[0])] = 1.0
            return constant
        if self.model == "linear":
            return self._logistic(present)
        training, tested = self._plain()
        model = boosting(self.seed, len(present)) if self.model == "boosting" else _forest(self.seed)
        scores = np.zeros((len(self.tested.plain), len(self.task.classes)))
        with self._alone():
            model.fit(training, self.values)
            scores[:, model.classes_.astype(np.int64)] = model.predict_proba(tested)
        return scores

    def _plain(self) -> tuple[FloatArray, FloatArray]:
        """Features for trees, those that differ among the rows a model is trained on; one of zeros where none does."""
        kept = telling(self.training.plain)
        if not kept.any():
            return np.zeros((len(self.training.plain), 1)), np.zeros((len(self.tested.plain), 1))
        return self.training.plain[:, kept], self.tested.plain[:, kept]

    def _alone(self) -> AbstractContextManager[object]:
        return ONE_FOREST if self.model == "forest" else nullcontext()

    def _logistic(self, present: FloatArray) -> FloatArray:
        scores = np.zeros((len(self.tested.plain), len(self.task.classes)))
        if len(present) == 2:  # noqa: PLR2004 - one model serves two classes
            chance = expit(self.tested.linear @ fit_logistic(self.training.linear, self.values == present[1]))
            scores[:, int(present[0])], scores[:, int(present[1])] = 1 - chance, chance
            return scores
        for kind in present:
            scores[:, int(kind)] = expit(self.tested.linear @ fit_logistic(self.training.linear, self.values == kind))
        return np.asarray(scores / np.maximum(scores.sum(axis=1, keepdims=True), 1e-12))

    def _numbers(self) -> FloatArray:
        if self.model == "linear":
            return np.asarray((self.tested.linear @ fit_ridge(self.training.linear, self.values))[:, None])
        if self.model == "boosting":
            model = HistGradientBoostingRegressor(max_iter=60, learning_rate=0.15, early_stopping=False, random_state=self.seed)
        else:
            model = RandomForestRegressor(
                n_estimators=16, max_depth=12, min_samples_leaf=5, max_features=0.5, random_state=self.seed
            )
        training, tested = self._plain()
        with self._alone():
            model.fit(training, self.values)
            return np.asarray(model.predict(tested)[:, None])


def boosting(seed: int, classes: int = 2) -> Any:
    """Gradient boosting for classes, small enough to be quick and strong enough to be a fair test."""
    return HistGradientBoostingClassifier(
        max_iter=50 if classes <= 2 else 25,  # noqa: PLR2004 - a tree per class and step
        learning_rate=0.15,
        early_stopping=False,
        random_state=seed,
    )


def _forest(seed: int) -> Any:
    return RandomForestClassifier(n_estimators=16, max_depth=12, min_samples_leaf=5, random_state=seed)
