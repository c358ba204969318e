import json
import sys
from subprocess import run

import numpy as np
import pyarrow as pa
import pytest

from generator import registry
from generator.base import BadHyperparameters, Cancelled, GeneratorError, NotAvailable
from generator.trees.family import FittedCart
from policies.types import GENERATORS


def test_families_are_those_of_the_catalogue():
    assert set(registry.FAMILIES) == set(GENERATORS)
    assert {"dp-marginal", "dp-aim", "cart"} <= set(registry.available())


def test_an_unknown_name_is_refused_by_name():
    with pytest.raises(GeneratorError, match="'dp-magic'"):
        registry.create("dp-magic")


def test_an_absent_family_is_never_replaced(monkeypatch):
    monkeypatch.setitem(registry.FAMILIES, "cart", "generator.nowhere.family")
    with pytest.raises(NotAvailable, match="cart"):
        registry.create("cart")


@pytest.mark.parametrize(("values", "word"), [({"depht": 3}, "'depht' is not a hyper-parameter"), ({"depth": 0}, "depth")])
def test_a_wrong_hyperparameter_is_refused_by_name(values, word):
    with pytest.raises(BadHyperparameters, match=word):
        registry.create("cart", values)
    assert "depth" in registry.hyperparameters_schema("cart")["properties"]


def test_naming_generators_loads_nothing_heavy():
    script = "import sys, generator.registry as r; r.available(); sys.exit(any(m in sys.modules for m in ('torch','sklearn','opacus')))"
    assert run([sys.executable, "-c", script], check=False).returncode == 0


def draw(fitted, rows, where=None):
    return pa.Table.from_batches(list(fitted.sample(rows, rng=np.random.default_rng(1), where=where)))


@pytest.fixture(scope="module")
def cart(shop, shop_card):
    return registry.create("cart").fit(shop, card=shop_card, target=None, rng=np.random.default_rng(0))


def test_cart_says_that_it_guarantees_nothing(cart, shop, shop_card, target):
    assert not cart.spent.is_dp
    assert cart.spent.epsilon is None
    with pytest.raises(GeneratorError, match="no privacy guarantee"):
        registry.create("cart").fit(shop, card=shop_card, target=target, rng=np.random.default_rng(0))


def test_cart_copies_values_and_keeps_types(cart, shop, shop_card):
    table = draw(cart, 3000)
    assert table.num_rows == 3000
    assert table.schema.field("at").type == shop.schema.field("at").type
    assert set(table["amount"].to_pylist()) <= set(shop["amount"].to_pylist())
    assert table["age"].null_count > 100
    assert set(table["customer"].to_pylist()).isdisjoint(set(shop["customer"].to_pylist()))


def test_cart_meets_conditions_and_comes_back_from_disk(cart, tmp_path):
    assert set(draw(cart, 200, {"region": "east"})["region"].to_pylist()) == {"east"}
    again = registry.load(tmp_path, digest=cart.save(tmp_path))
    assert isinstance(again, FittedCart)
    assert draw(again, 200).equals(draw(cart, 200))


def test_a_progress_can_cancel(shop, shop_card):
    def stop(share, stage):
        raise Cancelled(stage)

    with pytest.raises(Cancelled):
        registry.create("cart").fit(shop, card=shop_card, target=None, rng=np.random.default_rng(0), progress=stop)


@pytest.fixture
def files(tmp_path):
    card = tmp_path / "card.yaml"
    card.write_text(
        "apiVersion: ticketgate/v1\nkind: Dataset\nmetadata: {name: toy}\nspec:\n  source: t.csv\n  columns:\n"
        "    a: {type: integer, bounds: [0, 9]}\n    b: {type: category, values: [x, y]}\n"
    )
    train = tmp_path / "train.csv"
    train.write_text("a,b\n" + "".join(f"{i % 10},{'xy'[i % 2]}\n" for i in range(500)))
    return tmp_path, ["--train", str(train), "--card", str(card)]


def command(arguments):
    from generator.__main__ import main

    return main(arguments)


def test_the_command_writes_rows_and_prints_what_was_spent(files, capsys):
    folder, given = files
    out = folder / "out.csv"
    code = command(
        [*given, "--generator", "dp-marginal", "--epsilon", "1", "--rows", "40", "--out", str(out), "--seed", "3", "--json"]
    )
    assert code == 0
    assert json.loads(capsys.readouterr().out)["delta"] == "0.000001"
    assert len(out.read_text().splitlines()) == 41


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--generator", "dp-marginal", "--rows", "5"], 2),
        (["--generator", "cart", "--epsilon", "1", "--rows", "5"], 2),
        (["--generator", "dp-marginal", "--epsilon", "-1", "--rows", "5"], 2),
        (["--generator", "dp-marginal", "--epsilon", "1", "--rows", "5", "--delta", "2"], 4),
        (["--generator", "dp-marginal", "--epsilon", "1", "--rows", "5", "--set", "colour=red"], 2),
        (["--generator", "dp-marginal", "--epsilon", "1", "--rows", "5", "--where", "b=z"], 4),
    ],
)
def test_wrong_usage_and_bad_input_have_their_codes(files, capsys, arguments, code):
    folder, given = files
    try:
        got = command([*given, *arguments, "--out", str(folder / "o.csv")])
    except SystemExit as stop:
        got = stop.code
    assert got == code
    assert "Traceback" not in capsys.readouterr().err


def test_a_missing_table_is_one_sentence(files, capsys):
    folder, given = files
    given[1] = str(folder / "nowhere.csv")
    assert command([*given, "--generator", "cart", "--rows", "5", "--out", str(folder / "o.csv")]) == 4
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_large_file_is_read_in_batches(files, monkeypatch):
    import generator.__main__ as module

    folder, given = files
    monkeypatch.setattr(module, "LARGE_BYTES", 1)
    monkeypatch.setattr("generator.source.HELD_BYTES", 1)
    arguments = [*given, "--generator", "dp-marginal", "--epsilon", "1", "--rows", "40", "--out", str(folder / "o.parquet")]
    assert command(arguments) == 0


def test_batches_that_cannot_be_counted_as_they_pass_must_be_readable_again(shop, card_of, target, monkeypatch):
    monkeypatch.setattr("generator.source.HELD_BYTES", 1)
    monkeypatch.setattr("generator.tally.MOST_COUNTERS", 1)
    card = card_of({"age": {"type": "integer", "bounds": [18, 99]}, "vip": {"type": "boolean"}})
    with pytest.raises(GeneratorError, match="read again"):
        registry.create("dp-marginal").fit(iter(shop.to_batches()), card=card, target=target, rng=np.random.default_rng(0))
