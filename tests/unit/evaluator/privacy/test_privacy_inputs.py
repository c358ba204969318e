from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from evaluator.inputs import InputsInvalid, check_inputs

TINY = {
    "x": {"type": "number"},
    "n": {"type": "integer"},
    "c": {"type": "category"},
    "t": {"type": "datetime"},
    "b": {"type": "boolean"},
}


def tiny(x=(1.0, 2.5, None), n=(1, 2, 3), c=("a", None, "b"), t=(0, 1_500_000, None), b=(True, False, None)) -> pa.Table:
    return pa.table(
        {"x": pa.array(x, pa.float64()), "n": pa.array(n, pa.int64()), "c": pa.array(c, pa.string()),
         "t": pa.array(t, pa.timestamp("us")), "b": pa.array(b, pa.bool_())}
    )  # fmt: skip


def checked(make_card, train=None, holdout=None, synthetic=None, columns=None, **spec):
    return check_inputs(
        train=tiny() if train is None else train,
        holdout=tiny(x=(7.0, 8.0, 9.0)) if holdout is None else holdout,
        synthetic=tiny() if synthetic is None else synthetic,
        card=make_card(columns or TINY, **spec),
        seed=3,
    )


def test_columns_become_numbers_with_nan_for_missing(make_card) -> None:
    train = checked(make_card).train
    assert np.array_equal(train.numeric("x"), [1.0, 2.5, np.nan], equal_nan=True)
    assert np.array_equal(train.numeric("t"), [0.0, 1.5, np.nan], equal_nan=True)
    assert np.array_equal(train.numeric("b"), [1.0, 0.0, np.nan], equal_nan=True)
    with pytest.raises(TypeError):
        train.numeric("c")


def test_codes_point_into_one_sorted_domain(make_card) -> None:
    inputs = checked(make_card, synthetic=tiny(c=("zz", "a", "a")))
    assert inputs.domain("c").to_pylist() == ["a", "b", "zz"]
    assert inputs.train.codes("c").tolist() == [0, -1, 1]
    assert inputs.synthetic.codes("c").tolist() == [2, 0, 0]
    assert inputs.domain("n").to_pylist() == [1, 2, 3]


def test_types_are_cast_where_nothing_is_lost(make_card) -> None:
    loose = (
        tiny()
        .set_column(0, "x", pa.array([1, 2, None], pa.int32()))
        .set_column(2, "c", tiny()["c"].combine_chunks().dictionary_encode())
    )
    inputs = checked(make_card, synthetic=loose)
    assert inputs.synthetic.arrow.schema.field("x").type == pa.float64()
    assert inputs.synthetic.codes("c").tolist() == [0, -1, 1]
    assert checked(make_card, synthetic=tiny(x=(float("nan"), 1.0, 2.0))).synthetic.missing("x").tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"synthetic": tiny().drop_columns(["n"])}, "the synthetic table lacks the column 'n'"),
        ({"train": tiny().slice(0, 0)}, "the train table has no rows"),
        ({"synthetic": tiny(x=(float("inf"), 1.0, 2.0))}, "holds an infinite number"),
        ({"synthetic": tiny().set_column(1, "n", pa.array(["one", "two", "three"]))}, "cannot be read as integer"),
        ({"synthetic": tiny().set_column(1, "n", pa.array([1.5, 2.0, 3.0]))}, "cannot be read as integer"),
        ({"synthetic": tiny().append_column("x", pa.array([1.0, 2.0, 3.0]))}, "two columns of the same name"),
    ],
)
def test_broken_tables_are_refused_by_a_sentence(make_card, change, sentence) -> None:
    with pytest.raises(InputsInvalid, match=sentence):
        checked(make_card, **change)


def test_a_subset_of_columns_can_be_evaluated(make_card) -> None:
    whole = {"train": tiny(), "holdout": tiny(), "card": make_card(TINY), "seed": 0}
    inputs = check_inputs(synthetic=tiny().select(["c", "x"]), columns=["c", "x"], **whole)
    assert tuple(inputs.columns) == ("x", "c")
    with pytest.raises(InputsInvalid, match="no learnt column 'nope'"):
        check_inputs(synthetic=tiny(), columns=["nope"], **whole)
    with pytest.raises(InputsInvalid, match="no column is chosen"):
        check_inputs(synthetic=tiny(), columns=[], **whole)


def with_key(name: str, values: list[str]) -> pa.Table:
    return tiny().append_column(name, pa.array(values))


def test_train_and_holdout_share_no_unit_and_no_key(make_card) -> None:
    columns = {**TINY, "who": {"type": "id", "role": "identifier"}}
    mine, theirs = with_key("who", ["u1", "u1", "u2"]), with_key("who", ["u3", "u4", "u4"])
    inputs = checked(make_card, mine, theirs, columns=columns, privacy_unit="who", max_rows_per_unit=5)
    assert inputs.train.units.tolist() == [0, 0, 1]
    assert inputs.train.n_units == 2
    assert inputs.has_units
    assert "who" not in inputs.columns
    shared = with_key("who", ["u2", "u3", "u4"])
    with pytest.raises(InputsInvalid, match="share 1 privacy units"):
        checked(make_card, mine, shared, columns=columns, privacy_unit="who", max_rows_per_unit=5)
    with pytest.raises(InputsInvalid, match="share values of the identifier 'who'"):
        checked(make_card, with_key("who", ["a", "b", "c"]), with_key("who", ["c", "d", "e"]), columns=columns)
    with pytest.raises(InputsInvalid, match="have no privacy unit"):
        checked(make_card, with_key("who", ["a", None, "c"]), theirs, columns=columns, privacy_unit="who", max_rows_per_unit=5)


def test_a_holdout_cut_from_train_is_refused(make_people, make_card) -> None:
    train = make_people(1500, 1)
    overlapping = pa.concat_tables([train.slice(0, 300), make_people(700, 2)])
    with pytest.raises(InputsInvalid, match="share more identical rows than chance explains"):
        check_inputs(train=train, holdout=overlapping, synthetic=make_people(100, 3), card=make_card(), seed=0)


def test_sentences_never_quote_a_value(make_card) -> None:
    with pytest.raises(InputsInvalid) as raised:
        checked(make_card, synthetic=tiny().set_column(1, "n", pa.array(["secret-value", "2", "3"])))
    assert "secret-value" not in str(raised.value)


def test_random_numbers_depend_on_seed_and_purpose_only(fresh) -> None:
    assert fresh.generator("a", "b").random() == fresh.generator("a", "b").random()
    assert fresh.generator("a", "b").random() != fresh.generator("a", "c").random()
