"""Which bytes of an artifact a call asks for (RFC 9110, chapter 14).

Pure. To be asked only behind a token that holds: whether a range fits says how large an artifact is, and whether a version is the
present one says that it exists.

Invariants:
    - One range of bytes is served. Several, or none that can be read, are refused with the size; a unit that is not bytes is
      no range at all.
    - A range of another version (`If-Range`) is no range: the whole artifact is served.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.errors import RangeNotSatisfiable

__all__ = ["WHOLE", "RangeAsked", "etag_of", "part_of"]

ONE = re.compile(r"([0-9]{0,18})-([0-9]{0,18})\Z")


@dataclass(frozen=True, slots=True)
class RangeAsked:
    """The headers `Range` and `If-Range` as they came."""

    unverified_range: str | None = None
    unverified_version: str | None = None


WHOLE = RangeAsked()


def etag_of(sha256: str) -> str:
    """The strong validator of an artifact: its digest."""
    return f'"{sha256}"'


def part_of(asked: RangeAsked, *, size: int, etag: str) -> tuple[int, int] | None:
    """First byte and length of what is asked for; None for the whole.

    Args:
        asked: The headers.
        size: Of the artifact in bytes.
        etag: Of its present version, quoted.

    Raises:
        RangeNotSatisfiable: there are no such bytes, or it is not one range; it carries the size.
    """
    unit, _, spec = (asked.unverified_range or "").strip().partition("=")
    if unit.lower() != "bytes" or (asked.unverified_version is not None and asked.unverified_version.strip() != etag):
        return None
    found = ONE.match(spec.strip())
    if found is None or found.groups() == ("", ""):
        raise RangeNotSatisfiable("one range of bytes at a time: Range: bytes=FIRST-LAST", size=size)
    first, last = (int(group) if group else None for group in found.groups())
    if first is None:  # the last so many bytes
        first, last = (max(0, size - last) if last else size), None
    if first >= size or (last is not None and last < first):
        raise RangeNotSatisfiable(f"the artifact has {size} bytes", size=size)
    end = size - 1 if last is None else min(last, size - 1)
    return first, end - first + 1
