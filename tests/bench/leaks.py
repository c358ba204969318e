"""Which changes of a leaked file still lead back to its release: `python -m tests.bench.leaks [--seeds N] [--rows N] [--tables 'A;B']`.

A generator is played by drawing rows of one half of a real table with replacement: every row of the release is a real row, and
stands in other releases too, which is the hardest case. `adult, dp-marginal` is the product's own generator at ε = 1. Each change
is written to a file and read back as a leak is. Prints, for every change, in how many of the seeds the file was found and the
weakest evidence; and for tables that are not ours, in how many it was held to be ours and the strongest evidence.

Nothing is asserted and no row of a table is printed.
"""

from __future__ import annotations

import argparse
import base64
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gateway.evidence.cells import cell_hashes
from gateway.evidence.fingerprints import Fingerprint, fingerprint_of
from gateway.evidence.leaks import hash_file
from gateway.evidence.matching import Match, match
from generator.registry import create
from policies.loader import load_card
from policies.tables import read_table
from policies.types import PrivacyTarget

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
KEY = bytes(range(16))
RELEASES = 100
CARDS = Path(__file__).resolve().parents[1] / "realdata" / "cards"
PRIVATE = "adult, dp-marginal"
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
    PRIVATE: adult,
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


Draw = Callable[[int], pd.DataFrame]


def copying(real: pd.DataFrame, rng: Rng) -> Draw:
    """A generator that copies."""
    return lambda rows: real.sample(rows, replace=True, random_state=int(rng.integers(1 << 31))).reset_index(drop=True)


def private(real: pd.DataFrame, rng: Rng) -> Draw:
    """The product's default generator, fitted once."""
    card = load_card(CARDS / "adult.yaml")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "real.csv"
        real.to_csv(path, index=False)
        table = read_table(path, card=card).table
    target = PrivacyTarget(epsilon=Decimal(1), delta=Decimal("1e-5"))
    fitted = create("dp-marginal", {}).fit(table, card=card, target=target, rng=rng)
    return lambda rows: pa.Table.from_batches(list(fitted.sample(rows, rng=rng))).to_pandas()


def measured(label: str, rows: int, seed: int, folder: Path) -> Iterator[tuple[str, bool, Match | None]]:
    """Every change, and every table that is not ours: name, whether it is ours, what was found."""
    rng = np.random.default_rng(seed)
    frame = TABLES[label]()
    order, middle = rng.permutation(len(frame)), len(frame) // 2
    real, held_out = (frame.iloc[part].reset_index(drop=True) for part in (order[:middle], order[middle:]))
    generator = private if label == PRIVATE else copying
    draw, other_fit = generator(real, rng), generator(held_out, rng)
    released, fresh = draw(rows), held_out.iloc[:rows]
    known = Fingerprint.from_bytes(fingerprint_of(hashed(released), sample=lambda count: hashed(draw(count))).to_bytes())
    for name, (form, change) in CHANGES.items():
        yield name, True, match(read_back(change(released, fresh, rng), form, folder), known, releases=RELEASES)
    other = draw(rows)
    for name, table in (("the real table", real), ("another release", other), ("a release of another fit", other_fit(rows)),
                        ("another release, without repetitions", other.drop_duplicates()), ("1 % of another release", few(other, rng)),
                        ("half of the columns of another release", half(other, fresh, rng))):  # fmt: skip
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
    parser.add_argument("--tables", default=";".join(TABLES))
    given = parser.parse_args()
    for label in given.tables.split(";"):
        found: dict[tuple[str, bool], list[Match | None]] = {}
        began = time.process_time()
        with TemporaryDirectory() as folder:
            for seed in range(given.seeds):
                for name, is_ours, item in measured(label, given.rows, seed, Path(folder)):
                    found.setdefault((name, is_ours), []).append(item)
        tell(f"{label}: {given.rows} rows, {given.seeds} seeds, {time.process_time() - began:.0f} CPU seconds", found)


if __name__ == "__main__":
    main()
