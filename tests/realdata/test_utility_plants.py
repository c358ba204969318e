"""Distribution plants on real tables: each is named by the metric that is there to find it, and fresh real rows break no line.

Train, holdout and "synthetic" are three parts of the same table; the third is changed. Everything is seeded.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from evaluator.fairness import representation
from evaluator.inputs import check_inputs
from evaluator.utility import FAMILIES
from evaluator.utility.tables import tables_of
from policies.loader import load_card
from policies.metric_catalogue_utility import UTILITY_LINES
from policies.tables import read_table

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CARDS = Path(__file__).parent / "cards"
SLOW = {"utility.tstr", "utility.distinguishability", "utility.subgroups"}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.shared,
    pytest.mark.skipif(not DATA.exists(), reason="the folder of real tables is not beside the checkout"),
]
Change = Callable[[pa.Table], pa.Table]


def split(card_name: str, file: str, rows: int):
    card = load_card(CARDS / f"{card_name}.yaml")
    table = read_table(DATA / file, card=card).table
    order = np.random.default_rng(0).permutation(table.num_rows)
    ends = np.cumsum([rows, rows // 2, rows])
    parts = [table.take(pa.array(np.sort(part))) for part in np.split(order, ends)[:3]]
    return card, *parts


@pytest.fixture(scope="module")
def tables():
    return {
        "adult": split("adult", "adult.csv", 19_000),
        "online_retail": split("online_retail", "online_retail.parquet", 40_000),
        "bike_hour": split("bike_hour", "bike_hour.csv", 6_900),
    }


def put(table: pa.Table, name: str, values) -> pa.Table:
    index = table.schema.get_field_index(name)
    column = values if isinstance(values, pa.Array) else pa.array(values)
    return table.set_column(index, table.schema.field(index), column.cast(table.schema.field(index).type))


def dropped(name: str, value: str) -> Change:
    return lambda table: table.filter(pc.fill_null(pc.not_equal(table[name], value), fill_value=True))


def permuted(name: str) -> Change:
    return lambda table: table.set_column(
        table.schema.get_field_index(name),
        table.schema.field(name),
        table[name].take(pa.array(np.random.default_rng(7).permutation(table.num_rows))),
    )


def scaled(name: str) -> Change:
    return lambda table: put(table, name, pc.multiply(table[name], 10))


def moved(name: str, shift: Callable[[pd.Series], pd.Series]) -> Change:
    def change(table: pa.Table) -> pa.Table:
        times = shift(pd.to_datetime(table[name].to_pandas()))
        kind = table.schema.field(name).type
        return put(table, name, pa.array(times.dt.date if pa.types.is_date(kind) else times))

    return change


def flat_week(times: pd.Series) -> pd.Series:
    return times + pd.to_timedelta(np.random.default_rng(7).integers(0, 7, len(times)), unit="D")


def month_later(times: pd.Series) -> pd.Series:
    return times + pd.DateOffset(months=1)


def measured(sides, change: Change):
    card, train, holdout, synthetic = sides
    found = tables_of(check_inputs(train=train, holdout=holdout, synthetic=change(synthetic), card=card, seed=0))
    results = representation.measure(found)
    for family in FAMILIES:
        if family.name not in SLOW:
            results |= family.measure(found)
    return results


def broken(results) -> set[str]:
    names = set()
    for line in UTILITY_LINES:
        result = results.get(line.metric)
        if (
            result is not None
            and result.value is not None
            and not float(line.min or "-inf") <= result.value <= float(line.max or "inf")
        ):
            names.add(line.metric)
    return names


@pytest.mark.parametrize("name", ["adult", "online_retail", "bike_hour"])
def test_fresh_real_rows_break_no_line(tables, name):
    assert broken(measured(tables[name], lambda table: table)) == set()


LEAST, TIE, UNIT = "utility.coverage.least_kept", "utility.pairs.dependence.worst", "utility.marginals.magnitude.worst"
WEEK, TREND, YEAR = "utility.seasonality.weekly", "utility.trend", "utility.seasonality.yearly"


@pytest.mark.parametrize(
    ("name", "change", "metrics", "where"),
    [
        ("adult", dropped("native_country", "Mexico"), {LEAST}, "Mexico"),
        ("adult", dropped("race", "Other"), {LEAST, "fairness.representation.worst.ratio"}, "Other"),
        ("adult", permuted("age"), {TIE}, "age"),
        ("adult", permuted("hours_per_week"), {TIE}, "hours_per_week"),
        ("adult", scaled("capital_gain"), {UNIT}, "capital_gain"),
        ("adult", scaled("hours_per_week"), {UNIT, "utility.marginals.ks.worst"}, "hours_per_week"),
        ("online_retail", moved("InvoiceDate", flat_week), {WEEK}, "(rows)"),
        ("online_retail", moved("InvoiceDate", month_later), {TREND, YEAR}, "(rows)"),
        ("online_retail", dropped("Country", "Germany"), {LEAST}, "Germany"),
        ("online_retail", permuted("Quantity"), {TIE, "utility.pairs.correlation.worst"}, "Quantity"),
        ("online_retail", scaled("UnitPrice"), {UNIT, "utility.marginals.ks.worst"}, "UnitPrice"),
        ("bike_hour", moved("dteday", flat_week), {WEEK}, "weekday"),
        ("bike_hour", moved("dteday", month_later), {TREND, YEAR}, "mnth"),
        ("bike_hour", dropped("weathersit", "3"), {LEAST}, "3"),
        ("bike_hour", permuted("temp"), {TIE, "utility.pairs.correlation.worst"}, "temp"),
        ("bike_hour", scaled("windspeed"), {UNIT, "utility.marginals.ks.worst"}, "windspeed"),
    ],
)
def test_a_plant_is_named(tables, name, change, metrics, where):
    results = measured(tables[name], change)
    assert metrics <= broken(results)
    for metric in metrics:
        assert where in str(dict(results[metric].detail)), metric
