"""Small made-up tables with known relations, for utility and fairness tests."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from evaluator.inputs import Inputs, check_inputs
from evaluator.utility.tables import Tables, tables_of
from policies.card import DatasetCard

PEOPLE = {
    "age": {"type": "integer", "bounds": [18, 90], "role": "quasi-identifier"},
    "region": {"type": "category", "values": ["north", "south", "east", "west"], "role": "quasi-identifier"},
    "sex": {"type": "category", "role": "quasi-identifier"},
    "income": {"type": "number", "role": "sensitive"},
    "spend": {"type": "number"},
    "insured": {"type": "boolean"},
    "bought": {"type": "category", "role": "sensitive"},
}
EVENTS = {
    "customer": {"type": "id", "role": "identifier"},
    "at": {"type": "datetime"},
    "amount": {"type": "number"},
    "shop": {"type": "category"},
}
Columns = dict[str, np.ndarray]


def card_of(columns: Mapping[str, Any], **spec: Any) -> DatasetCard:
    document = {
        "apiVersion": "ticketgate/v1",
        "kind": "Dataset",
        "metadata": {"name": "made-up"},
        "spec": {"source": "made-up.csv", "columns": columns, **spec},
    }
    return DatasetCard.model_validate(document)


def people(rows: int, seed: int) -> Columns:
    """Income follows age, spend follows income, buying follows spend and differs between the sexes."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 91, rows)
    income = 500 + 30.0 * age + rng.normal(0, 300, rows)
    spend = 0.4 * income + rng.normal(0, 150, rows)
    sex = rng.choice(["f", "m"], rows)
    chance = 1 / (1 + np.exp(-(spend - 850) / 150 - np.where(sex == "f", 0.5, -0.5)))
    return {
        "age": age,
        "region": rng.choice(["north", "south", "east", "west"], rows, p=[0.4, 0.3, 0.2, 0.1]),
        "sex": sex,
        "income": income,
        "spend": spend,
        "insured": rng.random(rows) < 0.7,
        "bought": np.where(rng.random(rows) < chance, "yes", "no"),
    }


def events(units: int, seed: int, *, weekend: float = 3.0) -> Columns:
    """Each customer buys about every five days, more at weekends, for nine weeks; amounts are higher at weekends too."""
    rng = np.random.default_rng(seed)
    customer, days = [], []
    for unit in range(units):
        day = rng.integers(0, 5)
        while day < 63:
            if rng.random() < (1.0 if day % 7 >= 5 else 1 / weekend):
                customer.append(f"c{seed}-{unit}")
                days.append(day)
            day += rng.integers(1, 4)
    at = np.array(days)
    seconds = rng.integers(8 * 3600, 20 * 3600, len(at))
    start = np.datetime64("2024-01-01", "us")
    return {
        "customer": np.array(customer),
        "at": start + at.astype("timedelta64[D]") + seconds.astype("timedelta64[s]"),
        "amount": 20 + np.where(at % 7 >= 5, 15.0, 0.0) + rng.normal(0, 5, len(at)),
        "shop": rng.choice(["a", "b"], len(at)),
    }


def table(columns: Columns) -> pa.Table:
    return pa.table({name: pa.array(values) for name, values in columns.items()})


@pytest.fixture
def people_card() -> DatasetCard:
    return card_of(PEOPLE, targets=["bought"], protected=["sex"])


@pytest.fixture
def events_card() -> DatasetCard:
    return card_of(EVENTS, privacy_unit="customer", max_rows_per_unit=60, time_index="at")


@pytest.fixture
def make_people() -> Callable[[int, int], Columns]:
    return people


@pytest.fixture
def make_events() -> Callable[..., Columns]:
    return events


@pytest.fixture
def make_card() -> Callable[..., DatasetCard]:
    return card_of


@pytest.fixture
def make_tables() -> Callable[..., Tables]:
    def make(train: Columns, holdout: Columns, synthetic: Columns, card: DatasetCard, seed: int = 5) -> Tables:
        return tables_of(make_inputs(train, holdout, synthetic, card, seed))

    return make


def make_inputs(train: Columns, holdout: Columns, synthetic: Columns, card: DatasetCard, seed: int = 5) -> Inputs:
    return check_inputs(train=table(train), holdout=table(holdout), synthetic=table(synthetic), card=card, seed=seed)


@pytest.fixture
def people_tables(make_tables, people_card) -> Callable[..., Tables]:
    """Train and holdout of the same population; synthetic is another sample of it, changed as asked."""

    def make(change: Callable[[Columns], Columns] = lambda columns: columns, rows: int = 4000, seed: int = 5) -> Tables:
        return make_tables(people(rows, 1), people(rows // 2, 2), change(people(rows, 3)), people_card, seed)

    return make
