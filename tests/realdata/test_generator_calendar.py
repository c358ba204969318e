"""Daily and hourly rhythm of real tables under `dp-marginal` at ε = 1 (the lines of the generator work, with their slack)."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from generator.registry import create
from policies.card import DatasetCard
from policies.loader import load_card
from policies.tables import read_table
from policies.types import PrivacyTarget

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CARDS = Path(__file__).parent / "cards"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.shared,
    pytest.mark.skipif(not DATA.exists(), reason="the folder of real tables is not beside the checkout"),
]
SLACK = 0.05


def autocorrelation(series, lag):
    values = np.asarray(series, float) - np.mean(series)
    return float((values[lag:] * values[:-lag]).sum() / (values * values).sum())


def synthetic(train, card):
    target = PrivacyTarget(epsilon=Decimal(1), delta=Decimal("1e-6"))
    fitted = create("dp-marginal").fit(train, card=card, target=target, rng=np.random.default_rng(0))
    return pa.Table.from_batches(list(fitted.sample(train.num_rows, rng=np.random.default_rng(0))))


def volume(column, grid, freq):
    return column.to_pandas().dt.floor(freq).value_counts().reindex(grid, fill_value=0)


def profile(column):
    moments = column.to_pandas()
    counts = np.bincount(moments.dt.weekday * 24 + moments.dt.hour, minlength=168)
    return counts / counts.sum()


def test_retail_keeps_its_daily_rhythm_at_least_as_well_as_a_second_real_draw():
    card = load_card(CARDS / "online_retail.yaml")
    table = read_table(DATA / "online_retail.parquet", card=card).table
    is_train = np.random.default_rng(0).random(table.num_rows) < 0.8
    train, second = table.filter(pa.array(is_train)), table.filter(pa.array(~is_train))
    drawn = synthetic(train, card)
    grid = pd.date_range("2010-12-01", "2011-12-09")
    real, made, other = (volume(t["InvoiceDate"], grid, "D") for t in (train, drawn, second))
    for lag in (1, 7):
        assert abs(autocorrelation(made, lag) - autocorrelation(real, lag)) <= SLACK
    assert np.corrcoef(real, made)[0, 1] >= np.corrcoef(real, other)[0, 1] - 0.005
    gaps = [np.abs(profile(train["InvoiceDate"]) - profile(t["InvoiceDate"])).sum() for t in (drawn, second)]
    assert gaps[0] <= gaps[1]


def test_bike_rides_keep_their_hourly_rhythm():
    hours = pd.read_csv(DATA / "bike_hour.csv", usecols=["dteday", "hr", "cnt"])
    start = pd.to_datetime(hours["dteday"]) + pd.to_timedelta(hours["hr"], unit="h")
    train = pa.table({"at": pa.array(start.repeat(hours["cnt"]).to_numpy().astype("datetime64[us]"))})
    card = DatasetCard.model_validate(
        {
            "apiVersion": "ticketgate/v1",
            "kind": "Dataset",
            "metadata": {"name": "rides"},
            "spec": {
                "source": "rides.parquet",
                "time_index": "at",
                "columns": {"at": {"type": "datetime", "bounds": ["2011-01-01", "2012-12-31"], "missing": False}},
            },
        }
    )
    grid = pd.date_range("2011-01-01", "2012-12-31 23:00", freq="h")
    real, made = (volume(t["at"], grid, "h") for t in (train, synthetic(train, card)))
    for lag in (24, 168):
        assert abs(autocorrelation(made, lag) - autocorrelation(real, lag)) <= SLACK
