from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest

from policies.card import DatasetCard
from policies.findings import DocumentInvalid
from policies.loader import load_card
from policies.quantities import duration_text, parse_duration, parse_size, size_text
from policies.types import Mechanism, PrivacySpent, PrivacyTarget

HEAD = """
apiVersion: ticketgate/v1
kind: Dataset
metadata: {name: visits}
spec:
  source: visits.csv
"""
PLAIN = "  columns:\n    a: {type: integer, bounds: [0, 9]}\n    at: {type: datetime, bounds: [2025-01-01, 2025-12-31]}\n"


def card(extra="", columns=PLAIN):
    return load_card(HEAD + extra + columns)


def column(text):
    return card(columns=f"  columns:\n    x: {{{text}}}\n").columns["x"]


@pytest.mark.parametrize(
    "text",
    [
        "type: integer, bounds: [0, 9], role: sensitive",
        "type: number, bounds: [-1.5, 1e3], decimals: 2, missing: false",
        "type: category, values: [a, b, true, 1]",
        "type: datetime, bounds: [2025-01-01, 2025-06-30T12:00:00], parts: [trend, 'holiday(DE)'], timezone: Europe/London",
        "type: date, bounds: [2025-01-01, 2025-01-01]",
        "type: text, description: notes",
        "type: boolean",
        "type: category, role: quasi-identifier",
    ],
)
def test_a_column_that_makes_sense_is_accepted(text):
    assert column(text).type in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("type: integer, bounds: [9, 0]", "lower bound 9 is above the upper bound 0"),
        ("type: integer, bounds: [2025-01-01, 2025-01-02]", "two finite numbers"),
        ("type: datetime, bounds: [1, 2]", "two dates or times"),
        ("type: date, bounds: [2025-02-01, 2025-01-01]", "is after the upper bound"),
        ("type: text, bounds: [1, 2]", "not to a column of type text"),
        ("type: integer, bounds: [1]", "bounds"),
        ("type: integer, values: [1, 2]", "values belong to a category"),
        ("type: category, values: []", "present and different"),
        ("type: category, values: [a, a]", "present and different"),
        ("type: integer, parts: [month]", "parts belong"),
        ("type: datetime, parts: [century]", "pattern"),
        ("type: integer, timezone: Europe/London", "timezone belongs"),
        ("type: datetime, timezone: Mars/Olympus", "not an IANA time zone"),
        ("type: integer, decimals: 2", "decimals belong"),
        ("type: id", "has the role identifier"),
        ("type: integer, colour: red", "unknown key 'colour'"),
    ],
)
def test_a_column_that_makes_none_is_refused(text, said):
    with pytest.raises(DocumentInvalid, match=said):
        column(text)


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ("  privacy_unit: who\n  max_rows_per_unit: 3\n", "privacy_unit names the column 'who'"),
        ("  privacy_unit: a\n", "needs max_rows_per_unit"),
        ("  max_rows_per_unit: 3\n", "needs a privacy_unit"),
        ("  time_index: a\n", "neither a date nor a datetime"),
        ("  targets: [b]\n", "targets names the column 'b'"),
        ("  constraints: [{columns: [a, z], relation: '<'}]\n", "constraints names the column 'z'"),
        ("  constraints: [{columns: [a, at, a], relation: '<'}]\n", "exactly two columns"),
        ("  constraints: [{columns: [a, at], relation: '<', allowed: [[1, 2]]}]\n", "exactly two columns"),
        ("  constraints: [{columns: [a, at], relation: combinations}]\n", "combinations need `allowed`"),
        ("  constraints: [{columns: [a, at], relation: combinations, allowed: [[1]]}]\n", "combinations need `allowed`"),
        ("  holdout: {fraction: 1}\n", "less than 1"),
        ("  budget: {epsilon: 0, delta: 1e-6}\n", "greater than 0"),
    ],
)
def test_a_card_whose_parts_do_not_fit_is_refused(extra, said):
    with pytest.raises(DocumentInvalid, match=said):
        card(extra)


def test_a_card_of_identifiers_is_refused():
    with pytest.raises(DocumentInvalid, match="nothing to learn"):
        card(columns="  columns:\n    x: {type: id, role: identifier}\n")


def test_a_card_answers_questions():
    found = card(
        "  privacy_unit: who\n  max_rows_per_unit: 7\n  time_index: at\n  constraints: [{columns: [a, b], relation: combinations, allowed: [[1, x]]}]\n",
        "  columns:\n    who: {type: id, role: identifier}\n    a: {type: integer, bounds: [0, 9], role: sensitive}\n"
        "    b: {type: category}\n    at: {type: datetime, bounds: [2025-01-01, 2025-12-31]}\n"
        "    until: {type: datetime, bounds: ['2025-01-01T06:00:00Z', '2025-01-01T18:00:00Z']}\n",
    )
    assert (found.name, found.rows_per_unit, found.identifiers) == ("visits", 7, ("who",))
    assert list(found.learnt) == ["a", "b", "at", "until"]
    assert found.with_role("sensitive") == ("a",)
    assert found.columns["a"].number_bounds() == (0.0, 9.0)
    assert found.columns["b"].number_bounds() is None
    assert found.columns["b"].time_bounds() is None
    low, high = found.columns["at"].time_bounds()
    assert (low, high) == (datetime(2025, 1, 1), datetime(2025, 12, 31, 23, 59, 59, 999999))  # noqa: DTZ001 - local by definition
    low, high = found.columns["until"].time_bounds()
    assert (low.hour, high.hour, low.tzinfo) == (6, 18, None)
    assert found.columns["at"].is_temporal
    assert not found.columns["at"].is_numeric
    assert card().rows_per_unit == 1
    assert isinstance(found, DatasetCard)


def test_bounds_with_an_offset_are_moved_to_the_zone_of_the_column():
    found = card(
        "",
        "  columns:\n    at: {type: datetime, timezone: America/New_York, bounds: ['2020-06-01T00:00:00Z', '2020-06-30T23:59:59Z']}\n",
    )
    low, high = found.columns["at"].time_bounds()
    assert (low.isoformat(), high.isoformat()) == ("2020-05-31T20:00:00", "2020-06-30T19:59:59")


def test_midnight_as_an_upper_bound_is_a_time_and_not_the_whole_day():
    found = card("", "  columns:\n    at: {type: datetime, bounds: [2020-06-01, '2020-06-30T00:00:00']}\n")
    low, high = found.columns["at"].time_bounds()
    assert (low.isoformat(), high.isoformat()) == ("2020-06-01T00:00:00", "2020-06-30T00:00:00")


def test_bounds_of_two_offsets_need_a_zone():
    with pytest.raises(DocumentInvalid, match="different UTC offsets"):
        card("", "  columns:\n    at: {type: datetime, bounds: ['2020-06-01T00:00:00Z', '2020-06-30T23:59:59-05:00']}\n")


def test_values_of_a_category_keep_their_spelling():
    found = card(
        "  constraints: [{columns: [a, b], relation: combinations, allowed: [[1e3, 0.00000001]]}]\n",
        "  columns:\n    a: {type: category, values: [1e3, 007, 1.10, -0, 0.00000001]}\n    b: {type: category}\n",
    )
    assert found.columns["a"].values == ("1e3", "007", "1.10", "-0", "0.00000001")
    assert found.spec.constraints[0].allowed == (("1e3", "0.00000001"),)


@pytest.mark.parametrize(("text", "back"), [("90s", "90s"), ("60m", "1h"), ("15m", "15m"), ("24h", "1d"), ("2w", "14d")])
def test_durations_are_written_back_in_their_largest_unit(text, back):
    assert duration_text(parse_duration(text)) == back
    assert parse_duration(parse_duration(text)) == parse_duration(text)


@pytest.mark.parametrize("text", ["", "30", "d", "1.5h", "-1d", "01d", "1 d", "1D", "30d ", 30, None, "36526d"])
def test_anything_else_is_no_duration(text):
    with pytest.raises(ValueError, match="a duration is"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size", "back"),
    [
        ("1B", 1, "1B"),
        ("1000kB", 10**6, "1MB"),
        ("1024KiB", 1 << 20, "1MiB"),
        ("5 GB", 5 * 10**9, "5GB"),
        ("2TiB", 2 << 40, "2TiB"),
    ],
)
def test_sizes_have_units(text, size, back):
    assert parse_size(text) == size
    assert size_text(size) == back


@pytest.mark.parametrize("text", ["", "0MB", "5", "5 mb", "MB", 5, None, "1e3kB"])
def test_anything_else_is_no_size(text):
    with pytest.raises(ValueError, match="a size is"):
        parse_size(text)


@pytest.mark.parametrize(
    ("epsilon", "delta"), [("0", "1e-6"), ("-1", "1e-6"), ("NaN", "1e-6"), ("1", "0"), ("1", "1"), ("1", "NaN")]
)
def test_a_target_is_a_guarantee(epsilon, delta):
    with pytest.raises(ValueError, match=r"epsilon is|delta lies"):
        PrivacyTarget(epsilon=Decimal(epsilon), delta=Decimal(delta))


def test_what_was_spent_is_written_and_read_back():
    spent = PrivacySpent(
        epsilon=Decimal("0.99"),
        delta=Decimal("1e-6"),
        unit="customer_id",
        neighbours="add-remove",
        accountant="zCDP",
        mechanisms=(Mechanism(name="counts", parameters={"cells": 3}, share=1.0),),
        noise_source="os",
        rho=Decimal("0.02"),
        rdp=((2.0, 0.1),),
    )
    assert PrivacySpent.from_json(spent.to_json()) == spent
    assert spent.is_dp
    assert not PrivacySpent.none().is_dp
    assert PrivacySpent.from_json(PrivacySpent.none().to_json()) == PrivacySpent.none()
