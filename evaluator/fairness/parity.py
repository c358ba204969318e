"""Do models trained on synthetic treat groups more unequally than models trained on train?

Responsible for `fairness.{demographic_parity,equal_opportunity,equalised_odds}.<column>.shift` and the worst over columns.

The shift is the gap between groups under training on synthetic minus the gap under training on train, for the worst target and
class: positive means that the synthetic table makes decisions more unequal. Demographic parity compares favourable decisions,
equal opportunity those among people who deserve them, equalised odds also those among people who do not.

Invariants: the shift is paired (same holdout rows, same resamples); without protected columns or targets it is not applicable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from evaluator.fairness.decisions import Decisions, decisions
from evaluator.utility.groups import Groups, groups_of
from evaluator.utility.intervals import CONFIDENCE
from evaluator.utility.learning import Predicted, predictions
from evaluator.utility.names import segment
from evaluator.utility.scores import resampled, spread_of, worst_interval
from evaluator.utility.tables import FloatArray, IntArray, Tables
from policies.metrics import MetricResult

__all__ = ["measure"]

KINDS: Final[Mapping[str, tuple[float | None, ...]]] = {
    "demographic_parity": (None,),
    "equal_opportunity": (1.0,),
    "equalised_odds": (1.0, 0.0),
}
METHOD: Final = "gap of favourable decisions, synthetic minus train; paired bootstrap of units, Bonferroni"


def measure(tables: Tables) -> dict[str, MetricResult]:
    """All parity shifts."""
    results: dict[str, MetricResult] = {}
    protected = [name for name in tables.card.spec.protected if name in tables.columns]
    for kind in KINDS:
        found = {name: _shift(tables, name, kind) for name in protected}
        results |= {f"fairness.{kind}.{segment(name)}.shift": result for name, result in found.items()}
        results[f"fairness.{kind}.worst.shift"] = _worst(found)
    return results


def _worst(found: Mapping[str, MetricResult]) -> MetricResult:
    unclear = [name for name, result in found.items() if result.status == "inconclusive"]
    if unclear:
        why = f"{unclear[0]}: {found[unclear[0]].detail['why']}"
        return MetricResult.inconclusive(direction="lower", method=METHOD, why=why)
    known = {name: result for name, result in found.items() if result.value is not None}
    if not known:
        why = "the card names no protected column" if not found else "no protected column could be compared"
        return MetricResult.not_applicable(direction="lower", method=METHOD, why=why)
    worst = max(known, key=lambda name: (known[name].value or 0.0, name))
    found_of_all = [pair for result in known.values() for pair in result.detail["simultaneous"]]
    detail = {"column": worst, **_short(known[worst].detail)}
    return replace(known[worst], interval=worst_interval(found_of_all, low=-1.0, high=1.0), detail=detail)


def _short(detail: Mapping[str, Any]) -> dict[str, Any]:
    return {key: detail[key] for key in ("target", "positive", "train", "synthetic") if key in detail}


def _shift(tables: Tables, name: str, kind: str) -> MetricResult:
    usable = [predicted for predicted in predictions(tables).values() if predicted.task.target != name]
    if not usable:
        return MetricResult.not_applicable(direction="lower", method=METHOD, why="the card names no other target")
    refused = [predicted.refused for predicted in usable if predicted.refused is not None]
    if refused:
        return MetricResult.inconclusive(direction="lower", method=METHOD, why=refused[0])
    groups = groups_of(tables, name)
    lines = [line for predicted in usable for line in _lines(tables, groups, predicted, kind)]
    if not lines:
        return MetricResult.not_applicable(direction="lower", method=METHOD, why="fewer than two groups are large enough")
    worst = max(lines, key=lambda line: (line["value"], line["positive"]))
    found = [line["spread"] for line in lines]
    return MetricResult(
        value=worst["value"],
        interval=worst_interval(found, low=-1.0, high=1.0),
        confidence=CONFIDENCE,
        n=worst["n"],
        direction="lower",
        method=METHOD,
        detail={key: worst[key] for key in ("target", "positive", "train", "synthetic", "rates")}
        | {"simultaneous": [list(pair) for pair in found]},
    )


def _lines(tables: Tables, groups: Groups, predicted: Predicted, kind: str) -> list[dict[str, Any]]:
    """One line per positive class and label: the gap under both trainings and their difference."""
    rows = predicted.task.rows["holdout"]
    weights, member = resampled(tables, predicted.task), groups.members["holdout"][rows]
    lines = []
    pairs = zip(decisions(predicted, "train"), decisions(predicted, "synthetic"), strict=True)
    for train, synthetic in pairs:
        for among in KINDS[kind]:
            line = _line(groups, member, weights, (train, synthetic), among)
            if line is not None:
                lines.append(line | {"target": predicted.task.target, "positive": train.positive, "n": len(rows)})
    return lines


def _line(
    groups: Groups, member: IntArray, weights: FloatArray, pair: tuple[Decisions, Decisions], among: float | None
) -> dict[str, Any] | None:
    gaps = [side.gap(groups, member.astype(np.float64), weights, among=among) for side in pair]
    if gaps[0] is None or gaps[1] is None:
        return None
    shift = gaps[1].replicates - gaps[0].replicates
    return {
        "value": float(shift[0]),
        "spread": spread_of(shift),
        "train": float(gaps[0].replicates[0]),
        "synthetic": float(gaps[1].replicates[0]),
        "rates": {"train": gaps[0].rates, "synthetic": gaps[1].rates},
    }
