"""Whether a leaked file comes from a release: bets at fair odds that only the release's own rows can win.

Where the file owes nothing to the release, the release and the m further samples of its fingerprint are exchangeable, whatever
the file is: the real table, a release of another fit, a foreign table. So of the K(x) rows of the pool that agree with a row x of
the file on some columns, each is the release's with probability 1/(m + 1), and

    (1 - η) · (m + 1) · N(x) / K(x) + η

has mean 1 for every distinct x, N(x) of the rows being the release's: a bet that the file is the release's, but for a share
η of them. Rows of a sample displace each other, so the product over distinct x has mean 1 or less: an e-value, as is a mean of
such over column sets and stakes. By Markov's inequality it exceeds 1/α with probability at most α (Vovk and Wang, "E-values:
calibration, combination and applications", 2021). How often a combination occurs is no evidence: a generator may draw each sample
with the same counts.

Invariants:
    - Nothing but exchangeability is assumed of the file; which column sets are tried does not depend on which rows are released.
    - Where rows depend on each other, as those of one person do, a product may run away: each further sample is tried as if it
      were the release, and evidence counts only beyond twice the best of those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from gateway.evidence.cells import Hashes, tokens_of
from gateway.evidence.fingerprints import Fingerprint

__all__ = ["LINE", "Match", "match"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
LINE = 1e-9
LEAST_SHARE = 0.05
STAKES = (0.05, 0.2, 0.5, 0.8, 0.95)
NESTED = 8
DRAWN = 4
MOST_NATS = 700.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """How a file compares with one release.

    Attributes:
        share: Share of the file's rows that the release holds, on the most telling columns.
        expected: The same share of a further sample that nobody was given, on average.
        chance: At most so probable in a file that owes the release nothing, after Bonferroni over the releases.
        columns: The most telling columns.
        rows: Rows of the file that were compared.
    """

    share: float
    expected: float
    chance: float
    columns: tuple[str, ...]
    rows: int

    def among(self, releases: int) -> Match:
        """The same comparison as one of so many."""
        return replace(self, chance=min(1.0, self.chance * max(1, releases)))

    @property
    def is_ours(self) -> bool:
        """Below the line, with a share that matters and that further samples do not reach."""
        return self.chance < LINE and self.share >= LEAST_SHARE and self.share > self.expected


@dataclass(frozen=True, slots=True)
class _Bets:
    """What the bets on one column set came to, in nats: a row a bet; the release first, then each further sample."""

    columns: tuple[str, ...]
    logs: Floats
    shares: Floats


def match(leak: Hashes, known: Fingerprint, *, releases: int = 1) -> Match | None:
    """Compare a leaked file with a release.

    Args:
        leak: Cell hashes of the file.
        known: The fingerprint.
        releases: How many releases the file is compared with, for Bonferroni; see `Match.among`.

    Returns:
        The comparison; None when the file has none of the columns, or no row.
    """
    common = sorted(set(leak) & set(known.cells))
    if not common or not len(leak[common[0]]):
        return None
    tried = [_bets(leak, known, columns) for columns in _column_sets(common, known)]
    logs = np.concatenate([bets.logs for bets in tried])
    evidence = logsumexp(logs, axis=0) - np.log(len(logs))
    beyond = float(evidence[0] - 2 * max(0.0, float(evidence[1:].max())))
    best = max(tried, key=lambda bets: float(bets.logs[:, 0].max()))
    return Match(
        share=float(best.shares[0]),
        expected=float(best.shares[1:].mean()),
        chance=float(np.exp(-min(max(beyond, 0.0), MOST_NATS))),
        columns=best.columns,
        rows=len(leak[common[0]]),
    ).among(releases)


def _column_sets(common: Sequence[str], known: Fingerprint) -> list[tuple[str, ...]]:
    """All common columns, the most telling one, two, … of them, and sets at random: changed cells spare some of the sets."""
    telling = sorted(common, key=lambda name: -len(np.unique(known.cells[name])))
    sets = [tuple(common), *(tuple(telling[:size]) for size in range(1, min(NESTED, len(common)) + 1))]
    chance = np.random.default_rng(len(common))
    for size in sorted({2, 3, 4, 6, len(common) // 3, len(common) // 2, 3 * len(common) // 4}):
        if 1 < size < len(common):
            sets += [tuple(chance.choice(common, size, replace=False).tolist()) for _ in range(DRAWN)]
    return list(dict.fromkeys(tuple(sorted(columns)) for columns in sets))


def _bets(leak: Hashes, known: Fingerprint, columns: tuple[str, ...]) -> _Bets:
    tokens, own = np.unique(tokens_of(leak, columns), return_counts=True)
    held = _held(tokens, known, columns)
    pool = held.sum(axis=1)
    met = pool > 0
    held, pool, own_met = held[met], pool[met], own[met]
    tables = known.samples + 1
    ratios = tables * held / pool[:, None]
    logs = [np.log((1 - stake) * ratios + stake).sum(axis=0) for stake in STAKES]
    shares = np.array([own_met[held[:, place] > 0].sum() for place in range(tables)]) / own.sum()
    return _Bets(columns, np.array(logs), shares)


def _held(tokens: NDArray[np.uint64], known: Fingerprint, columns: tuple[str, ...]) -> Integers:
    """How many rows of the release, and of each further sample, agree with each distinct row of the file: (distinct, m + 1)."""
    pooled = tokens_of(known.cells, columns)
    tables = known.samples + 1
    places = np.minimum(np.searchsorted(tokens, pooled), len(tokens) - 1)
    hits = np.flatnonzero(tokens[places] == pooled)
    cells = places[hits] * tables + hits // known.rows
    return np.bincount(cells, minlength=len(tokens) * tables).reshape(len(tokens), tables)
