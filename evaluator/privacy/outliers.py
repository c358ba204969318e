"""Outlier exposure: the high-spending customer of a rare region.

Responsible for `privacy.outlier_exposure`: of train's outliers, how many have a synthetic row closer than 99 % of the
holdout's outliers have.

Invariants:
    - An outlier is one of the twentieth (of small tables up to a fifth) of people whose values are together the least
      probable (rarity of categories, tails of numbers), found
      in members and non-members alike without looking at the synthetic table or at who is a member.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from evaluator.inputs import Inputs
from evaluator.privacy.family import Family, PrivacyOptions
from evaluator.privacy.neighbours import Pool, neighbourhood
from evaluator.statistics import largest_share, rate_at_false_positives, wilson
from policies.metrics import MetricResult

__all__ = ["OUTLIERS"]

NAME = "privacy.outlier_exposure"
METHOD = "outliers nearer to a synthetic row than the nearest 1 % of the holdout's outliers; Wilson interval"
SHARE = 0.05
ENOUGH = 800
"""Outliers on either side from which on the noise of a 1 % threshold leaves fresh rows below the line."""
MOST_SHARE = 0.2
AT = 0.01
LEAST = 100
Floats = npt.NDArray[np.float64]


def _outliers(inputs: Inputs, options: PrivacyOptions) -> dict[str, MetricResult]:
    found = neighbourhood(inputs, options)
    pool = found.pool
    surprise = pool.by_unit(_surprise(inputs, pool))
    share = min(MOST_SHARE, max(SHARE, 2 * ENOUGH / len(surprise)))
    among = largest_share(surprise, share, inputs.generator("privacy", "outliers"))
    nearness = pool.by_unit(-found.synthetic.distance[:, 0])
    member = pool.unit_is_member
    mine, theirs = nearness[member & among], nearness[~member & among]
    n = min(len(mine), len(theirs))
    if n < LEAST:
        why = f"{n} outliers on the smaller side; {LEAST} are needed"
        needed = int(LEAST / SHARE)
        return {NAME: MetricResult.inconclusive(direction="lower", method=METHOD, why=why, n=n, needed=needed)}
    rate = rate_at_false_positives(mine, theirs, at=AT, confidence=options.confidence)
    return {
        NAME: MetricResult(
            value=rate.rate.share,
            interval=wilson(rate.rate, options.confidence),
            confidence=options.confidence,
            p_value=rate.p_value,
            n=len(mine) + len(theirs),
            direction="lower",
            method=METHOD,
            detail={
                "control": rate.achieved,
                "outliers": [len(mine), len(theirs)],
                "share_of_people": share,
                "expected_without_leak": AT,
            },
        )
    }


def _surprise(inputs: Inputs, pool: Pool) -> Floats:
    """Sum over columns of -log of how common a value is: its frequency, or for numbers the smaller tail beyond it."""
    total = np.zeros(len(pool.unit))
    numeric = frozenset(inputs.numeric_columns())
    for name in inputs.columns:
        if name in numeric:
            values = np.concatenate(
                [inputs.train.numeric(name)[pool.train_rows], inputs.holdout.numeric(name)[pool.holdout_rows]]
            )
            known = ~np.isnan(values)
            n = int(known.sum())
            low = rankdata(values[known], method="max") / (n + 1.0) if n else np.zeros(0)
            high = 1.0 - (rankdata(values[known], method="min") - 1.0) / (n + 1.0) if n else np.zeros(0)
            total[known] -= np.log(np.minimum(1.0, 2.0 * np.minimum(low, high)))
        else:
            codes = np.concatenate([inputs.train.codes(name)[pool.train_rows], inputs.holdout.codes(name)[pool.holdout_rows]])
            count = np.bincount(codes + 1)
            total -= np.log(count[codes + 1] / len(codes))
    return total


OUTLIERS = Family(name=NAME, names=(NAME,), run=_outliers, cost="none beyond the shared search")
