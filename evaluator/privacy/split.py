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

from evaluator.inputs import Inputs
from evaluator.privacy.attacks import cross_fitted
from evaluator.privacy.family import Family, PrivacyOptions
from evaluator.privacy.neighbours import Pool, neighbourhood, pool_of
from evaluator.statistics import area_under_roc
from policies.metrics import MetricResult

__all__ = ["SPLIT"]

NEAREST = "privacy.exchangeability"
BLIND = "privacy.blind_attack.auc"
LEAST = 200
MOST = 8_192
SHUFFLES = 400
Floats = npt.NDArray[np.float64]


def _split(inputs: Inputs, options: PrivacyOptions) -> dict[str, MetricResult]:
    pool = pool_of(inputs, options)
    member = pool.unit_is_member
    how = {
        NEAREST: "share of nearest neighbours from the same side (Schilling 1986); shuffled labels, normal tail",
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
    pool, near = found.pool, found.real.index[:, 0]
    side = pool.unit_is_member
    own, other = pool.unit, pool.unit[near]
    share = float((side[own] == side[other]).mean())
    rng = inputs.generator("privacy", "exchangeability")
    shuffled = np.empty(SHUFFLES)
    for k in range(SHUFFLES):
        labels = rng.permutation(side)
        shuffled[k] = (labels[own] == labels[other]).mean()
    centre, spread = float(shuffled.mean()), max(float(shuffled.std(ddof=1)), 1e-9)
    half = float(ndtri(0.5 + options.confidence / 2)) * spread
    value = share - centre
    return MetricResult(
        value=value,
        interval=(max(-1.0, value - half), min(1.0, value + half)),
        confidence=options.confidence,
        p_value=float(ndtr(-value / spread)),
        n=len(own),
        direction="lower",
        method=method,
        detail={"same_side": share, "expected": centre, "detection_limit": (3.72 + 1.28) * spread},
    )


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
