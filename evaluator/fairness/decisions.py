"""Who a model says yes to: decisions of models trained on train and on synthetic, group by group.

Responsible for `Decisions`: for one target and one protected column, the rates of favourable decisions per group, with
bootstrap replicates.

A decision is favourable when the score is among the highest, as many on the holdout as the training labels have positives. A
fixed line of 0.5 would say no to everybody where positives are rare, and every gap would vanish. The positive class is each
class in turn (the rarer one of two); a number is positive above train's median.

Invariants: both models are judged on the same holdout rows and resamples; a group counts with 30 holdout rows (and 10 with a
positive label for opportunity).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from evaluator.utility.groups import Groups
from evaluator.utility.learning import Predicted, Trained
from evaluator.utility.tables import FloatArray

__all__ = ["Decisions", "Gap", "decisions"]

MODEL: Final = "boosting"
MIN_GROUP: Final = 30
MIN_LABELS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Largest difference of a rate between two groups, first as it is and then for each resample; and the rates."""

    replicates: FloatArray
    rates: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """Favourable decisions on the holdout for one positive class, by a model trained on one table."""

    positive: str
    favourable: FloatArray
    label: FloatArray

    def gap(self, groups: Groups, member: FloatArray, weights: FloatArray, *, among: float | None) -> Gap | None:
        """The gap between groups, over all rows or among those with a label; None with fewer than two measurable groups."""
        chosen = np.ones(len(self.label)) if among is None else (self.label == among).astype(np.float64)
        least = MIN_GROUP if among is None else MIN_LABELS
        rates: dict[str, FloatArray] = {}
        for index, label in enumerate(groups.labels):
            inside = chosen * (member == index)
            if int(inside.sum()) >= least:
                total = weights @ inside
                share = (weights @ (inside * self.favourable)) / np.maximum(total, 1e-12)
                rates[label] = np.where(total > 0, share, share[0])
        if len(rates) < 2:  # noqa: PLR2004 - a gap lies between two
            return None
        table = np.stack(list(rates.values()))
        spread = np.asarray(table.max(axis=0) - table.min(axis=0))
        return Gap(replicates=spread, rates={label: float(rate[0]) for label, rate in rates.items()})


def decisions(predicted: Predicted, trained: Trained) -> Iterator[Decisions]:
    """Decisions for each positive class of a target."""
    task = predicted.task
    scores = predicted.scores[MODEL, trained]
    if task.is_regression:
        line = float(np.median(task.values["train"]))
        share = float(np.mean(task.values[trained] > line))
        label = (task.values["holdout"] > line).astype(np.float64)
        yield Decisions(positive=f"above {line:g}", favourable=_highest(scores[:, 0], share), label=label)
        return
    kinds = list(range(len(task.classes)))
    if len(kinds) == 2:  # noqa: PLR2004 - yes to one is no to the other
        kinds = [int(np.argmin(np.bincount(task.values["train"].astype(np.int64), minlength=2)))]
    for kind in kinds:
        share = float(np.mean(task.values[trained] == kind))
        label = (task.values["holdout"] == kind).astype(np.float64)
        yield Decisions(positive=task.classes[kind], favourable=_highest(scores[:, kind], share), label=label)


def _highest(scores: FloatArray, share: float) -> FloatArray:
    """1 for the highest scores, as many as the share says; scores tied with the last are in together."""
    many = round(share * len(scores))
    if many <= 0 or np.ptp(scores) == 0:
        return np.zeros(len(scores))
    line = np.sort(scores)[-min(many, len(scores))]
    return np.asarray(scores >= line, dtype=np.float64)
