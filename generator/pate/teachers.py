"""Teachers that each know one shard of units, and the noisy count of their votes.

Invariants:
    - A unit is in exactly one shard, chosen by the operating system's entropy; so one unit changes the votes of one teacher.
    - One teacher changes each of the q counts of a round by at most 1: their L2 sensitivity is √q, which is charged before
      anybody votes. The account is data-independent.
    - What leaves are noisy counts. Features are fixed functions of bins (hashed pairs), drawn without looking at rows.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from generator.noise import discrete_gaussian, uniform_below
from generator.zcdp import Account

__all__ = ["Teachers"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
FEATURES = 512
CHUNK = 1 << 14


class Teachers:
    """Nearest-mean classifiers, one a shard: is a row nearer to the shard's mean or to the mean of generated rows?

    Args:
        codes: Private rows.
        owners: The unit of each row; None where a row is a unit.
        sizes: Bins of each variable.
        count: How many teachers.
        columns: Names of the variables, for the account.
    """

    def __init__(
        self, codes: Integers, owners: Integers | None, *, sizes: tuple[int, ...], count: int, columns: tuple[str, ...]
    ) -> None:
        self._sizes, self._columns, self._count = sizes, columns, count
        places = [(a, b) for a in range(len(sizes)) for b in range(a, len(sizes))]
        choice = np.random.default_rng(0)  # public: which pair of bins falls on which feature
        self._pairs = [(a, b, choice.integers(0, FEATURES, (sizes[a], sizes[b]))) for a, b in places]
        unit = np.arange(len(codes)) if owners is None else np.unique(owners, return_inverse=True)[1]
        shard = uniform_below(count, int(unit.max(initial=-1)) + 1)[unit]
        self._means = np.zeros((count, FEATURES))
        for start in range(0, len(codes), CHUNK):
            np.add.at(self._means, shard[start : start + CHUNK], self.features(codes[start : start + CHUNK]))
        self._means /= np.maximum(1, np.bincount(shard, minlength=count))[:, None]

    def features(self, codes: Integers) -> Floats:
        """Hashed counts of the pairs of bins that a row holds, per pair of variables."""
        found = np.zeros((len(codes), FEATURES))
        rows = np.arange(len(codes))
        for a, b, table in self._pairs:
            np.add.at(found, (rows, table[codes[:, a], codes[:, b]]), 1.0)
        return found / len(self._pairs)

    def vote(self, fakes: Integers, *, account: Account, rho: Fraction) -> Floats:
        """The noisy share of teachers that take each generated row for real.

        Args:
            fakes: A square number of generated rows.
            account: What pays.
            rho: What this round may cost.
        """
        root = round(len(fakes) ** 0.5)
        if root * root != len(fakes):
            raise ValueError("teachers vote on a square number of rows")
        variance = account.gaussian("votes of teachers", columns=self._columns, rho=rho, sensitivity=root, teachers=self._count)
        rows = self.features(fakes)
        middle = rows.mean(axis=0)
        apart = self._means - middle
        level = 0.5 * ((self._means**2).sum(axis=1) - (middle**2).sum())
        votes = (rows @ apart.T > level).sum(axis=1)
        return np.asarray((votes + discrete_gaussian(variance, len(fakes))) / self._count, np.float64)
