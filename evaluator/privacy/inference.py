"""Attribute inference: guessing a secret from everything else through the synthetic table.

Responsible for `privacy.attribute_inference.<column>`, one for each sensitive column of the card.

Invariants:
    - The guess is the secret of the nearest synthetic row on all other columns, for members and for non-members alike;
      nothing is drawn at random beyond the pool, so all of it is scored.
    - What counts is the difference: a secret that follows from the others by what is true of everybody is no leak.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluator.inputs import Inputs
from evaluator.privacy.family import Family, PrivacyOptions
from evaluator.privacy.neighbours import Neighbourhood, neighbourhood
from evaluator.statistics import Rate, difference_interval, fisher_upper, risk_over_control
from evaluator.utility.names import segment
from policies.metrics import MetricResult

__all__ = ["INFERENCE"]

Flags = npt.NDArray[np.bool_]
PREFIX = "privacy.attribute_inference"
METHOD = "secret of the nearest synthetic row on the other columns; difference of accuracies, Newcombe interval"
TOLERANCE = 0.05
"""A guessed number counts as right within so much of the true one (as in Giomi et al. 2023); a date within so much of the
stretch in which most people's lie: its distance from 1970 says nothing."""
LEAST = 100


def _inference(inputs: Inputs, options: PrivacyOptions) -> dict[str, MetricResult]:
    found = neighbourhood(inputs, options)
    names = tuple(inputs.columns)
    results = {}
    for position, secret in enumerate(found.secrets):
        results[f"{PREFIX}.{segment(names[secret])}"] = _one(inputs, found, position, options)
    if results:
        return results
    why = "the card names no sensitive column"
    return {f"{PREFIX}.none": MetricResult.not_applicable(direction="lower", method=METHOD, why=why)}


def _one(inputs: Inputs, found: Neighbourhood, position: int, options: PrivacyOptions) -> MetricResult:
    pool = found.pool
    name = tuple(inputs.columns)[found.secrets[position]]
    right, known = _right(inputs, found, position, name)
    units = _per_unit(pool.unit, right, known, pool.units)
    member = pool.unit_is_member
    attack = Rate(int((units == 1)[member].sum()), int((units >= 0)[member].sum()))
    control = Rate(int((units == 1)[~member].sum()), int((units >= 0)[~member].sum()))
    if min(attack.trials, control.trials) < LEAST:
        why = f"the secret is known of {min(attack.trials, control.trials)} people on the smaller side; {LEAST} are needed"
        return MetricResult.inconclusive(direction="lower", method=METHOD, why=why, n=attack.trials)
    risk, risk_interval = risk_over_control(attack, control, options.confidence)
    low, high = difference_interval(attack, control, options.confidence)
    return MetricResult(
        value=attack.share - control.share,
        interval=(low, high),
        confidence=options.confidence,
        p_value=float(fisher_upper([(attack, control)])[0]),
        n=attack.trials + control.trials,
        direction="lower",
        method=METHOD,
        detail={
            "attack": attack.share,
            "control": control.share,
            "baseline": _majority(inputs, name),
            "normalised_risk": risk,
            "normalised_risk_interval": list(risk_interval),
            "detection_limit": (3.09 + 1.28) * (high - low) / (2 * 1.96),
        },
    )


def _right(inputs: Inputs, found: Neighbourhood, position: int, name: str) -> tuple[Flags, Flags]:
    """Whether each pool row's secret is guessed, and whether it is known at all."""
    pool = found.pool
    guess_row = found.chosen[found.without[position].index[:, 0]]
    if inputs.columns[name].is_numeric or inputs.columns[name].is_temporal:
        truth = np.concatenate([inputs.train.numeric(name)[pool.train_rows], inputs.holdout.numeric(name)[pool.holdout_rows]])
        guess = inputs.synthetic.numeric(name)[guess_row]
        with np.errstate(invalid="ignore"):
            close = np.abs(guess - truth) <= TOLERANCE * (_span(truth) if inputs.columns[name].is_temporal else np.abs(truth))
        return close, ~np.isnan(truth)
    codes = np.concatenate([inputs.train.codes(name)[pool.train_rows], inputs.holdout.codes(name)[pool.holdout_rows]])
    return inputs.synthetic.codes(name)[guess_row] == codes, codes >= 0


def _span(truth: npt.NDArray[np.float64]) -> float:
    """From the first to the last of all real people, one in a hundred left out at either end (9999-12-31 is a date too)."""
    known = truth[~np.isnan(truth)]
    return float(np.quantile(known, 0.99) - np.quantile(known, 0.01)) if len(known) else 0.0


def _per_unit(unit: npt.NDArray[np.int64], right: Flags, known: Flags, units: int) -> npt.NDArray[np.int64]:
    """1 where most of a unit's known secrets are guessed, 0 where not, -1 where none is known."""
    asked = np.bincount(unit, known, units)
    hit = np.bincount(unit, right & known, units)
    return np.where(asked == 0, -1, (2 * hit >= asked).astype(np.int64)).astype(np.int64)


def _majority(inputs: Inputs, name: str) -> float:
    """Share of the most frequent value among synthetic rows: what a guess without any knowledge achieves."""
    codes = inputs.synthetic.codes(name)
    known = codes[codes >= 0]
    return float(np.bincount(known).max() / len(codes)) if len(known) else 0.0


INFERENCE = Family(
    name=PREFIX, names=(PREFIX,), run=_inference, cost="one more nearest row per sensitive column in the shared search"
)
