"""Entries for other systems, page by page from an opaque cursor: JSON Lines, OCSF, CEF.

Invariants:
    - Only leaves are exported, in the order of the tree: a receiver that keeps its cursor misses nothing and sees nothing twice.
    - A JSON line holds the event's canonical JSON verbatim, so that the receiver can recompute the leaf hash. A payload that is
      no event (a row written past the gateway) stands there as a JSON string, so that it can forge no line.
    - No export undoes a pseudonym.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Unpack

from gateway.audit.cef import to_cef
from gateway.audit.event import UNREADABLE, Entry
from gateway.audit.log import Log, Where
from gateway.audit.ocsf import to_ocsf_line
from gateway.db.work import Work
from gateway.errors import InvalidRequest

__all__ = ["EXPORT_SCHEMA", "FORMATS", "Page", "decode_cursor", "encode_cursor", "export_lines", "export_page", "to_json_line"]

EXPORT_SCHEMA = "ticketgate/audit-export/v1"
CURSOR_PREFIX = "v1:"
LARGEST_INDEX = 1 << 62  # either database compares and adds to it


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries and where to go on.

    Attributes:
        entries: In the order of the tree.
        cursor: Give it to the next call; unchanged when there was nothing new.
        is_last: Whether fewer entries than asked for were there.
    """

    entries: tuple[Entry, ...]
    cursor: str
    is_last: bool


def to_json_line(entry: Entry) -> str:
    """One entry as a JSON object: schema, index, leaf_hash (hex), and the event verbatim."""
    is_event = entry.data is not UNREADABLE and "\n" not in entry.payload and "\r" not in entry.payload
    event = entry.payload if is_event else json.dumps(entry.payload)
    return (
        f'{{"schema":"{EXPORT_SCHEMA}","index":{"null" if entry.index is None else entry.index},'
        f'"leaf_hash":"{entry.leaf_hash.hex()}","event":{event}}}'
    )


FORMATS: dict[str, Callable[[Entry], str]] = {"jsonl": to_json_line, "ocsf": to_ocsf_line, "cef": to_cef}
"""Export formats by name; each writes one line per entry."""


def export_lines(entries: Iterable[Entry], export_format: str) -> Iterator[str]:
    """Entries as lines, each with its newline.

    Raises:
        InvalidRequest: there is no such format.
    """
    if export_format not in FORMATS:
        raise InvalidRequest(f"there is no export format {export_format!r}", unlock=(f"use one of {', '.join(FORMATS)}",))
    write = FORMATS[export_format]
    return (write(entry) + "\n" for entry in entries)


def export_page(work: Work, *, cursor: str | None = None, limit: int = 1000, **where: Unpack[Where]) -> Page:
    """The entries behind a cursor.

    Args:
        work: A transaction.
        cursor: From the page before; None begins with the first leaf.
        limit: At most so many entries, 1 to 10,000.
        **where: Conditions, as for `Log.entries`.

    Raises:
        InvalidRequest: the cursor is not one of ours.
    """
    after = None if cursor is None else decode_cursor(cursor)
    entries = tuple(Log(work).entries(after=after, limit=limit, **where))
    last = entries[-1].index if entries else after
    return Page(entries, encode_cursor(last), is_last=len(entries) < limit)


def encode_cursor(index: int | None) -> str:
    """The cursor behind a leaf; of None, the beginning."""
    return urlsafe_b64encode(f"{CURSOR_PREFIX}{-1 if index is None else index}".encode()).decode().rstrip("=")


def decode_cursor(raw_cursor: str) -> int:
    """The leaf before which everything was seen; -1 at the beginning.

    Raises:
        InvalidRequest: it is not one of our cursors.
    """
    try:
        text = urlsafe_b64decode(raw_cursor + "=" * (-len(raw_cursor) % 4)).decode("ascii")
        index = int(text.removeprefix(CURSOR_PREFIX))
    except ValueError:
        index = -2
    if not -1 <= index < LARGEST_INDEX or encode_cursor(index) != raw_cursor:
        raise InvalidRequest("this cursor was not made here", unlock=("begin again without a cursor",))
    return index
