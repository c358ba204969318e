"""Points at which a plot shows a distribution without showing anybody's value.

Responsible for `grid`. Invariants:
    - At least ten values of train lie at or beyond each end, and a hundredth of them: no extreme stands in a plot.
    - Points are round numbers (to a thousandth of the stretch shown), not values.
    - Where nearly all values are one value, that value alone is shown, with a step to either side of it.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from evaluator.utility.tables import FloatArray

__all__ = ["grid"]

POINTS: Final = 41
TAIL: Final = 0.01
CROWD: Final = 10
"""Values of train that lie at or beyond either end, at least."""
QUANTILES: Final = np.linspace(0.05, 0.95, 19)


def grid(values: FloatArray) -> FloatArray:
    """Round numbers from the low to the high end of most of train, in order; empty where train holds too few values to show.

    Args:
        values: Train's values, none missing.
    """
    n = len(values)
    beyond = max(CROWD, math.ceil(TAIL * n))
    if n < 2 * beyond:
        return np.empty(0)
    ordered = np.sort(values)
    low, high = float(ordered[beyond - 1]), float(ordered[n - beyond])
    if low >= high:
        step = 10.0 ** math.floor(math.log10(max(1.0, abs(low)))) / 10
        return np.array([low - step, low, low + step])
    step = 10.0 ** math.floor(math.log10(high - low)) / 1000
    inner = np.quantile(ordered, QUANTILES) if n >= CROWD * len(QUANTILES) else np.empty(0)
    points = np.rint(np.concatenate([np.linspace(low, high, POINTS), inner]) / step) * step
    return np.unique(points[(points >= low) & (points <= high)])
