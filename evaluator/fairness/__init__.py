"""Does the synthetic table treat groups as train does? The order in which fairness families run."""

from __future__ import annotations

from evaluator.fairness import parity, representation
from evaluator.utility import UtilityFamily

__all__ = ["FAMILIES"]

FAMILIES: tuple[UtilityFamily, ...] = (
    UtilityFamily(
        name="fairness.parity",
        names=("fairness.demographic_parity", "fairness.equal_opportunity", "fairness.equalised_odds"),
        measure=parity.measure,
        cost="the predictions of utility.tstr, group by group",
    ),
    UtilityFamily(
        name="fairness.representation",
        names=("fairness.representation",),
        measure=representation.measure,
        cost="every row and protected column, n",
    ),
)
