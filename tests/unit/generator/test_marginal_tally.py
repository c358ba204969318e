"""Tables that are too large to hold are counted while they pass by once, and give the same counts."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest

from generator import source
from generator.base import BadTable
from generator.registry import create
from generator.tally import MOST_COUNTERS, Tally


@pytest.fixture
def wide(card_of):
    rng = np.random.default_rng(3)
    columns = {f"c{i}": rng.integers(0, 5, 4000) for i in range(5)}
    columns["c1"] = np.where(rng.random(4000) < 0.8, columns["c0"], columns["c1"])
    stated = {"type": "integer", "bounds": [0, 4], "missing": False}
    return card_of(dict.fromkeys(columns, stated), targets=["c4"]), pa.table(columns)


class Reads:
    """Batches that count how often they are read from the start."""

    def __init__(self, table):
        self.table, self.times = table, 0

    def __iter__(self):
        self.times += 1
        yield from self.table.to_batches(max_chunksize=500)


@pytest.mark.parametrize("third", [None, 0, 3])
def test_any_pair_in_any_bins_is_a_sum_of_the_tally(third):
    rng = np.random.default_rng(1)
    sizes = [3, 7, 4, 2]
    codes = [rng.integers(0, size, 900).astype(np.int16) for size in sizes]
    tally = Tally.planned(sizes, third)
    for start in range(0, 900, 250):
        tally.add([column[start : start + 250] for column in codes])
    maps = {v: np.arange(size) // 2 for v, size in enumerate(sizes)}
    groups = [(v,) for v in range(4)] + list(combinations(range(4), 2))
    groups += [tuple(sorted({*pair, third})) for pair in combinations(range(4), 2) if third is not None and third not in pair]
    for group in groups:
        expected = np.zeros([int(maps[v].max()) + 1 for v in group], np.int64)
        np.add.at(expected, tuple(maps[v][codes[v]] for v in group), 1)
        assert (tally.counts(group, maps) == expected).all(), group
    assert tally.tells_all_with(third)
    assert tally.can_tell((0, 1, 2)) == (third == 0)


def test_the_plan_keeps_memory_bounded_whatever_the_card_says():
    pairs_only = Tally.planned([300] * 15, 0)
    assert pairs_only.can_tell((1, 2))
    assert not pairs_only.can_tell((0, 1, 2))
    assert Tally.planned([int(MOST_COUNTERS**0.5) + 1] * 2, None) is None


@pytest.mark.parametrize("name", ["dp-marginal", "dp-aim"])
def test_a_large_table_is_read_once(wide, target, monkeypatch, name):
    monkeypatch.setattr(source, "HELD_BYTES", 2000)
    batches = Reads(wide[1])
    fitted = create(name).fit(batches, card=wide[0], target=target, rng=np.random.default_rng(0))
    assert batches.times == 1
    drawn = pa.Table.from_batches(fitted.sample(4000, rng=np.random.default_rng(0)))
    assert (drawn["c1"].to_numpy() == drawn["c0"].to_numpy()).mean() > 0.6  # 0.84 in the table, 0.2 if independent
    counted = np.bincount(drawn["c0"].to_numpy(), minlength=5)
    assert abs(counted - np.bincount(wide[1]["c0"].to_numpy(), minlength=5)).max() < 200


def test_what_passes_by_once_is_enough(wide, target, monkeypatch):
    monkeypatch.setattr(source, "HELD_BYTES", 2000)
    fitted = create("dp-marginal").fit(
        iter(wide[1].to_batches(max_chunksize=500)), card=wide[0], target=target, rng=np.random.default_rng(0)
    )
    assert sum(batch.num_rows for batch in fitted.sample(100, rng=np.random.default_rng(0))) == 100


def test_a_table_that_needs_a_second_pass_says_so_at_once(wide, target, monkeypatch):
    monkeypatch.setattr(source, "HELD_BYTES", 2000)
    monkeypatch.setattr("generator.tally.MOST_COUNTERS", 10)
    with pytest.raises(BadTable, match="read again"):
        create("dp-marginal").fit(
            iter(wide[1].to_batches(max_chunksize=500)), card=wide[0], target=target, rng=np.random.default_rng(0)
        )
    batches = Reads(wide[1])
    create("dp-marginal").fit(batches, card=wide[0], target=target, rng=np.random.default_rng(0))
    assert batches.times > 1


def test_a_tally_is_charged_like_any_other_look(wide, target, monkeypatch):
    held = create("dp-marginal").fit(wide[1], card=wide[0], target=target, rng=np.random.default_rng(0)).spent
    monkeypatch.setattr(source, "HELD_BYTES", 2000)
    streamed = create("dp-marginal").fit(Reads(wide[1]), card=wide[0], target=target, rng=np.random.default_rng(0)).spent
    ones = [[Fraction(m.parameters["variance"]) for m in s.mechanisms if m.name == "one-way counts"] for s in (held, streamed)]
    assert ones[0] == ones[1]
    assert streamed.epsilon <= target.epsilon


class Spent:
    """Batches that look as if they could be read again, and are used up."""

    def __init__(self, table):
        self.left = iter(table.to_batches(max_chunksize=500))

    def __iter__(self):
        return (batch for batch in self.left)


@pytest.mark.parametrize("spec", [{}, {"privacy_unit": "who", "max_rows_per_unit": 2}])
def test_batches_that_are_used_up_are_refused_and_not_taken_for_no_rows(card_of, target, spec):
    """An open domain, or a privacy unit, needs a second pass: without rows there, the rest would be noise about nothing."""
    columns = {
        "who": {"type": "id", "role": "identifier"},
        "a": {"type": "integer"} if not spec else {"type": "integer", "bounds": [0, 9]},
    }
    table = pa.table({"who": [f"u{i // 2}" for i in range(3000)], "a": [i % 10 for i in range(3000)]})
    with pytest.raises(BadTable, match="read again"):
        create("dp-marginal").fit(Spent(table), card=card_of(columns, **spec), target=target, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("columns", "spec", "named"),
    [
        ({"a": {"type": "number"}}, {}, "leaves the domain of 'a' open"),
        ({"a": {"type": "number", "bounds": [0, 1]}, "who": {"type": "id", "role": "identifier"}},
         {"privacy_unit": "who", "max_rows_per_unit": 2}, "privacy unit"),
    ],
)  # fmt: skip
def test_a_stream_that_passes_by_once_is_refused_before_it_is_read_where_it_does_not_do(card_of, target, columns, spec, named):
    def stream():
        raise AssertionError("a row was read")
        yield

    with pytest.raises(BadTable, match=named):
        create("dp-marginal").fit(stream(), card=card_of(columns, **spec), target=target, rng=np.random.default_rng(0))
