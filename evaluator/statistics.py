"""Intervals and tests that the privacy metrics rest on.

Responsible for proportions and their differences, exact tests of "members are found no more often than non-members", ROC
areas and the true-positive rate at a fixed false-positive rate.

Invariants:
    - Tests are exact or conservative: under random labels a p-value of at most a has probability at most a.
    - They condition on everything that does not depend on the labels, so scores may be computed from all real rows.
    - Intervals are two-sided at the stated confidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, ndtr, ndtri
from scipy.stats import beta, betabinom, hypergeom, rankdata

__all__ = [
    "Area", "Excess", "Rate", "RateAtFalsePositives", "area_under_roc", "clopper_pearson", "difference_interval",
    "excess_by_stratum", "fisher_upper", "rate_at_false_positives", "risk_over_control", "wilson",
]  # fmt: skip

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]
DETECTION_Z = 3.09 + 1.28
"""One-sided test at 0.001 with power 0.9 (normal approximation)."""
TRIM = 1e-25
"""Bound on the mass of a count that is left out of a convolution; it is added to the p-value."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A number of successes out of so many trials."""

    successes: int
    trials: int

    @property
    def share(self) -> float:
        """Successes per trial; 0 without trials."""
        return self.successes / self.trials if self.trials else 0.0


def wilson(rate: Rate, confidence: float) -> Interval:
    """Wilson score interval of a proportion (Wilson 1927). Without trials: (0, 1)."""
    n = rate.trials
    if n == 0:
        return 0.0, 1.0
    z = float(ndtri(0.5 + confidence / 2))
    centre = (rate.share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate.share * (1 - rate.share) / n + z * z / (4.0 * n * n))
    low = 0.0 if rate.successes == 0 else max(0.0, centre - half)
    high = 1.0 if rate.successes == n else min(1.0, centre + half)
    return low, high


def clopper_pearson(rate: Rate, confidence: float) -> Interval:
    """Exact interval of a proportion (Clopper and Pearson 1934). Without trials: (0, 1)."""
    tail, k, n = (1 - confidence) / 2, rate.successes, rate.trials
    low = 0.0 if k == 0 else float(beta.ppf(tail, k, n - k + 1))
    high = 1.0 if k == n else float(beta.ppf(1 - tail, k + 1, n - k))
    return low, high


def difference_interval(first: Rate, second: Rate, confidence: float) -> Interval:
    """Interval of first.share - second.share by Newcombe's method 10 (Newcombe 1998, from two Wilson intervals)."""
    return _combined([1.0], [first], [second], confidence)


def _combined(weights: list[float], first: list[Rate], second: list[Rate], confidence: float) -> Interval:
    """Interval of Σ w (first - second) by the same recovery of variances (MOVER; Zou and Donner 2008)."""
    value = below = above = 0.0
    for weight, one, two in zip(weights, first, second, strict=True):
        (low1, high1), (low2, high2) = wilson(one, confidence), wilson(two, confidence)
        value += weight * (one.share - two.share)
        below += weight**2 * ((one.share - low1) ** 2 + (high2 - two.share) ** 2)
        above += weight**2 * ((high1 - one.share) ** 2 + (two.share - low2) ** 2)
    return max(-1.0, value - math.sqrt(below)), min(1.0, value + math.sqrt(above))


def risk_over_control(attack: Rate, control: Rate, confidence: float) -> tuple[float, Interval]:
    """Residual risk (attack - control) / (1 - control) with its interval.

    Giomi et al. 2023 (anonymeter): success beyond what the same attack achieves on people who were never seen. The
    interval divides the interval of the difference by what the control leaves over.
    """
    left = max(1e-9, 1.0 - control.share)
    low, high = difference_interval(attack, control, confidence)
    return (attack.share - control.share) / left, (max(-1.0, low / left), min(1.0, high / left))


@dataclass(frozen=True, slots=True)
class Excess:
    """How much more often members are found than non-members.

    Attributes:
        value: Weighted mean over strata of (share of members found - share of non-members found).
        interval: Its interval.
        p_value: Chance of so large a weighted count of found members, were labels random (one-sided, exact).
        p_contaminated: The same in the other direction: non-members found more often.
        members, others: Found and all, summed over strata.
        weights: Share of each stratum in `value`, in order of the strata.
        detectable: Share of members whose leaking the test finds at p < 0.001 nine times in ten; 1 where it never does.
    """

    value: float
    interval: Interval
    p_value: float
    p_contaminated: float
    members: Rate
    others: Rate
    weights: tuple[float, ...]
    detectable: float


def excess_by_stratum(
    found: Flags, member: Flags, stratum: npt.NDArray[np.integer], *, confidence: float, top_weight: int = 64
) -> Excess:
    """Test whether members are found more often than non-members, stratum by stratum.

    Strata where being found is common by chance say little about one leak more; they enter with a weight that falls with
    the variance of their pooled share. Strata and weights depend on labels only through the sizes of the two groups, so
    the conditional distribution of the weighted count is a convolution of hypergeometric ones: the test is exact.

    Args:
        found: Whether the record was found in the synthetic table.
        member: Whether it is a record of train.
        stratum: A small non-negative integer for each record, chosen without looking at `member`.
        confidence: Of the interval.
        top_weight: Weight of the most informative stratum over the least informative, at most; at least 1.
    """
    cells = [cell for cell in _cells(found, member, stratum) if cell.members.trials and cell.others.trials]
    if not cells:
        empty = Rate(0, 0)
        return Excess(0.0, (-1.0, 1.0), 1.0, 1.0, empty, empty, (), 1.0)
    precision = [cell.precision for cell in cells]
    scores = _scores(cells, top_weight)
    total = sum(precision)
    weights = [p / total for p in precision]
    members, others = [c.members for c in cells], [c.others for c in cells]
    value = sum(w * (m.share - o.share) for w, m, o in zip(weights, members, others, strict=True))
    observed = sum(s * m.successes for s, m in zip(scores, members, strict=True))
    p_value, p_contaminated = _tails(cells, scores, observed)
    return Excess(
        value,
        _combined(weights, members, others, confidence),
        p_value,
        p_contaminated,
        _sum(members),
        _sum(others),
        tuple(weights),
        _detectable(cells),
    )


@dataclass(frozen=True, slots=True)
class _Cell:
    members: Rate
    others: Rate

    @property
    def pooled(self) -> float:
        """Share found among all, moved half a record off 0 and 1."""
        n = self.members.trials + self.others.trials
        return (self.members.successes + self.others.successes + 0.5) / (n + 1.0)

    @property
    def precision(self) -> float:
        """Inverse variance of the difference of shares under no leak."""
        return 1.0 / (self.pooled * (1 - self.pooled) * (1 / self.members.trials + 1 / self.others.trials))


def _cells(found: Flags, member: Flags, stratum: npt.NDArray[np.integer]) -> list[_Cell]:
    count = int(stratum.max(initial=-1)) + 1
    table = np.bincount(stratum * 4 + member * 2 + found, minlength=4 * count).reshape(count, 2, 2)
    return [_Cell(Rate(int(t[1, 1]), int(t[1].sum())), Rate(int(t[0, 1]), int(t[0].sum()))) for t in table]


def _scores(cells: list[_Cell], top: int) -> list[int]:
    """Weight of one found record: near 1 / (p (1 - p)), the efficient score of a common excess, as a power of two.

    Powers of two lose little, and dividing by the smallest keeps the convolved counts short.
    """
    slopes = [1.0 / (cell.pooled * (1 - cell.pooled)) for cell in cells]
    powers = [max(0, round(math.log2(top * slope / max(slopes)))) for slope in slopes]
    return [1 << (power - min(powers)) for power in powers]


def _detectable(cells: list[_Cell]) -> float:
    """The leaking share at which well-weighted strata lie 3.09 + 1.28 standard deviations above random labels.

    A leak of share c adds c m (1 - p) found members to a stratum: to the count, and to its variance under random labels.
    """
    m = np.array([cell.members.trials for cell in cells], np.float64)
    o = np.array([cell.others.trials for cell in cells], np.float64)
    hits = np.array([cell.members.successes + cell.others.successes for cell in cells], np.float64)
    gained = m * (1 - np.array([cell.pooled for cell in cells]))
    base = hits * (1 - hits / (m + o))

    def telling(share: float) -> float:
        return float(((share * gained) ** 2 * (o / m) / (base + share * gained)).sum())

    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if telling(middle) < DETECTION_Z**2 else (low, middle)
    return high


def _sum(rates: list[Rate]) -> Rate:
    return Rate(sum(rate.successes for rate in rates), sum(rate.trials for rate in rates))


def _tails(cells: list[_Cell], scores: list[int], observed: int) -> tuple[float, float]:
    """P(weighted count ≥ observed) and P(≤ observed) under random labels; what was trimmed counts towards both."""
    mass, start, lost = np.ones(1), 0, 0.0
    for cell, score in sorted(zip(cells, scores, strict=True), key=lambda pair: pair[1]):  # short laws first: cheaper
        hits = cell.members.successes + cell.others.successes
        n = cell.members.trials + cell.others.trials
        counts, law = _hypergeometric(n, hits, cell.members.trials)
        lost += TRIM
        mass = _convolved(mass, law, score)
        start += int(counts[0]) * score
    position = observed - start
    upper = float(mass[max(0, position) :].sum()) + lost
    lower = float(mass[: max(0, position + 1)].sum()) + lost
    return min(1.0, upper), min(1.0, lower)


def _convolved(mass: Floats, law: Floats, step: int) -> Floats:
    """Law of a sum: `mass` on whole numbers plus `law` on multiples of `step`."""
    result = np.zeros(len(mass) + (len(law) - 1) * step)
    for place, weight in enumerate(law):
        result[place * step : place * step + len(mass)] += weight * mass
    return result


def _hypergeometric(n: int, hits: int, drawn: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Law of the hits among `drawn` of `n`, where it is not negligible: counts and their probabilities.

    What lies further than 12 standard deviations and 40 hits from the mean has mass below `TRIM`.
    """
    mean = drawn * hits / n
    reach = 12.0 * math.sqrt(mean * (1 - hits / n) * (n - drawn) / max(1, n - 1)) + 40.0
    low = max(0, hits + drawn - n, math.floor(mean - reach))
    high = min(hits, drawn, math.ceil(mean + reach))
    counts = np.arange(low, high + 1)

    def choose(total: int, chosen: npt.NDArray[np.int64]) -> Floats:
        logs: Floats = gammaln(total + 1.0) - gammaln(chosen + 1.0) - gammaln(total - chosen + 1.0)
        return logs

    logs = choose(hits, counts) + choose(n - hits, drawn - counts) - choose(n, np.array([drawn]))
    return counts, np.exp(logs)


def fisher_upper(tables: Sequence[tuple[Rate, Rate]]) -> Floats:
    """One-sided exact p-values of "the first is found no more often than the second", one per pair of rates."""
    one = np.array([(first.successes, first.trials) for first, _ in tables], dtype=np.int64).reshape(-1, 2)
    two = np.array([(second.successes, second.trials) for _, second in tables], dtype=np.int64).reshape(-1, 2)
    tail = hypergeom.sf(one[:, 0] - 1, one[:, 1] + two[:, 1], one[:, 0] + two[:, 0], one[:, 1])
    clipped: Floats = np.clip(tail, 0.0, 1.0)
    return clipped


@dataclass(frozen=True, slots=True)
class Area:
    """Area under the ROC curve: value, interval, and the one-sided p-value of "not above one half"."""

    value: float
    interval: Interval
    p_value: float


def area_under_roc(members: Floats, others: Floats, *, confidence: float) -> Area:
    """AUC of scores with DeLong's interval (DeLong et al. 1988; ranks as in Sun and Xu 2014) and a rank-sum p-value."""
    m, n = len(members), len(others)
    ranks = rankdata(np.concatenate([members, others]))
    inside_m, inside_n = rankdata(members), rankdata(others)
    placement_m = (ranks[:m] - inside_m) / n
    placement_n = 1.0 - (ranks[m:] - inside_n) / m
    value = float(placement_m.mean())
    variance = _variance(placement_m) / m + _variance(placement_n) / n
    half = float(ndtri(0.5 + confidence / 2)) * math.sqrt(variance)
    _, ties = np.unique(ranks, return_counts=True)
    size = m + n
    untied = 1.0 - float(((ties.astype(np.float64) ** 3 - ties).sum()) / (float(size) ** 3 - size))
    null = math.sqrt(max(untied, 1e-12) * (size + 1) / (12.0 * m * n))
    return Area(value, (max(0.0, value - half), min(1.0, value + half)), float(ndtr(-(value - 0.5) / null)))


def _variance(values: Floats) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.25


@dataclass(frozen=True, slots=True)
class RateAtFalsePositives:
    """True-positive rate at a threshold set on non-members.

    Attributes:
        rate: Members strictly above the threshold, out of all members.
        interval: Clopper-Pearson at the stated confidence, given the threshold.
        p_value: Chance of so many members above it, were members and non-members exchangeable (beta-binomial, exact;
            conservative with ties, because only scores strictly above count).
        false_positives: The rate aimed at.
        achieved: Share of non-members strictly above the threshold.
    """

    rate: Rate
    interval: Interval
    p_value: float
    false_positives: float
    achieved: float


def rate_at_false_positives(members: Floats, others: Floats, *, at: float, confidence: float) -> RateAtFalsePositives:
    """Members above the (1 - `at`) quantile of non-members.

    The threshold is the r-th largest score of the n non-members, r = max(1, ⌊at (n + 1)⌋). Under exchangeability the
    number of members above the r-th largest of n others is beta-binomial with parameters r and n - r + 1.
    """
    n = len(others)
    r = max(1, math.floor(at * (n + 1)))
    threshold = np.partition(others, n - r)[n - r]
    above = Rate(int((members > threshold).sum()), len(members))
    p_value = 1.0 if above.successes == 0 else float(betabinom.sf(above.successes - 1, len(members), r, n - r + 1))
    interval = clopper_pearson(above, confidence)
    return RateAtFalsePositives(above, interval, min(1.0, p_value), at, float((others > threshold).mean()))
