"""Identifiers, canonical payloads, the catalogue of kinds."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.event import (
    SCHEMA,
    Subjects,
    event_id,
    format_time,
    milliseconds,
    next_event_id,
    parse_time,
    payload_of,
)
from gateway.audit.kinds import KINDS, kind_named

AT = datetime(2026, 3, 1, 12, 0, 0, 250, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone


class Colour(Enum):
    RED = "red"


def payload(**data: object) -> str:
    return payload_of(identifier="X", kind="release.requested", at=AT, subjects=Subjects(release="r"), data=data)


@given(first=MOMENTS, second=MOMENTS, entropy=st.integers(0, 2**79 - 1))
def test_identifiers_sort_by_time(first: datetime, second: datetime, entropy: int):
    one, two = event_id(first, entropy), event_id(second, entropy)
    assert len(one) == 26
    if milliseconds(first) < milliseconds(second):
        assert one < two


@given(at=MOMENTS, entropy=st.integers(0, 2**79 - 1), other=st.integers(0, 2**79 - 1))
def test_identifiers_of_one_millisecond_keep_their_order(at: datetime, entropy: int, other: int):
    one = event_id(at, entropy)
    two = next_event_id(one, at, other)
    assert one < two < next_event_id(two, at, 0)


def test_another_millisecond_begins_anew():
    assert next_event_id(event_id(AT, 5), AT + timedelta(milliseconds=1), 9) == event_id(AT + timedelta(milliseconds=1), 9)


def test_a_known_identifier():
    assert event_id(datetime(1970, 1, 1, tzinfo=UTC), 0) == "0" * 26
    assert event_id(datetime(1970, 1, 1, tzinfo=UTC), 31) == "0" * 25 + "Z"


@given(at=MOMENTS)
def test_times_come_back(at: datetime):
    assert parse_time(format_time(at)) == at


def test_times_are_written_in_utc():
    assert format_time(datetime(2026, 3, 1, 13, tzinfo=timezone(timedelta(hours=1)))) == "2026-03-01T12:00:00.000000Z"


def test_the_payload_is_canonical():
    text = payload(b=1, a=[1.0, 1e21, "é"], c=None)
    assert text == (
        '{"at":"2026-03-01T12:00:00.000250Z","data":{"a":[1,1e+21,"é"],"b":1,"c":null},"id":"X","kind":"release.requested",'
        f'"schema":"{SCHEMA}","subjects":{{"release":"r"}}}}'
    )


def test_decimals_times_enums_and_tuples_become_json():
    data = json.loads(payload(d=Decimal("0.10"), t=AT, day=date(2026, 3, 1), e=Colour.RED, x=(1, {2: Decimal(1)})))["data"]
    assert data == {"d": "0.10", "t": format_time(AT), "day": "2026-03-01", "e": "red", "x": [1, {"2": "1"}]}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), 2**53, object(), b"bytes", "\ud800", {1, 2}])
def test_what_is_not_json_is_refused(value: object):
    with pytest.raises(ValueError):  # noqa: PT011 - several sentences
        payload(x=value)


def test_a_naive_time_is_refused():
    with pytest.raises(TypeError):
        milliseconds(datetime(2026, 3, 1))  # noqa: DTZ001 - that is the point


def test_every_kind_has_a_meaning_and_a_proper_name():
    for name, kind in KINDS.items():
        subject, _, what = name.partition(".")
        assert subject
        assert what
        assert len(name) <= 64
        assert kind.meaning.endswith(".")
    with pytest.raises(ValueError, match="no kind of event"):
        kind_named("release.vanished")
