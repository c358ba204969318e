"""Scores of membership attacks: the higher, the more a record looks like one that was trained on.

Responsible for four attacks. Reference-calibrated nearest neighbour, on all columns and on the finely graded ones alone;
density ratio of synthetic over real (in the manner of DOMIAS, van Breugel et al. 2023, with nearest-neighbour densities); a
classifier over all features, fitted on one half of the people and scored on the other (no shadow models: the evaluator has no
generator).

Invariants:
    - The classifier looks at who is a member only in the half that it does not score. The others never look.
    - A privacy unit is scored by its best row, and units, not rows, are what is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from evaluator.inputs import Inputs
from evaluator.privacy.family import PrivacyOptions
from evaluator.privacy.neighbours import K, Neighbourhood, neighbourhood
from evaluator.privacy.projections import isolation
from evaluator.privacy.rare import rare_flags

__all__ = ["ATTACKS", "Scores", "attack_scores", "cross_fitted"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
ATTACKS = ("nearest_neighbour", "fine_columns", "density_ratio", "classifier")
SOFTENING = 0.1
"""Distances count in units of a tenth of the median distance between real people: closer than that is "the same"."""
LEAST_FOR_CLASSIFIER = 200
"""People on either side below which the cross-fitted classifier would only fit noise; the other attacks stand alone."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Attack scores per unit.

    Attributes:
        member: Whether each unit is a member.
        by_attack: Score of each unit under each attack that could be run. The classifier's are ranks within the fold.
        isolation: Mean distance of each unit's most isolated row to its nearest real others.
    """

    member: Flags
    by_attack: Mapping[str, Floats]
    isolation: Floats


def attack_scores(inputs: Inputs, options: PrivacyOptions) -> Scores:
    """Score all units of the pool (once per evaluation)."""
    return inputs.once("privacy.attacks", lambda: _scores(inputs, neighbourhood(inputs, options), options.workers))


def _scores(inputs: Inputs, found: Neighbourhood, workers: int) -> Scores:
    pool = found.pool
    member = pool.unit_is_member
    soft = SOFTENING * float(np.median(found.real.distance[:, 0])) + 1e-6
    calibrated = -np.log((found.synthetic.distance[:, 0] + soft) / (found.real.distance[:, 0] + soft))
    near, far = found.synthetic.distance.mean(axis=1), found.real.distance.mean(axis=1)
    ratio = -np.log((near + soft) / (far + soft))
    scored = {"nearest_neighbour": calibrated, **_fine(found), "density_ratio": ratio}
    by_attack = {name: pool.by_unit(score) for name, score in scored.items()}
    if min(int(member.sum()), int((~member).sum())) >= LEAST_FOR_CLASSIFIER:
        features = _features(inputs, found, tuple(scored.values()), workers)
        seed = inputs.generator("privacy", "classifier")
        by_attack["classifier"] = cross_fitted(features, member, seed)
    return Scores(member, by_attack, pool.by_unit(far))


def _fine(found: Neighbourhood) -> dict[str, Floats]:
    """The calibrated distance on finely graded columns, where there are enough: noise there is small beside any neighbour."""
    if found.fine is None or found.fine_real is None:
        return {}
    near, far = found.fine.distance[:, 0], found.fine_real.distance
    soft = float(np.median(far[:, 0])) + 1e-6
    return {"fine_columns": -np.log((near + soft) / (far.mean(axis=1) + soft))}


def _features(inputs: Inputs, found: Neighbourhood, scores: tuple[Floats, ...], workers: int) -> Floats:
    pool = found.pool
    rows = np.concatenate([pool.train_rows, pool.holdout_rows + inputs.train.rows])
    alone, rare = isolation(inputs, workers), rare_flags(inputs)
    whole = alone.whole
    columns = (
        *scores,
        found.synthetic.distance[:, 0],
        found.synthetic.distance[:, 1] / (found.synthetic.distance[:, K - 1] + 1e-6),
        found.real.distance[:, 0],
        found.real.distance.mean(axis=1),
        (whole.found & whole.alone)[rows].astype(np.float64),
        alone.near_one[rows].astype(np.float64),
        rare.alone[rows].sum(axis=1),
        rare.found[rows].sum(axis=1),
    )
    return np.stack([pool.by_unit(np.asarray(column, dtype=np.float64)) for column in columns], axis=1)


def _telling(features: Floats) -> Flags:
    """Columns in which rows differ: the others cannot be binned, and tell nothing."""
    gone = np.isnan(features)
    smallest, largest = np.where(gone, np.inf, features).min(axis=0), np.where(gone, -np.inf, features).max(axis=0)
    differs: Flags = smallest < largest
    return differs


def cross_fitted(features: Floats, member: Flags, rng: np.random.Generator) -> Floats:
    """Membership scores of a classifier fitted on the other half: ranks in (0, 1) within each half.

    Each half holds the same share of members, so ranks of the two halves can be compared.
    """
    fold = np.empty(len(member), dtype=np.int64)
    for side in (member, ~member):
        order = rng.permutation(np.flatnonzero(side))
        fold[order] = np.arange(len(order)) % 2
    seeds = rng.integers(0, 2**31 - 1, size=2)
    score = np.empty(len(member))
    with threadpool_limits(limits=1):  # sums of floats must not depend on how many threads added them
        for half in (0, 1):
            learn, guess = fold != half, fold == half
            telling = _telling(features[learn])
            if not telling.any():
                score[guess] = 0.5
                continue
            model = HistGradientBoostingClassifier(
                max_iter=40, learning_rate=0.1, max_leaf_nodes=15, min_samples_leaf=20, early_stopping=False,
                random_state=int(seeds[half]),
            )  # fmt: skip
            model.fit(features[learn][:, telling], member[learn])
            raw = model.decision_function(features[guess][:, telling])
            order = np.argsort(raw, kind="stable")
            ranked = np.empty(len(raw))
            _, tie, count = np.unique(raw[order], return_inverse=True, return_counts=True)
            middle = np.cumsum(count) - (count - 1) / 2.0
            ranked[order] = middle[tie.reshape(-1)]
            score[guess] = ranked / (len(raw) + 1.0)
    return score
