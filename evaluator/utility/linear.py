"""Ridge and ridge-penalised logistic regression by Newton's method.

Responsible for a linear model that is exact, deterministic and quick at a hundred columns. Invariants: the first column is the
constant and is not penalised; the fit ends after at most 12 steps and never raises for separable classes (the penalty holds).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import expit

__all__ = ["fit_logistic", "fit_ridge"]

Array = npt.NDArray[np.float64]
PENALTY: Final = 1.0
STEPS: Final = 12
TOLERANCE: Final = 1e-6


def fit_ridge(matrix: Array, target: Array) -> Array:
    """Coefficients of the least squares fit with a unit penalty."""
    gram = matrix.T @ matrix + _penalty(matrix.shape[1])
    return np.asarray(np.linalg.solve(gram, matrix.T @ target))


def fit_logistic(matrix: Array, positive: npt.NDArray[np.bool_]) -> Array:
    """Coefficients of the logistic fit with a unit penalty."""
    weights = np.zeros(matrix.shape[1])
    penalty = _penalty(matrix.shape[1])
    for _ in range(STEPS):
        chance = expit(matrix @ weights)
        curvature = np.maximum(chance * (1 - chance), 1e-6)
        gradient = matrix.T @ (positive - chance) - penalty @ weights
        step = np.linalg.solve((matrix * curvature[:, None]).T @ matrix + penalty, gradient)
        weights += step
        if float(np.abs(step).max()) < TOLERANCE:
            break
    return weights


def _penalty(size: int) -> Array:
    penalty = np.full(size, PENALTY)
    penalty[0] = 1e-6
    return np.diag(penalty)
