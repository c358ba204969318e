"""What a card states to be the same in all rows of a unit is the same in all its synthetic rows."""

from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError

from generator.registry import create, load
from policies.types import PrivacyTarget

ROWS = 12_000
COLUMNS = {
    "who": {"type": "id", "role": "identifier"},
    "region": {"type": "category", "values": ["n", "s", "e", "w"], "missing": False, "per_unit": True},
    "town": {"type": "category", "values": ["n1", "n2", "s1", "s2", "e1", "e2", "w1", "w2"], "missing": False, "per_unit": True},
    "born": {"type": "date", "bounds": ["1940-01-01", "2024-06-30"], "per_unit": True},
    "height": {"type": "number", "bounds": [0, 250], "decimals": 1, "missing": False, "per_unit": True},
    "height_again": {"type": "number", "bounds": [0, 250], "decimals": 1, "missing": False, "per_unit": True},
    "seen": {"type": "date", "bounds": ["1990-01-01", "2024-12-31"], "missing": False},
    "note": {"type": "text", "per_unit": True},
    "at": {"type": "datetime", "bounds": ["2024-01-01", "2024-12-31"]},
    "amount": {"type": "number", "bounds": [0, 1000], "decimals": 2, "missing": False},
}
SPEC = {
    "privacy_unit": "who",
    "max_rows_per_unit": 6,
    "time_index": "at",
    "constraints": [
        {"columns": ["region", "town"], "relation": "combinations", "allowed": [[t[0], t] for t in COLUMNS["town"]["values"]]},
        {"columns": ["born", "seen"], "relation": "<="},
        {"columns": ["height", "height_again"], "relation": "=="},
    ],
}


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(0)
    count = 4000
    region, side = rng.integers(0, 4, count), rng.integers(1, 3, count)
    born = np.datetime64("1940-01-01") + rng.integers(0, 29_000, count)
    who = rng.integers(0, count, ROWS)
    names = np.array(["n", "s", "e", "w"])
    seen = np.maximum(born[who], np.datetime64("1990-01-01")) + rng.integers(0, 300, ROWS)
    start = datetime(2024, 1, 1)  # noqa: DTZ001
    return pa.table(
        {
            "who": [f"p{w}" for w in who],
            "region": names[region][who],
            "town": [f"{names[region[w]]}{side[w]}" for w in who],
            "born": pa.array(born[who], mask=(who % 10) == 0),
            "height": np.round(170.0 + 10 * region + side, 1)[who],
            "height_again": np.round(170.0 + 10 * region + side, 1)[who],
            "seen": pa.array(seen),
            "note": ["private"] * ROWS,
            "at": pa.array([start + timedelta(hours=float(h)) for h in rng.random(ROWS) * 8000], pa.timestamp("us")),
            "amount": np.round(100.0 * (1 + region[who]) + rng.random(ROWS) * 50, 2),
        }
    )


def fitted(card, table):
    """ε = 30 lets the tests look for structure; what must hold holds at any ε."""
    target = PrivacyTarget(epsilon=Decimal(30), delta=Decimal("1e-6"))
    return create("dp-marginal").fit(table, card=card, target=target, rng=np.random.default_rng(0))


def drawn(model, rows=ROWS):
    return pa.Table.from_batches(list(model.sample(rows, rng=np.random.default_rng(1)))).to_pandas(date_as_object=False)


@pytest.fixture(scope="module")
def card(card_of_module):
    return card_of_module(COLUMNS, **SPEC)


@pytest.fixture(scope="module")
def card_of_module():
    from policies.card import DatasetCard

    return lambda columns, **spec: DatasetCard.model_validate(
        {
            "apiVersion": "ticketgate/v1",
            "kind": "Dataset",
            "metadata": {"name": "t"},
            "spec": {"source": "t", "columns": columns, **spec},
        }
    )


@pytest.fixture(scope="module")
def model(card, people):
    return fitted(card, people)


@pytest.fixture(scope="module")
def rows(model):
    return drawn(model)


@pytest.mark.parametrize("name", ["region", "town", "born", "height", "height_again", "note"])
def test_a_shared_value_is_one_value_of_the_unit(rows, name):
    assert rows.groupby("who")[name].nunique(dropna=False).max() == 1
    assert len(set(rows[name])) > 1
    assert rows.groupby("who").size().max() > 3


def test_without_the_statement_values_vary(card_of_module, people):
    columns = {name: {k: v for k, v in column.items() if k != "per_unit"} for name, column in COLUMNS.items()}
    found = drawn(fitted(card_of_module(columns, **SPEC), people))
    assert found.groupby("who")["region"].nunique().max() > 1


def test_relations_hold_in_every_row(rows):
    assert (rows["town"].str[0] == rows["region"]).all()
    assert (rows["height"] == rows["height_again"]).all()
    both = rows["born"].notna()
    assert (rows["born"][both] <= rows["seen"][both]).all()
    assert rows["born"].dropna().between("1940-01-01", "2024-06-30").all()


def test_what_varies_still_depends_on_what_is_shared(rows, people):
    """At ε = 30 the mean amounts of regions, 100 apart, are met to 30; without care for likeness they would all be 275."""
    means, truth = (t.groupby("region")["amount"].mean() for t in (rows, people.to_pandas()))
    assert (means - truth).abs().max() < 30
    assert abs(rows["region"].value_counts(normalize=True) - 0.25).max() < 0.06


def test_rows_that_may_differ_do(rows):
    assert rows.groupby("who")["amount"].nunique().max() > 1


def test_times_still_follow_the_gaps(rows, people):
    gaps = [
        np.sort(t.sort_values(["who", "at"]).groupby("who")["at"].diff().dropna().dt.total_seconds().to_numpy())
        for t in (rows, people.to_pandas())
    ]
    both = np.concatenate(gaps)
    ks = np.abs(np.subtract(*(np.searchsorted(g, both, "right") / len(g) for g in gaps))).max()
    assert ks < 0.12


def test_a_saved_model_keeps_them(model, rows, tmp_path):
    again = drawn(load(tmp_path, digest=model.save(tmp_path)))
    pd.testing.assert_frame_equal(again, rows)


def test_no_rows_and_a_condition_are_no_trouble(model):
    assert len(drawn(model, 0)) == 0
    one = next(iter(model.sample(400, rng=np.random.default_rng(0)))).to_pandas()
    assert one.groupby("who")["region"].nunique().max() == 1


def test_without_a_time_index_they_are_shared_too(card_of_module, people):
    card = card_of_module(COLUMNS, **{k: v for k, v in SPEC.items() if k != "time_index"})
    found = drawn(fitted(card, people))
    assert found.groupby("who")[["town", "born"]].nunique(dropna=False).max().max() == 1


def squeezed():
    return {
        "who": {"type": "id", "role": "identifier"},
        "b": {"type": "integer", "bounds": [0, 9], "per_unit": True},
        "a": {"type": "integer", "bounds": [0, 9]},
        "c": {"type": "integer", "bounds": [0, 9]},
    }


def test_a_shared_column_between_two_that_vary_is_refused(card_of_module):
    relations = [{"columns": ["a", "b"], "relation": "<="}, {"columns": ["b", "c"], "relation": "<="}]
    card = card_of_module(squeezed(), privacy_unit="who", max_rows_per_unit=3, constraints=relations)
    with pytest.raises(Exception, match="'b' is per_unit, but must lie between"):
        fitted(card, pa.table({"who": ["x"], "a": [1], "b": [2], "c": [3]}))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, "names no privacy_unit"),
        ({"privacy_unit": "who", "max_rows_per_unit": 2, "time_index": "at"}, "at one time"),
        (
            {
                "privacy_unit": "who",
                "max_rows_per_unit": 2,
                "constraints": [{"columns": ["r", "t"], "relation": "combinations", "allowed": [["a", "b"]]}],
            },
            "so must be the other columns",
        ),
    ],
)
def test_cards_that_contradict_themselves_are_refused(card_of_module, spec, said):
    columns = {
        "who": {"type": "id", "role": "identifier"},
        "at": {"type": "date", "per_unit": True},
        "r": {"type": "category", "per_unit": True},
        "t": {"type": "category"},
    }
    with pytest.raises(ValidationError, match=said):
        card_of_module(columns, **spec)
