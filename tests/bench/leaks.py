"""Which changes of a leaked file still lead back to its release: `python -m tests.bench.leaks [--seeds N] [--rows N] [--tables A,B]`.

For each real table and seed rows are cut into disjoint parts that play the release, the real table, a second sample and another
release: the hardest case, because all of them are of exactly one distribution. Each change is written to a file and read back as a leak is. Prints, for every change, in how many of the seeds the file was
found and the weakest evidence; and for tables that are not ours, in how many it was held to be ours and the strongest evidence.

Nothing is asserted and no row of a table is printed.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gateway.evidence.fingerprints import Fingerprint, Match, cell_hashes, fingerprint_of, match
from gateway.evidence.leaks import hash_file

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
KEY = bytes(range(16))
RELEASES = 100
Rng = np.random.Generator
Change = Callable[[pd.DataFrame, pd.DataFrame, Rng], pd.DataFrame]


def adult() -> pd.DataFrame:
    """Census rows; `fnlwgt` is nearly unique."""
    return pd.read_csv(DATA / "adult.csv")


def retail() -> pd.DataFrame:
    """Invoice lines, without the free text."""
    frame = pd.read_parquet(DATA / "online_retail.parquet").drop(columns=["Description"])
    return frame.assign(CustomerID=frame["CustomerID"].astype("float"))


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "adult": adult,
    "adult without fnlwgt": lambda: adult().drop(columns=["fnlwgt"]),
    "online_retail": retail,
}


def cells_changed(frame: pd.DataFrame, fresh: pd.DataFrame, rng: Rng, share: float = 0.2) -> pd.DataFrame:
    """Replace cells by those of fresh rows of the same distribution."""
    made = frame.copy()
    for name in made.columns:
        hit = rng.random(len(made)) < share
        made.loc[hit, name] = fresh[name].sample(int(hit.sum()), replace=True, random_state=int(rng.integers(1 << 31))).to_numpy()
    return made


def half(frame: pd.DataFrame, _fresh: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """A random half of the columns."""
    return frame[list(rng.permutation(frame.columns)[: len(frame.columns) // 2])]


def most(frame: pd.DataFrame, _fresh: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """All but a fifth of the columns."""
    return frame[list(rng.permutation(frame.columns)[: 4 * len(frame.columns) // 5])]


def few(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """1 % of the rows."""
    return frame.sample(max(1, len(frame) // 100), random_state=int(rng.integers(1 << 31))).reset_index(drop=True)


CHANGES: dict[str, tuple[str, Change]] = {
    "whole": (".csv", lambda frame, _f, _r: frame),
    "CSV to Parquet": (".parquet", lambda frame, _f, _r: frame),
    "semicolons": (";csv", lambda frame, _f, _r: frame),
    "columns in another order, rows shuffled": (".csv", lambda frame, _f, rng: frame[list(rng.permutation(frame.columns))].sample(frac=1, random_state=1)),
    "a random four fifths of the columns": (".csv", most),
    "a random half of the columns": (".csv", half),
    "1 % of the rows": (".csv", lambda frame, _f, rng: few(frame, rng)),
    "20 % of the cells changed": (".csv", cells_changed),
    "half of the columns, 1 % of the rows": (".csv", lambda frame, fresh, rng: few(half(frame, fresh, rng), rng)),
    "1 % of the rows, 20 % of their cells changed": (".csv", lambda frame, fresh, rng: cells_changed(few(frame, rng), fresh, rng)),
}  # fmt: skip


def read_back(frame: pd.DataFrame, form: str, folder: Path) -> dict[str, np.ndarray]:
    """Write a leak and read it as the gateway does."""
    path = folder / ("leak.parquet" if form == ".parquet" else "leak.csv")
    if form == ".parquet":
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)
    else:
        frame.to_csv(path, index=False, sep=";" if form == ";csv" else ",")
    found = hash_file(path=str(path), key=KEY.hex())
    return {name: np.frombuffer(base64.b64decode(text), dtype=np.uint64) for name, text in found.items()}


def hashed(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """As the production hashes its tables."""
    return cell_hashes(pa.Table.from_pandas(frame, preserve_index=False), key=KEY)


def split(frame: pd.DataFrame, rows: int, rng: Rng) -> list[pd.DataFrame]:
    """Real table (twice as large), release, second sample, another release, fresh rows: disjoint."""
    order = rng.permutation(len(frame))
    edges = np.cumsum([0, 2 * rows, rows, rows, rows, rows])
    return [frame.iloc[order[begin:end]].reset_index(drop=True) for begin, end in itertools.pairwise(edges)]


def measured(frame: pd.DataFrame, rows: int, seed: int, folder: Path) -> Iterator[tuple[str, bool, Match | None]]:
    """Every change, and every table that is not ours: name, whether it is ours, what was found."""
    rng = np.random.default_rng(seed)
    real, released, second, other, fresh = split(frame, rows, rng)
    known: Fingerprint = fingerprint_of(hashed(released), others=[hashed(real), hashed(second)])
    for name, (form, change) in CHANGES.items():
        yield name, True, match(read_back(change(released, fresh, rng), form, folder), known, releases=RELEASES)
    for name, table in (("the real table", real), ("another release", other), ("another release, without repetitions", other.drop_duplicates()),
                        ("1 % of another release", few(other, rng)), ("half of the columns of another release", half(other, fresh, rng))):  # fmt: skip
        yield name, False, match(read_back(table, ".csv", folder), known, releases=RELEASES)


def tell(label: str, found: dict[tuple[str, bool], list[Match | None]]) -> None:
    """One row a change."""
    print(f"\n{label}\n{'file':48}{'ours':>8}{'share':>8}{'by chance':>11}{'odds':>10}")
    for (name, is_ours), matches in found.items():
        held = sum(item is not None and item.is_ours for item in matches)
        known = [item for item in matches if item is not None]
        shown = (max if is_ours else min)(known, key=lambda item: item.chance, default=None)
        text = "-" if shown is None else f"{shown.share:>7.1%}{shown.expected:>11.2%}{shown.chance:>10.0e}"
        print(f"{name:48}{f'{held}/{len(matches)}':>8} {text}", flush=True)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--tables", default=",".join(TABLES))
    given = parser.parse_args()
    for label in given.tables.split(","):
        frame = TABLES[label]()
        found: dict[tuple[str, bool], list[Match | None]] = {}
        began = time.process_time()
        with TemporaryDirectory() as folder:
            for seed in range(given.seeds):
                for name, is_ours, item in measured(frame, given.rows, seed, Path(folder)):
                    found.setdefault((name, is_ours), []).append(item)
        tell(f"{label}: {given.rows} rows, {given.seeds} seeds, {time.process_time() - began:.0f} CPU seconds", found)


if __name__ == "__main__":
    main()
