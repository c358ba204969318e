"""Are members found more often than non-members, stratum by stratum?

Responsible for the exact test of that question, where rarer finds may weigh more, with its interval and its detection limit.

Invariants:
    - The test conditions on everything but the labels: under random labels a p-value of at most a has probability at most a.
    - What is left out of a law for speed is added to the p-value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from evaluator.statistics import Flags, Floats, Interval, Rate, weighted_difference

__all__ = ["Excess", "excess_by_stratum"]

DETECTION_Z = 3.09 + 1.28
"""One-sided test at 0.001 with power 0.9 (normal approximation)."""
TRIM = 1e-25
"""Bound on the mass of a count that is left out of a convolution; it is added to the p-value."""


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
        weighted_difference(weights, members, others, confidence),
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
