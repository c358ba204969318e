"""The quick way and the strict reading agree wherever the quick way is open, and it is closed where they could differ."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.tables import Limits, TableInvalid, quick, read
from policies.tables.records import read_header

LIMITS = Limits()


def texts(path, header, source) -> list[list[str | None]]:
    return [list(row.values()) for batch in source for row in batch.to_pylist()]


def both(path):
    header = read_header(path, limits=LIMITS)
    manner = quick.manner_of(path, header)
    strict = outcome(path, header, read._strict(path, header, LIMITS, 1000))
    fast = outcome(path, header, read._quick(path, header, manner, LIMITS, 1000)) if manner else strict
    return manner, fast, strict


def outcome(path, header, source) -> object:
    try:
        return texts(path, header, source)
    except TableInvalid as refused:
        return str(refused)


@pytest.mark.parametrize(
    ("body", "manner"),
    [
        (b"1,2\n3,4\n", "bare"),
        (b"1,2\r\n3,4\r\n", "bare"),
        (b"1,2\n\n3,4", "bare"),
        (b'1,"a,b"\n', "quoted"),
        (b'1,"a\nb"\n2,""\n', "quoted"),
        (b'"say ""hi""",2\n', "quoted"),
        (b'"""a""",2\n', "quoted"),
        (b'"",""\n', "quoted"),
        (b'1,"a\r\nb"\r\n', "quoted"),
        (b'1,a"b\n', None),
        (b'1,"a"b\n', None),
        (b'1, "a"\n', None),
        (b'1,"a\n', None),
        (b"1,a\rb\n", None),
        (b"1,a\r", None),
    ],
)
def test_which_files_take_the_quick_way(tmp_path, body, manner):
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n" + body)
    found, fast, strict = both(path)
    assert found == manner
    assert fast == strict


@pytest.mark.parametrize("block", [5, 7, 64])
def test_blocks_may_end_anywhere(tmp_path, monkeypatch, block):
    monkeypatch.setattr(quick, "BLOCK", block)
    path = tmp_path / "t.csv"
    path.write_bytes(b'a,b\n1,"x ""y"" z\nnext line, and more"\n2,plain\n3,""\n')
    assert quick.manner_of(path, read_header(path, limits=LIMITS)) == "quoted"
    path.write_bytes(b'a,b\n1,"x ""y"" z\nnext line"oops"\n2,plain\n')
    assert quick.manner_of(path, read_header(path, limits=LIMITS)) is None


SOUP = st.text(st.sampled_from('ab,";\n\r\t 1é'), max_size=40)


@settings(max_examples=400, deadline=None)
@given(SOUP)
def test_both_readings_of_any_soup_agree(tmp_path_factory, soup):
    path = tmp_path_factory.mktemp("soup") / "t.csv"
    path.write_bytes(b"a,b\n" + soup.encode())
    _, fast, strict = both(path)
    assert fast == strict


ROWS = st.lists(st.tuples(SOUP, SOUP), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.sampled_from(["\n", "\r\n"]))
def test_what_the_csv_module_writes_is_read_as_it_was(tmp_path_factory, rows, quoting, end):
    if quoting == csv.QUOTE_MINIMAL:  # the csv module leaves a carriage return unquoted, and nobody can read that back
        rows = [(one.replace("\r", ""), other.replace("\r", "")) for one, other in rows]
    out = io.StringIO(newline="")
    csv.writer(out, quoting=quoting, lineterminator=end).writerows([("a", "b"), *rows])
    path = tmp_path_factory.mktemp("written") / "t.csv"
    path.write_bytes(out.getvalue().encode())
    _, fast, strict = both(path)
    assert fast == strict == [[cell or None for cell in row] for row in rows]
