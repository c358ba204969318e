"""Is the synthetic table as useful for every group as it is on the whole?

Responsible for `utility.subgroups.<column>.gap` (the worst group's loss of a model trained on synthetic) and
`utility.subgroups.<column>.tv` (the worst group's mean change of the other columns, freed of its expected sampling noise, which
would make every small group look bad).

Invariants:
    - A group counts for `gap` with 50 holdout rows and, for classes, 10 rows of at least two; for `tv` with 100 train rows.
    - A group of train that has no row in synthetic has `tv` 1: it was lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from evaluator.utility.groups import Groups, grouping_columns, groups_of
from evaluator.utility.intervals import CONFIDENCE, tv_margin
from evaluator.utility.learning import Predicted, predictions
from evaluator.utility.marginals import shares
from evaluator.utility.names import segment
from evaluator.utility.scores import auc, interval, r_squared, resampled, spread_of, worst_interval
from evaluator.utility.tables import FloatArray, Tables
from policies.metrics import MetricResult

__all__ = ["measure"]

GAP_METHOD: Final = "train on synthetic, test on holdout, by group; paired bootstrap, Bonferroni"
TV_METHOD: Final = "mean total variation within groups; McDiarmid, Bonferroni"
MIN_TESTED: Final = 50
MIN_CLASS: Final = 10
MIN_TRAIN: Final = 100
MODEL: Final = "boosting"
MEAN_OF_NORMAL: Final = 0.7978845608028654  # E|z| of a standard normal


def measure(tables: Tables) -> dict[str, MetricResult]:
    """Subgroup metrics for every grouping column."""
    results: dict[str, MetricResult] = {}
    columns = grouping_columns(tables)
    many = sum(int((groups_of(tables, name).count("train") >= MIN_TRAIN).sum()) for name in columns)
    for name in columns:
        prefix = f"utility.subgroups.{segment(name)}"
        groups = groups_of(tables, name)
        results[f"{prefix}.tv"] = _fidelity(tables, groups, many)
        results[f"{prefix}.gap"] = _gap(tables, groups)
    for kind, method in (("gap", GAP_METHOD), ("tv", TV_METHOD)):
        results[f"utility.subgroups.worst.{kind}"] = _worst(results, columns, kind, method)
    return results


def _worst(results: Mapping[str, MetricResult], columns: tuple[str, ...], kind: str, method: str) -> MetricResult:
    known = {name: results[f"utility.subgroups.{segment(name)}.{kind}"] for name in columns}
    unclear = [name for name, result in known.items() if result.status == "inconclusive"]
    if unclear:
        why = f"{unclear[0]}: {known[unclear[0]].detail['why']}"
        return MetricResult.inconclusive(direction="lower", method=method, why=why)
    measured = {name: result for name, result in known.items() if result.value is not None}
    if not measured:
        return MetricResult.not_applicable(direction="lower", method=method, why="no grouping column, or no target")
    worst = max(measured, key=lambda name: (measured[name].value or 0.0, name))
    found = [pair for result in measured.values() for pair in result.detail["simultaneous"]]
    interval_of_worst = worst_interval(found, low=-2.0, high=2.0) if kind == "gap" else _reach(found)
    detail = {"column": worst, "group": measured[worst].detail["group"]}
    return replace(measured[worst], interval=interval_of_worst, detail=detail)


def _reach(found: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """From the largest lower to the largest upper end of values with margins that hold together."""
    return max(0.0, *(value - margin for value, margin in found)), min(1.0, max(value + margin for value, margin in found))


def _fidelity(tables: Tables, groups: Groups, many: int) -> MetricResult:
    others = [name for name in tables.columns if name != groups.column]
    train_rows, synthetic_rows = groups.count("train"), groups.count("synthetic")
    found: dict[str, dict[str, Any]] = {}
    for index, label in enumerate(groups.labels):
        if train_rows[index] < MIN_TRAIN or not others:
            continue
        if not synthetic_rows[index]:
            found[label] = {"value": 1.0, "margin": 0.0, "floor": None}
            continue
        found[label] = _within(tables, groups, index, others, many)
    if not found:
        why = f"no group has {MIN_TRAIN} train rows"
        return MetricResult.not_applicable(direction="lower", method=TV_METHOD, why=why)
    worst = max(found, key=lambda label: (found[label]["value"], label))
    index = groups.labels.index(worst)
    reach = [(float(one["value"]), float(one["margin"])) for one in found.values()]
    return MetricResult(
        value=float(found[worst]["value"]),
        interval=_reach(reach),
        confidence=CONFIDENCE,
        n=int(min(train_rows[index], synthetic_rows[index])),
        direction="lower",
        method=TV_METHOD,
        detail={
            "group": worst,
            "floor": found[worst]["floor"],
            "by_group": {label: f["value"] for label, f in found.items()},
            "simultaneous": [list(pair) for pair in reach],
        },
    )


def _within(tables: Tables, groups: Groups, index: int, others: list[str], many: int) -> dict[str, Any]:
    """Mean change of the other columns within one group, its margin (for `many` groups at once), and the holdout's figure."""
    changes, margins, floors = [], [], []
    alpha = (1 - CONFIDENCE) / (2 * max(1, many))
    inside = {side: members == index for side, members in groups.members.items()}
    scale = {side: tables.effective[side] / tables.rows[side] for side in tables.rows}
    for name in others:
        codes, size = tables.binned(name)
        train, synthetic, holdout = (shares(codes[side][inside[side]], size) for side in ("train", "synthetic", "holdout"))
        sizes = [float(inside[side].sum()) * scale[side] for side in ("train", "synthetic", "holdout")]
        changes.append(0.5 * float(np.abs(train - synthetic).sum()) - _noise(train, sizes[0], sizes[1]))
        margins.append(tv_margin(train, sizes[0], alpha=alpha) + tv_margin(synthetic, sizes[1], alpha=alpha))
        floors.append(0.5 * float(np.abs(train - holdout).sum()) - _noise(train, sizes[0], sizes[2]))
    floor = max(0.0, float(np.mean(floors))) if inside["holdout"].any() else None
    return {"value": max(0.0, float(np.mean(changes))), "margin": float(np.mean(margins)), "floor": floor}


def _noise(expected: FloatArray, first: float, second: float) -> float:
    """Mean total variation between two samples of the same distribution."""
    spread = np.sqrt(expected * (1 - expected) * (1 / max(first, 1.0) + 1 / max(second, 1.0)))
    return 0.5 * MEAN_OF_NORMAL * float(spread.sum())


def _gap(tables: Tables, groups: Groups) -> MetricResult:
    usable = [predicted for predicted in predictions(tables).values() if predicted.task.target != groups.column]
    if not usable:
        return MetricResult.not_applicable(direction="lower", method=GAP_METHOD, why="the card names no other target")
    refused = [predicted.refused for predicted in usable if predicted.refused is not None]
    if refused:
        return MetricResult.inconclusive(direction="lower", method=GAP_METHOD, why=refused[0])
    found = [pair for predicted in usable for pair in _rows(tables, groups, predicted)]
    table = [row for row, _ in found]
    if not table:
        why = f"no group has {MIN_TESTED} holdout rows with both outcomes"
        return MetricResult.not_applicable(direction="lower", method=GAP_METHOD, why=why)
    worst = max(table, key=lambda row: (row["gap"], row["group"]))
    return MetricResult(
        value=worst["gap"],
        interval=worst_interval([spread for _, spread in found], low=-2.0, high=2.0),
        confidence=CONFIDENCE,
        n=worst["rows"]["holdout"],
        direction="lower",
        method=GAP_METHOD,
        detail={
            "group": worst["group"],
            "target": worst["target"],
            "plot": {"column": groups.column, "rows": table},
            "simultaneous": [list(spread) for _, spread in found],
        },
    )


def _rows(tables: Tables, groups: Groups, predicted: Predicted) -> list[tuple[dict[str, Any], tuple[float, float]]]:
    """One line per group: sizes, score of both models, and the gap with its interval; beside it the gap's standard error."""
    task = predicted.task
    weights = resampled(tables, task)
    member = groups.members["holdout"][task.rows["holdout"]]
    score = r_squared if task.is_regression else auc
    counts = {side: groups.count(side) for side in ("train", "holdout", "synthetic")}
    table = []
    for index, label in enumerate(groups.labels):
        inside = member == index
        values = task.values["holdout"][inside]
        if not _measurable(values, is_regression=task.is_regression):
            continue
        found: dict[str, FloatArray] = {
            trained: score(task, values, predicted.scores[MODEL, trained][inside], weights[:, inside])
            for trained in ("train", "synthetic")
        }
        gap = found["train"] - found["synthetic"]
        line = (
            {
                "target": task.target,
                "group": label,
                "score": "r2" if task.is_regression else "auc",
                "rows": {side: int(count[index]) for side, count in counts.items()},
                "train_on_train": float(found["train"][0]),
                "train_on_synthetic": float(found["synthetic"][0]),
                "gap": float(gap[0]),
                "interval": interval(gap, low=-2.0, high=2.0),
            },
            spread_of(gap),
        )
        table.append(line)
    return table


def _measurable(values: FloatArray, *, is_regression: bool) -> bool:
    if len(values) < MIN_TESTED:
        return False
    return is_regression or int(np.count_nonzero(np.bincount(values.astype(np.int64)) >= MIN_CLASS)) > 1
