"""The worst subgroup: an average can hide that a few are exposed.

Responsible for the groups that are looked at (protected columns, and categories of quasi-identifiers with few values) and for
naming the group in which members are most distinguishable.

Invariants:
    - Groups come from the card's roles and from train and holdout alike; only groups with enough people on either side count.
    - The p-value of the worst group pays for the number of groups.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from evaluator.inputs import Inputs
from evaluator.privacy.neighbours import Pool
from evaluator.statistics import area_under_roc

__all__ = ["worst_subgroup"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
MOST_VALUES = 20
LEAST = 200


def worst_subgroup(inputs: Inputs, pool: Pool, score: Floats, member: Flags) -> dict[str, object] | None:
    """The group in which a score tells members from non-members best, or None where no group is large enough.

    Args:
        score: Score of each unit of the pool.
        member: Whether each unit is a member.
    """
    found: list[dict[str, object]] = []
    strongest, best = 1.0, None
    for column, value, inside in _groups(inputs, pool):
        mine, theirs = score[inside & member], score[inside & ~member]
        if min(len(mine), len(theirs)) < LEAST:
            continue
        area = area_under_roc(mine, theirs, confidence=0.95)
        found.append({"column": column, "group": value, "value": area.value, "people": [len(mine), len(theirs)]})
        if area.p_value < strongest or best is None:
            strongest, best = area.p_value, found[-1]
    return None if best is None else {**best, "groups": len(found), "p_value": min(1.0, strongest * len(found))}


def _groups(inputs: Inputs, pool: Pool) -> Iterator[tuple[str, str, Flags]]:
    """Column, value and the units of the pool that have it."""
    for name, column in inputs.columns.items():
        wanted = name in inputs.card.spec.protected or column.role == "quasi-identifier"
        if not wanted or len(inputs.domain(name)) > MOST_VALUES:
            continue
        codes = np.concatenate([inputs.train.codes(name)[pool.train_rows], inputs.holdout.codes(name)[pool.holdout_rows]])
        values = inputs.domain(name).to_pylist()
        for code, value in enumerate(values):
            units = np.zeros(pool.units, dtype=np.bool_)
            units[pool.unit[codes == code]] = True
            yield name, str(value), units
