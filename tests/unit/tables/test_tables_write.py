"""Writing: deterministic bytes, no metadata, CSV that a spreadsheet cannot run."""

# ruff: noqa: DTZ001 - times without a zone are what is tested

from __future__ import annotations

import csv
from datetime import date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from policies.card import DatasetCard
from policies.tables import TableInvalid, read_table, write_table

MIXED = pa.table(
    {
        "n": pa.array([1, None, -3]),
        "x": pa.array([1.5, None, -5.0]),
        "s": pa.array(["a,b", None, 'q"x']),
        "b": pa.array([True, None, False]),
        "d": pa.array([date(2024, 1, 2), None, date(1999, 12, 31)]),
        "t": pa.array([datetime(2024, 1, 2, 3, 4, 5), None, datetime(2024, 1, 2, 3, 4, 5, 60)], pa.timestamp("us")),
    }
)
CARD = DatasetCard.model_validate(
    {
        "apiVersion": "ticketgate/v1",
        "kind": "Dataset",
        "metadata": {"name": "d"},
        "spec": {
            "source": "t",
            "columns": {
                "uid": {"type": "id", "role": "identifier"},
                "n": {"type": "integer"},
                "x": {"type": "number"},
                "s": {"type": "text"},
                "b": {"type": "boolean"},
                "d": {"type": "date"},
                "t": {"type": "datetime"},
            },
        },
    }
)
DANGEROUS = [
    "=1+1",
    "+1+1",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "\uff1d1+1",
    '"=1',
    "'=1",
    "-",
    "=",
    "+a",
    "-x1",
]
USABLE = ["-5", "+3.5", "-1e5", "+44 20 7946 0000", "+1-415-555-0108", "-1,000.50", "a=b", "x-y", "mail@example.org", "", "'tis"]


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_round_trip(tmp_path, form):
    path = tmp_path / f"t.{form}"
    assert write_table(MIXED, path, format=form, card=CARD) == 3
    assert read_table(path, card=CARD, identifiers="optional").table.equals(MIXED)


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_bytes_do_not_depend_on_batches(tmp_path, form):
    table = pa.table({"a": list(range(300_000)), "s": [f"v{n % 7}" for n in range(300_000)]})
    written = []
    for index, source in enumerate((table, iter(table.to_batches(max_chunksize=1000)), table.slice(0))):
        path = tmp_path / f"{index}"
        write_table(source, path, format=form)
        written.append(path.read_bytes())
    assert written[0] == written[1] == written[2]


def test_no_metadata_is_copied(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(MIXED.replace_schema_metadata({"pandas": "{}", "author": "dana@example.org"}), path, format="parquet")
    assert b"dana" not in path.read_bytes()
    assert set(pq.read_metadata(path).metadata or {}) <= {b"ARROW:schema"}
    assert pq.read_schema(path).metadata is None


def cells_of(path):
    with path.open(newline="") as file:
        return [row[0] for row in csv.reader(file)]


def test_formulas_are_neutralised_and_numbers_and_telephones_stay(tmp_path):
    path = tmp_path / "t.csv"
    write_table(pa.table({"s": [*DANGEROUS, *USABLE]}), path, format="csv")
    got = cells_of(path)[1:]
    assert got[: len(DANGEROUS)] == ["'" + cell for cell in DANGEROUS]
    assert got[len(DANGEROUS) :] == USABLE


def test_numbers_are_never_touched(tmp_path):
    path = tmp_path / "t.csv"
    write_table(pa.table({"n": [-5, 5]}), path, format="csv")
    assert cells_of(path) == ["n", "-5", "5"]


def test_names_are_neutralised_too(tmp_path):
    path = tmp_path / "t.csv"
    write_table(pa.table({"=1+1": [1], "b": [2]}), path, format="csv")
    assert path.read_text().startswith("'=1+1,b\n")
    assert read_table(path).table.column_names == ["=1+1", "b"]


def test_missing_rows_of_one_column_are_kept(tmp_path):
    path = tmp_path / "t.csv"
    table = pa.table({"s": ["a", None, "b", None]})
    write_table(table, path, format="csv")
    assert read_table(path).table.equals(table)


def test_nan_is_missing_and_infinity_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    write_table(pa.table({"x": [1.0, float("nan")], "k": [1, 2]}), path, format="csv")
    assert path.read_text() == "x,k\n1,1\n,2\n"
    with pytest.raises(TableInvalid, match="infinite"):
        write_table(pa.table({"x": [float("inf")]}), path, format="csv")


def test_the_card_gives_order_and_types(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(MIXED.select(["t", "d", "b", "s", "x", "n"]), path, format="parquet", card=CARD)
    assert pq.read_schema(path).names == ["n", "x", "s", "b", "d", "t"]
    with pytest.raises(TableInvalid, match="lacks column 'x'"):
        write_table(MIXED.drop_columns(["x"]), path, format="parquet", card=CARD)
    with pytest.raises(TableInvalid, match="not of the type"):
        write_table(MIXED.set_column(0, "n", pa.array(["x", "y", "z"])), path, format="parquet", card=CARD)


def test_no_rows(tmp_path):
    path = tmp_path / "t.parquet"
    assert write_table(MIXED.slice(0, 0), path, format="parquet") == 0
    assert read_table(path).table.num_rows == 0
    with pytest.raises(TableInvalid, match="no rows"):
        write_table(iter([]), path, format="csv")
