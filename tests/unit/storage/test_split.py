"""The split: fixed, keyed, per unit, and fast enough for a million units."""

from __future__ import annotations

import hashlib
import hmac
import math
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from gateway.storage.split import is_held_out, split_units
from policies.card import DatasetCard
from policies.tables import TableInvalid

KEY = bytes(range(32))


def card_of(unit: str | None = None, fraction: str = "0.2") -> DatasetCard:
    spec: dict[str, object] = {
        "source": "t",
        "holdout": {"fraction": fraction},
        "columns": {"uid": {"type": "id", "role": "identifier"}, "n": {"type": "integer"}},
    }
    if unit:
        spec |= {"privacy_unit": unit, "max_rows_per_unit": 5}
    return DatasetCard.model_validate({"apiVersion": "ticketgate/v1", "kind": "Dataset", "metadata": {"name": "d"}, "spec": spec})


def table_of(rows: int, units: int) -> pa.Table:
    return pa.table({"uid": [f"u{n % units}" for n in range(rows)], "n": list(range(rows))})


def test_all_rows_of_a_unit_are_on_one_side_and_none_is_lost():
    table = table_of(5000, 700)
    train, holdout = split_units(table, card=card_of("uid"), key=KEY)
    assert not set(train.column("uid").to_pylist()) & set(holdout.column("uid").to_pylist())
    assert sorted(train.column("n").to_pylist() + holdout.column("n").to_pylist()) == list(range(5000))


def test_a_unit_keeps_its_side_whatever_else_changes():
    card = card_of("uid")
    held = set(split_units(table_of(5000, 700), card=card, key=KEY)[1].column("uid").to_pylist())
    order = np.random.default_rng(7).permutation(5000)
    shuffled = table_of(5000, 700).take(order).slice(0, 3000)
    again = set(split_units(shuffled, card=card, key=KEY)[1].column("uid").to_pylist())
    assert again == held & set(shuffled.column("uid").to_pylist())


def test_the_side_is_the_published_function():
    line = int(Decimal("0.2") * (1 << 64))
    units = [b"unit:%d" % n for n in range(200)]
    for key in (KEY, b"k" * 64, b"k" * 100):
        numbers = [int.from_bytes(hmac.new(key, unit, hashlib.sha256).digest()[:8], "big") for unit in units]
        assert is_held_out(units, key=key, fraction=Decimal("0.2")) == [number < line for number in numbers]


def test_a_row_is_a_unit_where_the_card_names_none():
    table = table_of(2000, 3)
    train, holdout = split_units(table, card=card_of(), key=KEY)
    assert train.num_rows + holdout.num_rows == 2000
    assert split_units(table.slice(0, 1500), card=card_of(), key=KEY)[1].equals(
        holdout.filter(pa.compute.less(holdout.column("n"), 1500))
    )


def test_the_fraction_is_kept_and_sides_are_independent_of_the_key_holder_only():
    """Binomial(20,000, p) stays within 5 standard deviations: false alarm below 6e-7 a fraction; keys are fixed anyway."""
    units = [b"unit:%d" % n for n in range(20_000)]
    for fraction in (Decimal("0.05"), Decimal("0.2"), Decimal("0.5")):
        held = sum(is_held_out(units, key=KEY, fraction=fraction))
        p = float(fraction)
        assert abs(held - 20_000 * p) < 5 * math.sqrt(20_000 * p * (1 - p))
    one = is_held_out(units, key=KEY, fraction=Decimal("0.5"))
    other = is_held_out(units, key=b"x" * 32, fraction=Decimal("0.5"))
    same = sum(a == b for a, b in zip(one, other, strict=True))
    assert abs(same - 10_000) < 5 * math.sqrt(5_000)


def test_rows_without_a_unit_are_refused():
    table = pa.table({"uid": ["a", None, "b"], "n": [1, 2, 3]})
    with pytest.raises(TableInvalid, match=r"1 rows? ha(s|ve) no value in 'uid'"):
        split_units(table, card=card_of("uid"), key=KEY)


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_units_are_refused(rows):
    with pytest.raises(TableInvalid, match="too few privacy units"):
        split_units(table_of(rows, 1), card=card_of("uid"), key=KEY)


def test_short_keys_and_impossible_fractions_are_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        is_held_out([b"a"], key=b"short", fraction=Decimal("0.2"))
    with pytest.raises(ValueError, match="strictly"):
        is_held_out([b"a"], key=KEY, fraction=Decimal(1))
