"""Class sizes on quasi-identifiers: k-anonymity, k-map, l-diversity, t-closeness.

Responsible for `privacy.k_anonymity.k`, `privacy.k_map.*`, `privacy.l_diversity` and `privacy.t_closeness`.

Invariants:
    - Class sizes are exact counts over whole tables. They are reported, and of use where real rows are exported: synthetic
      rows form small classes by nature, and real rows' own k-map is 1 on most tables.
    - What can be held against a line is the excess of small classes shared with train over those shared with the holdout.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluator.inputs import Inputs
from evaluator.privacy.copies import Evidence
from evaluator.privacy.family import Family, PrivacyOptions
from evaluator.privacy.rows import real_rows
from evaluator.strata import excess_by_stratum
from policies.metrics import Direction, MetricResult

__all__ = ["ANONYMITY"]

SMALL = 11
"""Classes below this are small (CMS cell-size policy; EMA policy 0070: at most 0.09 for public release)."""
LEAST = 100
DIRECTIONS: dict[str, Direction] = {
    "privacy.k_anonymity.k": "higher",
    "privacy.k_map.max_risk": "lower",
    "privacy.k_map.excess_small_classes": "lower",
    "privacy.l_diversity": "higher",
    "privacy.t_closeness": "lower",
}
METHOD = "exact class sizes on the quasi-identifiers; reported"


def _anonymity(inputs: Inputs, options: PrivacyOptions) -> dict[str, MetricResult]:
    chosen = [position for position, column in enumerate(inputs.columns.values()) if column.role == "quasi-identifier"]
    if not chosen:
        why = "the card names no quasi-identifier"
        return {
            name: MetricResult.not_applicable(direction=direction, method=METHOD, why=why)
            for name, direction in DIRECTIONS.items()
        }
    rows = real_rows(inputs)
    real, synthetic = rows.totals(chosen)
    classes, group, size = np.unique(synthetic, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    names = [name for name, column in inputs.columns.items() if column.role == "sensitive"]
    return {
        "privacy.k_anonymity.k": _count("higher", int(size.min()), inputs.synthetic.rows, small=float((size < SMALL).mean())),
        "privacy.k_map.max_risk": _k_map(classes, real[rows.member], rows.unit[rows.member]),
        "privacy.k_map.excess_small_classes": _excess(inputs, chosen, options),
        "privacy.l_diversity": _diversity(inputs, names, group, size),
        "privacy.t_closeness": _closeness(inputs, names, group, size),
    }


def _count(direction: Direction, value: float, n: int, **detail: object) -> MetricResult:
    return MetricResult(value=float(value), n=n, direction=direction, method=METHOD, detail=detail)


def _k_map(classes: npt.NDArray[np.uint64], train: npt.NDArray[np.uint64], unit: npt.NDArray[np.int64]) -> MetricResult:
    """Prosecutor risk of a synthetic row: one over the number of people of train in its class."""
    pairs = np.unique(np.stack([train, unit.astype(np.uint64)], axis=1), axis=0)
    values, people = np.unique(pairs[:, 0], return_counts=True)
    shared = people[np.isin(values, classes)]
    if len(shared) == 0:
        return _count("lower", 0.0, len(classes), shared_classes=0)
    detail = {"shared_classes": len(shared), "mean_risk": float((1.0 / shared).mean()), "small": int((shared < SMALL).sum())}
    return _count("lower", 1.0 / int(shared.min()), len(classes), **detail)


def _excess(inputs: Inputs, chosen: list[int], options: PrivacyOptions) -> MetricResult:
    method = "small classes of real people that reappear, train over holdout; exact test, Newcombe interval"
    rows = real_rows(inputs)
    real, synthetic = rows.totals(chosen)
    matches = rows.matches(real, synthetic)
    _, group, size = np.unique(real, return_inverse=True, return_counts=True)
    class_size = size[group.reshape(-1)]
    small = class_size < SMALL
    stratum = np.where(small, class_size, 0)
    evidence = Evidence(rows, type(matches)(small, matches.found, matches.twins), stratum)
    if min(int(evidence.member.sum()), int((~evidence.member).sum())) < LEAST:
        why = "hardly anybody is in a small class"
        return MetricResult.not_applicable(direction="lower", method=method, why=why)
    excess = excess_by_stratum(evidence.found, evidence.member, evidence.stratum, confidence=options.confidence)
    return MetricResult(
        value=excess.value,
        interval=excess.interval,
        confidence=options.confidence,
        p_value=excess.p_value,
        n=len(evidence.found),
        direction="lower",
        method=method,
        detail={"train_share": excess.members.share, "control_share": excess.others.share},
    )


def _diversity(inputs: Inputs, names: list[str], group: npt.NDArray[np.int64], size: npt.NDArray[np.int64]) -> MetricResult:
    """Fewest different values of a secret within a class of at least two synthetic rows, worst secret."""
    if not names or not (size > 1).any():
        why = "the card names no sensitive column" if not names else "no class has two rows"
        return MetricResult.not_applicable(direction="higher", method=METHOD, why=why)
    fewest = {}
    for name in names:
        pairs = np.unique(np.stack([group, inputs.synthetic.codes(name)], axis=1), axis=0)
        different = np.bincount(pairs[:, 0], minlength=len(size))
        fewest[name] = int(different[size > 1].min())
    worst = min(fewest, key=lambda name: fewest[name])
    return _count("higher", fewest[worst], int((size > 1).sum()), column=worst)


def _closeness(inputs: Inputs, names: list[str], group: npt.NDArray[np.int64], size: npt.NDArray[np.int64]) -> MetricResult:
    """Largest distance of a secret's distribution within a class from that of all rows, classes of `SMALL` rows or more.

    Total variation for categories; for numbers the earth mover's distance over ranks, in [0, 1] (Li et al. 2007).
    """
    large = size >= SMALL
    if not names or not large.any():
        why = "the card names no sensitive column" if not names else f"no class has {SMALL} rows"
        return MetricResult.not_applicable(direction="lower", method=METHOD, why=why)
    rows = np.flatnonzero(large[group])
    rows = rows[np.argsort(group[rows], kind="stable")]
    bounds = np.flatnonzero(np.diff(group[rows], prepend=-1))
    farthest = {name: _farthest(inputs, name, rows, bounds) for name in names}
    worst = max(farthest, key=lambda name: farthest[name])
    return _count("lower", farthest[worst], int(large.sum()), column=worst)


def _farthest(inputs: Inputs, name: str, rows: npt.NDArray[np.int64], bounds: npt.NDArray[np.int64]) -> float:
    codes = inputs.synthetic.codes(name).astype(np.int64) + 1
    count = np.bincount(codes)
    ordered = inputs.columns[name].is_numeric or inputs.columns[name].is_temporal
    overall = count / len(codes)
    steps = max(1, int((count > 0).sum()) - 1)
    worst = 0.0
    for members in np.split(codes[rows], bounds[1:]):
        within = np.bincount(members, minlength=len(count)) / len(members)
        gap = np.abs(np.cumsum(within - overall))[count > 0].sum() / steps if ordered else np.abs(within - overall).sum() / 2
        worst = max(worst, float(gap))
    return worst


ANONYMITY = Family(name="privacy.k", names=tuple(DIRECTIONS), run=_anonymity, cost="sorting: n log n")
