"""Values outside the card's domains are clamped always, and counted where that is asked and paid for."""

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from generator import clamped
from generator.__main__ import main
from generator.base import BadHyperparameters, BadTable
from generator.clamped import count_outside
from generator.registry import create, load
from generator.source import Rows
from generator.zcdp import Account
from policies.types import PrivacyTarget

TARGET = PrivacyTarget(epsilon=Decimal(2), delta=Decimal("1e-6"))
COLUMNS = {
    "age": {"type": "integer", "bounds": [0, 9]},
    "pay": {"type": "number", "bounds": ["0.5", "2.5"], "decimals": 1},
    "town": {"type": "category", "values": ["oslo", "rome"]},
    "on": {"type": "date", "bounds": ["2024-01-01", "2024-01-31"]},
    "at": {"type": "datetime", "bounds": ["2024-01-01", "2024-01-31"], "timezone": "Europe/Berlin"},
    "open": {"type": "integer"},
    "flag": {"type": "boolean"},
}


def table(rows=1):
    """Of six rows: 2 ages, 1 pay, 3 towns, 2 days and 1 time lie outside."""
    edge = datetime(2024, 1, 31, 22, 59, 59, tzinfo=UTC)  # a second before midnight in Berlin
    late = datetime(2024, 1, 31, 23, 0, 1, tzinfo=UTC)
    days = ["2023-12-31", "2024-01-01", "2024-01-31", "2024-02-01", None, "2024-01-15"]
    one = pa.table({
        "age": [0, 9, -1, 10, None, 5], "pay": [0.5, 2.5, 2.6, None, 1.0, 1.0], "town": ["oslo", "bonn", "kiel", "", None, "rome"],
        "on": pa.array([d and datetime.fromisoformat(d).date() for d in days]),
        "at": pa.array([edge, late, edge, None, edge, edge], pa.timestamp("us", tz="UTC")).cast(pa.timestamp("us", tz="Europe/Berlin")),
        "open": [1, 2, 3, 4, 5, 999], "flag": [True, False, None, True, True, True],
    })  # fmt: skip
    return pa.concat_tables([one] * rows)


def test_what_lies_outside_is_counted_and_nothing_else(card_of, monkeypatch):
    monkeypatch.setattr(clamped, "discrete_gaussian", lambda _, size: np.zeros(size, np.int64))
    card = card_of(COLUMNS)
    account = Account(TARGET, unit="row")
    found = count_outside(Rows(table(3), card=card), card=card, account=account, rho=account.total / 10)
    assert {name: one.count for name, one in found.items()} == {"age": 6, "pay": 3, "town": 9, "on": 6, "at": 3}
    assert [name for name, _ in account.trace] == ["values outside the domain"] * 5
    assert account.left >= account.total * 9 / 10


def test_noise_is_for_all_rows_of_a_unit(card_of):
    card = card_of({"who": {"type": "id", "role": "identifier"}, "age": COLUMNS["age"]}, privacy_unit="who", max_rows_per_unit=4)
    account = Account(TARGET, unit="who")
    count_outside(Rows(pa.table({"who": ["a"] * 9, "age": [99] * 9}), card=card), card=card, account=account, rho=account.total)
    assert account.spent().mechanisms[0].parameters["sensitivity"] == 4


def test_a_fit_counts_only_where_it_is_asked(card_of, tmp_path):
    card = card_of(COLUMNS)
    plain = create("dp-marginal").fit(table(200), card=card, target=TARGET, rng=np.random.default_rng(0))
    assert plain.notes["values_outside_domains"] == "not counted"
    assert "values outside the domain" not in {m.name for m in plain.spent.mechanisms}
    asked = create("dp-marginal", {"outside_share": 0.1}).fit(table(200), card=card, target=TARGET, rng=np.random.default_rng(0))
    told = asked.notes["values_outside_domains"]
    assert told["age"]["noise"] < 40
    assert abs(told["age"]["count"] - 400) < 6 * told["age"]["noise"]  # a fair count misses with a chance below 1e-8
    assert asked.spent.epsilon <= TARGET.epsilon
    assert load(tmp_path, digest=asked.save(tmp_path)).notes == asked.notes


def test_batches_that_pass_by_once_are_refused(card_of):
    card = card_of({"age": COLUMNS["age"]})
    with pytest.raises(BadTable, match="read again"):
        create("dp-marginal", {"outside_share": 0.1}).fit(
            iter(table().select(["age"]).to_batches()), card=card, target=TARGET, rng=np.random.default_rng(0)
        )


def test_a_share_that_rounds_to_nothing_is_refused():
    with pytest.raises(BadHyperparameters, match="outside_share"):
        create("dp-marginal", {"outside_share": 0.0001})


def test_the_command_tells_the_count(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("age\n" + "5\n" * 400 + "50\n" * 300)
    (tmp_path / "t.yaml").write_text(
        "apiVersion: ticketgate/v1\nkind: Dataset\nmetadata: {name: t}\n"
        "spec:\n  source: t.csv\n  columns:\n    age: {type: integer, bounds: [0, 9], missing: false}\n"
    )
    told = [
        "--train",
        str(tmp_path / "t.csv"),
        "--card",
        str(tmp_path / "t.yaml"),
        "--generator",
        "dp-marginal",
        "--epsilon",
        "2",
    ]
    assert main([*told, "--rows", "10", "--set", "outside_share=0.2", "--out", str(tmp_path / "o.csv")]) == 0
    assert "values outside the card's domains, with noise: age " in capsys.readouterr().out
