"""`python -m tests.bench.streaming`: memory and CPU of a `dp-marginal` fit over parquet that is read as it streams by.

Makes tables of 15 columns (numbers, categories, a time, a target that depends on some) by row groups, fits each in a process
of its own from an iterator that can be read once, and prints how often the file was read, CPU seconds and the peak of memory.

    python -m tests.bench.streaming [--rows 1000000,3000000,10000000] [--epsilon 1] [--folder /tmp]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from policies.card import DatasetCard

ROOT = Path(__file__).resolve().parents[2]
GROUP_ROWS = 1 << 17
START = 1_704_067_200


def columns() -> dict[str, dict[str, Any]]:
    """The card's columns."""
    made: dict[str, dict[str, Any]] = {f"level{i}": {"type": "integer", "bounds": [0, 99]} for i in range(5)}
    made |= {f"amount{i}": {"type": "number", "bounds": [0, 1000], "decimals": 2} for i in range(3)}
    made |= {f"kind{i}": {"type": "category", "values": [f"k{j}" for j in range(4 + 8 * i)]} for i in range(5)}
    made["at"] = {"type": "datetime", "bounds": ["2024-01-01", "2024-12-30"]}
    return made | {"bought": {"type": "boolean", "missing": False}}


def card() -> DatasetCard:
    """The card of the made table."""
    return DatasetCard.model_validate({
        "apiVersion": "ticketgate/v1", "kind": "Dataset", "metadata": {"name": "stream"},
        "spec": {"source": "stream.parquet", "columns": columns(), "targets": ["bought"]},
    })  # fmt: skip


def group(rng: np.random.Generator, rows: int) -> pa.Table:
    """One row group; columns depend on a hidden level."""
    level = rng.random(rows)
    table: dict[str, Any] = {
        f"level{i}": np.clip(100 * (level + rng.normal(0, 0.1 * (i + 1), rows)), 0, 99).astype(int) for i in range(5)
    }
    table |= {f"amount{i}": np.round(np.minimum(rng.lognormal(3 + level, 1), 1000), 2) for i in range(3)}
    for i in range(5):
        names = np.array([f"k{j}" for j in range(4 + 8 * i)])
        table[f"kind{i}"] = names[(level * names.size * rng.random(rows)).astype(int)]
    table["at"] = pa.array((START + 86_400 * 360 * rng.random(rows)).astype(np.int64) * 1_000_000, pa.timestamp("us"))
    return pa.table(table | {"bought": rng.random(rows) < level})


def write(path: Path, rows: int) -> None:
    """Write the file, row group after row group."""
    rng = np.random.default_rng(rows)
    with pq.ParquetWriter(path, group(rng, 1).schema) as writer:
        for start in range(0, rows, GROUP_ROWS):
            writer.write_table(group(rng, min(GROUP_ROWS, rows - start)))


def fit(path: Path, epsilon: str) -> None:
    """Fit from batches that pass by once, draw some rows, print what it cost."""
    from generator.registry import create
    from policies.types import PrivacyTarget

    reads = 0

    def passing() -> Iterator[pa.RecordBatch]:
        nonlocal reads
        reads += 1
        with pq.ParquetFile(path, pre_buffer=False) as file:  # else the whole file is kept
            yield from file.iter_batches(batch_size=GROUP_ROWS)

    start = time.process_time()
    target = PrivacyTarget(epsilon=Decimal(epsilon), delta=Decimal("1e-9"))
    fitted = create("dp-marginal").fit(passing(), card=card(), target=target, rng=np.random.default_rng(0))
    fitted_at = time.process_time()
    made = sum(batch.num_rows for batch in fitted.sample(100_000, rng=np.random.default_rng(0)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps(
            {"reads": reads, "fit": fitted_at - start, "sample": time.process_time() - fitted_at, "mb": peak, "made": made}
        )
    )


def main() -> None:
    """Print the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="1000000,3000000,10000000")
    parser.add_argument("--epsilon", default="1")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--fit", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.fit:
        fit(arguments.fit, arguments.epsilon)
        return
    print("| rows | file MB | reads | fit, CPU s | CPU µs a row | peak MB |\n|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "stream.parquet"
        for rows in (int(text) for text in arguments.rows.split(",")):
            write(path, rows)
            command = [sys.executable, "-m", "tests.bench.streaming", "--fit", str(path), "--epsilon", arguments.epsilon]
            found = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
            size = path.stat().st_size / 1e6
            print(
                f"| {rows:,} | {size:.0f} | {found['reads']} | {found['fit']:.1f} | {found['fit'] / rows * 1e6:.2f} | {found['mb']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
