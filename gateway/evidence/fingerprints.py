"""Fingerprints of released tables, by which a leaked file is led back to its release.

A fingerprint holds keyed hashes of the cells of the released table and of further samples that the same fitted generator drew
in the same way, and that nobody was given. To whoever does not hold the release, it and the further samples are exchangeable:
a file that owes nothing to the release meets it no oftener than it meets them. `gateway.evidence.matching` bets on that.

Invariants:
    - No plain value is stored, and no look is taken at the confidential table.
    - Rows of the release and of each further sample are equally many and drawn alike.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gateway.evidence.cells import Hashes

__all__ = ["Fingerprint", "fingerprint_of", "samples_for"]

MAX_ROWS = 20_000
POOL_ROWS = 60_000
MOST_SAMPLES = 64
LEAST_SAMPLES = 3
MAX_COLUMNS = 48
MAX_CELLS = 2_400_000
FACTS = "ticketgate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """The fingerprint of one released table.

    Attributes:
        rows: Rows of the release that are kept, and of each further sample.
        samples: Further samples.
        cells: Tokens by column: the release's rows first, then those of each sample.
        marks: Decimals of the columns that bear the release's watermark, if any do.
    """

    rows: int
    samples: int
    cells: dict[str, NDArray[np.uint64]]
    marks: dict[str, int] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """A Parquet file of tokens."""
        arrays = {name: pa.array(values) for name, values in self.cells.items()}
        facts = {FACTS: json.dumps({"rows": self.rows, "samples": self.samples, "marks": self.marks})}
        stream = io.BytesIO()
        pq.write_table(pa.table(arrays).replace_schema_metadata(facts), stream, compression="zstd")
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, raw: bytes) -> Fingerprint:
        """Back from `to_bytes`."""
        table = pq.read_table(io.BytesIO(raw))
        facts = json.loads((table.schema.metadata or {})[FACTS.encode()])
        cells = {name: table.column(name).to_numpy().astype(np.uint64) for name in table.column_names}
        return cls(rows=facts["rows"], samples=facts["samples"], cells=cells, marks=facts["marks"])


def samples_for(rows: int) -> tuple[int, int]:
    """How many further samples a release of so many rows gets, and of how many rows."""
    kept = max(1, min(rows, MAX_ROWS))
    return min(MOST_SAMPLES, max(LEAST_SAMPLES, POOL_ROWS // kept)), kept


def fingerprint_of(
    released: Hashes, *, sample: Callable[[int], Hashes], marks: Mapping[str, int] = MappingProxyType({})
) -> Fingerprint:
    """Fingerprint a released table.

    Args:
        released: Cell hashes of the released table.
        sample: Draws a further sample of so many rows from the same fitted generator, with fresh randomness.
        marks: Decimals of the columns that bear a watermark.
    """
    all_rows = len(next(iter(released.values())))
    count, kept = samples_for(all_rows)
    names = _telling(released)
    kept = min(kept, max(1, MAX_CELLS // (len(names) * (1 + count))))
    chosen = np.random.default_rng(0).permutation(all_rows)[:kept]  # any rows will do: the choice is no secret
    tables = [{name: released[name][chosen] for name in names}]
    for _ in range(count):
        drawn = sample(kept)
        tables.append({name: drawn[name][:kept] for name in names})
    least = min(len(next(iter(table.values()))) for table in tables)
    cells = {name: np.concatenate([table[name][:least] for table in tables]) for name in names}
    return Fingerprint(rows=least, samples=count, cells=cells, marks=dict(marks))


def _telling(released: Hashes) -> list[str]:
    """The columns that are kept: of a very wide table, those with most distinct values."""
    order = sorted(released, key=lambda name: -len(np.unique(released[name][:MAX_ROWS])))
    return sorted(order[:MAX_COLUMNS])
