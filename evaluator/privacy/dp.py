"""Differential privacy: what the generator accounts for, and what an audit with canaries can disprove.

Responsible for `privacy.dp.epsilon`, `privacy.dp.delta` (an echo of the accounted loss) and for `audit_lower_bound`, the
one-run bound of Steinke, Nasr and Jagielski 2023 (arXiv:2305.08846), Theorem 5.2.

Invariants:
    - An accounted loss is repeated exactly; without one the metric is not applicable and never zero.
    - The bound is valid only for canaries included by independent fair coins. Attacks on ordinary rows are leakage
      indicators, and no ε is derived from them.
"""

from __future__ import annotations

from evaluator.inputs import Inputs
from evaluator.privacy.audit import audit_lower_bound
from evaluator.privacy.family import Family, PrivacyOptions
from policies.metrics import MetricResult

__all__ = ["DP", "audit_lower_bound", "audit_result"]

NAMES = ("privacy.dp.epsilon", "privacy.dp.delta")


def _dp(_inputs: Inputs, options: PrivacyOptions) -> dict[str, MetricResult]:
    spent = options.spent
    audit = MetricResult.not_applicable(
        direction="lower",
        method="one-run audit (Steinke et al. 2023)",
        why="no canaries were included by independent coins; attacks on ordinary rows are leakage indicators only",
    )
    results = {"privacy.dp.audit_lower_bound": audit}
    for name, exact in zip(NAMES, (None, None) if spent is None else (spent.epsilon, spent.delta), strict=True):
        if spent is None or exact is None:
            why = "the generator's accounting was not given" if spent is None else "the generator gives no such guarantee"
            results[name] = MetricResult.not_applicable(direction="lower", method="accounted by the generator", why=why)
            continue
        results[name] = MetricResult(
            value=float(exact),
            direction="lower",
            method="accounted by the generator",
            detail={
                "exact": str(exact),
                "unit": spent.unit,
                "neighbours": spent.neighbours,
                "accountant": spent.accountant,
                "noise_source": spent.noise_source,
                "mechanisms": [{"name": m.name, "share": m.share} for m in spent.mechanisms],
            },
        )
    return results


def audit_result(*, guesses: int, correct: int, canaries: int, delta: float, attacks: int = 1) -> MetricResult:
    """The audit's bound as a metric: 99.9 % confidence, Bonferroni over the attacks that were tried.

    Args:
        guesses: How many canaries were guessed at all.
        correct: How many guesses were right.
        canaries: How many canaries had a coin.
        delta: The δ of the claim that is audited.
        attacks: How many attacks were tried before this one was chosen.
    """
    alpha = 0.001 / attacks
    bound = audit_lower_bound(guesses=guesses, correct=correct, canaries=canaries, delta=delta, alpha=alpha)
    return MetricResult(
        value=bound,
        interval=(bound, 1e6),
        confidence=1 - 0.001,
        n=canaries,
        direction="lower",
        method="one-run audit (Steinke et al. 2023, Theorem 5.2); one-sided, Bonferroni over attacks",
        detail={"guesses": guesses, "correct": correct, "delta": delta, "attacks": attacks},
    )


DP = Family(name="privacy.dp", names=("privacy.dp",), run=_dp, cost="none: an echo")
