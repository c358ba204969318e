"""Time: a flattened week, a shifted month and invented gaps are each named by the metric that finds them."""

import numpy as np
import pytest

from evaluator.utility import autocorrelation, gaps, marginals, seasonality
from evaluator.utility.autocorrelation import autocorrelation as acf


@pytest.fixture
def event_tables(make_tables, make_events, events_card):
    def make(change=lambda columns: columns):
        return make_tables(make_events(500, 1), make_events(300, 2), change(make_events(500, 3)), events_card)

    return make


def test_fresh_rows_keep_every_rhythm(event_tables):
    tables = event_tables()
    results = seasonality.measure(tables)
    assert results["utility.seasonality.weekly"].value > 0.85
    assert results["utility.seasonality.daily"].value > 0.85
    assert results["utility.seasonality.yearly"].status == "not_applicable"
    assert gaps.measure(tables)["utility.gaps.ks"].interval[0] < 0.05
    assert gaps.measure(tables)["utility.unit_rows.ks"].value < 0.15


def test_a_flattened_week_is_named(event_tables):
    def flat(columns):
        rng = np.random.default_rng(0)
        moved = rng.integers(0, 7, len(columns["at"])).astype("timedelta64[D]")
        return columns | {"at": columns["at"] + moved}

    results = seasonality.measure(event_tables(flat))
    weekly = results["utility.seasonality.weekly"]
    assert weekly.value < 0.3
    assert weekly.interval[1] < 0.8
    assert results["utility.seasonality.daily"].value > 0.8


def test_amounts_that_forgot_the_weekend_are_named(event_tables):
    def forgot(columns):
        return columns | {"amount": np.random.default_rng(0).permutation(columns["amount"])}

    weekly = seasonality.measure(event_tables(forgot))["utility.seasonality.weekly"]
    assert weekly.value < 0.3
    assert weekly.detail["worst"] == "amount"
    assert weekly.detail["by_series"]["(rows)"] > 0.85


def test_dates_shifted_a_month_are_named(event_tables):
    def later(columns):
        return columns | {"at": columns["at"] + np.timedelta64(31, "D")}

    tables = event_tables(later)
    assert marginals.measure(tables)["utility.marginals.ks.worst"].detail["column"] == "at"
    assert seasonality.measure(tables)["utility.trend"].value < 0.5


def test_two_flat_tables_are_alike(make_tables, make_card):
    rng = np.random.default_rng(0)
    card = make_card({"at": {"type": "datetime"}, "x": {"type": "number"}}, time_index="at")
    start = np.datetime64("2024-01-01", "us")
    sides = [
        {"at": start + rng.integers(0, 60 * 86_400, 6000).astype("timedelta64[s]"), "x": rng.normal(size=6000)} for _ in range(3)
    ]
    results = seasonality.measure(make_tables(*sides, card))
    assert results["utility.seasonality.weekly"].value > 0.8
    assert results["utility.seasonality.daily"].value > 0.8


def test_no_time_index_is_not_applicable(people_tables):
    tables = people_tables(rows=200)
    for module in (seasonality, gaps, autocorrelation):
        assert {result.status for result in module.measure(tables).values()} == {"not_applicable"}


def test_dates_without_hours_have_no_daily_rhythm(make_tables, make_card):
    card = make_card({"at": {"type": "date"}, "x": {"type": "number"}}, time_index="at")
    rng = np.random.default_rng(0)
    days = [np.datetime64("2023-01-01") + rng.integers(0, 700, 3000).astype("timedelta64[D]") for _ in range(3)]
    results = seasonality.measure(make_tables(*({"at": at, "x": rng.normal(size=3000)} for at in days), card))
    assert results["utility.seasonality.daily"].status == "not_applicable"
    assert results["utility.seasonality.yearly"].status == "ok"


def test_invented_gaps_are_found(event_tables):
    def even(columns):
        """The same customers and times, dealt out anew: nobody keeps a rhythm."""
        return columns | {"customer": np.random.default_rng(0).permutation(columns["customer"])}

    result = gaps.measure(event_tables(even))["utility.gaps.ks"]
    assert result.interval[0] > 0.1


def test_a_table_without_keys_leaves_gaps_undecided(event_tables):
    def no_keys(columns):
        return {name: values for name, values in columns.items() if name != "customer"}

    results = gaps.measure(event_tables(no_keys))
    assert results["utility.gaps.ks"].status == "inconclusive"
    assert results["utility.unit_rows.ks"].status == "inconclusive"


def test_autocorrelation_equals_the_textbook():
    rng = np.random.default_rng(0)
    values = np.zeros(5000)
    for index in range(1, 5000):
        values[index] = 0.8 * values[index - 1] + rng.normal()
    found = acf(values, (1, 2, 5)).coefficients
    assert found == pytest.approx([0.8, 0.64, 0.33], abs=0.06)
    holed = values.copy()
    holed[rng.random(5000) < 0.3] = np.nan
    assert acf(holed, (1, 2)).coefficients == pytest.approx([0.8, 0.64], abs=0.08)


def test_a_series_that_lost_its_memory_is_found(make_tables, make_card):
    card = make_card({"at": {"type": "datetime"}, "x": {"type": "number"}}, time_index="at")
    hours = np.datetime64("2024-01-01", "us") + np.arange(4000).astype("timedelta64[h]")

    def series(seed):
        rng, x = np.random.default_rng(seed), np.zeros(4000)
        for index in range(1, 4000):
            x[index] = 0.9 * x[index - 1] + rng.normal()
        return x

    train, holdout = {"at": hours, "x": series(1)}, {"at": hours, "x": series(2)}
    forgot = {"at": hours, "x": np.random.default_rng(0).permutation(series(3))}
    kept = autocorrelation.measure(make_tables(train, holdout, {"at": hours, "x": series(3)}, card))
    lost = autocorrelation.measure(make_tables(train, holdout, forgot, card))
    name = "utility.autocorrelation.max_abs_diff"
    assert kept[name].interval[0] < 0.1
    assert lost[name].value > 0.7
    assert lost[name].detail["series"] == "x"
    assert lost[name].interval[0] > 0.3
