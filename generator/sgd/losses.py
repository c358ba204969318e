"""ε by numerical composition of privacy-loss distributions (PRV): tighter than any Rényi curve, and only for plain mechanisms.

Responsible for one figure: an upper bound of ε of discrete Gaussian counts followed by Poisson-sampled Gaussian steps.

Invariants:
    - Every distribution is rounded towards more loss, so the figure is an upper bound.
    - Counts enter as the discrete Gaussians that they are, one for each count: a unit changes one cell by one.

Sources: Koskela, Jälkö and Honkela 2020; Gopi, Lee and Wutschitz 2021 (PRV); Doroshenko et al. 2022 (connect the dots), by
dp-accounting.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from typing import Any

__all__ = ["epsilon_by_losses"]

FINEST, COARSEST = -15, -7
"""Losses are kept on grids of 2^-15 to 2^-7, about a thousandth of ε."""
GRID_SHARE = 1e-3
MOST_SIGMA = 4096.0


@lru_cache(maxsize=512)
def epsilon_by_losses(
    *,
    sampling_rate: float,
    steps: int,
    noise_multiplier: float,
    rho: float,
    sigmas: tuple[float, ...],
    delta: float,
    about: float,
) -> float:
    """An upper bound of ε; infinite where this way does not lead.

    Args:
        sampling_rate: Of the steps.
        steps: How many.
        noise_multiplier: Of the steps.
        rho: zCDP of the counts, used where `sigmas` is empty: one Gaussian stands for them.
        sigmas: Noise of each count.
        delta: In (0, 1).
        about: What another accountant says.
    """
    from dp_accounting.pld import privacy_loss_distribution as distribution

    if any(sigma > MOST_SIGMA for sigma in sigmas):
        return math.inf
    grid = 2.0 ** min(COARSEST, max(FINEST, math.floor(math.log2(about * GRID_SHARE))))
    total = distribution.identity(value_discretization_interval=grid)
    if rho:
        total = _counts(rho, sigmas, grid)
    if steps:
        step = distribution.from_gaussian_mechanism(
            noise_multiplier, sampling_prob=sampling_rate, value_discretization_interval=grid, use_connect_dots=True
        )
        total = total.compose(step.self_compose(steps))
    return float(total.get_epsilon_for_delta(delta))


@lru_cache(maxsize=64)
def _counts(rho: float, sigmas: tuple[float, ...], grid: float) -> Any:
    from dp_accounting.pld import privacy_loss_distribution as distribution

    if not sigmas:
        return distribution.from_gaussian_mechanism((2 * rho) ** -0.5, value_discretization_interval=grid, use_connect_dots=True)
    total = distribution.identity(value_discretization_interval=grid)
    for sigma, count in sorted(Counter(sigmas).items()):
        one = distribution.from_discrete_gaussian_mechanism(sigma, value_discretization_interval=grid, use_connect_dots=True)
        total = total.compose(one.self_compose(count))
    return total
