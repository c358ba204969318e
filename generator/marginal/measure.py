"""Counts with noise: the only way by which the marginal family learns from rows.

Responsible for counting groups of variables over chunks, adding noise that the account was charged for, and choosing
among candidates by the exponential mechanism.

Invariants:
    - The account is charged before counts are used; a true count never leaves this module. (A table that is too large to
      hold is counted in every pair as it passes, see `tally`: what nobody pays for is never looked at.)
    - Predictions that scores are compared with are rounded to whole units, so that score sensitivities are exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from generator.noise import choose, discrete_gaussian
from generator.slots import LAGS
from generator.source import Source
from generator.zcdp import Account

__all__ = ["Lens", "Measured"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Group = tuple[int, ...]
FINE = 256
"""Volumes of slots are kept in so many parts of the largest."""
UNIT = 8
"""Scores are kept in eighths of a row."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Noisy counts of one group.

    Attributes:
        group: Variables in ascending order.
        counts: Counts with noise, one axis a variable.
        sigma: Standard deviation of the noise of each count.
    """

    group: Group
    counts: Floats
    sigma: float


class Lens:
    """What the family may see of a source: noisy counts and private choices.

    Args:
        source: The coded train table.
        names: Names of the variables.
        account: What pays.
        rows_per_unit: Most rows of one privacy unit (the sensitivity of counts).
    """

    def __init__(self, source: Source, *, names: Sequence[str], account: Account, rows_per_unit: int) -> None:
        self._source = source
        self._names = tuple(names)
        self._account = account
        self._per_unit = rows_per_unit
        self._maps: list[Integers] | None = None
        self._sizes: list[int] = []
        self._known: dict[Group, Integers] = {}
        self._gaps: dict[Group, tuple[Floats, int]] = {}

    @property
    def rows_per_unit(self) -> int:
        """The sensitivity of counts."""
        return self._per_unit

    def measure_cells(self, maps: Sequence[tuple[int, Integers]], *, rho: Sequence[Fraction]) -> list[Measured]:
        """One-way counts, in one pass: each entry is a variable and the cell-to-count map of its resolution."""
        sizes = [int(cells.max()) + 1 for _, cells in maps]
        variances = [
            self._account.gaussian(
                "one-way counts", columns=(self._names[variable],), rho=part, sensitivity=self._per_unit, cells=size
            )
            for (variable, _), size, part in zip(maps, sizes, rho, strict=True)
        ]  # fmt: skip
        totals = self._cells({v: len(cells) for v, cells in maps})
        return [
            self._noisy((v,), np.bincount(cells, totals[v], size).astype(np.int64), variance)
            for (v, cells), size, variance in zip(maps, sizes, variances, strict=True)
        ]

    def _cells(self, sizes: Mapping[int, int]) -> dict[int, Integers]:
        """True counts of the cells of variables."""
        tally = self._source.tally
        if tally is not None:
            return {v: tally.counts((v,), {v: np.arange(size)}) for v, size in sizes.items()}
        totals = {v: np.zeros(size, np.int64) for v, size in sizes.items()}
        for chunk in self._source.chunks():
            for v, size in sizes.items():
                totals[v] += np.bincount(chunk[v], minlength=size)
        return totals

    def measure_lags(self, *, day: int, hour: int, volume: int, values: Floats, days: int, rho: Fraction) -> Floats:
        """Autocovariances of the volume of hourly slots around 1/2, at the lags of `generator.slots`, with noise.

        The volume of a slot is the sum of its rows' values, cut at 1, so that one row moves one slot by at most 1. Slots are at
        most 1/2 off their centre and each stands in two products of a lag: an autocovariance moves by at most 1.

        Args:
            day, hour, volume: Variables.
            values: What each cell of the volume counts, in [0, 1].
            days: How many days the card's bounds hold.
            rho: What all of them together may cost.
        """
        columns = tuple(self._names[i] for i in (day, hour, volume))
        sensitivity = isqrt(len(LAGS) * FINE**4 - 1) + 1
        variance = self._account.gaussian(
            "rhythm of the volume", columns=columns, rho=rho, sensitivity=sensitivity, grain=FINE**2
        )
        whole = np.round(np.clip(values, 0.0, 1.0) * FINE).astype(np.int64)
        # the number of slots is the card's: were it the data's, one late row would add all slots before it
        total = np.zeros(days * 24, np.int64)
        for chunk in self._source.chunks():
            np.add.at(total, chunk[day].astype(np.int64) * 24 + chunk[hour], whole[chunk[volume]])
        series = np.minimum(total, FINE) - FINE // 2
        sums = np.array([int((series[lag:] * series[: max(series.size - lag, 0)]).sum()) for lag in LAGS], np.int64)
        return np.asarray((sums + discrete_gaussian(variance, sums.size)) / FINE**2, np.float64)

    def use_bins(self, maps: Sequence[Integers], sizes: Sequence[int]) -> None:
        """From now on count bins instead of cells."""
        self._maps, self._sizes = [np.asarray(m) for m in maps], list(sizes)

    def measure(self, groups: Sequence[Group], *, rho: Sequence[Fraction], name: str) -> list[Measured]:
        """Noisy counts of groups of binned variables."""
        variances = [
            self._account.gaussian(
                name, columns=tuple(self._names[i] for i in group), rho=part, sensitivity=self._per_unit,
                cells=int(np.prod([self._sizes[i] for i in group])),
            )
            for group, part in zip(groups, rho, strict=True)
        ]  # fmt: skip
        self.prepare(groups)
        return [self._noisy(group, self._known[group], v) for group, v in zip(groups, variances, strict=True)]

    def prepare(self, groups: Sequence[Group]) -> None:
        """Count these groups in one pass, for later measurements and choices (which pay when they look)."""
        if self._maps is None:
            return
        todo = [group for group in groups if group not in self._known]
        tally = self._source.tally
        if tally is not None:
            for group in (group for group in todo if tally.can_tell(group)):
                self._known[group] = tally.counts(group, {v: self._maps[v] for v in group})
            todo = [group for group in todo if group not in self._known]
        if not todo:
            return
        totals = {group: np.zeros(int(np.prod([self._sizes[i] for i in group])), np.int64) for group in todo}
        needed = sorted({variable for group in todo for variable in group})
        for chunk in self._source.chunks():
            binned = {v: self._maps[v][chunk[v]] for v in needed}
            for group in todo:
                index = binned[group[0]]
                for variable in group[1:]:
                    index = index * self._sizes[variable] + binned[variable]
                totals[group] += np.bincount(index, minlength=len(totals[group]))
        for group, total in totals.items():
            self._known[group] = total.reshape([self._sizes[i] for i in group])

    def choose(
        self,
        candidates: Mapping[Group, Floats],
        *,
        penalty: Mapping[Group, float],
        weight: Mapping[Group, int],
        rho: Fraction,
        name: str,
    ) -> Group:
        """Choose privately the group whose counts are farthest from their prediction; the empty group has distance 0.

        Args:
            candidates: Predicted counts of each candidate group.
            penalty: What to subtract from its L1 distance: the error that noise would make anyway, in rows.
            weight: How many times a candidate's score counts, 1 if not given.
            rho: What the choice may cost.
            name: What is chosen, for the record.
        """
        columns = tuple(sorted({self._names[i] for group in candidates for i in group}))
        epsilon = self._account.selection(name, columns=columns, rho=rho, candidates=len(candidates))
        self.prepare([group for group in candidates if group])
        groups = list(candidates)
        gaps = [self._distance(group, candidates[group]) - round(UNIT * penalty[group]) for group in groups]
        weights = [weight.get(group, 1) for group in groups]
        scores = np.array([w * gap for w, gap in zip(weights, gaps, strict=True)], np.int64)
        return groups[choose(scores, epsilon=epsilon, sensitivity=max(weights) * UNIT * self._per_unit)]

    def _distance(self, group: Group, predicted: Floats) -> int:
        """How far its counts are from a prediction, in eighths of a row; several choices from one prediction compute it once."""
        if not group:
            return 0
        held = self._gaps.get(group)
        if held is None or held[0] is not predicted:
            whole = np.round(UNIT * predicted).astype(np.int64)
            held = self._gaps[group] = predicted, int(np.abs(UNIT * self._known[group] - whole).sum())
        return held[1]

    def _noisy(self, group: Group, counts: Integers, variance: Fraction) -> Measured:
        noise = discrete_gaussian(variance, counts.size).reshape(counts.shape)
        return Measured(group, (counts + noise).astype(np.float64), float(variance) ** 0.5)
