from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from evaluator.privacy.audit import audit_p_value
from evaluator.privacy.dp import audit_lower_bound, audit_result


def test_without_delta_the_bound_is_the_binomial_one() -> None:
    bound = audit_lower_bound(guesses=100, correct=90, canaries=1000, delta=0.0, alpha=0.05)
    success = 1 / (1 + math.exp(-bound))
    assert binom.sf(89, 100, success) == pytest.approx(0.05, rel=1e-6)
    assert bound > 1.0


def test_all_guesses_right_gives_the_closed_form() -> None:
    bound = audit_lower_bound(guesses=50, correct=50, canaries=50, delta=0.0, alpha=0.001)
    success = 0.001 ** (1 / 50)
    assert bound == pytest.approx(math.log(success / (1 - success)), rel=1e-6)


def test_delta_lowers_the_bound_and_chance_gives_none() -> None:
    exact = audit_lower_bound(guesses=200, correct=180, canaries=1000, delta=0.0)
    loose = audit_lower_bound(guesses=200, correct=180, canaries=1000, delta=1e-5)
    assert 0 < loose < exact
    assert audit_lower_bound(guesses=200, correct=105, canaries=1000, delta=1e-6) == 0.0
    assert audit_lower_bound(guesses=0, correct=0, canaries=10, delta=0.0) == 0.0


def test_randomised_response_is_never_refuted_more_often_than_alpha() -> None:
    """2,000 audits of the worst mechanism at its own ε: more than 130 above it at alpha 0.05 has probability below 1e-3."""
    rng, epsilon = np.random.default_rng(0), 1.0
    correct = rng.binomial(300, 1 / (1 + math.exp(-epsilon)), size=2000)
    bounds = [audit_p_value(epsilon=epsilon, delta=0.0, canaries=300, guesses=300, correct=int(v)) < 0.05 for v in correct]
    assert sum(bounds) <= 130


def test_the_metric_pays_for_the_number_of_attacks() -> None:
    one = audit_result(guesses=200, correct=190, canaries=400, delta=1e-6)
    many = audit_result(guesses=200, correct=190, canaries=400, delta=1e-6, attacks=10)
    assert one.value > many.value > 0
    assert one.confidence == pytest.approx(0.999)


@pytest.mark.parametrize("wrong", [{"guesses": 5, "correct": 6}, {"guesses": 11, "correct": 1}, {"delta": 1.0}, {"alpha": 0.0}])
def test_contradicting_counts_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match=r"must hold|lies in"):
        audit_lower_bound(**({"guesses": 5, "correct": 5, "canaries": 10, "delta": 0.0, "alpha": 0.05} | wrong))
