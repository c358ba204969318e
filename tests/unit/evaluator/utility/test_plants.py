"""What goes wrong with distributions in practice, planted one by one: each is named by the metric that is there to find it.

The lines are the shipped ones. Fresh rows keep all of them; a plant breaks the one it is for, and the detail says where.
"""

import numpy as np
import pytest

from evaluator.utility import FAMILIES
from policies.metric_catalogue_utility import UTILITY_LINES

SLOW = {"utility.tstr", "utility.distinguishability", "utility.subgroups"}


def measured(tables):
    results = {}
    for family in FAMILIES:
        if family.name not in SLOW:
            results |= family.measure(tables)
    return results


def broken(results):
    """The metrics beyond their shipped line."""
    names = set()
    for line in UTILITY_LINES:
        result = results.get(line.metric)
        if result is not None and result.value is not None:
            low, high = float(line.min or "-inf"), float(line.max or "inf")
            if not low <= result.value <= high:
                names.add(line.metric)
    return names


def permuted(name):
    return lambda columns: columns | {name: np.random.default_rng(4).permutation(columns[name])}


def scaled(name, factor):
    return lambda columns: columns | {name: columns[name] * factor}


def without(name, value):
    return lambda columns: {key: values[columns[name] != value] for key, values in columns.items()}


def test_fresh_people_keep_every_line(people_tables):
    assert broken(measured(people_tables())) == set()


@pytest.mark.parametrize("factor", [10, 0.1, 0.01], ids=["tenfold", "a tenth", "cents to euros"])
def test_another_unit_is_named(people_tables, factor):
    results = measured(people_tables(scaled("income", factor)))
    worst = results["utility.marginals.magnitude.worst"]
    assert worst.detail["column"] == "income"
    assert worst.value == pytest.approx(abs(np.log10(factor)), abs=0.05)
    assert worst.interval[0] > 0.3
    assert "utility.marginals.magnitude.worst" in broken(results)
    assert results["utility.marginals.magnitude.age"].value < 0.1


def test_a_tenfold_column_of_mostly_zeros_is_named_though_distances_are_small(make_tables, make_card):
    card = make_card({"gain": {"type": "integer"}, "age": {"type": "integer"}})

    def side(seed, factor=1):
        rng = np.random.default_rng(seed)
        gain = np.where(rng.random(4000) < 0.93, 0, rng.lognormal(7, 1, 4000).astype(int))
        gain[0] = 99_999
        return {"gain": np.minimum(gain * factor, 99_999), "age": rng.integers(18, 90, 4000)}

    results = measured(make_tables(side(1), side(2), side(3, 10), card))
    assert results["utility.marginals.ks.worst"].value < 0.1
    assert results["utility.marginals.magnitude.worst"].detail["column"] == "gain"
    assert results["utility.marginals.magnitude.worst"].interval[0] > 0.5
    assert results["utility.marginals.magnitude.gain"].detail["factor"] == pytest.approx(10, rel=0.3)


def test_zeros_only_leave_the_unit_undecided(make_tables, make_card):
    card = make_card({"gain": {"type": "integer"}})
    some, none = np.arange(200) % 7, np.zeros(200, int)
    sides = ({"gain": some}, {"gain": some[1:]}, {"gain": none})
    assert measured(make_tables(*sides, card))["utility.marginals.magnitude.worst"].status == "inconclusive"
    assert (
        measured(make_tables(sides[2], sides[0], sides[1], card))["utility.marginals.magnitude.worst"].status == "not_applicable"
    )


@pytest.mark.parametrize(("column", "value"), [("region", "west"), ("sex", "f"), ("bought", "yes")])
def test_a_dropped_value_is_named(people_tables, column, value):
    results = measured(people_tables(without(column, value)))
    kept = results["utility.coverage.least_kept"]
    assert (kept.detail["column"], kept.detail["category"]) == (column, value)
    assert kept.value == 0
    assert kept.interval[1] < 0.05
    assert "utility.coverage.least_kept" in broken(results)


def test_a_thinned_region_is_named_and_luck_is_not(people_tables):
    def thinned(columns):
        keep = (columns["region"] != "west") | (np.random.default_rng(1).random(len(columns["age"])) < 0.3)
        return {key: values[keep] for key, values in columns.items()}

    kept = measured(people_tables(thinned))["utility.coverage.least_kept"]
    assert kept.detail["category"] == "west"
    assert kept.interval[0] < 0.3 < kept.interval[1] < 0.5
    assert measured(people_tables())["utility.coverage.least_kept"].interval[1] == 1.0


def test_values_of_a_few_people_are_not_asked_for(make_tables, make_events, events_card):
    def travel(columns):
        """Forty rows of nineteen customers are of a third shop: too few customers to be anything but a leak."""
        few = np.isin(columns["customer"], np.unique(columns["customer"])[:19])
        return columns | {"shop": np.where(few, "c", columns["shop"])}

    kept = measured(make_tables(travel(make_events(300, 1)), make_events(200, 2), make_events(300, 3), events_card))
    assert kept["utility.coverage.least_kept"].detail["category"] != "c"
    assert kept["utility.coverage.least_kept"].detail["of"] == 2


def test_a_shop_that_no_customer_visits_any_more_is_named_by_customers(make_tables, make_events, events_card):
    dropped = without("shop", "a")(make_events(300, 3))
    tables = make_tables(make_events(300, 1), make_events(200, 2), dropped, events_card)
    kept = measured(tables)["utility.coverage.least_kept"]
    assert (kept.value, kept.detail["category"]) == (0, "a")
    keyless = {name: values for name, values in dropped.items() if name != "customer"}
    tables = make_tables(make_events(300, 1), make_events(200, 2), keyless, events_card)
    assert measured(tables)["utility.coverage.least_kept"].detail["category"] == "a"


@pytest.mark.parametrize("column", ["age", "spend", "bought"])
def test_a_broken_relation_is_named(people_tables, column):
    results = measured(people_tables(permuted(column)))
    worst = results["utility.pairs.dependence.worst"]
    assert column in worst.detail["columns"]
    assert worst.value < 0.05
    assert worst.interval[1] < 0.3
    assert "utility.pairs.dependence.worst" in broken(results)


def test_a_weak_relation_that_breaks_is_seen_by_dependence_alone(make_tables, make_card):
    def side(seed):
        rng = np.random.default_rng(seed)
        smokes = rng.random(8000) < 0.5
        return {"smokes": smokes, "ill": rng.random(8000) < np.where(smokes, 0.6, 0.4)}

    card = make_card({"smokes": {"type": "boolean"}, "ill": {"type": "boolean"}})
    results = measured(make_tables(side(1), side(2), permuted("ill")(side(3)), card))
    assert results["utility.pairs.contingency.worst"].value < 0.15
    assert results["utility.pairs.mutual_information.worst"].value < 0.05
    assert broken(results) == {"utility.pairs.dependence.worst"}
    assert broken(measured(make_tables(side(1), side(2), side(3), card))) == set()


def test_independent_columns_have_no_relation_to_lose(make_tables, make_card):
    card = make_card({"a": {"type": "number"}, "b": {"type": "category"}})
    sides = [
        {"a": np.random.default_rng(s).normal(size=2000), "b": np.random.default_rng(s + 9).choice(["x", "y"], 2000)}
        for s in (1, 2, 3)
    ]
    results = measured(make_tables(*sides, card))
    assert results["utility.pairs.dependence.worst"].status == "not_applicable"


def flat_week(columns):
    moved = np.random.default_rng(0).integers(0, 7, len(columns["at"])).astype("timedelta64[D]")
    return columns | {"at": columns["at"] + moved}


def month_later(columns):
    return columns | {"at": columns["at"] + np.timedelta64(31, "D")}


@pytest.mark.parametrize(
    ("change", "metric"),
    [(lambda columns: columns, None), (flat_week, "utility.seasonality.weekly"), (month_later, "utility.trend")],
    ids=["fresh", "flat week", "a month later"],
)
def test_what_happens_to_time_is_named(make_tables, make_events, events_card, change, metric):
    tables = make_tables(make_events(300, 1), make_events(200, 2), change(make_events(300, 3)), events_card)
    found = broken(measured(tables))
    assert found == set() if metric is None else metric in found
