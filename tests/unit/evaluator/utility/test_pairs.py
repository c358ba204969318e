"""Pairs and triples: independent columns keep every marginal and are found here."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from evaluator.utility import marginals, pairs
from evaluator.utility.intervals import correlation_change


def shuffled(columns):
    rng = np.random.default_rng(9)
    return {name: rng.permutation(values) for name, values in columns.items()}


def test_independent_columns_pass_marginals_and_fail_pairs(people_tables):
    tables = people_tables(shuffled)
    assert marginals.measure(tables)["utility.marginals.ks.worst"].value < 0.05
    results = pairs.measure(tables)
    assert results["utility.pairs.correlation.worst"].value > 0.7
    assert results["utility.pairs.contingency.worst"].interval[0] > 0.1
    assert set(results["utility.pairs.correlation.worst"].detail["columns"]) <= {"age", "income", "spend"}
    assert results["utility.pairs.mutual_information.worst"].interval[0] > 0.1
    assert results["utility.threeway.worst"].interval[0] > 0.1


def test_one_broken_correlation_is_named(people_tables):
    def broken(columns):
        return columns | {"spend": np.random.default_rng(4).permutation(columns["spend"])}

    worst = pairs.measure(people_tables(broken))["utility.pairs.correlation.worst"]
    assert "spend" in worst.detail["columns"]
    assert worst.interval[0] > 0.5


def test_fresh_rows_pass_pairs(people_tables):
    results = pairs.measure(people_tables())
    for name in ("pairs.correlation", "pairs.mutual_information", "pairs.contingency", "threeway"):
        assert results[f"utility.{name}.worst"].interval[0] == 0.0
        assert results[f"utility.{name}.mean"].value < 2 * results[f"utility.{name}.mean"].detail["floor"] + 0.01


def test_rank_correlation_equals_scipy(people_tables):
    tables = people_tables()
    first, second = tables.columns["age"].values["train"], tables.columns["income"].values["train"]
    ranks = {"a": pairs._ranks(first), "b": pairs._ranks(second)}
    assert pairs._rho(ranks, ("a", "b")) == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)


def test_a_constant_synthetic_column_counts_as_no_correlation(people_tables):
    worst = pairs.measure(people_tables(lambda c: c | {"spend": np.ones(len(c["spend"]))}))["utility.pairs.correlation.worst"]
    assert worst.value > 0.7


def test_the_interval_of_a_difference_of_correlations_covers():
    # 200 draws, 99.99 % intervals: fewer than 2 misses are expected once in 10,000 runs
    rng, misses = np.random.default_rng(0), 0
    for _ in range(200):
        samples = [rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], 200) for rho in (0.6, 0.2)]
        found = [float(np.corrcoef(sample.T)[0, 1]) for sample in samples]
        low, high = correlation_change(*found, sizes=(200.0, 200.0), alpha=1e-4)
        misses += not low <= 0.4 <= high
    assert misses < 2


def test_many_columns_are_sampled_and_it_is_said(make_tables, make_card):
    rng = np.random.default_rng(0)
    names = [f"c{i}" for i in range(80)]
    card = make_card({name: {"type": "number"} for name in names})
    sides = [{name: rng.normal(size=60) for name in names} for _ in range(3)]
    detail = pairs.measure(make_tables(*sides, card))["utility.pairs.contingency.worst"].detail
    assert detail["measured"] == pairs.MAX_PAIRS
    assert detail["of"] == 80 * 79 // 2
    assert len(detail["plot"]["names"]) <= 40


def test_one_column_has_no_pairs(make_tables, make_card):
    card = make_card({"x": {"type": "number"}})
    sides = [{"x": np.arange(50.0) + shift} for shift in (0, 100, 0.5)]
    results = pairs.measure(make_tables(*sides, card))
    assert {result.status for result in results.values()} == {"not_applicable"}
