"""Relations of a card: what cannot be kept is refused before a row is read, and what can be is kept in every row."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from generator.base import GeneratorError
from generator.registry import create
from generator.relations import copies
from generator.source import Rows

INTEGER = {"type": "integer", "bounds": [0, 9], "missing": False}
NUMBER = {"type": "number", "bounds": [0, 9], "missing": False}
CATEGORY = {"type": "category", "values": ["x", "y"], "missing": False}
DATE = {"type": "date", "bounds": ["2024-01-01", "2024-12-31"], "missing": False}
KEY = {"type": "id", "role": "identifier", "missing": False}


def equal(a, b):
    return {"columns": [a, b], "relation": "=="}


class Untouched:
    """Batches that nobody may read."""

    def __iter__(self):
        raise AssertionError("a row was read")


@pytest.mark.parametrize(
    ("columns", "constraints", "spec", "named"),
    [
        ({"a": INTEGER, "b": CATEGORY}, [equal("a", "b")], {}, "'a' cannot equal 'b'"),
        ({"a": KEY, "b": CATEGORY}, [equal("a", "b")], {}, "'b' equals 'a', which is never learnt"),
        ({"a": INTEGER, "b": INTEGER | {"bounds": [0, 5]}}, [equal("a", "b")], {}, "same bounds"),
        ({"a": {"type": "datetime", "bounds": ["2024-01-01", "2024-02-01"], "timezone": "Europe/Rome"},
          "b": {"type": "datetime", "bounds": ["2024-01-01", "2024-02-01"]}}, [equal("a", "b")], {}, "time zones"),
        ({"a": INTEGER, "b": CATEGORY}, [{"columns": ["a", "b"], "relation": "<"}], {}, "two numbers or two times"),
        ({"a": INTEGER, "b": DATE}, [{"columns": ["a", "b"], "relation": "<"}], {}, "cannot be compared"),
        ({"a": INTEGER, "b": INTEGER}, [{"columns": ["a", "b"], "relation": r} for r in ("<", ">")], {}, "contradict"),
        ({"a": INTEGER, "b": INTEGER}, [equal("a", "b"), {"columns": ["a", "b"], "relation": "<"}], {}, "contradict"),
        ({"a": INTEGER, "b": CATEGORY}, [{"columns": ["a", "b"], "relation": "combinations", "allowed": [["1", "x"]]}], {}, "'a' is none"),
        ({"a": INTEGER, "who": KEY, "at": DATE | {"role": "identifier"}}, [],
         {"time_index": "at", "privacy_unit": "who", "max_rows_per_unit": 3}, "time_index names 'at'"),
    ],
)  # fmt: skip
def test_what_no_model_can_keep_is_refused_before_a_row_is_read(card_of, target, columns, constraints, spec, named):
    card = card_of(columns, constraints=constraints, **spec)
    with pytest.raises(GeneratorError, match=named):
        create("dp-marginal").fit(Untouched(), card=card, target=target, rng=np.random.default_rng(0))
    with pytest.raises(GeneratorError, match=named):
        Rows(Untouched(), card=card)


def drawn(card, table, target):
    fitted = create("dp-marginal").fit(table, card=card, target=target, rng=np.random.default_rng(0))
    return pa.Table.from_batches(list(fitted.sample(800, rng=np.random.default_rng(1))))


@pytest.fixture(scope="module")
def rows():
    value = np.random.default_rng(0).integers(0, 10, 900)
    return pa.table({"a": value, "b": value.astype(float), "c": value, "d": np.minimum(value + 2, 9), "who": value})


@pytest.mark.parametrize("order", [1, -1])
def test_a_chain_of_equal_columns_in_any_order(card_of, target, rows, order):
    constraints = [equal("a", "b"), equal("b", "c")][::order]
    card = card_of({"a": NUMBER, "b": NUMBER | {"missing": True}, "c": INTEGER, "d": INTEGER}, constraints=constraints)
    assert copies(card) == {"a": "c", "b": "c"}
    made = drawn(card, rows.set_column(0, "a", rows["b"]), target)
    assert made["a"].cast(pa.int64()).equals(made["c"])
    assert made["b"].equals(made["a"])
    assert made["b"].type == pa.float64()


def test_columns_that_equal_each_other_both_ways(card_of):
    card = card_of({"a": INTEGER, "b": INTEGER}, constraints=[equal("a", "b"), equal("b", "a")])
    assert copies(card) == {"b": "a"}


def test_an_order_with_a_copied_column_holds(card_of, target, rows):
    relations = [equal("a", "c"), {"columns": ["c", "d"], "relation": "<="}]
    card = card_of({"a": INTEGER, "c": INTEGER, "d": INTEGER}, constraints=relations)
    made = drawn(card, rows, target)
    assert made["a"].equals(made["c"])
    assert pc.all(pc.less_equal(made["c"], made["d"])).as_py()


def test_a_target_and_a_time_index_may_be_the_second_of_two_equal_columns(card_of, target):
    rng = np.random.default_rng(0)
    day = pa.array(np.datetime64("2024-01-01") + rng.integers(0, 300, 900))
    flag = rng.random(900) < 0.3
    table = pa.table({"who": [f"u{i // 3}" for i in range(900)], "seen": day, "at": day, "flag": flag, "again": flag})
    boolean = {"type": "boolean", "missing": False}
    card = card_of(
        {"who": KEY, "seen": DATE, "at": DATE, "flag": boolean, "again": boolean}, constraints=[equal("seen", "at"), equal("flag", "again")],
        time_index="at", privacy_unit="who", max_rows_per_unit=3, targets=["again"],
    )  # fmt: skip
    assert copies(card) == {"seen": "at", "flag": "again"}
    made = drawn(card, table, target)
    assert made["seen"].equals(made["at"])
    assert made["flag"].equals(made["again"])
