"""Linkability: joining two halves of a person's record through the synthetic table.

Responsible for `privacy.linkability`: an attacker holds some columns of a person in one file and the others in a second;
the synthetic table links them when the nearest synthetic rows of the two halves have one in common.

Invariants:
    - The halves are disjoint and together all columns; they stand on the report.
    - The same attack on non-members is the control. What counts is the difference: where most rows are alike, halves link by
      what is true of everybody, and a risk divided by the little that is left over would be a coin flip.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluator.inputs import Inputs
from evaluator.privacy.family import Family, PrivacyOptions
from evaluator.privacy.neighbours import neighbourhood
from evaluator.statistics import Rate, difference_interval, risk_over_control
from policies.metrics import MetricResult

__all__ = ["LINKABILITY"]

NAME = "privacy.linkability"
METHOD = (
    "nearest synthetic rows of both halves are the same row (Giomi et al. 2023, one neighbour); difference, Newcombe interval"
)
LEAST = 100


def _linkability(inputs: Inputs, options: PrivacyOptions) -> dict[str, MetricResult]:
    if len(inputs.columns) < 2:  # noqa: PLR2004 - two halves
        why = "a table of one column has no two halves"
        return {NAME: MetricResult.not_applicable(direction="lower", method=METHOD, why=why)}
    found = neighbourhood(inputs, options)
    pool = found.pool
    rng = inputs.generator("privacy", "linkability")
    chosen = np.concatenate([_targets(np.flatnonzero(side), pool.unit, rng) for side in (pool.member, ~pool.member)])
    member = pool.member[chosen]
    if min(int(member.sum()), int((~member).sum())) < LEAST:
        why = f"{int(member.sum())} people to attack; {LEAST} are needed"
        return {NAME: MetricResult.inconclusive(direction="lower", method=METHOD, why=why, n=int(member.sum()))}
    first, second = found.linked
    linked = first.index[chosen, 0] == second.index[chosen, 0]
    attack = Rate(int(linked[member].sum()), int(member.sum()))
    control = Rate(int(linked[~member].sum()), int((~member).sum()))
    risk, risk_interval = risk_over_control(attack, control, options.confidence)
    interval = difference_interval(attack, control, options.confidence)
    names = list(inputs.columns)
    return {
        NAME: MetricResult(
            value=attack.share - control.share,
            interval=interval,
            confidence=options.confidence,
            n=attack.trials + control.trials,
            direction="lower",
            method=METHOD,
            detail={
                "attack": attack.share,
                "control": control.share,
                "normalised_risk": risk,
                "normalised_risk_interval": list(risk_interval),
                "halves": [[names[position] for position in half] for half in found.halves],
                "detection_limit": (3.09 + 1.28) * (interval[1] - interval[0]) / (2 * 1.96),
            },
        )
    }


def _targets(rows: npt.NDArray[np.int64], unit: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """One random row of each unit."""
    shuffled = rng.permutation(rows)
    _, first = np.unique(unit[shuffled], return_index=True)
    return np.sort(shuffled[first]).astype(np.int64)


LINKABILITY = Family(name=NAME, names=(NAME,), run=_linkability, cost="two more nearest rows in the shared search")
