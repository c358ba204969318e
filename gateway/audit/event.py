"""One event: its identifier, its canonical payload, and the entry that is read back.

Invariants:
    - The payload is canonical JSON (RFC 8785) and the only thing the tree commits to; everything else is derived from it.
    - An identifier begins with the millisecond of `at`, so that identifiers sort by time (ULID).
    - Numbers are JSON numbers where RFC 8785 can hold them; decimals are strings, times are RFC 3339 in UTC.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import rfc8785

__all__ = [
    "SCHEMA", "SUBJECTS", "UNREADABLE", "Entry", "Subjects", "event_id", "format_time", "moment_of", "next_event_id",
    "parse_time", "payload_of",
]  # fmt: skip

SCHEMA = "ticketgate/audit-event/v1"
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
RANDOM_BITS = 80
ID_LENGTH = 26
UNREADABLE: Mapping[str, Any] = {"unreadable": "the payload of this row is no event; `audit verify` says more"}
"""Data of an entry whose payload is no event: a row that was written past the gateway."""


@dataclass(frozen=True, slots=True)
class Subjects:
    """What an event is about; the actor stands as a pseudonym."""

    actor: str | None = None
    release: str | None = None
    ticket: str | None = None
    dataset: str | None = None
    token: str | None = None

    def to_json(self) -> dict[str, str]:
        """Those that are given."""
        values = ((name, getattr(self, name)) for name in SUBJECTS)
        return {name: value for name, value in values if value is not None}


SUBJECTS = ("actor", "release", "ticket", "dataset", "token")


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as it stands in the log.

    Attributes:
        index: Place among the leaves; None for the moment until the sequencer has been there.
        id: Identifier of the event.
        kind: One of `gateway.audit.kinds.KINDS`.
        at: When, aware, in UTC.
        subjects: What it is about.
        data: What else is recorded.
        payload: The canonical JSON that the leaf commits to.
        leaf_hash: SHA-256(0x00 ‖ payload).
    """

    index: int | None
    id: str
    kind: str
    at: datetime
    subjects: Subjects
    data: Mapping[str, Any]
    payload: str
    leaf_hash: bytes

    def to_json(self) -> dict[str, Any]:
        """The entry for people and programs; `leaf_hash` is hex."""
        return {
            "index": self.index,
            "id": self.id,
            "kind": self.kind,
            "at": format_time(self.at),
            "subjects": self.subjects.to_json(),
            "data": dict(self.data),
            "leaf_hash": self.leaf_hash.hex(),
        }


def event_id(at: datetime, entropy: int) -> str:
    """A ULID: 48 bits of milliseconds since 1970, 80 bits of entropy, in Crockford's base 32.

    Args:
        at: When; aware, not before 1970.
        entropy: 0 ≤ entropy < 2**80.
    """
    value = milliseconds(at) << RANDOM_BITS | entropy
    return "".join(ALPHABET[value >> shift & 31] for shift in range(5 * (ID_LENGTH - 1), -1, -5))


def next_event_id(previous: str, at: datetime, entropy: int) -> str:
    """An identifier that sorts after `previous` when both fall into one millisecond."""
    fresh = event_id(at, entropy)
    if previous[:10] != fresh[:10]:
        return fresh
    value = 0
    for character in previous[10:]:
        value = value << 5 | ALPHABET.index(character)
    return event_id(at, value + 1)


def moment_of(identifier: object) -> datetime | None:
    """When an event with this identifier happened, to the millisecond; None when it is no identifier of ours."""
    if not isinstance(identifier, str) or len(identifier) != ID_LENGTH or not set(identifier) <= set(ALPHABET):
        return None
    value = 0
    for character in identifier[:10]:
        value = value << 5 | ALPHABET.index(character)
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value)
    except OverflowError:
        return None


def milliseconds(at: datetime) -> int:
    """Whole milliseconds since 1970."""
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def format_time(at: datetime) -> str:
    """RFC 3339 in UTC with microseconds."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_time(value: str) -> datetime:
    """The inverse of `format_time`.

    Raises:
        ValueError: it is not such a time.
    """
    return datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def payload_of(*, identifier: str, kind: str, at: datetime, subjects: Subjects, data: Mapping[str, Any]) -> str:
    """The canonical JSON of an event.

    Raises:
        ValueError: `data` holds something that is not JSON: NaN, infinity, integers beyond 2**53, unknown objects.
    """
    document = {
        "schema": SCHEMA,
        "id": identifier,
        "kind": kind,
        "at": format_time(at),
        "subjects": subjects.to_json(),
        "data": as_json(data),
    }
    return rfc8785.dumps(document).decode()


def as_json(value: Any) -> Any:
    """Make plain JSON of decimals, times, enums, tuples and mappings; anything unknown is left for the encoder to refuse."""
    match value:
        case Mapping():
            return {str(key): as_json(item) for key, item in value.items()}
        case list() | tuple():
            return [as_json(item) for item in value]
        case _:
            return _scalar(value)


def _scalar(value: Any) -> Any:
    match value:
        case Enum():
            return value.value
        case Decimal():
            if not value.is_finite():
                raise ValueError("a decimal in the log is finite")
            return str(value)
        case datetime():
            return format_time(value)
        case date():
            return value.isoformat()
        case _:
            return value


def entry_of(row: Any) -> Entry:
    """An entry from a row of `audit_event`; a payload that is no event gives `UNREADABLE` data."""
    return Entry(
        index=row.leaf_index,
        id=row.id,
        kind=row.kind,
        at=row.at,
        subjects=Subjects(**{name: getattr(row, name) for name in SUBJECTS}),
        data=_data_of(row.payload),
        payload=row.payload,
        leaf_hash=bytes(row.leaf_hash),
    )


def _data_of(payload: str) -> Mapping[str, Any]:
    # Whoever may insert rows may put anything there: one such row must not end every listing and export.
    try:
        data = json.loads(payload)["data"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return UNREADABLE
    return data if isinstance(data, dict) else UNREADABLE
