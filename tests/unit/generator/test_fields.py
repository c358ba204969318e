from datetime import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.base import BadTable, GeneratorError
from generator.encoding import CategoryField, NumberField, conform
from generator.fields import make_fields
from generator.grids import make_grid
from generator.marginal.family import _finest
from generator.registry import create
from generator.relations import refuse_impossible
from generator.tally import Tally
from policies.types import PrivacyTarget


@settings(max_examples=80, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.sampled_from([0.0, 0.01, 1.0]), st.integers(4, 300), st.integers(0, 2**32 - 1))
def test_a_cell_gives_back_values_of_its_own_within_the_bounds(low, width, step, cells, seed):
    low, high = (round(low), round(low + width)) if step else (low, low + width)
    grid = make_grid(low, high, step=step, cells=cells)
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, grid.size, 50)
    values = grid.decode(codes, rng)
    assert ((values >= low - 1e-6) & (values <= high + 1e-6)).all()
    assert grid.size <= 2 * cells + 4
    if step:
        assert (grid.encode(values) == codes).all()


def test_values_beyond_the_bounds_count_as_the_bound():
    field = NumberField("a", make_grid(0, 9, step=1.0, cells=20), True, True)
    codes = field.encode({"a": pa.array([-5, 0, 9, 99, None])})[0]
    assert codes.tolist() == [0, 0, 9, 9, 10]


@pytest.mark.parametrize(("has_rest", "can_miss", "code"), [(False, True, 2), (False, False, 1), (True, True, 1)])
def test_a_value_outside_the_domain(has_rest, can_miss, code):
    field = CategoryField("a", ("x", "rest"), can_miss, has_rest)
    assert field.encode({"a": pa.array(["x", "y"])})[0].tolist() == [0, code]


def test_missing_values_come_back_as_missing(shop_card):
    fields = make_fields(shop_card, {"product": ("p",), "amount": (0.0, 100.0)})
    rng = np.random.default_rng(0)
    for field in fields:
        codes = [np.array([v.missing if v.missing is not None else 0]) for v in field.variables]
        for name, column in field.decode(codes, rng).items():
            assert column.null_count == (1 if shop_card.columns[name].missing else 0)


def test_days_keep_their_weekday_and_hours(card_of):
    card = card_of({"at": {"type": "datetime", "bounds": ["2024-01-01", "2024-03-31"], "missing": False}})
    field = make_fields(card, {})[0]
    moments = pa.array([datetime(2024, 1, 1, 5, 30), datetime(2024, 2, 29, 23, 59), datetime(2030, 1, 1)], pa.timestamp("us"))  # noqa: DTZ001
    day, weekday, hour = field.encode({"at": moments})
    assert day.tolist() == [0, 59, 90]
    assert weekday.tolist() == [0, 3, 6]
    assert hour.tolist() == [5, 23, 23]
    back = field.decode([day, weekday, hour], np.random.default_rng(0))["at"].to_pylist()
    assert [(b.date().isoformat(), b.hour) for b in back] == [("2024-01-01", 5), ("2024-02-29", 23), ("2024-03-31", 23)]


@pytest.mark.parametrize("column", [{"type": "category"}, {"type": "number"}, {"type": "date"}])
def test_an_open_column_is_not_encoded_for_free(card_of, column):
    with pytest.raises(GeneratorError, match="open_one"):
        make_fields(card_of({"open_one": column}), {})


def test_a_column_of_another_kind_is_refused_without_its_values(card_of):
    card = card_of({"a": {"type": "integer", "bounds": [0, 9]}})
    with pytest.raises(BadTable, match="'a' cannot be read as integer") as refusal:
        conform(pa.table({"a": ["secret"]}), card.columns)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("column", "values", "possible"),
    [
        ({"type": "integer", "bounds": ["0.5", "9.5"]}, np.arange(1.0, 10), np.arange(1.0, 10)),
        ({"type": "number", "bounds": ["0.005", "0.995"], "decimals": 2}, np.arange(1, 100) / 100, np.arange(1, 100) / 100),
        ({"type": "number", "bounds": ["-0.15", "0.15"], "decimals": 1}, [-0.1, 0.0, 0.1], [-0.1, 0.0, 0.1]),
        ({"type": "integer", "bounds": [2, 4]}, [0, 2, 3, 4, 9], [2, 3, 4]),
    ],
)
def test_bounds_between_possible_values_leave_every_value_between_them(card_of, column, values, possible):
    """Drawn a hundred times as often as there are values, none is left out but with a chance below 1e-40."""
    field = make_fields(card_of({"a": column | {"missing": False}}), {})[0]
    codes = field.encode({"a": pa.array(np.asarray(values, float))})[0]
    assert field.grid.size == len(possible)
    drawn = field.decode([np.repeat(codes, 100)], np.random.default_rng(0))["a"].to_numpy()
    assert np.unique(drawn).tolist() == pytest.approx(np.asarray(possible).tolist())


@pytest.mark.parametrize(
    "column", [{"type": "integer", "bounds": ["0.2", "0.8"]}, {"type": "number", "bounds": ["0.01", "0.02"], "decimals": 1}]
)
def test_bounds_with_no_possible_value_are_refused_by_name(card_of, column):
    with pytest.raises(GeneratorError, match="'narrow'"):
        refuse_impossible(card_of({"narrow": column}))


def test_estimated_bounds_leave_no_value_out(card_of):
    field = make_fields(card_of({"a": {"type": "number", "decimals": 2, "missing": False}}), {"a": (0.0078125, 0.9921875)})[0]
    assert (field.grid.starts[0], field.grid.high) == (0.0, 1.0)


def test_floats_that_are_codes_are_read_as_their_texts_and_nan_as_missing(card_of, target):
    """A table of another reader, given straight to a fit."""
    floats = np.array([1.0, 2.0, np.nan, 1.5, -0.0, 1e16])
    kinds = {"category": {"type": "category"}, "integer": {"type": "integer", "bounds": [0, 9]}, "number": {"type": "number"}}
    for kind in (np.float64, np.float32):
        batch = pa.table({"category": floats.astype(kind), "integer": np.array([1, np.nan, 3, 4, 5, 6], kind), "number": floats})
        found = conform(batch, card_of(kinds).columns)
        assert found["category"].to_pylist()[:5] == ["1", "2", None, "1.5", "0"]
        assert found["category"].null_count == 1
        assert found["integer"].to_pylist() == [1, None, 3, 4, 5, 6]
    boolean = conform(pa.table({"b": [1.0, 0.0, np.nan]}), card_of({"b": {"type": "boolean"}}).columns)["b"]
    assert boolean.to_pylist() == [True, False, None]
    card = card_of({"a": {"type": "category", "values": ["1", "2", "1.5"]}})
    table = pa.table({"a": np.tile([1.0, 2.0, np.nan, 1.5], 300)})
    fitted = create("dp-marginal").fit(table, card=card, target=target, rng=np.random.default_rng(0))
    assert set(pa.Table.from_batches(fitted.sample(500, rng=np.random.default_rng(0)))["a"].to_pylist()) == {
        "1",
        "2",
        "1.5",
        None,
    }


def test_a_part_of_an_integer_is_refused_without_its_value(card_of):
    with pytest.raises(BadTable, match="'a' cannot be read as integer") as refusal:
        conform(pa.table({"a": [1.0, 7.25]}), card_of({"a": {"type": "integer", "bounds": [0, 9]}}).columns)
    assert "7.25" not in str(refusal.value)


@pytest.mark.parametrize(("high", "step"), [(1.0, 1e-4), (99_999.0, 1.0), (20_000.0, 0.01), (1e6, 0.0)])
def test_cells_grow_with_the_value_and_none_is_wide_beside_the_range(high, step):
    grid = make_grid(0.0, high, step=step, cells=512)
    widths = np.diff(np.append(grid.starts, high))
    assert widths.max() <= 1.01 * high / 256 + step
    assert widths[:20].max() <= high / 5000
    assert 256 <= grid.size <= 514


def test_few_wide_columns_get_finer_cells_than_many(card_of):
    """Finer cells tell heavy values apart; that they are told in one pass of a large table sets the limit."""
    wide = {"type": "number", "bounds": [0, 1000], "decimals": 3}
    for count, cells in ((2, 2048), (5, 1024), (16, 512)):
        fields, found = _finest(card_of({f"c{i}": wide for i in range(count)}), {})
        assert found == cells
        assert all(field.grid.size <= cells + 2 for field in fields)
        if cells > 512:
            assert Tally.planned([field.variables[0].size for field in fields], None) is not None


def test_a_comb_keeps_its_teeth(card_of):
    """Thirty values with four digits, as a wind speed has them: two rows in three stay within a thousandth of a tooth.

    Over 40 fits at ε = 1 the share was 0.872 ± 0.006; even rows over all cells would have 0.06.
    """
    teeth = np.round(0.0896 + 0.0149 * np.arange(30), 4)
    rng = np.random.default_rng(0)
    card = card_of({"wind": {"type": "number", "bounds": [0, 1], "decimals": 4, "missing": False}})
    table = pa.table({"wind": teeth[rng.integers(0, 30, 12_000)]})
    target = PrivacyTarget(epsilon=Decimal(1), delta=Decimal("1e-6"))
    fitted = create("dp-marginal").fit(table, card=card, target=target, rng=np.random.default_rng(0))
    drawn = pa.Table.from_batches(fitted.sample(5000, rng=np.random.default_rng(0)))["wind"].to_numpy()
    assert (np.abs(drawn[:, None] - teeth).min(axis=1) < 0.001).mean() > 0.66
