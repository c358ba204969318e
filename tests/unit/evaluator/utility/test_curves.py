"""Plots show distributions and nobody's value."""

import numpy as np
import pytest

from evaluator.utility import marginals
from evaluator.utility.curves import grid


@pytest.mark.parametrize("rows", [19, 40, 99, 5000])
def test_no_plot_shows_a_value_that_few_people_hold(make_tables, make_card, rows):
    """Fewer than a hundred rows, or nearly all of them one value: the ends were somebody's value, in full precision."""
    rng = np.random.default_rng(rows)
    card = make_card({"x": {"type": "number"}, "y": {"type": "number"}})

    def made():
        zeros = np.zeros(rows)
        zeros[: max(1, rows // 250)] = rng.uniform(1e6, 1e7, max(1, rows // 250))
        return {"x": zeros, "y": rng.normal(40, 10, rows)}

    train = made()
    results = marginals.measure(make_tables(train, made(), made(), card))
    for name in ("x", "y"):
        plot = results[f"utility.marginals.ks.{name}"].detail["plot"]
        shown = np.array(plot["x"])
        assert not set(train[name][train[name] != 0]) & set(shown)
        assert len(plot["train"]) == len(plot["synthetic"]) == len(shown)
        if rows == 19:
            assert len(shown) == 0
        else:
            assert (train[name] <= shown.max()).sum() <= rows
            assert (train[name] >= shown[shown <= train[name].max()].max()).sum() >= 10 or name == "x"
            assert shown.max() < 1e5
    if rows > 19:
        jump = results["utility.marginals.ks.x"].detail["plot"]
        assert jump["x"][1] == 0
        assert jump["train"] == [
            0.0,
            pytest.approx(1 - max(1, rows // 250) / rows),
            pytest.approx(1 - max(1, rows // 250) / rows),
        ]


def test_the_points_of_a_plot_follow_the_middle_of_train(make_tables, make_card):
    values = np.exp(np.random.default_rng(0).normal(0, 2, 4000))
    points = grid(values)
    assert len(points) > 40
    assert (np.diff(points) > 0).all()
    assert np.quantile(values, 0.009) < points[0] < np.quantile(values, 0.2)
    assert points[-1] <= np.quantile(values, 0.991)
