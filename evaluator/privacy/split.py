"""Whether train and holdout are one random split: without that, no membership figure means what it says.

Responsible for `privacy.exchangeability` (nearest-neighbour coincidences) and `privacy.blind_attack.auc` (membership
guessed without the synthetic table).

Invariants:
    - Neither looks at the synthetic table.
    - Both are in doubt at p < 0.0001 only: a sound split must hardly ever be refused.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from evaluator.distances import Neighbours
from evaluator.inputs import Inputs
from evaluator.privacy.attacks import cross_fitted
from evaluator.privacy.family import Family, PrivacyOptions
from evaluator.privacy.neighbours import Pool, neighbourhood, pool_of
from evaluator.statistics import area_under_roc
from policies.metrics import MetricResult

__all__ = ["SPLIT", "shuffled_moments"]

NEAREST = "privacy.exchangeability"
BLIND = "privacy.blind_attack.auc"
LEAST = 200
MOST = 8_192
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def _split(inputs: Inputs, options: PrivacyOptions) -> dict[str, MetricResult]:
    pool = pool_of(inputs, options)
    member = pool.unit_is_member
    how = {
        NEAREST: "share of nearest neighbours from the same side (Schilling 1986); exact moments, normal tail",
        BLIND: "cross-fitted classifier that sees no synthetic row; DeLong interval, rank-sum p",
    }
    n = min(int(member.sum()), int((~member).sum()))
    if n < LEAST:
        why = f"{n} people on the smaller side; {LEAST} are needed"
        return {
            name: MetricResult.inconclusive(direction="lower", method=method, why=why, n=n, needed=LEAST)
            for name, method in how.items()
        }
    return {NEAREST: _coincidences(inputs, options, how[NEAREST]), BLIND: _blind(inputs, pool, options, how[BLIND])}


def _coincidences(inputs: Inputs, options: PrivacyOptions, method: str) -> MetricResult:
    """How much oftener than under shuffled labels a row's nearest other row is of the same table."""
    found = neighbourhood(inputs, options)
    pool, near = found.pool, _one_of_the_nearest(found.real, inputs.generator("privacy", "coincidences"))
    side = pool.unit_is_member
    own, other = pool.unit, pool.unit[near]
    share = float((side[own] == side[other]).mean())
    centre, spread = shuffled_moments(own, other, int(side.sum()), len(side))
    half = float(ndtri(0.5 + options.confidence / 2)) * spread
    value = share - centre
    return MetricResult(
        value=value,
        interval=(max(-1.0, value - half), min(1.0, value + half)),
        confidence=options.confidence,
        p_value=float(ndtr(-value / max(spread, 1e-9))),
        n=len(own),
        direction="lower",
        method=method,
        detail={"same_side": share, "expected": centre, "detection_limit": (3.72 + 1.28) * spread},
    )


def _one_of_the_nearest(found: Neighbours, rng: np.random.Generator) -> Indices:
    """One of the equally near rows by lot: were it always the first, twins would all name one row, and few coins decide."""
    tied = (found.distance == found.distance[:, :1]).sum(axis=1)  # nearest first, so the tied ones stand in front
    chosen: Indices = found.index[np.arange(len(tied)), (rng.random(len(tied)) * tied).astype(np.int64)]
    return chosen


def shuffled_moments(one: Indices, two: Indices, members: int, units: int) -> tuple[float, float]:
    """Mean and standard deviation of the share of pairs on one side, were `members` of the `units` drawn at random.

    Exact (Schilling 1986, section 2, for pairs that may repeat or share a unit): pairs of pairs are counted by how many
    units they share, and each kind has its own probability that both are one-sided. A unit's pair with itself always is.
    """
    apart = one != two
    a, b = np.minimum(one, two)[apart], np.maximum(one, two)[apart]
    pairs, others = len(a), units - members
    same = _one_sided(2, members, units) + _one_sided(2, others, units)
    three = _one_sided(3, members, units) + _one_sided(3, others, units)
    four = _one_sided(4, members, units) + _one_sided(4, others, units)
    four += 2.0 * members * (members - 1) * others * (others - 1) / max(1.0, _falling(4, units))
    repeated = np.unique(a * np.int64(units) + b, return_counts=True)[1].astype(np.float64)
    degree = np.bincount(np.concatenate([a, b]), minlength=units).astype(np.float64)
    both = float((repeated**2).sum())
    touching = float((degree**2).sum()) - 2.0 * both
    none = float(pairs) ** 2 - both - touching
    variance = both * same + touching * three + none * four - (pairs * same) ** 2
    total = max(1, len(one))
    return (pairs * same + len(one) - pairs) / total, math.sqrt(max(0.0, variance)) / total


def _falling(k: int, n: int) -> float:
    return float(math.prod(max(0, n - i) for i in range(k)))


def _one_sided(k: int, drawn: int, units: int) -> float:
    """Chance that k given different units are all among those drawn."""
    return _falling(k, drawn) / max(1.0, _falling(k, units))


def _blind(inputs: Inputs, pool: Pool, options: PrivacyOptions, method: str) -> MetricResult:
    rng = inputs.generator("privacy", "blind")
    member = pool.unit_is_member
    chosen = np.sort(
        np.concatenate(
            [rng.choice(side, min(MOST, len(side)), replace=False) for side in (np.flatnonzero(member), np.flatnonzero(~member))]
        )
    )
    features = np.stack([pool.by_unit(column)[chosen] for column in _values(inputs, pool)], axis=1)
    score = cross_fitted(features, member[chosen], rng)
    mine, theirs = score[member[chosen]], score[~member[chosen]]
    area = area_under_roc(mine, theirs, confidence=options.confidence)
    limit = 0.5 + (3.72 + 1.28) * math.sqrt((len(score) + 1) / (12.0 * len(mine) * len(theirs)))
    return MetricResult(
        value=area.value,
        interval=area.interval,
        confidence=options.confidence,
        p_value=area.p_value,
        n=len(score),
        direction="lower",
        method=method,
        detail={"detection_limit": limit},
    )


def _values(inputs: Inputs, pool: Pool) -> list[Floats]:
    """Columns as numbers: as they are, or by how common a category is among real rows."""
    numeric = frozenset(inputs.numeric_columns())
    columns = []
    for name in inputs.columns:
        if name in numeric:
            parts = [inputs.train.numeric(name)[pool.train_rows], inputs.holdout.numeric(name)[pool.holdout_rows]]
            values = np.concatenate(parts)
            columns.append(values)
        else:
            codes = np.concatenate([inputs.train.codes(name)[pool.train_rows], inputs.holdout.codes(name)[pool.holdout_rows]]) + 1
            count = np.bincount(codes)
            rank = np.empty(len(count))
            rank[np.argsort(-count, kind="stable")] = np.arange(len(count))
            columns.append(rank[codes])
    return columns


SPLIT = Family(
    name="privacy.split",
    names=(NEAREST, BLIND),
    run=_split,
    cost="none beyond the shared search, and a classifier on 16,384 people",
)
