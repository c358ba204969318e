import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from generator.base import FittedGenerator, Generator, GeneratorError, ModelCorrupt
from generator.encoding import arrow_type
from generator.marginal.junction import JunctionTree
from generator.registry import create, load


@pytest.fixture(scope="module")
def fitted(shop, shop_card, target):
    return create("dp-marginal").fit(shop, card=shop_card, target=target, rng=np.random.default_rng(0))


def draw(fitted, rows, seed=1, where=None):
    return pa.Table.from_batches(list(fitted.sample(rows, rng=np.random.default_rng(seed), where=where)))


def test_it_is_what_the_protocols_say(fitted):
    assert isinstance(create("dp-marginal"), Generator)
    assert isinstance(fitted, FittedGenerator)


def test_rows_keep_types_bounds_domains_and_constraints(fitted, shop_card):
    table = draw(fitted, 5000)
    assert table.num_rows == 5000
    for name, column in shop_card.columns.items():
        assert table.schema.field(name).type == arrow_type(column)
    assert pc.all(pc.less(table["low"], table["high"])).as_py()
    assert set(zip(table["city"].to_pylist(), table["country"].to_pylist(), strict=True)) <= {
        ("Rome", "IT"),
        ("Paris", "FR"),
        (None, None),
    }
    assert pc.min(table["age"]).as_py() >= 18
    assert pc.max(table["age"]).as_py() <= 99
    assert table["region"].null_count == 0
    assert set(table["note"].to_pylist()).isdisjoint({"private words"})
    local = pc.local_timestamp(table["at"].combine_chunks()).drop_null()
    assert str(pc.min(local).as_py()) >= "2024-01-01"
    assert str(pc.max(local).as_py()) < "2024-07-01"


def test_missing_values_come_at_their_rate(fitted):
    table = draw(fitted, 8000)
    assert abs(table["age"].null_count / 8000 - 0.1) < 0.05
    assert table["vip"].null_count < 400


def test_rows_per_unit_are_bounded_and_keys_are_synthetic(fitted, shop):
    keys = draw(fitted, 5000)["customer"].drop_null().to_pylist()
    counts = np.unique(keys, return_counts=True)[1]
    assert counts.max() <= 4
    assert counts.mean() > 1.3
    assert set(keys).isdisjoint(set(shop["customer"].to_pylist()))


def test_spent_lists_every_look_and_stays_within_the_target(fitted, target):
    spent = fitted.spent
    assert spent.epsilon <= target.epsilon
    assert spent.unit == "customer"
    assert sum(m.share for m in spent.mechanisms) <= 1
    names = {m.name for m in spent.mechanisms}
    assert {"rows per unit", "bounds", "category values above a threshold", "one-way counts", "counts of a group"} <= names
    assert {m.parameters["sensitivity"] for m in spent.mechanisms if m.name == "one-way counts"} == {4}


def test_conditions_hold_in_every_row(fitted):
    table = draw(fitted, 500, where={"region": "south", "vip": "true"})
    assert set(table["region"].to_pylist()) == {"south"}
    assert set(table["vip"].to_pylist()) == {True}


@pytest.mark.parametrize("where", [{"region": "west"}, {"age": "30"}, {"nowhere": "x"}])
def test_a_condition_that_cannot_be_met_is_refused_by_name(fitted, where):
    with pytest.raises(GeneratorError, match=next(iter(where))):
        draw(fitted, 5, where=where)


def test_equal_seeds_draw_equal_rows_and_a_saved_model_draws_the_same(fitted, tmp_path):
    digest = fitted.save(tmp_path)
    again = load(tmp_path, digest=digest)
    assert draw(again, 700).equals(draw(fitted, 700))
    assert not draw(fitted, 700, seed=2).equals(draw(fitted, 700))
    assert again.spent.to_json() == json.loads(json.dumps(fitted.spent.to_json()))


@pytest.mark.parametrize("file", ["model.json", "model.safetensors"])
def test_an_altered_model_is_not_loaded(fitted, tmp_path, file):
    digest = fitted.save(tmp_path)
    path = tmp_path / file
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ModelCorrupt):
        load(tmp_path, digest=digest)


def test_fits_differ_though_the_seed_is_the_same(shop, shop_card, target):
    tables = [
        draw(create("dp-marginal").fit(shop, card=shop_card, target=target, rng=np.random.default_rng(0)), 300) for _ in range(2)
    ]
    assert not tables[0].equals(tables[1])


def test_batches_and_a_table_are_the_same_thing(shop, shop_card, target):
    fitted = create("dp-marginal").fit(
        shop.to_batches(max_chunksize=500), card=shop_card, target=target, rng=np.random.default_rng(0)
    )
    assert draw(fitted, 10).num_rows == 10


def test_no_rows_and_a_constant_column_are_no_trouble(card_of, target):
    card = card_of({"a": {"type": "integer", "bounds": [3, 3]}, "b": {"type": "category", "values": ["x"]}})
    empty = pa.table({"a": pa.array([], pa.int64()), "b": pa.array([], pa.string())})
    for table in (empty, pa.table({"a": [3] * 50, "b": ["x"] * 50})):
        fitted = create("dp-marginal").fit(table, card=card, target=target, rng=np.random.default_rng(0))
        assert draw(fitted, 20).num_rows == 20
        assert draw(fitted, 0).num_rows == 0


def test_a_target_is_needed(shop, shop_card):
    with pytest.raises(GeneratorError, match="privacy target"):
        create("dp-marginal").fit(shop, card=shop_card, target=None, rng=np.random.default_rng(0))


def test_a_table_without_a_column_is_refused_by_name(shop, shop_card, target):
    with pytest.raises(GeneratorError, match="age"):
        create("dp-marginal").fit(shop.drop_columns(["age"]), card=shop_card, target=target, rng=np.random.default_rng(0))


def test_a_wide_table_costs_each_pair_once_a_round_and_no_search_for_a_path(card_of, target, monkeypatch):
    """Columns without any relation: hardly a pair is joined, so there is hardly a path to search."""
    columns, rounds = 60, 3
    card = card_of({f"c{i}": {"type": "integer", "bounds": [0, 9], "missing": False} for i in range(columns)})
    table = pa.table({name: np.random.default_rng(i).integers(0, 10, 400) for i, name in enumerate(card.columns)})
    compared, searched = [], []
    honest, plan = np.abs, JunctionTree._plan
    monkeypatch.setattr("generator.marginal.measure.np.abs", lambda values: compared.append(1) or honest(values))
    monkeypatch.setattr(JunctionTree, "_plan", lambda tree, *args: searched.append(1) or plan(tree, *args))
    create("dp-marginal", {"rounds": rounds, "picks": 10}).fit(table, card=card, target=target, rng=np.random.default_rng(0))
    pairs = columns * (columns - 1) // 2
    assert len(compared) <= rounds * pairs
    assert len(searched) < pairs


def swing(table):
    """By how much more the target rises from early to late hours on free days than on others."""
    hour, free, busy = (table[name].to_numpy(zero_copy_only=False) for name in ("hour", "free", "busy"))
    rates = [[busy[(free == kind) & part].mean() for part in (hour < 3, hour >= 5)] for kind in (True, False)]
    return (rates[0][1] - rates[0][0]) - (rates[1][1] - rates[1][0])


def test_what_two_columns_together_say_of_the_target_is_learnt(card_of, target):
    """The true swing is 1.15; over 40 fits it was 1.143 ± 0.010, and 0.00 where pairs alone are measured."""
    rng = np.random.default_rng(0)
    hour, free = rng.integers(0, 8, 8000), rng.random(8000) < 0.3
    busy = rng.random(8000) < np.where(free, hour / 8, 0.35 + 0.5 * (hour < 3))
    table = pa.table({"hour": hour, "free": free, "other": rng.integers(0, 5, 8000), "busy": busy})
    flag = {"type": "boolean", "missing": False}
    columns = {"hour": {"type": "integer", "bounds": [0, 7], "missing": False}, "free": flag}
    columns |= {"other": {"type": "integer", "bounds": [0, 4], "missing": False}, "busy": flag}
    fitted = create("dp-marginal").fit(
        table, card=card_of(columns, targets=["busy"]), target=target, rng=np.random.default_rng(0)
    )
    assert swing(table) > 1.1
    assert swing(draw(fitted, 8000)) > 0.9
