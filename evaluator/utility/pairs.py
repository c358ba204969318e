"""Two and three columns at a time: are the relations those of train?

Responsible for `utility.pairs.{contingency,correlation,mutual_information}` and `utility.threeway`: the worst and the mean over
pairs or triples, with the floor that holdout sets, and the matrix of differences for a heat map. What is left of each relation
(`utility.pairs.dependence`) is computed in `evaluator.utility.dependence` from the same tables of counts.

Independent columns keep every marginal and most averages; the worst pair is what shows that a relation broke.

Invariants:
    - Numbers are cut at train's deciles (quintiles for triples); categories beyond the 30 commonest of train share one bin.
    - The worst pair's interval holds for all pairs at once (Bonferroni).
    - More than 2,000 pairs or 200 triples are sampled with the seed, and the result says how many were measured.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from evaluator.utility import dependence
from evaluator.utility.dependence import Information
from evaluator.utility.intervals import CONFIDENCE, around, correlation_change, tv_margin
from evaluator.utility.tables import FloatArray, IntArray, Side, Tables
from policies.metrics import MetricResult

__all__ = ["measure"]

ALPHA: Final = 1 - CONFIDENCE
MAX_PAIRS: Final = 2_000
MAX_TRIPLES: Final = 200
MAX_BINS: Final = 30
TRIPLE_BINS: Final = 5
SPEARMAN_LOSS: Final = 1.06  # variance of Spearman's z against Pearson's (Fieller, Hartley and Pearson 1957)
PLOTTED: Final = 40
Group = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """How much one group of columns changed: estimate, interval at once over all groups, and the holdout's figure."""

    columns: Group
    value: float
    interval: tuple[float, float]
    floor: float


@dataclass(frozen=True, slots=True)
class Coded:
    """A column as bins, for train, synthetic, and equally large parts of train and holdout."""

    size: int
    train: IntArray
    synthetic: IntArray
    train_part: IntArray
    holdout_part: IntArray


def measure(tables: Tables) -> dict[str, MetricResult]:
    """All pair and triple metrics."""
    names = list(tables.columns)
    results: dict[str, MetricResult] = {}
    pairs, all_pairs = _chosen(tables, names, 2, MAX_PAIRS)
    coded = {name: _coded(tables, name) for name in names}
    many = max(len(pairs), 1)
    contingency = [_contingency(tables, coded, pair, ALPHA / many) for pair in pairs]
    known = [_information(tables, coded, pair) for pair in pairs]
    information = [_change(pair, ALPHA / many) for pair in known]
    results |= _summary("utility.pairs.contingency", contingency, all_pairs, "total variation of pairs; McDiarmid", tables)
    results |= _summary(
        "utility.pairs.mutual_information", information, all_pairs, "normalised mutual information; delta", tables
    )
    results |= dependence.measure(tables, known, all_pairs)
    numeric = [column.name for column in tables.continuous if column.spec.type != "text"]
    ordered, all_ordered = _chosen(tables, numeric, 2, MAX_PAIRS)
    correlation = _correlations(tables, numeric, ordered)
    results |= _summary("utility.pairs.correlation", correlation, all_ordered, "difference of Spearman's rho; Fisher", tables)
    triples, all_triples = _chosen(tables, names, 3, MAX_TRIPLES)
    coarse = {name: _coded(tables, name, TRIPLE_BINS) for name in names}
    threeway = [_contingency(tables, coarse, triple, ALPHA / max(len(triples), 1)) for triple in triples]
    return results | _summary("utility.threeway", threeway, all_triples, "total variation of triples; McDiarmid", tables)


def _chosen(tables: Tables, names: Sequence[str], width: int, limit: int) -> tuple[list[Group], int]:
    """All groups of columns, or a sample of them; and how many there are."""
    total = 1
    for step in range(width):
        total = total * (len(names) - step) // (step + 1)
    if total <= limit:
        return list(itertools.combinations(names, width)), max(total, 0)
    rng = tables.inputs.generator("utility.groups", str(width))
    found: set[Group] = set()
    while len(found) < limit:
        picked = sorted(rng.choice(len(names), size=width, replace=False).tolist())
        found.add(tuple(names[index] for index in picked))
    return sorted(found), total


def _coded(tables: Tables, name: str, bins: int = 10) -> Coded:
    codes, size = tables.binned(name, bins)
    if size > MAX_BINS + 1:
        counts = np.bincount(codes["train"][codes["train"] > 0], minlength=size)
        common = np.argsort(-counts, kind="stable")[:MAX_BINS]
        merged = np.full(size, MAX_BINS + 1, dtype=np.int64)
        merged[common], merged[0] = np.arange(1, MAX_BINS + 1), 0
        codes, size = {side: merged[array] for side, array in codes.items()}, MAX_BINS + 2
    matched = tables.matched
    return Coded(size, codes["train"], codes["synthetic"], codes["train"][matched["train"]], codes["holdout"][matched["holdout"]])


def _joint(coded: Mapping[str, Coded], group: Group, part: Callable[[Coded], IntArray]) -> FloatArray:
    """Shares of every combination of bins."""
    index = np.zeros(1, dtype=np.int64)
    size = 1
    for name in group:
        index = index * coded[name].size + part(coded[name])
        size *= coded[name].size
    return np.asarray(np.bincount(index, minlength=size) / max(len(index), 1))


def _contingency(tables: Tables, coded: Mapping[str, Coded], group: Group, alpha: float) -> Change:
    train, synthetic = _joint(coded, group, lambda c: c.train), _joint(coded, group, lambda c: c.synthetic)
    part, other = _joint(coded, group, lambda c: c.train_part), _joint(coded, group, lambda c: c.holdout_part)
    value = 0.5 * float(np.abs(train - synthetic).sum())
    margin = tv_margin(train, tables.effective["train"], alpha=alpha / 2)
    margin += tv_margin(synthetic, tables.effective["synthetic"], alpha=alpha / 2)
    return Change(group, value, around(value, margin), 0.5 * float(np.abs(part - other).sum()))


def _information(tables: Tables, coded: Mapping[str, Coded], pair: Group) -> Information:
    """What two columns tell about each other in each table."""
    shape = coded[pair[0]].size, coded[pair[1]].size
    joints = [
        _joint(coded, pair, part).reshape(shape)
        for part in (lambda c: c.train, lambda c: c.synthetic, lambda c: c.train_part, lambda c: c.holdout_part)
    ]
    n_part = float(len(tables.matched["train"]))
    sizes = (tables.effective["train"], tables.effective["synthetic"], n_part, n_part)
    entropy = max(min(_entropy(joints[0].sum(axis=0)), _entropy(joints[0].sum(axis=1))), 1e-9)
    return Information(pair, entropy, *(_mutual(joint, n) for joint, n in zip(joints, sizes, strict=True)))


def _change(pair: Information, alpha: float) -> Change:
    """Change of mutual information, in units of the smaller entropy of the two columns in train."""
    value = min(1.0, abs(pair.train[0] - pair.synthetic[0]) / pair.entropy)
    margin = float(-ndtri(alpha / 2)) * float(np.hypot(pair.train[1], pair.synthetic[1])) / pair.entropy
    floor = min(1.0, abs(pair.train_part[0] - pair.holdout_part[0]) / pair.entropy)
    return Change(pair.columns, value, around(value, margin), floor)


def _entropy(shares: FloatArray) -> float:
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum())


def _mutual(joint: FloatArray, n: float) -> tuple[float, float]:
    """Mutual information in nats, freed of its first-order bias, and its standard error by the delta method."""
    expected = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    filled = joint > 0
    logs = np.log(joint[filled] / expected[filled])
    plain = float((joint[filled] * logs).sum())
    variance = max(float((joint[filled] * np.square(logs)).sum()) - plain**2, 0.0)
    rows, columns = np.count_nonzero(joint.sum(axis=1)), np.count_nonzero(joint.sum(axis=0))
    bias = (np.count_nonzero(filled) - rows - columns + 1) / (2 * max(n, 1.0))
    return max(0.0, plain - float(bias)), float(np.sqrt(variance / max(n, 1.0)))


def _correlations(tables: Tables, names: Sequence[str], pairs: Sequence[Group]) -> list[Change]:
    """Differences of rank correlation; pairs without variation in train are left out, in synthetic they count as 0."""
    ranks: dict[Side, dict[str, FloatArray]] = {
        side: {name: _ranks(tables.columns[name].values[side]) for name in names} for side in ("train", "holdout", "synthetic")
    }
    sizes = (
        (tables.effective["train"] - 3) / SPEARMAN_LOSS + 3,
        (tables.effective["synthetic"] - 3) / SPEARMAN_LOSS + 3,
    )
    changes = []
    for pair in pairs:
        train, synthetic, holdout = (_rho(ranks[side], pair) for side in ("train", "synthetic", "holdout"))
        if train is not None:
            other = synthetic or 0.0
            low, high = correlation_change(train, other, sizes=sizes, alpha=ALPHA / len(pairs))
            changes.append(Change(pair, abs(train - other), (low, high), abs(train - (holdout or 0.0))))
    return changes


def _ranks(values: FloatArray) -> FloatArray:
    ranks = np.full(len(values), np.nan)
    known = ~np.isnan(values)
    ranks[known] = rankdata(values[known])
    return ranks


def _rho(ranks: Mapping[str, FloatArray], pair: Group) -> float | None:
    """Correlation of ranks among the rows that hold both values; None where one of them does not vary."""
    first, second = ranks[pair[0]], ranks[pair[1]]
    both = ~(np.isnan(first) | np.isnan(second))
    x, y = first[both], second[both]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:  # noqa: PLR2004 - two points always lie on a line
        return None
    if not both.all():
        x, y = rankdata(x), rankdata(y)
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / np.sqrt(np.square(x).sum() * np.square(y).sum()))


def _summary(prefix: str, changes: Sequence[Change], total: int, method: str, tables: Tables) -> dict[str, MetricResult]:
    if not changes:
        none = MetricResult.not_applicable(direction="lower", method=method, why="too few columns of this kind")
        return {f"{prefix}.worst": none, f"{prefix}.mean": none}
    ranked = sorted(changes, key=lambda change: (-change.value, change.columns))
    n = min(tables.rows["train"], tables.rows["synthetic"])
    sampled = {"measured": len(changes), "of": total}
    floors = [change.floor for change in changes]
    worst = MetricResult(
        value=ranked[0].value,
        interval=(max(c.interval[0] for c in changes), max(c.interval[1] for c in changes)),
        confidence=CONFIDENCE,
        n=n,
        direction="lower",
        method=f"{method}; largest, Bonferroni",
        detail={
            "columns": list(ranked[0].columns),
            "next": [{"columns": list(c.columns), "value": c.value, "floor": c.floor} for c in ranked[:10]],
            "floor": max(floors),
            **sampled,
            "plot": _matrix(changes, tables),
        },
    )
    mean = MetricResult(
        value=float(np.mean([c.value for c in changes])),
        interval=(float(np.mean([c.interval[0] for c in changes])), float(np.mean([c.interval[1] for c in changes]))),
        confidence=CONFIDENCE,
        n=n,
        direction="lower",
        method=f"{method}; mean",
        detail={"floor": float(np.mean(floors)), **sampled},
    )
    return {f"{prefix}.worst": worst, f"{prefix}.mean": mean}


def _matrix(changes: Sequence[Change], tables: Tables) -> dict[str, list[object]]:
    """Differences of pairs as a square, None where a pair was not measured; the columns of the worst pairs if there are many."""
    if len(changes[0].columns) != 2:  # noqa: PLR2004 - only pairs make a square
        return {"names": [], "values": []}
    ranked = sorted(changes, key=lambda change: (-change.value, change.columns))
    keep = list(dict.fromkeys(name for change in ranked for name in change.columns))[:PLOTTED]
    names = [name for name in tables.columns if name in set(keep)]
    place = {name: index for index, name in enumerate(names)}
    values: list[list[float | None]] = [[None] * len(names) for _ in names]
    for change in changes:
        if change.columns[0] in place and change.columns[1] in place:
            row, column = place[change.columns[0]], place[change.columns[1]]
            values[row][column] = values[column][row] = change.value
    return {"names": list(names), "values": list(values)}
