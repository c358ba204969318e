"""Exports: nothing missed, nothing twice, every line valid in its format, no value breaks out of its field."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest

import gateway.audit
from gateway.audit import Entry, Log, Subjects, export_lines, export_page
from gateway.audit.cef import to_cef, to_syslog
from gateway.audit.event import payload_of
from gateway.audit.export import EXPORT_SCHEMA, decode_cursor, encode_cursor
from gateway.audit.kinds import KINDS
from gateway.audit.merkle import leaf_hash
from gateway.audit.ocsf import to_ocsf
from gateway.errors import InvalidRequest

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SCHEMA = json.loads((Path(gateway.audit.__file__).parent / "schemas" / "ocsf-1.3.0-entity-management.json").read_text())

VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def entry(kind: str = "release.released", index: int | None = 3, **subjects: str) -> Entry:
    given = Subjects(**subjects)
    payload = payload_of(identifier="0" * 26, kind=kind, at=NOW, subjects=given, data={"n": 1})
    return Entry(index, "0" * 26, kind, NOW, given, {"n": 1}, payload, leaf_hash(payload.encode()))


def test_pages_miss_nothing_and_repeat_nothing(world):
    world.grow(7)
    seen, cursor = [], None
    with world.database.read() as work:
        while True:
            page = export_page(work, cursor=cursor, limit=3)
            seen += [found.index for found in page.entries]
            cursor = page.cursor
            if page.is_last:
                break
    assert seen == list(range(7))
    with world.database.read() as work:
        assert export_page(work, cursor=cursor).cursor == cursor
        assert export_page(work, cursor=cursor).entries == ()
    world.append(1, start=7)
    world.sequencer.run_once(NOW)
    with world.database.read() as work:
        assert [found.index for found in export_page(work, cursor=cursor).entries] == [7]
        assert [found.index for found in export_page(work, release="rel-2").entries] == [2]


def test_the_cursor_of_an_empty_log(world):
    with world.database.read() as work:
        page = export_page(work)
    assert (page.entries, page.is_last, decode_cursor(page.cursor)) == ((), True, -1)


@pytest.mark.parametrize("cursor", ["", "5", "djE6", "djE6LTI", "djE6MDU", "djI6NQ", "djE6NQ==", "é", "djE6IDU", "____"])
def test_foreign_cursors_are_refused(cursor: str):
    with pytest.raises(InvalidRequest, match="cursor"):
        decode_cursor(cursor)
    assert decode_cursor(encode_cursor(5)) == 5


def test_json_lines_hold_the_event_verbatim():
    found = entry(release="r", actor="hmac-sha256:00")
    (line,) = export_lines([found], "jsonl")
    document = json.loads(line)
    assert document["schema"] == EXPORT_SCHEMA
    assert (document["index"], document["leaf_hash"]) == (3, found.leaf_hash.hex())
    assert document["event"] == json.loads(found.payload)
    assert leaf_hash(line[line.index('"event":') + 8 : -2].encode()) == found.leaf_hash
    assert json.loads(next(export_lines([entry(index=None)], "jsonl")))["index"] is None


def test_unknown_formats_are_refused():
    with pytest.raises(InvalidRequest, match="no export format"):
        export_lines([], "xml")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_valid_ocsf_event(kind: str):
    for subjects in ({}, {"release": "r", "actor": "hmac-sha256:00"}, {"token": "t", "ticket": "T-1", "dataset": "d"}):
        event = to_ocsf(entry(kind, **subjects))
        VALIDATOR.validate(event)
        assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
        assert event["metadata"]["version"] == "1.3.0"
        assert ("actor" in event) is (event["metadata"].get("profiles") == ["host"])
    VALIDATOR.validate(json.loads(next(export_lines([entry(kind, index=None)], "ocsf"))))


def test_the_ocsf_schema_refuses_what_lacks_a_required_attribute():
    event = to_ocsf(entry())
    for name in SCHEMA["required"]:
        broken = {key: value for key, value in event.items() if key != name}
        with pytest.raises(jsonschema.ValidationError):
            VALIDATOR.validate(broken)


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"version": "1.3.0"}},
        {"metadata": {"version": "1.3.0", "product": {"vendor_name": "x"}}},
        {"metadata": {"version": "1.3.0", "product": {"name": "x"}}},
        {"activity_id": 98},
        {"severity_id": 7},
        {"category_uid": "3"},
        {"class_uid": 3005},
        {"type_uid": 300498},
        {"time": "2026-03-01T12:00:00Z"},
        {"entity": {"type": "release"}},
        {"entity": {"uid": "r", "colour": "red"}},
        {"actor": {}},
        {"actor": {"user": {"type": "admin"}}},
        {"kind": "release.released"},
    ],
)
def test_the_published_ocsf_schema_refuses_what_the_class_does_not_know(change: dict):
    event = to_ocsf(entry(actor="hmac-sha256:00"))
    VALIDATOR.validate(event)
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(event | change)


def test_the_schema_is_that_of_the_class_as_published():
    assert SCHEMA["$id"].startswith("https://schema.ocsf.io/schema/1.3.0/classes/entity_management")
    assert SCHEMA["additionalProperties"] is False
    assert len(SCHEMA["$defs"]) > 30


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_one_cef_line(kind: str):
    line = to_cef(entry(kind, ticket="T-1", release="r"))
    header = re.split(r"(?<!\\)\|", line)
    assert header[:5] == ["CEF:0", "Ticketgate", "gateway", "1", kind]
    assert len(header) == 8
    assert 0 <= int(header[6]) <= 10
    assert "cs2=T-1" in header[7]


def test_no_value_breaks_out_of_cef():
    line = to_cef(entry(ticket="T\n-1 cs9=x|\\y\r", actor="a=b"))
    assert "\n" not in line
    assert "\r" not in line
    assert "cs2=T\\n-1 cs9\\=x|\\\\y\\r" in line
    assert "suid=a\\=b" in line
    assert "cn1=" not in to_cef(entry(index=None))


def test_syslog():
    line = to_syslog(entry("budget.raised"), host="gate")
    assert line.startswith("<107>1 2026-03-01T12:00:00.000000Z gate ticketgate - budget.raised - CEF:0|")


def test_an_entry_of_the_log_exports_in_every_format(world):
    with world.database.begin() as work:
        Log(work).append("release.released", at=NOW, actor="ana", release="r", ticket="T-1")
        work.commit()
    world.sequencer.run_once(NOW)
    with world.database.read() as work:
        entries = export_page(work).entries
    for export_format in ("jsonl", "ocsf", "cef"):
        (line,) = export_lines(entries, export_format)
        assert line.count("\n") == 1
        assert "ana" not in line.replace("Management", "")
