"""Marginals: right distances, honest intervals, floors, and every distribution plant named by a metric."""

import numpy as np
import pytest
from scipy.stats import ks_2samp, wasserstein_distance

from evaluator.utility import magnitude, marginals
from evaluator.utility.intervals import tv_noise
from evaluator.utility.marginals import ks_distance, steps, tv_distance, wasserstein
from evaluator.utility.names import segment


def test_distances_equal_those_of_scipy():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=500).round(1), rng.normal(0.3, 1.2, size=700).round(1)
    assert ks_distance(first, second) == pytest.approx(ks_2samp(first, second).statistic, abs=1e-12)
    assert wasserstein(steps(first, second)) == pytest.approx(wasserstein_distance(first, second), abs=1e-12)


def test_total_variation_counts_rows_that_would_have_to_move():
    assert tv_distance(np.array([1, 1, 1, 2]), np.array([1, 1, 2, 2]), 3) == pytest.approx(0.25)
    assert tv_distance(np.array([1, 1]), np.array([2, 2]), 3) == 1.0


def test_fresh_rows_stay_near_the_floor(people_tables):
    results = marginals.measure(people_tables())
    for kind in ("ks", "tv", "wasserstein"):
        worst = results[f"utility.marginals.{kind}.worst"]
        assert worst.status == "ok"
        assert worst.interval[0] == 0.0
        assert worst.value < 3 * worst.detail["floor"] + 0.01


def test_units_times_ten_is_named(people_tables):
    results = marginals.measure(people_tables(lambda c: c | {"income": c["income"] * 10}))
    assert results["utility.marginals.ks.worst"].detail["column"] == "income"
    assert results["utility.marginals.ks.worst"].value > 0.9


def test_a_dropped_region_is_named(people_tables):
    def without_south(columns):
        return columns | {"region": np.where(columns["region"] == "south", "north", columns["region"])}

    results = marginals.measure(people_tables(without_south))
    assert results["utility.marginals.tv.worst"].detail["column"] == "region"
    assert results["utility.marginals.tv.region"].value == pytest.approx(0.3, abs=0.03)


def test_missing_values_are_their_own_metric(people_tables):
    def half_missing(columns):
        income = columns["income"].copy()
        income[::2] = np.nan
        return columns | {"income": income}

    results = marginals.measure(people_tables(half_missing))
    assert results["utility.missingness.income"].value == pytest.approx(0.5)
    assert results["utility.missingness.worst"].detail["column"] == "income"
    assert results["utility.marginals.ks.income"].value < 0.05


def test_a_column_without_any_synthetic_value_is_inconclusive_and_so_is_the_worst(people_tables):
    results = marginals.measure(people_tables(lambda c: c | {"income": np.full(len(c["income"]), np.nan)}))
    assert results["utility.marginals.ks.income"].status == "inconclusive"
    assert results["utility.marginals.ks.worst"].status == "inconclusive"
    assert results["utility.marginals.tv.worst"].status == "ok"


@pytest.mark.parametrize("seed", range(8))
def test_intervals_cover_the_true_distance(make_tables, make_card, seed):
    # 8 seeds x 1 interval of 95 %: DKW is conservative, the true coverage is above 99.9 %
    rng = np.random.default_rng(seed)
    card = make_card({"x": {"type": "number"}})
    tables = make_tables({"x": rng.normal(size=800)}, {"x": rng.normal(size=800)}, {"x": rng.normal(0.5, 1, 800)}, card)
    result = marginals.measure(tables)["utility.marginals.ks.x"]
    true = 0.19741  # Phi(0.25) - Phi(-0.25)
    assert result.interval[0] <= true <= result.interval[1]


def test_rows_of_few_units_give_wider_intervals(make_tables, make_card):
    card = make_card(
        {"who": {"type": "id", "role": "identifier"}, "x": {"type": "number"}}, privacy_unit="who", max_rows_per_unit=100
    )
    rng = np.random.default_rng(0)
    wide = {side: {"who": np.repeat([f"{side}{i}" for i in range(20)], 50), "x": rng.normal(size=1000)} for side in "ths"}
    narrow = {side: {"who": np.array([f"{side}{i}" for i in range(1000)]), "x": rng.normal(size=1000)} for side in "ths"}
    widths = []
    for columns in (wide, narrow):
        tables = make_tables(columns["t"], columns["h"], columns["s"], card)
        result = marginals.measure(tables)["utility.marginals.ks.x"]
        widths.append(result.interval[1] - result.value)
    assert widths[0] > 3 * widths[1]


def test_plots_hold_no_extreme_and_no_rare_label(people_tables):
    def outlier(columns):
        columns["income"][0] = 9e9
        return columns

    results = marginals.measure(people_tables(outlier))
    plot = results["utility.marginals.ks.income"].detail["plot"]
    assert max(plot["x"]) < 5000
    labels = results["utility.marginals.tv.bought"].detail["plot"]["labels"]
    assert set(labels) == {"yes", "no", "(others)"}


def test_two_draws_of_many_rare_values_keep_the_line_that_another_distribution_fails(make_tables, make_card):
    """3,000 articles in 4,000 rows: two draws differ by 0.4 and none of it is a fault. Seed fixed."""
    rng = np.random.default_rng(5)
    card = make_card({"article": {"type": "category"}})
    weights = rng.pareto(1.0, 3000) + 0.2
    first, second, third = (
        {"article": np.array([f"a{k}" for k in rng.choice(3000, 4000, p=weights / weights.sum())])} for _ in "ths"
    )
    other = {"article": np.array([f"a{k}" for k in rng.choice(3000, 4000)])}
    fresh, drifted = (marginals.measure(make_tables(first, second, rows, card)) for rows in (third, other))
    assert fresh["utility.marginals.tv.article"].value > 0.2
    assert fresh["utility.marginals.tv.worst"].value < 0.05
    assert fresh["utility.marginals.tv.worst"].detail["with_noise"] == fresh["utility.marginals.tv.article"].value
    assert drifted["utility.marginals.tv.worst"].value > 0.2


@pytest.mark.parametrize("sizes", [(4000.0, 4000.0), (4000.0, 500.0)])
def test_the_noise_of_total_variation_is_that_of_two_draws(sizes):
    """40 pairs of draws: their mean lies within 3 % of the formula, six standard errors of it. Seed fixed."""
    rng = np.random.default_rng(6)
    weights = rng.pareto(1.0, 800) + 0.05
    weights /= weights.sum()
    seen = [
        0.5
        * np.abs(rng.multinomial(int(sizes[0]), weights) / sizes[0] - rng.multinomial(int(sizes[1]), weights) / sizes[1]).sum()
        for _ in range(40)
    ]
    assert tv_noise(weights, weights, sizes) == pytest.approx(np.mean(seen), rel=0.03)


def test_the_typical_size_does_not_jump_where_half_of_the_counts_are_one(make_tables, make_card):
    card = make_card({"visits": {"type": "integer"}})
    sides = [{"visits": np.r_[np.ones(n, int), np.full(1000 - n, 2), np.zeros(500, int)]} for n in (490, 510, 510)]
    result = magnitude.measure(make_tables(*sides, card))["utility.marginals.magnitude.visits"]
    assert result.value < 0.05
    tenfold = {"visits": sides[2]["visits"] * 10}
    moved = magnitude.measure(make_tables(sides[0], sides[1], tenfold, card))["utility.marginals.magnitude.visits"]
    assert moved.value == pytest.approx(1.0, abs=0.05)


def test_names_never_collide():
    names = ["worst", "mean", "a.b", "a%2Eb", "a*b", "%77orst", "x"]
    assert len({segment(name) for name in names}) == len(names)
    assert not any("." in segment(name) or segment(name) in {"worst", "mean", "none"} for name in names)


def test_a_column_called_worst_does_not_replace_the_aggregate(make_tables, make_card):
    rng = np.random.default_rng(0)
    card = make_card({"worst": {"type": "number"}, "x": {"type": "number"}})
    sides = [{"worst": rng.normal(size=300), "x": rng.normal(shift, 1, 300)} for shift in (0, 0, 5)]
    results = marginals.measure(make_tables(*sides, card))
    assert results["utility.marginals.ks.worst"].detail["column"] == "x"
    assert results["utility.marginals.ks.%77orst"].value < 0.2
