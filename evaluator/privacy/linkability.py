"""Linkability: joining two halves of a person's record through the synthetic table.

Responsible for `privacy.linkability`: an attacker holds some columns of a person in one file and the others in a second;
the synthetic table links them when the nearest synthetic rows of the two halves have one in common.

Invariants:
    - The halves are disjoint and together all columns; every split that was tried is on the report, the worst is its value.
    - The same attack on non-members is the control, and the interval pays for the number of splits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluator.distances import Encoding, nearest
from evaluator.inputs import Inputs
from evaluator.privacy.family import Family, PrivacyOptions
from evaluator.privacy.neighbours import pool_of, synthetic_sample
from evaluator.statistics import Rate, risk_over_control
from policies.metrics import MetricResult

__all__ = ["LINKABILITY", "halves"]

NAME = "privacy.linkability"
METHOD = "nearest synthetic row ({} for each half) is shared by both halves; residual risk over control (Giomi et al. 2023)"
TARGETS = 4_096
"""People attacked on either side: a residual risk of 1 % is then known to about half a per cent."""
NEAREST = 1
LEAST = 100


def halves(inputs: Inputs) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The quasi-identifiers and the rest where both have substance; otherwise columns dealt out by number of values."""
    roles = [column.role for column in inputs.columns.values()]
    known = tuple(position for position, role in enumerate(roles) if role == "quasi-identifier")
    rest = tuple(position for position in range(len(roles)) if position not in known)
    if min(len(known), len(rest)) >= max(2, len(roles) // 4):
        return known, rest
    names = list(inputs.columns)
    order = sorted(range(len(roles)), key=lambda position: (-len(inputs.domain(names[position])), position))
    return tuple(sorted(order[::2])), tuple(sorted(order[1::2]))


def _linkability(inputs: Inputs, options: PrivacyOptions) -> dict[str, MetricResult]:
    method = METHOD.format(NEAREST)
    if len(inputs.columns) < 2:  # noqa: PLR2004 - two halves
        why = "a table of one column has no two halves"
        return {NAME: MetricResult.not_applicable(direction="lower", method=method, why=why)}
    pool = pool_of(inputs, options)
    rng = inputs.generator("privacy", "linkability")
    chosen = np.concatenate([_targets(np.flatnonzero(side), pool.unit, rng) for side in (pool.member, ~pool.member)])
    member = pool.member[chosen]
    if min(int(member.sum()), int((~member).sum())) < LEAST:
        why = f"{int(member.sum())} people to attack; {LEAST} are needed"
        return {NAME: MetricResult.inconclusive(direction="lower", method=method, why=why, n=int(member.sum()))}
    synthetic = Encoding.of(inputs).synthetic.take(synthetic_sample(inputs, options.max_references))
    first, second = halves(inputs)
    near = nearest(pool.coded.take(chosen), synthetic, k=NEAREST, parts=[first, second], workers=options.workers)
    linked = (near[0].index[:, :, None] == near[1].index[:, None, :]).any(axis=(1, 2))
    attack = Rate(int(linked[member].sum()), int(member.sum()))
    control = Rate(int(linked[~member].sum()), int((~member).sum()))
    value, interval = risk_over_control(attack, control, options.confidence)
    names = list(inputs.columns)
    return {
        NAME: MetricResult(
            value=value,
            interval=interval,
            confidence=options.confidence,
            n=attack.trials + control.trials,
            direction="lower",
            method=method,
            detail={
                "attack": attack.share,
                "control": control.share,
                "halves": [[names[position] for position in half] for half in (first, second)],
                "detection_limit": (3.09 + 1.28) * (interval[1] - interval[0]) / (2 * 1.96),
            },
        )
    }


def _targets(rows: npt.NDArray[np.int64], unit: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """One random row of each of at most `TARGETS` units."""
    shuffled = rng.permutation(rows)
    _, first = np.unique(unit[shuffled], return_index=True)
    one_each = shuffled[first]
    return np.sort(rng.choice(one_each, min(TARGETS, len(one_each)), replace=False)).astype(np.int64)


LINKABILITY = Family(name=NAME, names=(NAME,), run=_linkability, cost="at most 2 x 4,096 people against all synthetic rows")
