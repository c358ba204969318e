"""Noisy metrics: the budget is kept, neighbours are close, the noise has the scale it says, and n is not told."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from evaluator.dp_release import _queries, noisy_metrics
from evaluator.inputs import check_inputs
from evaluator.utility.tables import tables_of
from policies.card import DatasetCard


def card_of(**spec):
    columns = {"age": {"type": "integer", "bounds": [0, 100]}, "kind": {"type": "category"}, "free": {"type": "number"}}
    columns = {"who": {"type": "id", "role": "identifier"}, **columns} if spec else columns
    document = {"apiVersion": "ticketgate/v1", "kind": "Dataset", "metadata": {"name": "a"}}
    return DatasetCard.model_validate(document | {"spec": {"source": "a", "columns": columns, **spec}})


def side(rows, seed):
    rng = np.random.default_rng(seed)
    age = pa.array(
        [None if missing else int(x) for x, missing in zip(rng.integers(0, 101, rows), rng.random(rows) < 0.1, strict=True)]
    )
    return {"age": age, "kind": pa.array(rng.choice(["a", "b", "c"], rows)), "free": pa.array(rng.normal(size=rows))}


def inputs_of(train, card=None):
    return check_inputs(
        train=pa.table(train), holdout=pa.table(side(200, 2)), synthetic=pa.table(side(500, 3)), card=card or card_of(), seed=1
    )


def queries_of(train):
    return _queries(tables_of(inputs_of(train)), np.arange(len(train["kind"])))


def test_the_parts_never_exceed_the_whole():
    release = noisy_metrics(inputs_of(side(400, 1)), epsilon=Decimal("0.7"))
    assert sum(metric.epsilon for metric in release.metrics.values()) <= Decimal("0.7")
    assert set(release.metrics) == {
        "train.units",
        "utility.marginals.ks.age",
        "mean.age",
        "utility.marginals.tv.kind",
        "utility.marginals.ks.free",
    }
    assert all(0 <= metric.value <= 100 for name, metric in release.metrics.items() if name != "train.units")
    assert release.to_json()["neighbours"] == "add-remove"
    assert release.to_json()["epsilon"] == "0.7"


@pytest.mark.parametrize("seed", range(20))
def test_one_person_more_or_less_moves_no_sum_beyond_its_sensitivity(seed):
    rng = np.random.default_rng(seed)
    train = side(150, 1)
    more = {name: values.to_pylist() for name, values in train.items()}
    row = int(rng.integers(150))
    more["age"].insert(row, [None, 0, 100, -500, 10**6][seed % 5])
    more["kind"].insert(row, [None, "a", "new"][seed % 3])
    more["free"].insert(row, [None, 1e300, -1e300, 0.0][seed % 4])
    changed = {
        "age": pa.array(more["age"], pa.int64()),
        "kind": pa.array(more["kind"]),
        "free": pa.array(more["free"], pa.float64()),
    }
    before, after = queries_of(train), queries_of(changed)
    for name, query in before.items():
        assert abs(query.total - after[name].total) <= query.sensitivity * (1 + 1e-9), name
        assert query.sensitivity == after[name].sensitivity, "the noise must not depend on the table"


def test_the_noise_is_laplace_of_the_stated_scale():
    # mean of |noise| over 400 draws is scale +- 5 %; a miss of 30 % has a chance below 1e-8
    inputs = inputs_of(side(400, 1))
    query = _queries(tables_of(inputs), np.arange(400))["mean.age"]
    exact = query.centre + query.total / 400
    drawn = [noisy_metrics(inputs, epsilon=Decimal(40)).metrics["mean.age"] for _ in range(400)]
    spread = np.mean([abs(metric.value - exact) for metric in drawn])
    assert spread == pytest.approx(drawn[0].scale, rel=0.3)
    assert len({metric.value for metric in drawn}) > 390


def test_the_number_of_people_is_told_with_noise_only():
    told = {noisy_metrics(inputs_of(side(400, 1)), epsilon=Decimal(1)).metrics["train.units"].value for _ in range(60)}
    assert len(told) > 10  # Laplace of scale 5: sixty equal draws have a chance below 1e-50


def test_with_a_privacy_unit_one_row_of_each_counts():
    train = side(600, 1) | {"who": pa.array([f"p{row // 4}" for row in range(600)])}
    card = card_of(privacy_unit="who", max_rows_per_unit=4)
    holdout = side(200, 2) | {"who": pa.array([f"q{row}" for row in range(200)])}
    inputs = check_inputs(train=pa.table(train), holdout=pa.table(holdout), synthetic=pa.table(side(500, 3)), card=card, seed=1)
    release = noisy_metrics(inputs, epsilon=Decimal(20))
    assert release.unit == "who"
    assert release.metrics["mean.age"].scale == pytest.approx(50 / 4 / 150, rel=0.1)  # 150 units, told with noise of scale 0.25


@pytest.mark.parametrize("epsilon", ["0", "-1", "NaN", "Infinity", "1e-12"])
def test_an_epsilon_that_buys_nothing_is_refused(epsilon):
    with pytest.raises(ValueError, match="epsilon"):
        noisy_metrics(inputs_of(side(400, 1)), epsilon=Decimal(epsilon))


def test_too_few_people_are_refused():
    with pytest.raises(ValueError, match="fewer than about 100"):
        noisy_metrics(inputs_of(side(50, 1)), epsilon=Decimal(10))  # noise of scale 0.5: by chance below 1e-40
