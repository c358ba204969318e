"""Awkward tables under `dp-marginal`: whatever the rows hold, what comes out keeps the card's types, bounds, domains and relations."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from generator.encoding import arrow_type
from generator.registry import create
from policies.card import DatasetCard
from policies.tables import read_table
from policies.types import PrivacyTarget

AWKWARD = Path(__file__).resolve().parents[3] / "shared" / "awkward"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.shared,
    pytest.mark.skipif(not AWKWARD.exists(), reason="the folder of awkward tables is not beside the checkout"),
]


def make_card(columns, **spec):
    head = {"apiVersion": "ticketgate/v1", "kind": "Dataset", "metadata": {"name": "t"}}
    return DatasetCard.model_validate(head | {"spec": {"source": "t.csv", "columns": columns, **spec}})


def drawn(train, card, *, epsilon="1", rows=3000):
    target = PrivacyTarget(epsilon=Decimal(epsilon), delta=Decimal("1e-6"))
    fitted = create("dp-marginal").fit(train, card=card, target=target, rng=np.random.default_rng(0))
    assert fitted.spent.epsilon <= Decimal(epsilon)
    return pa.Table.from_batches(list(fitted.sample(rows, rng=np.random.default_rng(1))))


def keeps(table, card):
    """Types, domains, bounds and missingness of every column, as the card has them."""
    for name, column in card.columns.items():
        values = table[name].combine_chunks()
        assert values.type == arrow_type(column), name
        if column.role != "identifier" and not column.missing:
            assert values.null_count == 0, name
        present = values.drop_null()
        if column.values is not None:
            assert set(present.to_pylist()) <= set(column.values), name
        if column.is_numeric and len(present):
            assert pc.all(pc.is_finite(present.cast(pa.float64()))).as_py(), name
        if column.number_bounds() is not None and len(present):
            low, high = column.number_bounds()
            assert low <= pc.min(present).as_py() <= pc.max(present).as_py() <= high, name
        if column.time_bounds() is not None and len(present):
            local = pc.local_timestamp(present) if column.timezone else present
            low, high = (bound.isoformat() for bound in column.time_bounds())
            assert low[:10] <= str(pc.min(local).as_py())[:10] <= str(pc.max(local).as_py())[:10] <= high[:10], name
    return True


def test_five_thousand_categories_of_which_most_are_rare():
    card = make_card({"order_id": {"type": "id", "role": "identifier"}, "sku": {"type": "category", "missing": False},
                      "qty": {"type": "integer", "bounds": [0, 20], "missing": False}})  # fmt: skip
    train = read_table(AWKWARD / "kinds_5000_categories.csv", card=card).table
    made = drawn(train, card)
    assert keeps(made, card)
    seen, true = set(made["sku"].to_pylist()), pc.value_counts(train["sku"]).to_pylist()
    rare = {item["values"] for item in true if item["counts"] <= 3}
    assert len(seen & rare) <= 1  # each passes its threshold with a probability below 1e-8; there are some 4,000
    assert seen <= {item["values"] for item in true} | {"other"}


def test_five_thousand_categories_that_the_card_lists():
    probe = make_card({"sku": {"type": "category"}, "qty": {"type": "integer"}, "order_id": {"type": "id", "role": "identifier"}})
    train = read_table(AWKWARD / "kinds_5000_categories.csv", card=probe).table
    values = sorted(set(train["sku"].to_pylist()))
    card = make_card({"order_id": {"type": "id", "role": "identifier"}, "sku": {"type": "category", "values": values},
                      "qty": {"type": "integer", "bounds": [0, 5], "missing": False}})  # fmt: skip
    assert keeps(drawn(train, card), card)


def test_one_extreme_salary_in_a_town_of_its_own():
    card = make_card({"id": {"type": "id", "role": "identifier"}, "salary": {"type": "number", "decimals": 2, "missing": False},
                      "city": {"type": "category", "missing": False}})  # fmt: skip
    train = read_table(AWKWARD / "numbers_heavy_tail.csv", card=card).table
    made = drawn(train, card)
    assert keeps(made, card)
    lonely = {item["values"] for item in pc.value_counts(train["city"]).to_pylist() if item["counts"] <= 3}
    assert lonely
    assert not lonely & set(made["city"].to_pylist())


@pytest.mark.parametrize("bounds", [None, [0, 100000]])
def test_a_heavy_tail_is_clamped_to_the_bounds(bounds):
    columns = {"id": {"type": "id", "role": "identifier"}, "salary": {"type": "number"}, "city": {"type": "category"}}
    if bounds:
        columns["salary"]["bounds"] = bounds
    card = make_card(columns)
    assert keeps(drawn(read_table(AWKWARD / "numbers_heavy_tail.csv", card=card).table, card), card)


def test_columns_without_information():
    card = make_card({
        "uid": {"type": "id", "role": "identifier"}, "all_null": {"type": "number", "bounds": [0, 1]},
        "constant": {"type": "category"}, "almost_constant": {"type": "category"}, "unique_text": {"type": "text"},
        "mostly_null": {"type": "integer", "bounds": [0, 5]}, "value": {"type": "number", "bounds": [0, 100], "decimals": 3},
    })  # fmt: skip
    train = read_table(AWKWARD / "kinds_null_constant_id.csv", card=card).table
    made = drawn(train, card)
    assert keeps(made, card)
    assert set(made["constant"].drop_null().to_pylist()) <= {"X", "other"}
    rare = {item["values"] for item in pc.value_counts(train["almost_constant"]).to_pylist() if item["counts"] < 10}
    assert not rare & set(made["almost_constant"].to_pylist())
    assert not set(train["unique_text"].to_pylist()) & set(made["unique_text"].to_pylist())
    assert made["all_null"].null_count > 0.5 * made.num_rows


def test_infinities_and_numbers_that_are_none():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, 4000)
    values[:40], values[40:80], values[80:120] = np.inf, -np.inf, np.nan
    card = make_card({"a": {"type": "number", "bounds": [-5, 5]}, "b": {"type": "number"}})
    assert keeps(drawn(pa.table({"a": values, "b": values}), card), card)


def every_type(rng, rows):
    hole = rng.random(rows) < 0.2
    low = rng.integers(-50, 200, rows)
    start = np.datetime64("2024-03-01T00:00:00", "us") + rng.integers(0, 86_400 * 300, rows).astype("timedelta64[s]")
    return pa.table({
        "i": pa.array(low, mask=hole), "n": pa.array(rng.lognormal(3, 2, rows), mask=hole[::-1]),
        "c": pa.array(rng.choice(["x", "y", "z", "unheard of"], rows), mask=hole), "b": pa.array(low > 0, mask=hole),
        "d": pa.array(start.astype("datetime64[D]"), mask=hole), "e": pa.array(start.astype("datetime64[D]") + low.astype(int) % 9),
        "t": pa.array(start, pa.timestamp("us", tz="UTC"), mask=hole).cast(pa.timestamp("us", tz="America/New_York")),
        "x": pa.array(["free words"] * rows, mask=hole), "low": low, "mid": low + rng.integers(1, 5, rows),
        "high": low + rng.integers(5, 50, rows), "city": np.array(["Rome", "Paris"])[rng.integers(0, 2, rows)],
        "country": np.array(["IT", "FR"])[rng.integers(0, 2, rows)],
    })  # fmt: skip


@pytest.mark.parametrize("epsilon", ["0.1", "1", "20"])
@pytest.mark.parametrize("rows", [50, 4000])
def test_every_type_with_holes_and_relations_that_the_rows_themselves_violate(epsilon, rows):
    """Some rows lie beyond the bounds, some name pairs that the card excludes: what comes out does neither."""
    card = make_card(
        {
            "i": {"type": "integer", "bounds": [0, 100]}, "n": {"type": "number", "bounds": [0, 1000], "decimals": 1},
            "c": {"type": "category", "values": ["x", "y", "z"]}, "b": {"type": "boolean"},
            "d": {"type": "date", "bounds": ["2024-04-01", "2024-12-31"]},
            "e": {"type": "date", "bounds": ["2024-04-01", "2025-01-31"], "missing": False},
            "t": {"type": "datetime", "bounds": ["2024-03-01", "2024-12-31"], "timezone": "America/New_York"},
            "x": {"type": "text"}, "low": {"type": "integer", "bounds": [0, 150], "missing": False},
            "mid": {"type": "number", "bounds": [0, 300], "decimals": 2}, "high": {"type": "integer", "bounds": [5, 400]},
            "city": {"type": "category", "values": ["Rome", "Paris"], "missing": False},
            "country": {"type": "category", "values": ["IT", "FR"], "missing": False},
        },
        constraints=[
            {"columns": ["low", "mid"], "relation": "<"}, {"columns": ["mid", "high"], "relation": "<="},
            {"columns": ["e", "d"], "relation": ">="},
            {"columns": ["city", "country"], "relation": "combinations", "allowed": [["Rome", "IT"], ["Paris", "FR"]]},
        ],
    )  # fmt: skip
    made = drawn(every_type(np.random.default_rng(0), rows), card, epsilon=epsilon, rows=2000)
    assert keeps(made, card)
    holds = {"low": (pc.less, "mid"), "mid": (pc.less_equal, "high"), "d": (pc.less_equal, "e")}
    for a, (relation, b) in holds.items():
        assert pc.all(relation(made[a], made[b]).drop_null()).as_py() in {True, None}, (a, b)
    assert pc.all(pc.less(made["low"], made["high"]).drop_null()).as_py() in {True, None}
    assert set(zip(made["city"].to_pylist(), made["country"].to_pylist(), strict=True)) <= {("Rome", "IT"), ("Paris", "FR")}
    assert "free words" not in made["x"].to_pylist()
