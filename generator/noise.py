"""Exact noise and exact private choice from the operating system's entropy.

Responsible for the discrete Gaussian and the exponential mechanism. Everything is integer arithmetic (Canonne, Kamath and
Steinke 2020, algorithms 1 to 3), so no floating-point rounding can betray a count.

Invariants:
    - No function here takes a seed or a generator: noise cannot be reproduced.
    - Samplers are exact: rejection instead of rounding, whole numbers instead of floats.
"""

from __future__ import annotations

import secrets
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

__all__ = ["NOISE_SOURCE", "choose", "discrete_gaussian", "samplable_variance", "uniform_below"]

NOISE_SOURCE = "operating system entropy (secrets), exact discrete samplers"
Integers = NDArray[np.int64]
COARSE_SIGMA = 512
LARGEST_SIGMA = 1 << 26


def uniform_below(limit: int, size: int) -> Integers:
    """Uniform whole numbers in [0, limit), exact by rejection; `limit` at most 2**62."""
    out = np.empty(size, np.int64)
    span = (1 << 64) - (1 << 64) % limit
    todo = np.arange(size)
    while todo.size:
        bits = np.frombuffer(secrets.token_bytes(8 * todo.size), np.uint64)
        good = bits < span if span < 1 << 64 else np.ones(todo.size, bool)
        out[todo[good]] = (bits[good] % np.uint64(limit)).astype(np.int64)
        todo = todo[~good]
    return out


def samplable_variance(least: Fraction) -> Fraction:
    """The smallest variance not below `least` that `discrete_gaussian` can draw (at most 0.4 % above it for σ > 1).

    Args:
        least: A positive variance in squared counts.
    """
    if least <= 0:
        raise ValueError("a variance is positive")
    if least < COARSE_SIGMA**2:
        grid = 64
        return Fraction(-(-least.numerator * grid // least.denominator), grid)
    sigma = _ceil_sqrt(least)
    if sigma > LARGEST_SIGMA:
        raise ValueError("the noise that this budget asks for is larger than any count")
    return Fraction(sigma * sigma)


def discrete_gaussian(variance: Fraction, size: int) -> Integers:
    """Draw from the discrete Gaussian with parameter σ² = `variance` (as returned by `samplable_variance`).

    Args:
        variance: σ² in squared counts.
        size: How many draws.
    """
    a, b = variance.numerator, variance.denominator
    t = max(1, _floor_sqrt(variance))
    out = np.empty(size, np.int64)
    todo = np.arange(size)
    while todo.size:
        y = _discrete_laplace(t, todo.size)
        if b == 1 and a == t * t:  # σ is whole: (|y| - σ)² / (2σ²)
            numerator, denominator = (np.abs(y) - t) ** 2, 2 * t * t
        else:
            numerator, denominator = (np.abs(y) * (t * b) - a) ** 2, 2 * a * b * t * t
        accepted = _bernoulli_exp(numerator, denominator)
        out[todo[accepted]] = y[accepted]
        todo = todo[~accepted]
    return out


def choose(scores: Integers, *, epsilon: Fraction, sensitivity: int) -> int:
    """The exponential mechanism, exact: index i with probability proportional to exp(epsilon * score_i / (2 * sensitivity)).

    Args:
        scores: Whole-number scores; one unit changes none of them by more than `sensitivity`.
        epsilon: Pure privacy loss of the choice; its zCDP is epsilon**2 / 8 (Cesar and Rogers 2021).
        sensitivity: In the unit of the scores.
    """
    best = int(scores.max())
    while True:
        index = secrets.randbelow(len(scores))
        gap = Fraction(best - int(scores[index]))
        if _bernoulli_exp_exact(epsilon * gap / (2 * sensitivity)):
            return index


def _discrete_laplace(scale: int, size: int) -> Integers:
    out = np.empty(size, np.int64)
    todo = np.arange(size)
    while todo.size:
        low = uniform_below(scale, todo.size)
        kept = _bernoulli_exp(low, scale)
        low = low[kept]
        value = low + scale * _geometric_exp(low.size)
        negative = uniform_below(2, low.size) == 1
        valid = ~(negative & (value == 0))
        out[todo[kept][valid]] = np.where(negative, -value, value)[valid]
        done = np.zeros(todo.size, bool)
        done[np.flatnonzero(kept)[valid]] = True
        todo = todo[~done]
    return out


def _geometric_exp(size: int) -> Integers:
    """How many Bernoulli(exp(-1)) successes come before the first failure."""
    count = np.zeros(size, np.int64)
    alive = np.arange(size)
    while alive.size:
        alive = alive[_bernoulli_exp_unit(np.ones(alive.size, np.int64), 1)]
        count[alive] += 1
    return count


def _bernoulli_exp(numerator: Integers, denominator: int) -> NDArray[np.bool_]:
    """Bernoulli(exp(-numerator / denominator)) for each numerator, which is not negative."""
    whole, rest = np.divmod(numerator, denominator)
    result = _bernoulli_exp_unit(rest, denominator)
    alive = np.flatnonzero(result & (whole > 0))
    left = whole[alive]
    while alive.size:
        success = _bernoulli_exp_unit(np.ones(alive.size, np.int64), 1)
        result[alive[~success]] = False
        alive, left = alive[success], left[success] - 1
        alive, left = alive[left > 0], left[left > 0]
    return result


def _bernoulli_exp_unit(numerator: Integers, denominator: int) -> NDArray[np.bool_]:
    """The same for numerators in [0, denominator]: count successes of Bernoulli(γ / k), k = 1, 2, …; odd stop is a success."""
    stop = np.zeros(numerator.size, np.int64)
    alive = np.arange(numerator.size)
    k = 1
    while alive.size:
        success = uniform_below(denominator * k, alive.size) < numerator[alive]
        stop[alive[~success]] = k
        alive = alive[success]
        k += 1
    return np.asarray(stop % 2 == 1)


def _bernoulli_exp_exact(gamma: Fraction) -> bool:
    while gamma > 1:
        if not _bernoulli_exp_exact(Fraction(1)):
            return False
        gamma -= 1
    k = 1
    while secrets.randbelow(gamma.denominator * k) < gamma.numerator:
        k += 1
    return k % 2 == 1


def _floor_sqrt(value: Fraction) -> int:
    from math import isqrt

    return isqrt(value.numerator // value.denominator)


def _ceil_sqrt(value: Fraction) -> int:
    root = _floor_sqrt(value)
    return root if root * root >= value else root + 1
