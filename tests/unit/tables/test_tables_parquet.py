"""Parquet files: fixed types, unsupported columns, lies and damage."""

# ruff: noqa: DTZ001 - times without a zone are what is tested

from __future__ import annotations

import struct
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.card import DatasetCard
from policies.tables import Limits, TableInvalid, open_batches, read_table


def card_of(**columns: dict[str, object]) -> DatasetCard:
    return DatasetCard.model_validate(
        {"apiVersion": "ticketgate/v1", "kind": "Dataset", "metadata": {"name": "d"}, "spec": {"source": "t", "columns": columns}}
    )


def stored(tmp_path: Path, array: pa.Array, **options: object) -> Path:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"v": array, "k": pa.array(["x"] * len(array))}), path, **options)
    return path


@pytest.mark.parametrize(
    ("array", "declared", "expected"),
    [
        (pa.array([1, None], pa.int8()), {"type": "integer"}, [1, None]),
        (pa.array([2**60 + 1, None], pa.uint64()), {"type": "integer"}, [2**60 + 1, None]),
        (pa.array([1.0, None], pa.float32()), {"type": "integer"}, [1, None]),
        (pa.array([1.5, float("nan")], pa.float64()), {"type": "number"}, [1.5, None]),
        (pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)), {"type": "number"}, [1.5, None]),
        (pa.array(["a", None]).dictionary_encode(), {"type": "category"}, ["a", None]),
        (pa.array([1, 2], pa.int64()), {"type": "category", "values": [1, 2]}, ["1", "2"]),
        (pa.array([True, None]), {"type": "category", "values": [True, False]}, ["true", None]),
        (pa.array(["00123", None], pa.large_string()), {"type": "id", "role": "identifier"}, ["00123", None]),
        (pa.array([1, 0, None], pa.int8()), {"type": "boolean"}, [True, False, None]),
        (pa.array(["yes", "no"]), {"type": "boolean"}, [True, False]),
        (pa.array([date(2024, 1, 2), None], pa.date32()), {"type": "date"}, [date(2024, 1, 2), None]),
        (pa.array([datetime(2024, 1, 2), None], pa.timestamp("ms")), {"type": "date"}, [date(2024, 1, 2), None]),
        (pa.array([date(2024, 1, 2)], pa.date32()), {"type": "datetime"}, [datetime(2024, 1, 2)]),
        (pa.array([datetime(2024, 7, 1, 12)], pa.timestamp("ns")), {"type": "datetime"}, [datetime(2024, 7, 1, 12)]),
        (pa.array([None, None], pa.null()), {"type": "number"}, [None, None]),
    ],
)
def test_types_become_those_of_the_card(tmp_path, array, declared, expected):
    columns = {"v": declared, "k": {"type": "text"}}
    read = read_table(stored(tmp_path, array), card=card_of(**columns))
    assert read.table.column("v").to_pylist() == expected


def test_zones(tmp_path):
    path = stored(tmp_path, pa.array([datetime(2024, 7, 1, 12)], pa.timestamp("us", tz="UTC")))
    paris = read_table(path, card=card_of(v={"type": "datetime", "timezone": "Europe/Paris"})).table.column("v")
    assert paris.to_pylist() == [datetime(2024, 7, 1, 14, tzinfo=ZoneInfo("Europe/Paris"))]
    naive = read_table(path, card=card_of(v={"type": "datetime"}))
    assert naive.table.column("v").to_pylist() == [datetime(2024, 7, 1, 12)]
    assert naive.notes[-1] == "column 'v': the wall time of UTC was kept, since the card names no time zone"


@pytest.mark.parametrize(
    ("array", "declared", "sentence"),
    [
        (pa.array([2**63], pa.uint64()), {"type": "integer"}, "id or text"),
        (pa.array([1.5]), {"type": "integer"}, "not of the type integer"),
        (pa.array([float("inf")]), {"type": "number"}, "infinite"),
        (pa.array(["x"]), {"type": "number"}, "holds string in the file, but the card says number"),
        (pa.array([1]), {"type": "datetime"}, "holds int64 in the file"),
        (pa.array([[1]]), {"type": "text"}, "has the type list"),
        (pa.array([b"x"]), {"type": "text"}, "has the type binary"),
        (pa.array(["x", "y"]), {"type": "category", "values": ["x"]}, "not among the card's values"),
        (pa.array([7], pa.int8()), {"type": "boolean"}, "neither"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path, array, declared, sentence):
    with pytest.raises(TableInvalid, match=sentence) as refused:
        read_table(stored(tmp_path, array), card=card_of(v=declared, k={"type": "text"}))
    assert "'v'" in str(refused.value)


def test_columns_of_other_types_do_not_matter_when_the_card_has_none(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"v": [1], "list": [[1, 2]]}), path)
    assert read_table(path, card=card_of(v={"type": "integer"})).table.column_names == ["v"]
    read = read_table(path)
    assert read.table.column_names == ["v"]
    assert "'list' is left out" in read.notes[0]


def test_file_metadata_goes_nowhere(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"v": [1]}).replace_schema_metadata({"author": "dana@example.org", "pandas": "{broken"}), path)
    assert read_table(path).table.schema.metadata is None


def test_limits_are_checked_from_the_footer(tmp_path):
    path = stored(tmp_path, pa.array(range(1000)))
    for limits, words in (
        (Limits(rows=999), "1,000 rows"),
        (Limits(columns=1), "2 columns"),
        (Limits(cells=1999), "2,000 cells"),
    ):
        with pytest.raises(TableInvalid, match=words):
            read_table(path, limits=limits)


def test_memory_is_counted_while_reading(tmp_path):
    path = stored(tmp_path, pa.array(["x" * 1000] * 100_000))
    with pytest.raises(TableInvalid, match="in memory it is larger"):
        read_table(path, limits=Limits(memory_bytes=10_000_000))
    total = sum(batch.num_rows for batch in open_batches(path, card=card_of(v={"type": "text"}), batch_rows=1000))
    assert total == 100_000


def test_a_footer_that_claims_gigabytes_is_not_believed(tmp_path):
    path = stored(tmp_path, pa.array(range(10)))
    content = bytearray(path.read_bytes())
    content[-8:-4] = struct.pack("<I", 1 << 31)
    path.write_bytes(content)
    with pytest.raises(TableInvalid, match="damaged"):
        read_table(path)


def test_text_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    raw = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"]).buffers())
    pq.write_table(pa.table({"v": raw}), path)
    with pytest.raises(TableInvalid, match="not UTF-8"):
        read_table(path)


def test_kind_is_read_off_the_content(tmp_path):
    path = stored(tmp_path, pa.array([1, 2])).rename(tmp_path / "t.csv")
    assert read_table(path).table.num_rows == 2
    named = tmp_path / "fake.parquet"
    named.write_text("a,b\n1,2\n")
    with pytest.raises(TableInvalid, match="the content does not"):
        read_table(named)


def sentence_of(path: Path) -> str:
    try:
        read_table(path)
    except TableInvalid as refused:
        return str(refused)
    return ""


@settings(max_examples=150, deadline=None, derandomize=True)  # the same damages each time: the bounded child is for the others
@given(st.data())
def test_any_damage_ends_in_a_table_or_one_sentence(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damage")
    path = stored(folder, pa.array(["word", None, "x" * 50] * 20), compression="none")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(4, len(content) - 5))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), len(content) // 2]))])
    assert "\n" not in sentence_of(path)
