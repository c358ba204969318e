from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from evaluator.inputs import Inputs, check_inputs
from policies.card import DatasetCard

COLUMNS = {
    "age": {"type": "integer", "role": "quasi-identifier"},
    "region": {"type": "category", "role": "quasi-identifier"},
    "job": {"type": "category", "role": "quasi-identifier"},
    "spend": {"type": "number", "decimals": 2},
    "visits": {"type": "integer"},
    "ill": {"type": "boolean", "role": "sensitive"},
    "joined": {"type": "date"},
}


def people(n: int, seed: int) -> pa.Table:
    """A made-up population: dependent columns, a heavy tail, a rare region, some missing values."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 90, n)
    region = rng.choice(["north", "south", "east", "west", "isle"], n, p=[0.3, 0.3, 0.2, 0.17, 0.03])
    job = np.where(age > 65, "none", rng.choice([f"job{k}" for k in range(12)], n))
    spend = np.round(np.exp(rng.normal(4 + (region == "isle") + age / 90, 0.8)), 2)
    visits = rng.poisson(spend / 40 + 1)
    ill = rng.random(n) < 0.1 + 0.5 * (age > 60)
    joined = (np.datetime64("2015-01-01") + rng.integers(0, 3000, n)).astype("datetime64[D]")
    missing = rng.random(n) < 0.03
    return pa.table(
        {
            "age": age,
            "region": region,
            "job": job,
            "spend": pa.array(spend, mask=missing),
            "visits": visits,
            "ill": ill,
            "joined": pa.array(joined),
        }
    )


def card(columns: dict[str, dict[str, object]] | None = None, **spec: object) -> DatasetCard:
    return DatasetCard.model_validate(
        {
            "apiVersion": "ticketgate/v1",
            "kind": "Dataset",
            "metadata": {"name": "people"},
            "spec": {"source": "people.parquet", "columns": columns or COLUMNS, **spec},
        }
    )


@pytest.fixture(scope="session")
def make_people() -> Callable[[int, int], pa.Table]:
    return people


@pytest.fixture(scope="session")
def make_card() -> Callable[..., DatasetCard]:
    return card


@pytest.fixture(scope="session")
def fresh() -> Inputs:
    """Synthetic rows that are fresh draws of the population: nothing leaks."""
    return check_inputs(train=people(2500, 1), holdout=people(2500, 2), synthetic=people(2500, 3), card=card(), seed=11)


@pytest.fixture(scope="session")
def leaky() -> Inputs:
    """Train itself handed out."""
    train = people(2500, 1)
    shuffled = train.take(pa.array(np.random.default_rng(5).permutation(2500)))
    return check_inputs(train=train, holdout=people(2500, 2), synthetic=shuffled, card=card(), seed=11)


@pytest.fixture(scope="session")
def copied() -> Callable[[float], Inputs]:
    """A share of the synthetic rows copied from train, the rest fresh."""

    def make(share: float, *, source: str = "train") -> Inputs:
        train, holdout, synthetic = people(2500, 1), people(2500, 2), people(2500, 3)
        n = int(share * 2500)
        mixed = pa.concat_tables([synthetic.slice(n), (train if source == "train" else holdout).slice(0, n)])
        return check_inputs(train=train, holdout=holdout, synthetic=mixed, card=card(), seed=11)

    return make
