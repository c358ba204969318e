"""What an attack proves about ε: lower bounds from guesses about canaries.

Responsible for the arithmetic of privacy audits. The attacks themselves are tests.

Invariants:
    - A bound holds with the stated confidence whatever the generator does; guessing nothing proves nothing (bound 0).
Source: Steinke, Nasr and Jagielski 2023, theorem 5.2 (one-run audit).
"""

from __future__ import annotations

import math

__all__ = ["most_correct", "one_run_lower_bound"]


def one_run_lower_bound(correct: int, guesses: int, *, canaries: int, delta: float, confidence: float) -> float:
    """The ε that a mechanism must have at least, given how many canaries were guessed right in one run.

    Args:
        correct: Right guesses about independent fair coins.
        guesses: All guesses made (abstentions do not count).
        canaries: How many canaries there were.
        delta: The δ that is claimed.
        confidence: Of the bound, in (0, 1).
    """
    low, high = 0.0, 50.0
    if _chance(correct, guesses, low, canaries, delta) > 1 - confidence:
        return 0.0
    for _ in range(60):
        middle = (low + high) / 2
        if _chance(correct, guesses, middle, canaries, delta) <= 1 - confidence:
            low = middle
        else:
            high = middle
    return low


def most_correct(guesses: int, *, epsilon: float, alarm: float) -> int:
    """How many right guesses of independent runs (ε, 0)-DP does not exceed, but with probability `alarm`."""
    rate = 1 / (1 + math.exp(-epsilon))
    count = guesses
    while count > 0 and _tail(count, guesses, rate) <= alarm:
        count -= 1
    return count


def _chance(correct: int, guesses: int, epsilon: float, canaries: int, delta: float) -> float:
    """How probable so many right guesses are at most, if the mechanism were (ε, δ)-DP."""
    rate = 1 / (1 + math.exp(-epsilon))
    base = _tail(correct, guesses, rate)
    alpha, held = 0.0, 0.0
    for i in range(1, correct + 1):
        held += _point(correct - i, guesses, rate)
        alpha = max(alpha, held / i)
    return min(1.0, base + 2 * canaries * delta * alpha)


def _tail(least: int, count: int, rate: float) -> float:
    return min(1.0, math.fsum(_point(k, count, rate) for k in range(least, count + 1)))


def _point(k: int, count: int, rate: float) -> float:
    if rate >= 1:
        return float(k == count)
    choose = math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
    return math.exp(choose + k * math.log(rate) + (count - k) * math.log1p(-rate))
