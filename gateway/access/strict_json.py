"""JSON as signed messages carry it: one reading only.

Invariants:
    - Duplicate members, NaN, Infinity, text that is not UTF-8, a byte order mark, half a character, U+0000, and anything but an
      object are refused.
    - Numbers with a fraction or exponent come back as `Decimal`, exactly as written; integers as `int`.
    - The caller bounds the size; nesting deeper than any message needs is refused before it is parsed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NoReturn

__all__ = ["NotStrictJson", "holds_nul", "parse_object"]

MAX_DEPTH = 8
MAX_NUMBER = 40
MAX_EXPONENT = 99
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"')


class NotStrictJson(ValueError):
    """The text is not one unambiguous JSON object."""


def parse_object(raw: bytes) -> dict[str, Any]:
    """Parse one JSON object.

    Raises:
        NotStrictJson: the text is anything else, or could be read in two ways.
    """
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH:
        _check_depth(raw)
    try:
        document = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_constant,
            parse_int=_integer,
            parse_float=_decimal,
        )
    except ValueError as error:
        raise NotStrictJson("not JSON") from error
    if not isinstance(document, dict):
        raise NotStrictJson("not an object")
    if b"\\u" in raw:
        _check_characters(document)
        if holds_nul(raw):
            raise NotStrictJson("text with a NUL")
    return document


def holds_nul(raw: bytes) -> bool:
    """Whether a string of a JSON text holds U+0000, which no column of PostgreSQL can."""
    return NUL.search(raw) is not None


def _check_depth(raw: bytes) -> None:
    depth = 0
    for byte in STRINGS.sub(b"", raw):
        depth += (byte in b"{[") - (byte in b"}]")
        if depth > MAX_DEPTH:
            raise NotStrictJson("nested too deeply")


def _check_characters(document: dict[str, Any]) -> None:
    try:
        json.dumps(document, default=str, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise NotStrictJson("text with half a character") from error


def _no_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotStrictJson("a member stands twice")
    return members


def _no_constant(_name: str) -> NoReturn:
    raise NotStrictJson("NaN and Infinity are not JSON")


def _integer(text: str) -> int:
    if len(text) > MAX_NUMBER:
        raise NotStrictJson("a number is too long")
    return int(text)


def _decimal(text: str) -> Decimal:
    value = Decimal(text) if len(text) <= MAX_NUMBER else Decimal("NaN")
    if not value.is_finite() or abs(value.adjusted()) > MAX_EXPONENT:
        raise NotStrictJson("a number is too long, too large or too small")
    return value
