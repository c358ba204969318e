from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest

from generator import domains
from generator.registry import create
from generator.zcdp import Account
from policies.card import DatasetCard
from policies.types import PrivacyTarget

ROWS = 5000


@pytest.fixture
def card_of():
    def make(columns, **spec):
        return DatasetCard.model_validate(
            {
                "apiVersion": "ticketgate/v1",
                "kind": "Dataset",
                "metadata": {"name": "t"},
                "spec": {"source": "t.csv", "columns": columns, **spec},
            }
        )

    return make


@pytest.fixture
def fit():
    def run(table, card, *, name="dp-marginal", epsilon="1", delta="1e-9", **values):
        target = PrivacyTarget(epsilon=Decimal(epsilon), delta=Decimal(delta))
        return create(name, values).fit(table, card=card, target=target, rng=np.random.default_rng(0))

    return run


@pytest.fixture
def crowd():
    rng = np.random.default_rng(1)
    return {
        "town": np.array(["oslo", "rome", "kiel"])[rng.integers(0, 3, ROWS)],
        "wage": rng.integers(10, 100, ROWS).astype(float),
    }


@pytest.fixture
def with_person():
    def add(crowd, **person):
        return pa.table({name: [*values.tolist(), *([person[name]] if person else [])] for name, values in crowd.items()})

    return add


@pytest.fixture
def no_noise(monkeypatch):
    """A broken generator: it charges the account and then adds next to no noise."""
    honest = Account.gaussian

    def cheat(self, *args, **kwargs):
        honest(self, *args, **kwargs)
        return Fraction(1, 64)

    monkeypatch.setattr(Account, "gaussian", cheat)


@pytest.fixture
def raw_scaler(monkeypatch):
    """A broken generator: bounds are the minimum and maximum of the raw column."""

    def cheat(rows, name, column, *_):
        values = np.concatenate([domains.as_numbers(domains.conform(b, {name: column})[name], column) for b in rows.batches()])
        return float(values.min()), float(values.max())

    monkeypatch.setattr(domains, "_bounds", cheat)


@pytest.fixture
def raw_categories(monkeypatch):
    """A broken generator: the values of a category are those that occur."""

    def cheat(rows, name, column, *_):
        return tuple(sorted({v for b in rows.batches() for v in domains.conform(b, {name: column})[name].to_pylist() if v}))

    monkeypatch.setattr(domains, "_values", cheat)
