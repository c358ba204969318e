"""Keyed fingerprints of released tables, by which a leaked file is led back to its release.

A fingerprint holds, for some small sets of columns, the keyed hashes of those value combinations that occur in exactly one
row of the released table, and how often such a hash would be met by chance: in the real table, and in a second sample of
the same fitted generator. A leaked file is hashed under the same key; matches far above chance name the release, however
the file was re-encoded, cut to some columns or rows, or partly changed.

Invariants:
    - No plain value is stored; cells are hashed by SipHash-2-4 under a 128-bit key that never leaves the gateway.
    - The answer is a share with the odds of meeting it by chance (binomial tail, Bonferroni over column sets and releases).
    - The real table and other releases of the same dataset are the yardstick of chance, so they do not match.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray
from scipy.stats import binom

__all__ = ["Fingerprint", "Match", "cell_hashes", "fingerprint_of", "match"]

Hashes = Mapping[str, NDArray[np.uint64]]
compute: Any = pyarrow.compute
MAX_ROWS = 200_000
MAX_SETS = 64
MAX_TOKENS = 20_000
PAIRS = 120
LARGER = 16
OTHER_ROWS = 60_000
SCENARIO_ROWS = 50
SAFETY = 1.5
LINE = 1e-9
LEAST_SHARE = 0.05
MOMENT = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})(?:[T ](?P<minute>\d{2}:\d{2})(?P<second>:\d{2})?(?:\.\d+)?(?:Z|\+00:?00)?)?", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSet:
    """Unique combinations of a set of columns.

    Attributes:
        tokens: Ascending.
        chance: Rate at which rows of other tables meet them.
        distinct: Rate at which distinct combinations of other tables meet them; higher where common ones repeat.
        share: Of the released rows that have one that is kept.
        kept: Share of the unique combinations that are kept: of a large release, the smallest tokens, which is a fair sample.
    """

    columns: tuple[str, ...]
    tokens: NDArray[np.uint32]
    chance: float
    distinct: float
    share: float
    kept: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """The fingerprint of one released table."""

    rows: int
    sets: tuple[ColumnSet, ...]

    def to_bytes(self) -> bytes:
        """A JSON line with the sets, then their tokens."""
        head = {
            "schema": "ticketgate/fingerprint/v1",
            "rows": self.rows,
            "sets": [
                {
                    "columns": list(item.columns),
                    "count": len(item.tokens),
                    "chance": item.chance,
                    "distinct": item.distinct,
                    "share": item.share,
                    "kept": item.kept,
                }
                for item in self.sets
            ],
        }
        body = b"".join(item.tokens.astype("<u4").tobytes() for item in self.sets)
        return json.dumps(head).encode() + b"\n" + body

    @classmethod
    def from_bytes(cls, raw: bytes) -> Fingerprint:
        """Back from `to_bytes`."""
        head, _, body = raw.partition(b"\n")
        document = json.loads(head)
        stream, sets = io.BytesIO(body), []
        for item in document["sets"]:
            tokens = np.frombuffer(stream.read(4 * item["count"]), dtype="<u4")
            rates = {name: item[name] for name in ("chance", "distinct", "share", "kept") if name in item}
            sets.append(ColumnSet(columns=tuple(item["columns"]), tokens=tokens, **rates))
        return cls(rows=document["rows"], sets=tuple(sets))


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """How a file compares with one release.

    Attributes:
        share: Share of the file's rows that meet the release in its most telling set of columns.
        chance: Probability of so many matches in a file that is not from this release, after Bonferroni.
        is_ours: Whether that leaves no reasonable doubt.
    """

    share: float
    expected: float
    chance: float
    columns: tuple[str, ...]
    rows: int

    @property
    def is_ours(self) -> bool:
        """Below the line, and a share that matters."""
        return self.chance < LINE and self.share >= max(LEAST_SHARE, 2 * self.expected)


def cell_hashes(table: pa.Table, *, key: bytes) -> dict[str, NDArray[np.uint64]]:
    """Keyed hashes of every cell, by column.

    Args:
        table: Any table; values are brought to one text form, so that CSV and Parquet of one table agree.
        key: 16 bytes.
    """
    secret = key[:8].hex()  # pandas wants a text of 16 characters
    return {
        name: pd.util.hash_array(_texts(table.column(name)), hash_key=secret, categorize=True).astype(np.uint64)
        for name in table.column_names
    }


def _texts(column: pa.ChunkedArray[Any]) -> NDArray[np.object_]:
    """One spelling for equal values: shortest numbers, ISO times to the second, trimmed text, one word for missing."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_boolean(kind):
        texts = compute.if_else(column, "true", "false")
        return np.asarray(compute.fill_null(texts, "").to_pylist(), dtype=object)
    if pa.types.is_temporal(kind):
        moments = pd.to_datetime(column.to_pandas(), utc=True, errors="coerce")
        return np.asarray(moments.dt.strftime("%Y-%m-%dT%H:%M:%S").fillna(""), dtype=object)
    values = column.to_pandas()
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        numbers = pd.to_numeric(values, errors="coerce").astype(float)
        return np.asarray(["" if math.isnan(number) else f"{number:.10g}" for number in numbers], dtype=object)
    return np.asarray([_text(value) for value in values], dtype=object)


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):  # NaN is the only value that differs from itself
        return ""
    text = str(value).strip().removeprefix("'")
    moment = MOMENT.fullmatch(text)
    if moment is not None:
        return f"{moment['day']}T{moment['minute'] or '00:00'}{moment['second'] or ':00'}"
    try:
        number = float(text)
    except ValueError:
        return text.casefold()
    return f"{number:.10g}" if np.isfinite(number) else text.casefold()


def _tokens(hashes: Hashes, columns: Sequence[str]) -> NDArray[np.uint32]:
    """One 32-bit token a row for a set of columns; the order of columns in the file does not matter."""
    mixed = np.full(len(hashes[columns[0]]), 0x9E3779B97F4A7C15, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for name in columns:
            mixed ^= hashes[name]
            mixed *= np.uint64(0xFF51AFD7ED558CCD)
            mixed ^= mixed >> np.uint64(33)
    return (mixed >> np.uint64(32)).astype(np.uint32)


def fingerprint_of(synthetic: Hashes, *, others: Sequence[Hashes]) -> Fingerprint:
    """Fingerprint a released table.

    Args:
        synthetic: Cell hashes of the released table.
        others: Cell hashes of tables that must not match: the real table, a second sample of the generator.
    """
    rows = len(next(iter(synthetic.values())))
    sampled = [_strided(other) for other in others]
    found = [_column_set(columns, synthetic, sampled) for columns in _candidates(synthetic)]
    return Fingerprint(rows=rows, sets=tuple(_chosen([item for item in found if item.share > 0], sorted(synthetic))))


def _strided(table: Hashes) -> Hashes:
    """Rows from all over a table, as many as the rates need."""
    step = max(1, len(next(iter(table.values()))) // OTHER_ROWS)
    return {name: values[::step] for name, values in table.items()}


def _candidates(hashes: Hashes) -> list[tuple[str, ...]]:
    """Singles and pairs of columns, the informative ones first; larger sets at random; windows; the whole row."""
    names = sorted(hashes, key=lambda name: -len(np.unique(hashes[name][:MAX_ROWS])))[:16]
    sets: list[tuple[str, ...]] = [(name,) for name in names]
    sets += list(itertools.combinations(names, 2))[:PAIRS]
    chance = np.random.default_rng(0)  # the choice is no secret; the hashes are
    for size in range(3, len(names)):
        sets += [tuple(sorted(chance.choice(names, size, replace=False).tolist())) for _ in range(LARGER)]
    sets += [tuple(names[start : start + 5]) for start in range(0, len(names), 3)]
    return [*dict.fromkeys(tuple(sorted(columns)) for columns in (*sets, names))]


def _column_set(columns: tuple[str, ...], synthetic: Hashes, others: Sequence[Hashes]) -> ColumnSet:
    ordered = tuple(sorted(columns))
    tokens, counts = np.unique(_tokens(synthetic, ordered)[:MAX_ROWS], return_counts=True)
    lonely = tokens[counts == 1]
    unique = lonely[:MAX_TOKENS]
    comparable = [_tokens(other, ordered) for other in others if set(ordered) <= set(other)]
    share = len(unique) / max(1, len(next(iter(synthetic.values()))))
    return ColumnSet(
        columns=ordered,
        tokens=unique,
        chance=max((_upper_rate(unique, tokens) for tokens in comparable), default=0.0),
        distinct=max((_upper_rate(unique, np.unique(tokens)) for tokens in comparable), default=0.0),
        share=share,
        kept=len(unique) / max(1, len(lonely)),
    )


def _upper_rate(unique: NDArray[np.uint32], tokens: NDArray[np.uint32]) -> float:
    """How often another table meets these tokens, with a margin for what a finite table shows."""
    hits = int(np.isin(tokens, unique).sum())
    return float(min(1.0, SAFETY * (hits + 3) / max(1, len(tokens))))


def _chosen(found: Sequence[ColumnSet], names: Sequence[str]) -> list[ColumnSet]:
    """The sets that together say most about files with some of the columns, or with changed cells.

    Greedy: each step takes the set that adds most over all scenarios.
    """
    if not found:
        return []
    scenarios = _scenarios(names)
    worth = np.array([[_evidence(item, columns, intact) for item in found] for columns, intact in scenarios])
    best = np.zeros(len(scenarios))
    kept: list[ColumnSet] = []
    for _ in range(min(MAX_SETS, len(found))):
        gains = np.maximum(worth, best[:, None]).sum(axis=0) - best.sum()
        place = int(np.argmax(gains))
        if gains[place] <= 0:
            break
        kept.append(found[place])
        best = np.maximum(best, worth[:, place])
    return kept


def _scenarios(names: Sequence[str]) -> list[tuple[frozenset[str], float]]:
    """Which columns a leak may have, and which share of its cells is intact."""
    chance = np.random.default_rng(1)
    count = len(names)
    sizes = [*[max(1, count // 2)] * 40, *[max(1, 2 * count // 3)] * 16, *[max(1, count // 3)] * 24, *[min(3, count)] * 24]
    parts = [frozenset(chance.choice(list(names), size, replace=False).tolist()) for size in sizes]
    singles = [frozenset((name,)) for name in names]
    return [
        (frozenset(names), 1.0),
        (frozenset(names), 0.8),
        (frozenset(names), 0.6),
        *((part, 1.0) for part in (*parts, *singles)),
    ]


def _evidence(item: ColumnSet, columns: frozenset[str], intact: float) -> float:
    """How strongly some rows of a leak speak for the release, not for chance (the logarithm of nats: more adds ever less)."""
    if not columns.issuperset(item.columns):
        return 0.0
    rate = min(max(item.chance, item.distinct, 1e-6), 1 - 1e-6)
    share = min(item.share * intact ** len(item.columns), 1 - 1e-6)
    if share <= rate:
        return 0.0
    nats = share * math.log(share / rate) + (1 - share) * math.log((1 - share) / (1 - rate))
    return math.log1p(SCENARIO_ROWS * nats)


def match(leak: Hashes, known: Fingerprint, *, releases: int) -> Match | None:
    """Compare a leaked file with a release.

    Args:
        leak: Cell hashes of the file.
        known: The fingerprint.
        releases: How many releases the file is compared with, for Bonferroni.

    Returns:
        The most telling comparison; None when the file has too few of the columns.
    """
    usable = [item for item in known.sets if set(item.columns) <= set(leak)]
    found = [_compared(leak, item, tests=len(usable) * max(1, releases)) for item in usable]
    return min(found, key=lambda item: (not item.is_ours, item.chance, -item.share), default=None)


def _compared(leak: Hashes, item: ColumnSet, *, tests: int) -> Match:
    """Released combinations that are met, each once, among all rows and among distinct combinations; the weaker of both counts.

    Rows of a foreign table repeat what is common, and a foreign table without repetitions has more of what is rare: either
    would look like a match if only the other rate were the yardstick.
    """
    rows = _tokens(leak, item.columns)
    tokens = np.unique(rows)
    hits = int(np.isin(tokens, item.tokens).sum())
    tail = max(_tail(hits, len(rows), item.chance), _tail(hits, len(tokens), item.distinct))
    return Match(
        share=min(1.0, hits / max(1, len(rows)) / item.kept),
        expected=min(1.0, item.chance / item.kept),
        chance=min(1.0, tail * tests),
        columns=item.columns,
        rows=len(rows),
    )


def _tail(hits: int, trials: int, rate: float) -> float:
    """Probability of so many hits or more."""
    return float(binom.sf(hits - 1, trials, max(rate, 1e-7))) if hits else 1.0
