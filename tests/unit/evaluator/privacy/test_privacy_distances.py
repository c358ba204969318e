from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import evaluator.distances as module
from evaluator.distances import Coded, Encoding, gower, nearest
from evaluator.inputs import check_inputs

ALL = (0, 1, 2, 3, 4, 5, 6)


def brute_force(inputs, queries, references, columns=None):
    """Gower's definition, written out in floats without a grid."""
    total, names = 0.0, columns or tuple(inputs.columns)
    for name in names:
        if name in inputs.numeric_columns():
            real = np.r_[inputs.train.numeric(name), inputs.holdout.numeric(name)]
            low, high = np.nanmin(real), np.nanmax(real)
            left, right = (np.clip(t.numeric(name), low, high)[:, None] for t in (queries, references))
            part = np.abs(left - right.T) / (high - low)
            gone = np.isnan(left).astype(int) + np.isnan(right.T)
            total = total + np.select([gone == 2, gone == 1], [0.0, 1.0], part)
        else:
            total = total + (queries.codes(name)[:, None] != references.codes(name)[None, :])
    return total / len(names)


def test_distances_agree_with_the_definition_up_to_the_grid(fresh) -> None:
    encoding = Encoding.of(fresh)
    exact = brute_force(fresh, fresh.train, fresh.synthetic)[:300]
    found = nearest(encoding.train.take(np.arange(300)), encoding.synthetic, k=3)[0]
    half_step = 0.5 / encoding.train.levels
    assert np.abs(found.distance - np.sort(exact, axis=1)[:, :3]).max() <= 2 * half_step
    rows = np.arange(300)
    assert np.abs(exact[rows, found.index[:, 0]] - exact.min(axis=1)).max() <= 4 * half_step


def test_parts_are_searched_as_if_alone(fresh) -> None:
    encoding = Encoding.of(fresh)
    queries = encoding.holdout.take(np.arange(0, 2500, 25))
    parts = [ALL, (0, 1, 2), (3, 4, 5, 6), (0, 1, 2, 3, 4, 6), (1,)]
    together = nearest(queries, encoding.synthetic, k=[4, 2, 2, 1, 1], parts=parts)
    for part, k, found in zip(parts, [4, 2, 2, 1, 1], together, strict=True):
        alone = nearest(queries, encoding.synthetic, k=k, parts=[part])[0]
        assert np.array_equal(alone.distance, found.distance)
        assert np.array_equal(alone.index, found.index)


def test_neither_threads_nor_blocks_change_a_result(fresh, monkeypatch) -> None:
    encoding = Encoding.of(fresh)
    once = nearest(encoding.train, encoding.synthetic, k=5)[0]
    monkeypatch.setattr(module, "BLOCK_PAIRS", 3000)
    monkeypatch.setattr(module, "BLOCK_REFERENCES", 700)
    again = nearest(encoding.train, encoding.synthetic, k=5, workers=3)[0]
    assert np.array_equal(once.distance, again.distance)
    assert np.array_equal(once.index, again.index)


def test_a_row_is_not_its_own_neighbour_nor_is_its_unit(fresh) -> None:
    encoding = Encoding.of(fresh)
    group = np.arange(2500) // 2
    found = nearest(encoding.train, encoding.train, k=3, own_group=(group, group))[0]
    assert (group[found.index] != group[:, None]).all()
    exact = brute_force(fresh, fresh.train, fresh.train)
    exact[group[:, None] == group[None, :]] = 2.0
    assert np.abs(found.distance[:, 0] - exact.min(axis=1)).max() <= 2 * 0.5 / encoding.train.levels


def test_fewer_references_than_neighbours_are_far_away(fresh) -> None:
    encoding = Encoding.of(fresh)
    found = nearest(encoding.train.take(np.arange(4)), encoding.synthetic.take(np.arange(2)), k=4)[0]
    assert (found.distance[:, 2:] == 1.0).all()


def test_pairs_agree_with_the_search(fresh) -> None:
    encoding = Encoding.of(fresh)
    found = nearest(encoding.train, encoding.synthetic, k=2)[0]
    rows = np.arange(2500)
    for rank in (0, 1):
        assert np.allclose(gower(encoding.train, encoding.synthetic, (rows, found.index[:, rank])), found.distance[:, rank])


def test_missing_equals_missing_and_differs_from_every_value(make_card) -> None:
    columns = {"x": {"type": "number"}, "c": {"type": "category"}}
    table = pa.table({"x": [0.0, None, 10.0], "c": ["a", None, "b"]})
    inputs = check_inputs(
        train=table, holdout=pa.table({"x": [5.0], "c": ["z"]}), synthetic=table, card=make_card(columns), seed=0
    )
    coded = Encoding.of(inputs).train
    pairs = (np.array([1, 1, 0, 0]), np.array([1, 0, 1, 2]))
    assert gower(coded, coded, pairs) == pytest.approx([0.0, 1.0, 1.0, 1.0])


def test_many_columns_keep_a_grid_that_cannot_overflow() -> None:
    width, levels = 700, 93
    column = np.array([0, levels], dtype=np.int16)
    coded = Coded(
        (column,) * (width // 2) + (column.astype(np.uint8),) * (width // 2),
        (True,) * 350 + (False,) * 350,
        levels,
        (False,) * 700,
    )
    found = nearest(coded, coded, k=2)[0]
    assert found.distance[:, 1] == pytest.approx([1.0, 1.0])
