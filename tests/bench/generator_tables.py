"""Tables on which `tests.bench.generators` compares generators: a card, a fixed split and a target each.

A split permutes the rows by a fixed seed and takes the first as train. Nothing was tuned on a test part.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
CARDS = Path(__file__).with_name("cards")
UCI_ROWS, SPLIT_SEED = 32_561, 20240601
Rows = tuple[list[str], list[list[str]]]


@dataclass(frozen=True, slots=True)
class BenchTable:
    """One table of the comparison.

    Attributes:
        card: Its dataset card.
        target: The column whose last value in alphabetical order is told from the others.
        train_rows: Size of train.
        test_rows: Size of test.
        read: Header and rows, before they are permuted.
    """

    card: Path
    target: str
    train_rows: int
    test_rows: int
    read: Callable[[], Rows]

    def split(self, folder: Path) -> tuple[Path, Path]:
        """Write train.csv and test.csv."""
        header, rows = self.read()
        order = np.random.default_rng(SPLIT_SEED).permutation(len(rows))
        parts = order[: self.train_rows], order[self.train_rows : self.train_rows + self.test_rows]
        paths = folder / "train.csv", folder / "test.csv"
        for path, part in zip(paths, parts, strict=True):
            with path.open("w", newline="") as target:
                csv.writer(target).writerows([header, *(rows[i] for i in part)])
        return paths


def _columns(card: Path) -> list[str]:
    from policies.loader import load_card

    return list(load_card(card).columns)


def _adult() -> Rows:
    with (DATA / "adult.csv").open(newline="") as source:
        header, *rows = csv.reader(source)
    return header, rows[:UCI_ROWS]


def _diabetes() -> Rows:
    """The first stay of each patient, in the order of patients."""
    import pandas as pd

    frame = pd.read_parquet(DATA / "diabetes130.parquet").sort_values(["patient_nbr", "encounter_id"])
    frame = frame.drop_duplicates("patient_nbr")[_columns(CARDS / "diabetes.yaml")].astype(object)
    return list(frame.columns), frame.where(frame.notna(), "").astype(str).to_numpy().tolist()


def _bike() -> Rows:
    """Hours as rows; busy are hours with at least 150 rides."""
    import pandas as pd

    frame = pd.read_csv(DATA / "bike_hour.csv", dtype=str)
    frame["busy"] = np.where(frame["cnt"].astype(int) >= 150, "yes", "no")
    frame = frame[_columns(CARDS / "bike.yaml")]
    return list(frame.columns), frame.to_numpy().tolist()


TABLES = {
    "adult": BenchTable(ROOT / "tests" / "realdata" / "cards" / "adult.yaml", "income", 26_049, 6_512, _adult),
    "diabetes": BenchTable(CARDS / "diabetes.yaml", "readmitted", 25_000, 6_250, _diabetes),
    "bike": BenchTable(CARDS / "bike.yaml", "busy", 13_903, 3_476, _bike),
}
