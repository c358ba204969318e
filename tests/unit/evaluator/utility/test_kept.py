"""Validity, constraints, coverage, and agreement with SDMetrics where the definition is the same."""

import warnings

import numpy as np
import pandas as pd
import pytest

from evaluator.utility import coverage, overall, validity
from evaluator.utility.pairs import measure as measure_pairs


def test_rows_outside_bounds_lists_and_missing_rules_are_invalid(make_tables, make_card):
    card = make_card(
        {
            "age": {"type": "integer", "bounds": [0, 100], "missing": False},
            "kind": {"type": "category", "values": ["a", "b"]},
            "day": {"type": "date", "bounds": ["2024-01-01", "2024-12-31"]},
        }
    )

    def side(ages, kinds, days):
        return {"age": np.array(ages, dtype=object), "kind": np.array(kinds), "day": np.array(days, dtype="datetime64[D]")}

    good = side([1, 2, 100, 0], ["a", "b", "a", "a"], ["2024-01-01", "2024-12-31", "2024-05-05", "2024-05-05"])
    other = side([5, 6, 7, 8], ["b", "b", "a", "b"], ["2024-02-01", "2024-02-02", "2024-03-05", "2024-04-05"])
    bad = side([101, 5, None, 9], ["a", "c", "a", "a"], ["2024-01-01", "2024-01-01", "2024-01-01", "2025-01-01"])
    result = validity.measure(make_tables(good, other, bad, card))["utility.validity"]
    assert result.value == 0.0
    assert result.detail["by_column"] == {"age": 0.5, "kind": 0.75, "day": 0.75}
    assert result.detail["train"] == 1.0


def test_relations_are_checked_and_named(make_tables, make_card):
    columns = {"low": {"type": "number"}, "high": {"type": "number"}, "town": {"type": "category"}, "land": {"type": "category"}}
    rules = [
        {"columns": ["low", "high"], "relation": "<="},
        {"columns": ["town", "land"], "relation": "combinations", "allowed": [["Bonn", "de"], ["Bern", "ch"]]},
    ]
    card = make_card(columns, constraints=rules)

    def side(low, high, town, land):
        return {"low": np.array(low, float), "high": np.array(high, float), "town": np.array(town), "land": np.array(land)}

    train = side([1, 2], [1, 3], ["Bonn", "Bern"], ["de", "ch"])
    holdout = side([1, 2.5], [4, 3], ["Bonn", "Bern"], ["de", "ch"])
    synthetic = side([5, 2, np.nan, 1], [1, 3, 2, 1], ["Bonn", "Bern", "Bonn", "Bonn"], ["de", "de", "de", "de"])
    result = validity.measure(make_tables(train, holdout, synthetic, card))["utility.constraints"]
    assert result.value == 0.5
    assert [entry["share"] for entry in result.detail["by_relation"]] == [0.75, 0.75]
    assert result.detail["train"] == 1.0


def test_rare_values_that_die_out_are_counted(people_tables):
    def only_common(columns):
        return columns | {"region": np.where(columns["region"] == "rare", "north", columns["region"])}

    tables = people_tables(lambda c: c)
    assert coverage.measure(tables)["utility.coverage.rare"].status == "not_applicable"
    assert coverage.measure(people_tables(only_common))["utility.coverage.categories"].value == 1.0


def test_a_lost_rare_category_is_named_and_a_unique_one_is_not_asked_for(make_tables, make_card):
    card = make_card({"kind": {"type": "category"}})
    train = np.array(["common"] * 5000 + ["rare"] * 30 + ["rare too"] * 25 + ["one person"])
    other = np.array(["common"] * 3000)
    result = coverage.measure(make_tables({"kind": train}, {"kind": other}, {"kind": other}, card))["utility.coverage.rare"]
    assert result.value == 0.0
    assert result.n == 2
    assert result.detail["lost"] == [{"column": "kind", "lost": 2, "of": 2}]
    kept = np.array(["common"] * 4000 + ["rare"] * 3 + ["rare too"])
    result = coverage.measure(make_tables({"kind": train}, {"kind": other}, {"kind": kept}, card))["utility.coverage.rare"]
    assert result.value == 1.0


def sdmetrics_report(train, synthetic, metadata):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SDMetrics warns of its own next version
        from sdmetrics.reports.single_table import QualityReport

        report = QualityReport()
        report.generate(train, synthetic, metadata, verbose=False)
    return report


@pytest.fixture
def compared(people_tables, make_people):
    def compare(change):
        train, synthetic = (pd.DataFrame(columns) for columns in (make_people(4000, 1), change(make_people(4000, 3))))
        kinds = {"age": "numerical", "income": "numerical", "spend": "numerical", "insured": "boolean"}
        metadata = {"columns": {name: {"sdtype": kinds.get(name, "categorical")} for name in train.columns}}
        return people_tables(change), sdmetrics_report(train, synthetic, metadata)

    return compare


def independent(columns):
    rng = np.random.default_rng(9)
    return {name: rng.permutation(values) for name, values in columns.items()}


def moved(columns):
    spend = columns["spend"].copy()
    spend[:500] = np.nan
    return columns | {"income": columns["income"] * 1.3 + 100, "spend": spend}


@pytest.mark.parametrize("change", [lambda c: c, independent, moved], ids=["fresh", "independent", "moved"])
def test_overall_equals_the_quality_report_of_sdmetrics(compared, change):
    tables, report = compared(change)
    results = overall.measure(tables)
    properties = report.get_properties().set_index("Property")["Score"]
    assert results["utility.overall.shapes"].value == pytest.approx(properties["Column Shapes"], abs=1e-9)
    assert results["utility.overall.pair_trends"].value == pytest.approx(properties["Column Pair Trends"], abs=1e-9)
    assert results["utility.overall"].value == pytest.approx(report.get_score(), abs=1e-9)


def test_single_columns_equal_those_of_sdmetrics(compared):
    tables, report = compared(moved)
    expected = report.get_details("Column Shapes").set_index("Column")["Score"]
    for name, column in tables.columns.items():
        assert overall.column_shape(column) == pytest.approx(expected[name], abs=1e-9), name


def test_the_score_has_an_interval_that_holds_the_truth_and_narrows(people_tables):
    """Both tables are samples of one population, whose own shapes score 1: McDiarmid's bound holds it far beyond 95 %."""
    wide, narrow = (overall.measure(people_tables(rows=rows)) for rows in (1000, 8000))
    for name in ("utility.overall", "utility.overall.shapes", "utility.overall.pair_trends"):
        assert narrow[name].interval[1] >= narrow[name].value
        assert wide[name].interval[0] < narrow[name].interval[0] < narrow[name].value
        assert narrow[name].interval[0] > 0.8
    assert wide["utility.overall.shapes"].interval[1] == narrow["utility.overall.shapes"].interval[1] == 1.0


def test_the_range_has_an_interval_that_holds_the_truth(people_tables):
    """The population covers its own range; each of four ends at 99.4 % alone, and the seed is fixed."""
    fresh = coverage.measure(people_tables())["utility.coverage.range"]
    assert fresh.interval[0] <= fresh.value <= fresh.interval[1] <= 1.0
    assert fresh.interval[1] == 1.0
    half = coverage.measure(people_tables(lambda c: c | {"age": c["age"] // 2}))["utility.coverage.range"]
    assert half.detail["column"] == "age"
    assert half.interval[1] < 1.0


def test_overall_hides_what_the_worst_pair_shows(people_tables):
    tables = people_tables(independent)
    assert overall.measure(tables)["utility.overall.shapes"].value > 0.98
    assert measure_pairs(tables)["utility.pairs.correlation.worst"].value > 0.7
