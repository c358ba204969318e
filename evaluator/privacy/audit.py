"""An empirical lower bound on ε from one training run.

Responsible for `audit_lower_bound`: Steinke, Nasr and Jagielski 2023, "Privacy auditing with one (1) training run",
arXiv:2305.08846, Theorem 5.2 and the algorithm of its appendix D.

Invariants:
    - Each canary was included by its own fair coin, thrown before training; the bound says nothing otherwise.
    - With probability at least 1 - alpha the bound does not exceed the true ε of an (ε, δ)-private generator.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import binom

__all__ = ["audit_lower_bound", "audit_p_value"]

LARGEST = 50.0
STEPS = 60


def audit_p_value(*, epsilon: float, delta: float, canaries: int, guesses: int, correct: int) -> float:
    """Chance of at least so many correct guesses under (ε, δ)-differential privacy: at most this.

    Under pure ε-DP the number of correct guesses is dominated by a binomial with success e^ε / (1 + e^ε); δ adds at most
    2 m δ max over i of (P(W > v - i) - P(W > v)) / i to the tail, where m is the number of canaries.
    """
    success = 1.0 / (1.0 + math.exp(-epsilon))
    tail = float(binom.sf(correct - 1, guesses, success))
    if delta == 0.0 or correct == 0:
        return min(1.0, tail)
    steps = np.arange(1, correct + 1)
    mass = binom.pmf(correct - steps, guesses, success)
    worst = float((np.cumsum(mass) / steps).max())
    return min(1.0, tail + 2.0 * canaries * delta * worst)


def audit_lower_bound(*, guesses: int, correct: int, canaries: int, delta: float, alpha: float = 0.001) -> float:
    """Smallest ε that the guesses do not refute at level `alpha`.

    Args:
        guesses: Canaries on which a guess (included or not) was made; the others were abstained from.
        correct: Right guesses among them.
        canaries: All canaries, each included by a fair coin.
        delta: The δ at which ε is claimed, in [0, 1).
        alpha: One-sided error probability, in (0, 1).

    Returns:
        The bound, at least 0 and at most 50.

    Raises:
        ValueError: the counts contradict each other.
    """
    if not 0 <= correct <= guesses <= canaries:
        raise ValueError("0 <= correct <= guesses <= canaries must hold")
    if not (0 <= delta < 1 and 0 < alpha < 1):
        raise ValueError("delta lies in [0, 1) and alpha in (0, 1)")

    def refuted(epsilon: float) -> bool:
        return audit_p_value(epsilon=epsilon, delta=delta, canaries=canaries, guesses=guesses, correct=correct) < alpha

    if guesses == 0 or not refuted(0.0):
        return 0.0
    low, high = 0.0, LARGEST
    if refuted(high):
        return LARGEST
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low
