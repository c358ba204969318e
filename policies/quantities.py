"""Durations and sizes as people write them: `30d`, `15m`, `512MiB`.

Responsible for the two typed values with a unit. Invariants: a number without a unit is refused (nobody knows which one was
meant); both are positive; both are written back in the largest unit that divides them, so equal values have equal text.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer

__all__ = ["Duration", "Size", "duration_text", "parse_duration", "parse_size", "size_text"]

SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
BYTES = {
    "TiB": 1 << 40, "TB": 10**12, "GiB": 1 << 30, "GB": 10**9, "MiB": 1 << 20, "MB": 10**6, "KiB": 1 << 10, "kB": 10**3, "B": 1,
}  # fmt: skip
DURATION = re.compile(r"([1-9][0-9]{0,8})(s|m|h|d|w)\Z")
SIZE = re.compile(r"([1-9][0-9]{0,14}) ?(B|kB|KiB|MB|MiB|GB|GiB|TB|TiB)\Z")
MAX_DURATION = timedelta(days=36_525)


def parse_duration(value: object) -> timedelta:
    """Read a duration.

    Args:
        value: Text such as `90s`, `15m`, `24h`, `30d`, `2w`; or a `timedelta`, which is returned as it is.

    Raises:
        ValueError: no such text, no unit, zero, or more than a hundred years.
    """
    if isinstance(value, timedelta):
        return value
    match = DURATION.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"a duration is a whole number and a unit, as in 90s, 15m, 24h, 30d or 2w, not '{str(value)[:40]}'")
    length = timedelta(seconds=int(match[1]) * SECONDS[match[2]])
    if length > MAX_DURATION:
        raise ValueError(f"a duration is at most a hundred years, not '{value}'")
    return length


def duration_text(length: timedelta) -> str:
    """The duration in its largest whole unit up to days: a week is `7d`, as policies say it."""
    seconds = int(length.total_seconds())
    unit = next(u for u in ("d", "h", "m", "s") if seconds % SECONDS[u] == 0)
    return f"{seconds // SECONDS[unit]}{unit}"


def parse_size(value: object) -> int:
    """Read a size in bytes.

    Args:
        value: Text such as `500MB` (10^6) or `512MiB` (2^20).

    Raises:
        ValueError: no such text, no unit, or zero.
    """
    match = SIZE.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"a size is a whole number and a unit, as in 500MB or 512MiB, not '{str(value)[:40]}'")
    return int(match[1]) * BYTES[match[2]]


def size_text(size: int) -> str:
    """The size in the largest unit that divides it."""
    unit = next(u for u, factor in BYTES.items() if size % factor == 0)
    return f"{size // BYTES[unit]}{unit}"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration, json_schema_input_type=Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}(s|m|h|d|w)$")]),
    PlainSerializer(duration_text, return_type=str),
]
Size = Annotated[
    int,
    BeforeValidator(
        parse_size, json_schema_input_type=Annotated[str, Field(pattern=r"^[1-9][0-9]{0,14} ?(B|kB|KiB|MB|MiB|GB|GiB|TB|TiB)$")]
    ),
    PlainSerializer(size_text, return_type=str),
]
