"""One reading of JSON only."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access.strict_json import NotStrictJson, parse_object

storable = st.characters(exclude_categories=("Cs",), exclude_characters="\0")
texts, names = st.text(storable, max_size=20), st.text(storable, max_size=10)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50)
@given(st.dictionaries(names, values, max_size=3))
def test_what_json_writes_is_read_back(document):
    raw = json.dumps(document).encode()
    if max(raw.count(b"{"), raw.count(b"[")) < 5:
        assert parse_object(raw) == document
    assert parse_object(json.dumps({"text": str(document)}, ensure_ascii=False).encode())


@given(st.decimals(min_value=0, max_value=10**9, places=12))
def test_numbers_are_exact(number):
    assert parse_object(f'{{"n": {number:.12f}}}'.encode())["n"] == number


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "1", '"a"', "null", "{} {}", "{'a': 1}", '{"a": 1,}', '{"a": 1, "a": 1}', '{"b": {"a": 1, "a": 2}}', '{"a": NaN}', '{"a": -Infinity}',
        '{"a": 1e999}', '{"a": 1e-999}', '{"a": 0e5000}', '{"a": ' + "1" * 41 + "}", '{"a": 1.' + "1" * 41 + "}", '{"a": 01}', '{"a": "\\ud800"}', '{"\\udfff": 1}',
        '\ufeff{"a": 1}', '{"a": ' + "[" * 9 + "]" * 9 + "}", '{"a": ' * 9 + "1" + "}" * 9, '{"a": "\t"}',
        '{"a": "\\u0000"}', '{"a\\u0000": 1}', '{"a": ["x", {"b": "\\\\\\u0000"}]}',
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_refused(text):
    with pytest.raises(NotStrictJson):
        parse_object(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("text", ['{"a": "\\\\u0000"}', '{"a": "\\\\\\\\u0000", "b": "\\u0001"}'])
def test_a_backslash_before_text_is_no_nul(text):
    assert "\\u0000" in parse_object(text.encode())["a"]


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(NotStrictJson):
        parse_object(b'{"a": "\xff"}')


def test_brackets_in_texts_are_no_depth():
    assert parse_object(json.dumps({"a": "[" * 50 + '"' + "{" * 50}).encode())
    assert parse_object(json.dumps({"a": [[1], [2], [3], [4], [5], [6], [7], [8], [9]], "b": "\u00e9"}).encode())
    assert parse_object(b'{"a": 1.50}')["a"] == Decimal("1.50")
