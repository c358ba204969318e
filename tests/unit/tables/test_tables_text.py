"""Delimited text: separators, encodings, ragged rows, and the types of a card."""

# ruff: noqa: DTZ001 - times without a zone are what is tested

from __future__ import annotations

import gzip
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.card import DatasetCard
from policies.tables import Limits, TableInvalid, open_batches, read_table


def card_of(**columns: dict[str, object]) -> DatasetCard:
    return DatasetCard.model_validate(
        {
            "apiVersion": "ticketgate/v1",
            "kind": "Dataset",
            "metadata": {"name": "d"},
            "spec": {"source": "t.csv", "columns": columns},
        }
    )


def written(tmp_path: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def column(tmp_path: Path, cells: list[str], **declared: object) -> list[object]:
    path = written(tmp_path, "k,v\n" + "".join(f'k,"{cell}"\n' for cell in cells))
    return read_table(path, card=card_of(v=declared)).table.column("v").to_pylist()


def refusal(tmp_path: Path, cells: list[str], **declared: object) -> str:
    with pytest.raises(TableInvalid) as refused:
        column(tmp_path, cells, **declared)
    return str(refused.value)


def test_with_a_card_columns_come_in_its_order_and_types(tmp_path):
    path = written(tmp_path, "b,extra,a,c\n1.5,x,7,north\n,y,,south\n")
    read = read_table(path, card=card_of(a={"type": "integer"}, b={"type": "number"}, c={"type": "category"}))
    assert read.table.schema == pa.schema([("a", pa.int64()), ("b", pa.float64()), ("c", pa.string())])
    assert read.table.to_pylist() == [{"a": 7, "b": 1.5, "c": "north"}, {"a": None, "b": None, "c": "south"}]
    assert read.notes == ("1 column of the file is not in the card and left out: 'extra'",)


def test_columns_that_the_file_lacks_are_named(tmp_path):
    path = written(tmp_path, "a\n1\n")
    with pytest.raises(TableInvalid, match=r"'t.csv': the file lacks columns 'b', 'c' of the card"):
        read_table(path, card=card_of(a={"type": "integer"}, b={"type": "text"}, c={"type": "text"}))


def test_identifiers_may_be_absent_from_a_released_table(tmp_path):
    path = written(tmp_path, "a\n1\n")
    card = card_of(uid={"type": "id", "role": "identifier"}, a={"type": "integer"})
    assert read_table(path, card=card, identifiers="optional").table.column_names == ["a"]
    with pytest.raises(TableInvalid, match="lacks column 'uid'"):
        read_table(path, card=card)


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("a;b\n1,5;x\n2,25;y\n", "t.csv", "semicolons"),
        ("a\tb\n1.5\tx\n2.25\ty\n", "t.tsv", "tabs"),
        ("a|b\n1.5|x\n2.25|y\n", "t.txt", "pipes"),
        ("a;b\n1.5;x, y\n2.25;z, w\n", "t.csv", "semicolons"),
    ],
)
def test_separators_are_found_and_told(tmp_path, text, name, said):
    read = read_table(written(tmp_path, text, name), card=card_of(a={"type": "number"}))
    assert read.table.column("a").to_pylist() == [1.5, 2.25]
    assert any(said in note for note in read.notes)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_with_a_mark_are_read(tmp_path, encoding):
    read = read_table(written(tmp_path, "näme,b\nMüller,1\n".encode(encoding)))
    assert read.table.to_pylist() == [{"näme": "Müller", "b": 1}]


def test_gzip_is_read_by_content(tmp_path):
    assert read_table(written(tmp_path, gzip.compress(b"a,b\n1,2\n", mtime=0), "t.csv")).table.to_pylist() == [{"a": 1, "b": 2}]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a,b\n1,x\n2\n3,y\n", "line 3 has 1 field, the header has 2"),
        (b"a,b\n1,x\n2,x,z\n", "line 3 has 3 fields, the header has 2"),
        (b'a,b\n1,"two\nlines"\n2\n', "line 4 has 1 field"),
        (b'a,b\n1,"x\n2,y\n', "line 2 opens a quote that is never closed"),
        (b'a,b\n1,"x"y\n', "line 2 has text after a closing quote"),
        (b"a,b\n1,x\ry\n", "line 2 has a carriage return inside a field"),
        (b"a,b\n1,\xff\n", "line 2 holds bytes that are not UTF-8"),
        (b"a,b\n1,x\n2,\0\n", "line 3 holds a NUL byte"),
        (b"a,a\n1,2\n", "the column name 'a' stands twice"),
        (b"a,,b\n1,2,3\n", "column 2 has no name"),
        (b"a,b,\n1,2,\n1,2,3\n", "row 2 has a value in the last column, which has no name"),
        (b"1,2\n3,4\n", "line 1 looks like data"),
        (b"# note\na,b\n1,2\n", "line 1 is a comment"),
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (b"PK\x03\x04xx", "a zip archive"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], "damaged or cut off"),
    ],
)
def test_what_is_not_a_table_is_refused_with_its_place(tmp_path, content, sentence):
    with pytest.raises(TableInvalid) as refused:
        read_table(written(tmp_path, content))
    assert sentence in str(refused.value)
    assert str(refused.value).startswith("'t.csv': ")
    assert "\n" not in str(refused.value)


def test_bad_bytes_far_into_the_file_are_placed(tmp_path):
    content = b"a,b\n" + b"1,x\n" * 200_000 + b"2,\xe9\n" + b"1,x\n" * 10
    with pytest.raises(TableInvalid, match=r"line 200,002 holds bytes"):
        read_table(written(tmp_path, content), card=card_of(a={"type": "integer"}))


@pytest.mark.parametrize("special", ["folder", "missing", "fifo"])
def test_only_regular_files_are_opened(tmp_path, special):
    import os

    path = tmp_path / special
    if special == "folder":
        path.mkdir()
    elif special == "fifo":
        os.mkfifo(path)
    with pytest.raises(TableInvalid):
        read_table(path)


@pytest.mark.parametrize(
    ("limits", "content", "sentence"),
    [
        (Limits(rows=3), "a,b\n" + "1,2\n" * 4, "more than 3 rows"),
        (Limits(columns=1), "a,b\n1,2\n", "2 columns, the limit is 1"),
        (Limits(cells=5), "a,b\n" + "1,2\n" * 3, "5 cells"),
        (Limits(cell_chars=100), "a,b\n1," + "x" * 200 + "\n", "too much text"),
        (Limits(unpacked_bytes=10), "a,b\n1,2\n3,4\n", "larger than the limit"),
        (Limits(memory_bytes=1000), "a,b\n" + "1,2\n" * 1000, "in memory it is larger"),
    ],
)
def test_limits_hold(tmp_path, limits, content, sentence):
    with pytest.raises(TableInvalid, match=sentence):
        read_table(written(tmp_path, content), limits=limits)


def test_a_gzip_bomb_is_found_before_a_line_is_read(tmp_path):
    path = written(tmp_path, gzip.compress(b"a,b\n" + b"1,2\n" * (20 << 20)), "t.csv.gz")
    with pytest.raises(TableInvalid, match="decompression bomb"):
        read_table(path)


def test_whole_numbers_are_exact(tmp_path):
    cells = ["9007199254740993", "-9223372036854775808", "+5", "007", "12.0", "", "NA", " 3 "]
    assert column(tmp_path, cells, type="integer") == [9007199254740993, -(2**63), 5, 7, 12, None, None, 3]


@pytest.mark.parametrize("cell", ["1.5", "x", "1e3", "0x1F", "1,000", "\uff11", "--1", "1_000"])
def test_what_is_no_whole_number_is_refused_without_showing_it(tmp_path, cell):
    text = refusal(tmp_path, ["1", cell], type="integer")
    assert text.endswith("column 'v': 1 value is not a whole number (in row 2): correct them, or give the column another type")


def test_whole_numbers_beyond_64_bits_ask_for_id_or_text(tmp_path):
    assert "id or text" in refusal(tmp_path, ["9223372036854775808"], type="integer")


def test_numbers(tmp_path):
    assert column(tmp_path, ["1.5", "-0.25", "1e-3", ".5", "5.", "+2", "nan", ""], type="number") == [
        1.5,
        -0.25,
        0.001,
        0.5,
        5.0,
        2.0,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("cell", "words"),
    [("inf", "infinite"), ("-Infinity", "infinite"), ("1e400", "too large"), ("$5", "not a number"), ("1,5", "not a number")],
)
def test_numbers_that_are_none(tmp_path, cell, words):
    assert words in refusal(tmp_path, ["1.5", cell], type="number")


def test_a_decimal_comma_is_never_mixed_with_a_point(tmp_path):
    card = card_of(v={"type": "number"})
    assert read_table(written(tmp_path, "k;v\na;1,5\nb;2\n"), card=card).table.column("v").to_pylist() == [1.5, 2.0]
    with pytest.raises(TableInvalid, match="not a number"):
        read_table(written(tmp_path, "k;v\na;1,5\nb;2.5\n"), card=card)


@pytest.mark.parametrize("pair", [("true", "false"), ("T", "F"), ("Yes", "no"), ("Y", "N"), ("1", "0"), ("oui", "NON")])
def test_truth_values_of_one_spelling(tmp_path, pair):
    assert column(tmp_path, [pair[0], pair[1], ""], type="boolean") == [True, False, None]


def test_truth_values_of_two_spellings_are_refused(tmp_path):
    assert "neither 'yes' nor 'no'" in refusal(tmp_path, ["yes", "true"], type="boolean")


def test_dates_of_one_form(tmp_path):
    day = date(2024, 2, 29)
    for cells in (
        ["2024-02-29"],
        ["2024/2/29"],
        ["20240229"],
        ["29.02.2024", "1.1.2024"],
        ["29/02/2024", "05/03/2024"],
        ["02/29/2024", "3/5/2024"],
    ):
        assert column(tmp_path, cells, type="date")[0] == day


def test_day_and_month_are_never_guessed(tmp_path):
    assert column(tmp_path, ["31/01/2024", "05/03/2024"], type="date")[1] == date(2024, 3, 5)
    assert "whether day or month comes first" in refusal(tmp_path, ["05/03/2024", "04/02/2024"], type="date")
    assert "not dates of one form" in refusal(tmp_path, ["31/01/2024", "01/31/2024"], type="date")


@pytest.mark.parametrize("cell", ["2023-02-30", "0000-00-00", "2024-13-01"])
def test_days_that_do_not_exist_are_refused(tmp_path, cell):
    assert "no day of the calendar" in refusal(tmp_path, ["2024-01-01", cell], type="date")


def test_times_naive_and_with_fractions(tmp_path):
    got = column(
        tmp_path, ["2024-01-02 03:04:05", "2024-01-02T03:04", "2024-01-02 03:04:05.123456789", "2024-01-02"], type="datetime"
    )
    assert got == [
        datetime(2024, 1, 2, 3, 4, 5), datetime(2024, 1, 2, 3, 4), datetime(2024, 1, 2, 3, 4, 5, 123456), datetime(2024, 1, 2)
    ]  # fmt: skip


def test_times_with_offsets_go_to_the_zone_of_the_card(tmp_path):
    got = column(tmp_path, ["2024-07-01T12:00:00Z", "2024-07-01T14:00:00+02:00"], type="datetime", timezone="Europe/Paris")
    assert got == [datetime(2024, 7, 1, 14, tzinfo=ZoneInfo("Europe/Paris"))] * 2


def test_one_offset_without_a_zone_in_the_card_is_taken_off_and_told(tmp_path):
    path = written(tmp_path, "k,v\na,2024-07-01T12:00:00+02:00\nb,2024-07-01T13:00:00+0200\n")
    read = read_table(path, card=card_of(v={"type": "datetime"}))
    assert read.table.column("v").to_pylist() == [datetime(2024, 7, 1, 12), datetime(2024, 7, 1, 13)]
    assert any("+0200" in note for note in read.notes)


def test_zones_are_never_mixed_in_silence(tmp_path):
    assert "another UTC offset" in refusal(tmp_path, ["2024-07-01T12:00Z", "2024-07-01T12:00+02:00"], type="datetime")
    assert "others have one" in refusal(tmp_path, ["2024-07-01T12:00Z", "2024-07-01T12:00"], type="datetime", timezone="UTC")
    assert "not a time" in refusal(tmp_path, ["2024-07-01T12:00 PST"], type="datetime")


def test_times_in_the_gap_of_a_zone_are_refused_and_the_doubled_hour_is_told(tmp_path):
    assert "does not exist in Europe/Paris" in refusal(tmp_path, ["2024-03-31 02:30"], type="datetime", timezone="Europe/Paris")
    path = written(tmp_path, "k,v\na,2024-10-27 02:30\n")
    read = read_table(path, card=card_of(v={"type": "datetime", "timezone": "Europe/Paris"}))
    assert any("exist twice" in note for note in read.notes)


def test_text_keeps_every_sign(tmp_path):
    cells = [" lead", "007", "NA", "null", "a  b", "ﬁ"]
    for kind in ("text", "category"):
        assert column(tmp_path, cells, type=kind) == cells


def test_values_outside_the_card_are_counted_not_shown(tmp_path):
    text = refusal(tmp_path, ["north", "Secretville", "Secretville"], type="category", values=["north"])
    assert "2 values are not among the card's values (first in row 2)" in text
    assert "Secretville" not in text


def test_a_missing_value_where_the_card_rules_it_out(tmp_path):
    assert "1 value is missing (in row 2)" in refusal(tmp_path, ["1", ""], type="integer", missing=False)


def test_batches_are_bounded_and_add_up(tmp_path):
    path = written(tmp_path, "a,b\n" + "".join(f"{n},x\n" for n in range(10_000)))
    batches = list(open_batches(path, card=card_of(a={"type": "integer"}), batch_rows=1000))
    assert [batch.num_rows for batch in batches] == [1000] * 10
    assert [value for batch in batches for value in batch.column("a").to_pylist()] == list(range(10_000))


def test_the_row_number_counts_over_batches(tmp_path):
    path = written(tmp_path, "a,b\n" + "".join(f"{n},x\n" for n in range(5000)) + "x,y\n")
    with pytest.raises(TableInvalid, match="row 5,001"):
        list(open_batches(path, card=card_of(a={"type": "integer"}), batch_rows=1000))


def test_a_format_settled_by_the_first_batch_binds_the_others(tmp_path):
    path = written(tmp_path, "k,v\n" + "a,31/01/2024\n" * 1000 + "a,2024-01-31\n")
    with pytest.raises(TableInvalid, match="not a date of the form DD/MM/YYYY"):
        list(open_batches(path, card=card_of(v={"type": "date"}), batch_rows=256))


def test_hostile_names_are_shown_escaped(tmp_path):
    path = written(tmp_path, 'a,"x\x1b[31m\ny"\n1,z\n', "evil\x1b.csv")
    with pytest.raises(TableInvalid) as refused:
        read_table(path, card=card_of(a={"type": "integer"}, b={"type": "text"}))
    assert "\x1b" not in str(refused.value)
    notes = read_table(path, card=card_of(a={"type": "integer"})).notes
    assert all("\x1b" not in note and "\n" not in note for note in notes)


def test_inference_tells_its_choices(tmp_path):
    path = written(
        tmp_path, "zip,big,mixed,flag,when,n\n01234,9223372036854775808,1,true,2024-01-01,1\n94110,1,x,false,2024-01-02,\n"
    )
    read = read_table(path)
    assert dict(read.types) == {
        "zip": "text",
        "big": "text",
        "mixed": "category",
        "flag": "boolean",
        "when": "date",
        "n": "integer",
    }
    assert read.table.column("zip").to_pylist() == ["01234", "94110"]
    assert any("leading zeros" in note for note in read.notes)
    assert any("more than 64 bits" in note for note in read.notes)


def sentence_of(path: Path) -> str:
    try:
        read_table(path)
    except TableInvalid as refused:
        return str(refused)
    return ""


CELLS = st.lists(
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12), min_size=2, max_size=2),
    min_size=1,
    max_size=20,
)


@settings(max_examples=150, deadline=None)
@given(CELLS)
def test_any_text_survives_writing_and_reading(tmp_path_factory, rows):
    from policies.tables import write_table

    table = pa.table(
        {"a": [row[0] or None for row in rows], "b": [row[1] or None for row in rows]},
        schema=pa.schema([("a", pa.string()), ("b", pa.string())]),
    )
    path = tmp_path_factory.mktemp("round") / "t.csv"
    write_table(table, path, format="csv")
    assert read_table(path, card=card_of(a={"type": "text"}, b={"type": "text"})).table.equals(table)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_table_or_in_one_sentence(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("fuzz") / "t.csv"
    path.write_bytes(b"a,b\n" + content)
    assert "\n" not in sentence_of(path)
