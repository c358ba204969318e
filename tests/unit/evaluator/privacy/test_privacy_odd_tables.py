"""Tables at the edge: nothing breaks, and nothing that could not be measured gets a value."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from evaluator.inputs import check_inputs
from evaluator.privacy import FAMILIES, PrivacyOptions
from evaluator.privacy.attacks import cross_fitted
from policies.metric_catalogue import lookup

N = 260


def odd(kind: str, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    columns = {
        "void": {"v": pa.nulls(N, pa.float64()), "c": pa.nulls(N, pa.string()), "x": pa.array(rng.normal(size=N))},
        "constant": {"v": pa.array([7.0] * N), "c": pa.array(["same"] * N)},
        "one number": {"x": pa.array(rng.normal(size=N))},
        "one flag": {"b": pa.array(rng.random(N) < 0.5)},
        "huge": {"n": pa.array(rng.integers(-(2**62), 2**62, N)), "x": pa.array(rng.normal(size=N) * 1e300)},
        "times": {
            "t": pa.array([datetime.fromtimestamp(int(s), UTC) for s in rng.integers(0, 2**31, N)], pa.timestamp("us", tz="UTC"))
        },
        "names": {"a.b": pa.array(rng.choice(["x", "y*", "z%"], N)), "worst": pa.array(rng.integers(0, 9, N))},
    }[kind]
    return pa.table(columns)


TYPES = {
    pa.float64(): "number",
    pa.string(): "category",
    pa.bool_(): "boolean",
    pa.int64(): "integer",
    pa.timestamp("us", tz="UTC"): "datetime",
}


@pytest.mark.parametrize("kind", ["void", "constant", "one number", "one flag", "huge", "times", "names"])
@pytest.mark.parametrize("role", ["sensitive", "quasi-identifier"])
def test_odd_tables_are_measured_without_breaking(make_card, kind: str, role: str) -> None:
    train = odd(kind, 1)
    card = make_card({field.name: {"type": TYPES[field.type], "role": role} for field in train.schema})
    holdout = train if kind == "constant" else odd(kind, 2)
    inputs = check_inputs(train=train, holdout=holdout, synthetic=odd(kind, 3), card=card, seed=0)
    for family in FAMILIES:
        for name, result in family.run(inputs, PrivacyOptions()).items():
            assert lookup(name) is not None, name
            assert name.startswith(family.names), name
            json.dumps(result.to_json(), allow_nan=False)
            assert result.p_value is None or result.p_value > 1e-5, name


def test_a_column_that_differs_in_one_half_only_does_not_break_the_classifier() -> None:
    rng = np.random.default_rng(0)
    features = np.stack(
        [np.r_[1.0, np.zeros(399)], np.r_[3.0, np.full(399, np.nan)], np.r_[np.full(9, 2.0), np.full(391, np.nan)]], axis=1
    )
    member = np.arange(400) % 2 == 0
    assert np.isfinite(cross_fitted(features, member, rng)).all()


def test_units_of_many_sizes_are_measured(make_people, make_card) -> None:
    rng = np.random.default_rng(0)
    columns = {name: column.model_dump(exclude_none=True, exclude={"missing"}) for name, column in make_card().columns.items()}
    columns["who"] = {"type": "id", "role": "identifier"}
    card = make_card(columns, privacy_unit="who", max_rows_per_unit=1000)
    sides = []
    for seed, prefix in ((1, "t"), (2, "h")):
        owner = np.sort(np.minimum(rng.pareto(0.7, 1500), 300).astype(int))
        sides.append(make_people(1500, seed).append_column("who", pa.array([f"{prefix}{o}" for o in owner])))
    inputs = check_inputs(train=sides[0], holdout=sides[1], synthetic=make_people(800, 3), card=card, seed=0)
    for family in FAMILIES:
        for result in family.run(inputs, PrivacyOptions(max_queries=500)).values():
            json.dumps(result.to_json(), allow_nan=False)


def test_more_rows_than_the_plan_searches_are_sampled(make_people, make_card) -> None:
    inputs = check_inputs(
        train=make_people(900, 1), holdout=make_people(700, 2), synthetic=make_people(900, 3), card=make_card(), seed=0
    )
    options = PrivacyOptions(max_queries=300, max_references=400)
    results = {}
    for family in FAMILIES:
        results |= family.run(inputs, options)
    assert results["privacy.membership_inference.auc"].n == 600
    assert results["privacy.copies.excess_share"].n > 1500  # hashes see all rows
