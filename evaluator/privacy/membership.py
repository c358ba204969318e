"""Membership inference: can an attacker with the synthetic table tell who was trained on?

Responsible for `privacy.membership_inference.*`: area under ROC, advantage, true-positive rate at low false-positive rates,
for all people and for the most isolated tenth.

Invariants:
    - The figure of the strongest attack is reported, with a p-value and an interval that pay for having chosen it.
    - Thresholds come from non-members; a member counts when its score is strictly above.
    - A rate that the number of people cannot resolve is not given a value that a gate could mistake for a good one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from evaluator.inputs import Inputs
from evaluator.privacy.attacks import ATTACKS, Scores, attack_scores
from evaluator.privacy.family import Family, PrivacyOptions
from evaluator.privacy.neighbours import neighbourhood
from evaluator.privacy.subgroups import worst_subgroup
from evaluator.statistics import Area, area_under_roc, largest_share, rate_at_false_positives
from policies.metrics import MetricResult

__all__ = ["MEMBERSHIP"]

Floats = npt.NDArray[np.float64]
Pair = tuple[Floats, Floats]
PREFIX = "privacy.membership_inference"
LEAST = 100
LEAST_AT_1_PERCENT = 2_000
LEAST_AT_0_1_PERCENT = 20_000
EXPOSED_SHARE = 0.1
HALF = 0.5
ROC_POINTS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
HOW = "strongest of {} attacks (nearest neighbour on all and on finely graded columns, density ratio, cross-fitted classifier)"


def _membership(inputs: Inputs, options: PrivacyOptions) -> dict[str, MetricResult]:
    scores = attack_scores(inputs, options)
    everybody = _split(scores, np.ones(len(scores.member), dtype=np.bool_))
    exposed = _split(scores, largest_share(scores.isolation, EXPOSED_SHARE, inputs.generator("privacy", "exposed")))
    results = {
        f"{PREFIX}.tpr_at_fpr_1pct": _rate(everybody, 0.01, LEAST_AT_1_PERCENT, options),
        f"{PREFIX}.tpr_at_fpr_0_1pct": _finest(everybody, options),
        f"{PREFIX}.exposed.tpr_at_fpr_10pct": _rate(exposed, 0.1, LEAST, options),
    }
    for scope, pairs in (("", everybody), ("exposed.", exposed)):
        results[f"{PREFIX}.{scope}auc"] = _area(pairs, options)
        results[f"{PREFIX}.{scope}advantage"] = _advantage(pairs, options)
    return _with_subgroup(inputs, options, scores, results)


def _with_subgroup(
    inputs: Inputs, options: PrivacyOptions, scores: Scores, results: dict[str, MetricResult]
) -> dict[str, MetricResult]:
    """The area under ROC of all people, with the subgroup in which it is most telling beside it."""
    name = f"{PREFIX}.auc"
    overall = results[name]
    if overall.status != "ok":
        return results
    pool = neighbourhood(inputs, options).pool
    worst = worst_subgroup(inputs, pool, scores.by_attack[ATTACKS[0]], scores.member)
    return {**results, name: replace(overall, detail={**overall.detail, "worst_subgroup": worst})}


def _split(scores: Scores, among: npt.NDArray[np.bool_]) -> dict[str, Pair]:
    """Scores of members and of non-members under each attack."""
    return {name: (s[scores.member & among], s[~scores.member & among]) for name, s in scores.by_attack.items()}


def _sizes(pairs: Mapping[str, Pair]) -> tuple[int, int]:
    members, others = next(iter(pairs.values()))
    return len(members), len(others)


def _too_few(pairs: Mapping[str, Pair], least: int, method: str) -> MetricResult | None:
    n = min(_sizes(pairs))
    if n >= least:
        return None
    why = f"{n} people on the smaller side; {least} are needed"
    return MetricResult.inconclusive(direction="lower", method=method, why=why, n=n, needed=least)


def _measure(pairs: Mapping[str, Pair], test: Callable[[Pair, float], Area], options: PrivacyOptions) -> dict[str, Area]:
    confidence = 1 - (1 - options.confidence) / len(pairs)
    return {name: test(pair, confidence) for name, pair in pairs.items()}


def _honest(attack: str, p_value: float) -> float:
    """The p-value of an attack, with the variance that it really has.

    The classifier's two halves are scored by models that were fitted on each other's labels, so their errors go together:
    the variance of their mean is up to twice that of independent halves (Cauchy-Schwarz), and z shrinks by √2. Measured on
    clean splits of a census table, the plain p fell below 0.0001 in one of fifteen.
    """
    return float(norm.sf(norm.isf(p_value) / math.sqrt(2.0))) if attack == "classifier" and p_value < HALF else p_value


def _wider(attack: str, value: float, interval: tuple[float, float]) -> tuple[float, float]:
    """The interval of an attack's area or rate, widened for the classifier like its p-value."""
    if attack != "classifier":
        return interval
    below, above = value - interval[0], interval[1] - value
    return max(0.0, value - math.sqrt(2.0) * below), min(1.0, value + math.sqrt(2.0) * above)


def _area(pairs: Mapping[str, Pair], options: PrivacyOptions) -> MetricResult:
    method = f"AUC, {HOW.format(len(pairs))}; DeLong interval, rank-sum p, Bonferroni"
    shortage = _too_few(pairs, LEAST, method)
    if shortage is not None:
        return shortage
    areas = _measure(pairs, lambda pair, level: area_under_roc(*pair, confidence=level), options)
    strongest = max(areas, key=lambda name: areas[name].value)
    area = areas[strongest]
    n, m = _sizes(pairs)
    return MetricResult(
        value=area.value,
        interval=_wider(strongest, area.value, area.interval),
        confidence=options.confidence,
        p_value=min(1.0, min(_honest(name, a.p_value) for name, a in areas.items()) * len(areas)),
        n=n + m,
        direction="lower",
        method=method,
        detail={
            "attack": strongest,
            "attacks": {name: {"value": a.value, "p_value": _honest(name, a.p_value)} for name, a in areas.items()},
            "detection_limit": 0.5 + (3.09 + 1.28) * math.sqrt((n + m + 1) / (12.0 * n * m)),
            "plot": {"false_positive_rate": list(ROC_POINTS), "true_positive_rate": {k: _roc(*v) for k, v in pairs.items()}},
        },
    )


def _roc(members: Floats, others: Floats) -> list[float]:
    return [float((members > np.quantile(others, 1 - at, method="higher")).mean()) for at in ROC_POINTS]


def _advantage(pairs: Mapping[str, Pair], options: PrivacyOptions) -> MetricResult:
    method = f"largest TPR - FPR, {HOW.format(len(pairs))}; Dvoretzky-Kiefer-Wolfowitz interval (Massart 1990)"
    shortage = _too_few(pairs, LEAST, method)
    if shortage is not None:
        return shortage
    by_attack = {name: _largest_gap(*pair) for name, pair in pairs.items()}
    strongest = max(by_attack, key=lambda name: by_attack[name])
    n, m = _sizes(pairs)
    tail = (1 - options.confidence) / (2 * len(pairs))
    half = math.sqrt(math.log(2 / tail) / 2) * (1 / math.sqrt(n) + 1 / math.sqrt(m))
    value = by_attack[strongest]
    return MetricResult(
        value=value,
        interval=(max(0.0, value - half), min(1.0, value + half)),
        confidence=options.confidence,
        n=n + m,
        direction="lower",
        method=method,
        detail={"attack": strongest, "attacks": by_attack, "expected_without_leak": 0.87 * math.sqrt(1 / n + 1 / m)},
    )


def _largest_gap(members: Floats, others: Floats) -> float:
    thresholds = np.unique(np.concatenate([members, others]))
    above = 1 - np.searchsorted(np.sort(members), thresholds, side="right") / len(members)
    wrong = 1 - np.searchsorted(np.sort(others), thresholds, side="right") / len(others)
    return max(0.0, float((above - wrong).max()))


def _rate(pairs: Mapping[str, Pair], at: float, least: int, options: PrivacyOptions) -> MetricResult:
    method = f"TPR at {at:.1%} FPR, {HOW.format(len(pairs))}; Clopper-Pearson, beta-binomial p, Bonferroni"
    shortage = _too_few(pairs, least, method)
    return shortage if shortage is not None else _strongest_rate(pairs, at, method, options)


def _strongest_rate(pairs: Mapping[str, Pair], at: float, method: str, options: PrivacyOptions) -> MetricResult:
    confidence = 1 - (1 - options.confidence) / len(pairs)
    rates = {name: rate_at_false_positives(*pair, at=at, confidence=confidence) for name, pair in pairs.items()}
    chances = {name: _honest(name, rates[name].p_value) for name in rates}
    strongest = min(rates, key=lambda name: (chances[name], -rates[name].rate.successes))
    best = rates[strongest]
    n, m = _sizes(pairs)
    return MetricResult(
        value=best.rate.share,
        interval=_wider(strongest, best.rate.share, best.interval),
        confidence=options.confidence,
        p_value=min(1.0, chances[strongest] * len(rates)),
        n=n + m,
        direction="lower",
        method=method,
        detail={
            "attack": strongest,
            "false_positive_rate": at,
            "achieved_false_positive_rate": best.achieved,
            "attacks": {name: {"value": r.rate.share, "p_value": chances[name]} for name, r in rates.items()},
            "detection_limit": min(1.0, at + (3.09 + 1.28) * math.sqrt(at * (1 - at) * (1 / n + 1 / m))),
        },
    )


def _finest(pairs: Mapping[str, Pair], options: PrivacyOptions) -> MetricResult:
    """TPR at 0.1 % FPR: below 20,000 people a side the question cannot be put, and the estimate stands in the detail."""
    method = f"TPR at 0.1% FPR, {HOW.format(len(pairs))}; Clopper-Pearson, beta-binomial p, Bonferroni"
    n = min(_sizes(pairs))
    if n >= LEAST_AT_0_1_PERCENT:
        return _strongest_rate(pairs, 0.001, method, options)
    why = f"{n} people a side do not resolve one false alarm in a thousand; {LEAST_AT_0_1_PERCENT} would: see the 1 % rate"
    if n < LEAST:
        return MetricResult.not_applicable(direction="lower", method=method, why=why, needed=LEAST_AT_0_1_PERCENT)
    estimate = _strongest_rate(pairs, 0.001, method, options)
    return MetricResult.not_applicable(
        direction="lower", method=method, why=why, needed=LEAST_AT_0_1_PERCENT, estimate=estimate.value, p_value=estimate.p_value
    )


MEMBERSHIP = Family(
    name=PREFIX,
    names=(PREFIX,),
    run=_membership,
    cost="the shared search: a sample of people against all synthetic rows, so linear",
)
