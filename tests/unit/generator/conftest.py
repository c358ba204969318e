from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from policies.card import DatasetCard
from policies.types import PrivacyTarget


def make_card(columns, **spec):
    return DatasetCard.model_validate(
        {
            "apiVersion": "ticketgate/v1",
            "kind": "Dataset",
            "metadata": {"name": "toy"},
            "spec": {"source": "toy.parquet", "columns": columns, **spec},
        }
    )


@pytest.fixture(scope="session")
def card_of():
    return make_card


@pytest.fixture(scope="session")
def target():
    from decimal import Decimal

    return PrivacyTarget(epsilon=Decimal(3), delta=Decimal("1e-6"))


@pytest.fixture(scope="session")
def shop_card():
    return make_card(
        {
            "customer": {"type": "id", "role": "identifier"},
            "note": {"type": "text"},
            "region": {"type": "category", "values": ["north", "south", "east"], "missing": False},
            "product": {"type": "category"},
            "vip": {"type": "boolean"},
            "age": {"type": "integer", "bounds": [18, 99]},
            "amount": {"type": "number", "decimals": 2},
            "low": {"type": "integer", "bounds": [0, 50], "missing": False},
            "high": {"type": "integer", "bounds": [0, 50], "missing": False},
            "at": {"type": "datetime", "bounds": ["2024-01-01", "2024-06-30"], "timezone": "Europe/Berlin"},
            "city": {"type": "category", "values": ["Rome", "Paris"]},
            "country": {"type": "category", "values": ["IT", "FR"]},
        },
        privacy_unit="customer",
        max_rows_per_unit=4,
        time_index="at",
        targets=["vip"],
        constraints=[
            {"columns": ["low", "high"], "relation": "<"},
            {"columns": ["city", "country"], "relation": "combinations", "allowed": [["Rome", "IT"], ["Paris", "FR"]]},
        ],
    )


@pytest.fixture(scope="session")
def shop():
    rng = np.random.default_rng(5)
    rows = 6000
    start = datetime(2024, 1, 1, tzinfo=UTC).timestamp()
    low = rng.integers(0, 49, rows)
    city = rng.integers(0, 2, rows)
    seconds = start + rng.random(rows) * 86400 * 180
    product = np.minimum(rng.geometric(0.2, rows), 40)
    return pa.table(
        {
            "customer": pa.array([f"c{c}" for c in rng.integers(0, 2500, rows)]),
            "note": pa.array(["private words"] * rows),
            "region": pa.array(np.array(["north", "south", "east"])[rng.integers(0, 3, rows)]),
            "product": pa.array([f"p{p:02d}" for p in product], mask=rng.random(rows) < 0.05),
            "vip": pa.array(rng.random(rows) < 0.3),
            "age": pa.array(rng.integers(18, 100, rows), mask=rng.random(rows) < 0.1),
            "amount": pa.array(np.round(rng.lognormal(3, 1, rows), 2)),
            "low": pa.array(low),
            "high": pa.array(low + 1 + rng.integers(0, 50 - low)),
            "at": pa.array((seconds * 1e6).astype(np.int64), pa.timestamp("us", tz="Europe/Berlin")),
            "city": pa.array(np.array(["Rome", "Paris"])[city]),
            "country": pa.array(np.array(["IT", "FR"])[city]),
        }
    )
