"""One report card of small made-up tables, computed once."""

import numpy as np
import pyarrow as pa
import pytest

from evaluator import ReportCard, evaluate
from policies.card import DatasetCard

HOSTILE = "<script>alert(1)</script>"


def make_table(rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 91, rows)
    start = np.datetime64("2024-01-01", "us")
    return pa.table(
        {
            "age": age,
            "town": rng.choice(["a", "b", HOSTILE], rows),
            "spend": age * 2.0 + rng.normal(0, 20, rows),
            "at": start + rng.integers(0, 200 * 86_400, rows).astype("timedelta64[s]"),
            "bought": np.where(rng.random(rows) < age / 100, "yes", "no"),
        }
    )


def make_card() -> DatasetCard:
    columns = {
        "age": {"type": "integer", "bounds": [18, 90], "role": "quasi-identifier"},
        "town": {"type": "category", "role": "quasi-identifier"},
        "spend": {"type": "number", "role": "sensitive"},
        "at": {"type": "datetime"},
        "bought": {"type": "category"},
    }
    spec = {"source": "t.csv", "columns": columns, "targets": ["bought"], "protected": ["town"], "time_index": "at"}
    document = {"apiVersion": "ticketgate/v1", "kind": "Dataset", "metadata": {"name": "made-up"}, "spec": spec}
    return DatasetCard.model_validate(document)


@pytest.fixture(scope="session")
def tables() -> dict[str, pa.Table]:
    return {"train": make_table(700, 1), "holdout": make_table(400, 2), "synthetic": make_table(700, 3)}


@pytest.fixture(scope="session")
def dataset_card() -> DatasetCard:
    return make_card()


@pytest.fixture(scope="session")
def report(tables, dataset_card) -> ReportCard:
    return evaluate(**tables, card=dataset_card, seed=11)
