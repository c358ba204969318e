"""Tables that break naive metrics: no family may break on them, and every page is drawn.

Warnings are errors in this suite, so a division by zero or an overflow would be seen as a broken family.
"""

import numpy as np
import pyarrow as pa
import pytest

from evaluator import fairness, utility
from evaluator.inputs import check_inputs
from evaluator.render import render_html, render_text
from evaluator.suite import Step, run_steps
from policies.card import DatasetCard

COLUMNS = {
    "x": {"type": "number"},
    "k": {"type": "category"},
    "b": {"type": "boolean"},
    "t": {"type": "text"},
    "at": {"type": "datetime"},
    "y": {"type": "category"},
}
SPEC = {"targets": ["y", "x"], "protected": ["k", "b", "x"], "time_index": "at"}
START = np.datetime64("2024-01-01", "us")


def card_of(columns, **spec):
    document = {"apiVersion": "ticketgate/v1", "kind": "Dataset", "metadata": {"name": "a"}}
    return DatasetCard.model_validate(document | {"spec": {"source": "a", "columns": columns, **spec}})


def rows(many, seed, **given):
    rng = np.random.default_rng(seed)
    made = {
        "x": rng.normal(size=many),
        "k": rng.choice(["a", "b"], many),
        "b": rng.random(many) < 0.5,
        "t": ["hello" * int(times) for times in rng.integers(0, 4, many)],
        "at": START + rng.integers(0, 10**6, many).astype("timedelta64[s]"),
        "y": rng.choice(["p", "q"], many),
    }
    return pa.table({name: pa.array(values) for name, values in (made | given).items()})


def nulls(many):
    kinds = {"x": pa.float64(), "k": pa.string(), "b": pa.bool_(), "t": pa.string(), "at": pa.timestamp("us"), "y": pa.string()}
    return {name: pa.nulls(many, kind) for name, kind in kinds.items()}


def constants(many):
    return {"x": np.ones(many), "k": ["a"] * many, "b": [True] * many, "t": ["z"] * many, "at": [START] * many, "y": ["p"] * many}


def measured(train, holdout, synthetic, card):
    inputs = check_inputs(train=train, holdout=holdout, synthetic=synthetic, card=card, seed=1)
    families = (*utility.FAMILIES, *fairness.FAMILIES)
    return run_steps(inputs, [Step(name=f.name, names=f.names, run=f.run, cost=f.cost) for f in families])


def drawn(report):
    assert report.notes == ()
    for audience in ("auditor", "recipient"):
        assert "</html>" in render_html(report, audience=audience)
    render_text(report)
    return report


@pytest.mark.parametrize(
    ("train", "holdout", "synthetic"),
    [
        (rows(120, 1), rows(90, 2), rows(120, 3, **nulls(120))),
        (rows(120, 1, **nulls(120)), rows(90, 2), rows(120, 3)),
        (rows(120, 1), rows(90, 2, **nulls(90)), rows(120, 3)),
        (rows(120, 1, **constants(120)), rows(90, 2), rows(120, 3)),
        (rows(120, 1), rows(90, 2), rows(120, 3, **constants(120))),
        (rows(2, 1), rows(2, 2), rows(2, 3)),
        (rows(120, 1), rows(90, 2), rows(1, 3)),
    ],
    ids=["synthetic-null", "train-null", "holdout-null", "train-constant", "synthetic-constant", "two-rows", "one-synthetic-row"],
)
def test_degenerate_tables_do_not_break_a_family(train, holdout, synthetic):
    drawn(measured(train, holdout, synthetic, card_of(COLUMNS, **SPEC)))


def test_numbers_at_the_edge_of_floats():
    def side(many, seed):
        rng = np.random.default_rng(seed)
        huge, small, whole = rng.normal(size=many) * 1e300, rng.normal(size=many) * 1e-300, rng.integers(2**62, 2**63 - 1, many)
        return pa.table({"huge": huge, "small": small, "whole": whole})

    columns = {"huge": {"type": "number"}, "small": {"type": "number"}, "whole": {"type": "integer"}}
    drawn(measured(side(200, 1), side(150, 2), side(200, 3), card_of(columns, targets=["huge"], protected=["whole"])))


def test_dates_long_before_1970():
    def side(many, seed):
        rng = np.random.default_rng(seed)
        at = np.datetime64("0100-01-01", "us") + rng.integers(0, 9 * 10**10, many).astype("timedelta64[s]")
        return pa.table(
            {"at": at, "day": np.datetime64("1700-01-01", "D") + rng.integers(0, 99_999, many).astype("timedelta64[D]")}
        )

    columns = {"at": {"type": "datetime"}, "day": {"type": "date"}}
    drawn(measured(side(200, 1), side(150, 2), side(200, 3), card_of(columns, time_index="at")))


def test_a_table_of_two_units_decides_nothing_about_people():
    def side(many, seed, unit):
        return rows(many, seed).append_column("u", pa.array([f"{unit}{row % 2}" for row in range(many)]))

    card = card_of({"u": {"type": "id", "role": "identifier"}, **COLUMNS}, privacy_unit="u", max_rows_per_unit=400, **SPEC)
    report = drawn(measured(side(200, 1, "t"), side(100, 2, "h"), side(200, 3, "s"), card))
    assert report.metrics["utility.distinguishability.auc"].status == "inconclusive"
    assert report.metrics["utility.marginals.ks.x"].interval == (0.0, 1.0)
