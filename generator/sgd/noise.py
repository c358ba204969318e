"""Noise and subsamples of DP-SGD from the operating system's entropy.

Invariants:
    - Nothing here takes a seed: neither noise nor the choice of a batch can be reproduced, so the subsample stays secret.
    - A Gaussian draw is the sum of four independent ones, each of half its standard deviation: what the low bits of one float
      betray about its uniform source is lost in the sum (Holohan and Braghin 2021). Floats remain floats: this hardens
      against the known attack, it is no proof as the integer samplers of the marginal family are.
"""

from __future__ import annotations

import secrets

import numpy as np
from numpy.typing import NDArray

__all__ = ["NOISE_SOURCE", "gaussian", "poisson_sample"]

NOISE_SOURCE = "operating system entropy (secrets); Gaussian noise summed from four draws, Poisson batches"
Floats = NDArray[np.float64]
DRAWS = 4


def gaussian(size: int, *, sigma: float) -> Floats:
    """Independent Gaussian draws with mean 0.

    Args:
        size: How many.
        sigma: Standard deviation, at least 0.
    """
    half = (size + 1) // 2
    total = np.zeros(2 * half)
    for _ in range(DRAWS):
        radius = np.sqrt(-2.0 * np.log(_uniform(half)))
        angle = 2.0 * np.pi * _uniform(half)
        total[:half] += radius * np.cos(angle)
        total[half:] += radius * np.sin(angle)
    return np.asarray(total[:size] * (sigma / np.sqrt(DRAWS)))


def poisson_sample(units: int, *, rate: float) -> NDArray[np.int64]:
    """Which units take part in a step: each by its own coin of probability `rate` (rounded down to a multiple of 2^-53)."""
    return np.flatnonzero(_words(units) >> np.uint64(11) < np.uint64(int(rate * (1 << 53))))


def _uniform(size: int) -> Floats:
    """Uniform in (0, 1], never 0."""
    return np.asarray(((_words(size) >> np.uint64(11)).astype(np.float64) + 1.0) * 2.0**-53)


def _words(size: int) -> NDArray[np.uint64]:
    return np.frombuffer(secrets.token_bytes(8 * size), np.uint64)
