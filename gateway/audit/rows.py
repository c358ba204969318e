"""One event row against its own payload.

The payload is what a leaf commits to; every column beside it is derived from it. Rows are read as the driver gives them, because
whoever may insert rows, or owns the table, may have put anything there.

Invariants:
    - The hash of a leaf is computed from the payload; the column `leaf_hash` is never taken at its word.
    - Nothing that stands in a row makes reading it fail.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Table, select, type_coerce
from sqlalchemy.types import NullType

from gateway.audit.event import SCHEMA, SUBJECTS, format_time
from gateway.audit.merkle import leaf_hash

__all__ = ["CheckedRow", "as_bytes", "check_row", "raw_columns"]

BREAKS: Final = frozenset("\n\r")
_CHECKED: Final = ("schema", "id", "kind", "at", *SUBJECTS)
_SQLITE_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}\Z")


@dataclass(frozen=True, slots=True)
class CheckedRow:
    """What a row's payload gives.

    Attributes:
        leaf: Leaf hash of the payload, whatever the row says about it.
        wrong: Columns that are not what the payload says; `payload` when it is no event at all.
    """

    leaf: bytes
    wrong: tuple[str, ...]


def raw_columns(table: Table) -> Any:
    """All columns as the driver gives them: what was tampered with must not break the reading."""
    return select(*(type_coerce(column, NullType()).label(column.name) for column in table.columns))


def as_bytes(value: object) -> bytes:
    """The bytes of a binary column; none when something else stands there."""
    return bytes(value) if isinstance(value, bytes | memoryview) else b""


def check_row(row: Any) -> CheckedRow:
    """Compare a row of `audit_event`, read by `raw_columns`, with its own payload."""
    payload = row.payload if isinstance(row.payload, str) else ""
    found = leaf_hash(payload.encode())
    wrong = [] if as_bytes(row.leaf_hash) == found else ["leaf_hash"]
    try:
        wrong += _differing(row, json.loads(payload))
        if not BREAKS.isdisjoint(payload):
            wrong.append("payload")  # canonical JSON has none; a reader of lines would take the rest for another event
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        wrong.append("payload")
    return CheckedRow(found, tuple(wrong))


def _time_of(value: object) -> str | None:
    """The time of a row as the payload writes it; None when it stands in any other spelling than the one that is written."""
    # SQLite holds text, and what reads another spelling may take it for another moment.
    if isinstance(value, str):
        return value.replace(" ", "T") + "Z" if _SQLITE_TIME.match(value) else None
    return format_time(value) if isinstance(value, datetime) else None


def _differing(row: Any, document: dict[str, Any]) -> list[str]:
    """Names of the columns that are not what the payload says."""
    subjects = document["subjects"]
    said = (document["schema"], document["id"], document["kind"], document["at"], *map(subjects.get, SUBJECTS))
    held = (SCHEMA, row.id, row.kind, _time_of(row.at), row.actor, row.release, row.ticket, row.dataset, row.token)
    if said == held:
        return []
    return [name for name, one, other in zip(_CHECKED, said, held, strict=True) if one != other]
