"""The demo's own table under `dp-marginal` at ε = 1: customers with at most four payments over a year."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from gateway.cli.sample import CARD, make_transactions
from generator.registry import create
from policies.loader import load_card
from policies.types import PrivacyTarget

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tables():
    card = load_card(CARD)
    train = make_transactions(customers=5400, rng=np.random.default_rng(7))
    target = PrivacyTarget(epsilon=Decimal(1), delta=Decimal("1e-6"))
    fitted = create("dp-marginal").fit(train, card=card, target=target, rng=np.random.default_rng(0))
    made = pa.Table.from_batches(list(fitted.sample(train.num_rows, rng=np.random.default_rng(1))))
    return train.to_pandas(), made.to_pandas()


def test_days_of_the_week_keep_their_share(tables):
    """Over eight fits the profile's distance from train's is 0.014 ± 0.007 of all rows; an even week is 0.08 away."""
    real, made = (t["booked_at"].dt.weekday.value_counts(normalize=True).sort_index() for t in tables)
    assert (real - made).abs().sum() / 2 < 0.06
    assert (real - 1 / 7).abs().sum() / 2 > 0.07


def test_waiting_times_of_customers_are_kept(tables):
    """Over eight fits the Kolmogorov-Smirnov distance is 0.048 ± 0.008."""
    gaps = [
        np.sort(
            t.sort_values(["customer_id", "booked_at"]).groupby("customer_id")["booked_at"].diff().dropna() / pd.Timedelta("1s")
        )
        for t in tables
    ]
    both = np.concatenate(gaps)
    assert np.abs(np.subtract(*(np.searchsorted(g, both, "right") / len(g) for g in gaps))).max() < 0.13


def test_a_customer_lives_in_one_region(tables):
    assert tables[1].groupby("customer_id")[["region", "age", "segment"]].nunique().max().max() == 1
