"""Types of a text table without a card: found by content, and every choice is told.

Invariants:
    - A type is chosen only when every value of the column has it; otherwise the column is text, which loses nothing.
    - Digits are never lost: numbers with leading zeros or beyond 64 bits stay text.
    - The result is a proposal for people. Releases are made with a card.
"""

from __future__ import annotations

import pyarrow as pa

from policies.columns import Column, ColumnType
from policies.tables import cells as c
from policies.tables.arrow import Cells, pc
from policies.tables.limits import quoted
from policies.tables.times import impossible, iso_dates, settle_date_form

__all__ = ["infer_column", "word_type"]

Choice = tuple[ColumnType, str | None]
PROBE = 100
MOST_CATEGORIES = 200
CATEGORY_SHARE = 0.2


def infer_column(name: str, raw: Cells, *, has_decimal_comma: bool) -> tuple[Column, str | None]:
    """The type of a column of text cells (null where empty), and what is worth telling about the choice."""
    kind, why = _kind(raw, has_decimal_comma=has_decimal_comma)
    note = None if why is None else f"column {quoted(name)}: read as {kind}, {why}"
    return Column(type=kind), note


def word_type(distinct: int, cells: int) -> ColumnType:
    """Whether texts are categories: few different ones, each used often."""
    return "category" if distinct <= MOST_CATEGORIES and distinct <= max(2, CATEGORY_SHARE * cells) else "text"


def _kind(raw: Cells, *, has_decimal_comma: bool) -> Choice:
    distinct = pc.unique(pc.utf8_trim_whitespace(raw))
    distinct = pc.filter(distinct, pc.and_(pc.is_valid(distinct), pc.invert(c.matches(distinct, f"{c.MISSING_WORDS}|^$"))))
    if not len(distinct):
        return ("text", "since it holds no value at all") if len(raw) else ("text", None)
    for test in (_boolean, _whole, _real, _day, _moment):
        if (found := test(distinct, has_decimal_comma)) is not None:
            return found
    return _words(distinct, len(raw) - raw.null_count)


def _all(present: Cells, pattern: str) -> bool:
    if c.count(c.matches(present[:PROBE], pattern)) < len(present[:PROBE]):
        return False
    return c.count(c.matches(present, pattern)) == len(present)


def _boolean(present: Cells, _comma: bool) -> Choice | None:  # noqa: FBT001 - one signature for all tests
    distinct = set(pc.unique(pc.utf8_lower(present)).to_pylist()) if _all(present, r"^\pL{1,6}$") else set()
    for pair in c.BOOLEAN_PAIRS:
        if distinct and distinct <= set(pair) and len(distinct) == 2:  # noqa: PLR2004 - both truth values occur
            return "boolean", None
    return None


def _whole(present: Cells, _comma: bool) -> Choice | None:  # noqa: FBT001
    if not _all(present, r"^[+-]?\d+$"):
        return None
    if c.count(c.matches(present, r"^[+-]?0\d")):
        return "text", "since some of its numbers have leading zeros, which would be lost"
    try:
        pc.cast(pc.replace_substring_regex(present, pattern=r"^\+", replacement=""), pa.int64())
    except pa.ArrowInvalid:
        return "text", "since some of its whole numbers need more than 64 bits and would lose digits"
    if settle_date_form(present) == "YYYYMMDD":
        return "integer", "although all its values could be dates of the form YYYYMMDD"
    return "integer", None


def _real(present: Cells, comma: bool) -> Choice | None:  # noqa: FBT001
    if comma and _all(present, c.FLOAT_COMMA):
        return "number", None
    if not _all(present, f"{c.FLOAT}|{c.NOT_FINITE}"):
        return None
    if c.count(c.matches(present, c.NOT_FINITE)):
        return "text", "since some of its numbers are infinite"
    if c.count(pc.is_inf(pc.cast(pc.replace_substring_regex(present, pattern=r"^\+", replacement=""), pa.float64()))):
        return "text", "since some of its numbers are too large for double precision"
    if c.count(c.matches(present, r"^[+-]?0\d")):
        return "text", "since some of its numbers have leading zeros, which would be lost"
    return "number", None


def _day(present: Cells, _comma: bool) -> Choice | None:  # noqa: FBT001
    form = settle_date_form(present)
    if form is None or form == "YYYYMMDD":
        return None
    if form == "D/M/Y":
        return "text", "since whether day or month comes first in its dates cannot be told"
    if wrong := c.count(impossible(iso_dates(present, form), pa.date32())):
        return "text", f"since {wrong:,} of its different dates do not exist"
    return "date", None


def _moment(present: Cells, _comma: bool) -> Choice | None:  # noqa: FBT001
    naive, zoned = c.count(c.matches(present, c.ISO_TIME)), c.count(c.matches(present, c.ISO_ZONED))
    if naive + zoned < len(present):
        days = pc.replace_substring_regex(present, pattern=r"[T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?$", replacement="")
        form = settle_date_form(days)
        if form in {"DD/MM/YYYY", "MM/DD/YYYY", "DD.MM.YYYY", "YYYY/MM/DD"}:
            return "datetime", None
        return None
    if naive and zoned:
        return "text", "since some of its times have a UTC offset and some have none"
    offsets = (
        pc.unique(pc.replace_substring_regex(present, pattern=r"^.*?(Z|[+-]\d{2}:?\d{2})$", replacement=r"\1")) if zoned else []
    )
    if len(offsets) > 1:
        return "text", f"since its times have {len(offsets):,} different UTC offsets: a card can name their time zone"
    return "datetime", None


def _words(distinct: Cells, cells: int) -> Choice:
    shapes = {
        "numbers": c.count(c.matches(distinct, c.FLOAT)),
        "dates": c.count(pc.or_(c.matches(distinct, c.ISO_DATE), c.matches(distinct, c.DATE_FORMS["D/M/Y"]))),
        "times": c.count(pc.and_(c.matches(distinct, f"{c.ISO_TIME}|{c.ISO_ZONED}"), pc.invert(c.matches(distinct, c.ISO_DATE)))),
    }
    mixed = [f"{number:,} {what}" for what, number in shapes.items() if number]
    number = len(distinct)
    kind = word_type(number, cells)
    if mixed:
        return kind, f"since only {' and '.join(mixed)} are among its {number:,} different values"
    return kind, None
