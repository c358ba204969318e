"""Text cells of one column to typed values, as its dataset card says.

Invariants:
    - One column, one format: the first batch with values settles how the column is written, and whatever differs later is
      refused. An order of day and month that cannot be told is refused, not guessed.
    - Whole numbers are exact. What does not fit its type is refused by count and row, and its text is never shown.
    - Every reading that is not the plain one is a note.
"""

from __future__ import annotations

import pyarrow as pa

from policies.columns import Column
from policies.tables import cells as c
from policies.tables.arrow import Cells, pc
from policies.tables.limits import TableInvalid, quoted
from policies.tables.times import DateReader, TimeReader, impossible

__all__ = ["ColumnReader", "arrow_type", "check_domain"]

PLAIN_DIGITS = 18
LOSSY_DIGITS = r"^[+-]?0*[.,]?0*[1-9](?:[.,]?\d){17,}"


def arrow_type(column: Column) -> pa.DataType:
    """The Arrow type of a column in every room."""
    match column.type:
        case "integer":
            return pa.int64()
        case "number":
            return pa.float64()
        case "category" | "text" | "id":
            return pa.string()
        case "boolean":
            return pa.bool_()
        case "datetime":
            return pa.timestamp("us", tz=column.timezone)
        case "date":
            return pa.date32()


class ColumnReader:
    """Reads the cells of one column, batch after batch, in the format that the first batch settled."""

    def __init__(self, name: str, column: Column, *, has_decimal_comma: bool) -> None:
        self._name = name
        self._column = column
        self._may_have_comma = has_decimal_comma
        self._comma: bool | None = None
        self._pair: tuple[str, str] | None = None
        self._dates = DateReader(name)
        self._times = TimeReader(name, column.timezone)
        self._notes: dict[str, int] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """How the column was read, where that was a choice."""
        said = [f"column {quoted(self._name)}: {text.format(n=f'{number:,}')}" for text, number in self._notes.items()]
        return (*said, *self._dates.notes, *self._times.notes)

    def read(self, raw: Cells, first_row: int) -> Cells:
        """Convert text cells (null where empty).

        Raises:
            TableInvalid: naming the column, a count and a row.
        """
        kind = self._column.type
        if kind in {"category", "text", "id"}:
            values, undone = c.restored(raw)
            self._note("an apostrophe that keeps a spreadsheet from running the text was taken off {n} values", undone)
        elif (plain := self._plain(raw)) is not None:
            values = plain
        else:
            trimmed = self._trimmed(raw)
            match kind:
                case "integer":
                    values = self._integers(trimmed, first_row)
                case "number":
                    values = self._numbers(trimmed, first_row)
                case "boolean":
                    values = self._booleans(trimmed, first_row)
                case "date":
                    values = self._dates.read(trimmed, first_row)
                case _:
                    values = self._times.read(trimmed, first_row)
        check_domain(self._name, self._column, values, first_row)
        return values

    def _note(self, text: str, number: int) -> None:
        if number:
            self._notes[text] = self._notes.get(text, 0) + number

    def _plain(self, raw: Cells) -> Cells | None:
        """The quick way for cells that are written in the plain form; None when any of them needs a closer look."""
        kind = self._column.type
        if raw.null_count == len(raw):
            return pc.cast(raw, arrow_type(self._column))
        try:
            if kind == "integer" and not c.count(pc.fill_null(pc.match_substring(raw, pattern="x", ignore_case=True), False)):
                return pc.cast(raw, pa.int64())
            if kind == "number" and int(pc.max(pc.binary_length(raw)).as_py()) <= PLAIN_DIGITS:
                numbers = pc.cast(raw, pa.float64())
                return None if c.count(pc.fill_null(pc.invert(pc.is_finite(numbers)), False)) else numbers
        except pa.ArrowInvalid:
            return None
        return None

    def _trimmed(self, raw: Cells) -> Cells:
        missing = c.matches(raw, c.MISSING_WORDS)
        self._note("{n} cells with a word for missing (such as NA or null) were read as missing", c.count(missing))
        trimmed = pc.utf8_trim_whitespace(pc.if_else(missing, None, raw))
        return pc.if_else(pc.equal(trimmed, ""), None, trimmed)

    def _integers(self, raw: Cells, first_row: int) -> Cells:
        bad = _unfit(raw, c.INTEGER)
        if c.count(bad):
            raise c.misfit(
                self._name,
                bad,
                first_row,
                "not a whole number|not whole numbers",
                "correct them, or give the column another type",
            )
        pointed = c.matches(raw, r"\.")
        if number := c.count(pointed):
            self._note("{n} whole numbers are written with a decimal point (.0)", number)
            raw = pc.replace_substring_regex(raw, pattern=r"\.0+$", replacement="")
        raw = pc.replace_substring_regex(raw, pattern=r"^\+", replacement="")
        try:
            return pc.cast(raw, pa.int64())
        except pa.ArrowInvalid:
            large = impossible(raw, pa.int64())
            remedy = "give the column the type id or text, which keeps every digit"
            raise c.misfit(self._name, large, first_row, "outside the 64-bit whole numbers", remedy) from None

    def _numbers(self, raw: Cells, first_row: int) -> Cells:
        if self._comma is None and self._may_have_comma and raw.null_count < len(raw):
            self._comma = c.count(c.matches(raw, r"^[+-]?\d+,\d+$")) > 0 and not c.count(c.matches(raw, r"\."))
            self._note("the decimal sign is a comma", int(self._comma))
        endless = c.matches(raw, c.NOT_FINITE)
        if c.count(endless):
            raise c.misfit(self._name, endless, first_row, "infinite", "leave such cells empty or correct them")
        bad = _unfit(raw, c.FLOAT_COMMA if self._comma else c.FLOAT)
        if c.count(bad):
            remedy = "write them like 1234.5 without signs or thousands separators, or give the column another type"
            raise c.misfit(self._name, bad, first_row, "not a number|not numbers", remedy)
        self._note(
            "{n} numbers have more than 17 digits and are rounded to double precision", c.count(c.matches(raw, LOSSY_DIGITS))
        )
        if self._comma:
            raw = pc.replace_substring(raw, pattern=",", replacement=".")
        numbers = pc.cast(pc.replace_substring_regex(raw, pattern=r"^\+", replacement=""), pa.float64())
        large = pc.fill_null(pc.is_inf(numbers), False)
        if c.count(large):
            raise c.misfit(
                self._name, large, first_row, "too large for a number", "correct them, or give the column the type text"
            )
        return numbers

    def _booleans(self, raw: Cells, first_row: int) -> Cells:
        lower = pc.utf8_lower(raw)
        if self._pair is None and raw.null_count < len(raw):
            first = next(value for value in lower if value.is_valid).as_py()
            self._pair = next((pair for pair in c.BOOLEAN_PAIRS if first in pair), c.BOOLEAN_PAIRS[0])
            if self._pair != ("true", "false"):
                self._note(f"'{self._pair[0]}' was read as true and '{self._pair[1]}' as false", 1)
        yes, no = self._pair or c.BOOLEAN_PAIRS[0]
        bad = pc.fill_null(pc.invert(pc.is_in(lower, value_set=pa.array([yes, no]), skip_nulls=True)), False)
        bad = pc.and_(bad, pc.is_valid(lower))
        if c.count(bad):
            remedy = "use true and false, or give the column the type category"
            raise c.misfit(self._name, bad, first_row, f"neither '{yes}' nor '{no}'", remedy)
        return pc.equal(lower, yes)


def _unfit(raw: Cells, pattern: str) -> Cells:
    """Where a cell is present and does not match."""
    return pc.and_(pc.is_valid(raw), pc.invert(c.matches(raw, pattern)))


def check_domain(name: str, column: Column, values: Cells, first_row: int) -> None:
    """Refuse what the card rules out: a value that is not listed, or a missing one where none can be.

    Raises:
        TableInvalid: naming the column, a count and a row.
    """
    if not column.missing and values.null_count:
        raise c.misfit(name, pc.is_null(values), first_row, "missing", "fill them in, or let the card say missing: true")
    if column.values is not None:
        known = pc.is_in(values, value_set=pa.array(column.values, pa.string()))
        strange = pc.and_(pc.is_valid(values), pc.invert(known))
        if c.count(strange):
            raise c.misfit(name, strange, first_row, "not among the card's values", "correct them, or complete the card's list")


def require_columns(names: list[str], wanted: list[str]) -> None:
    """Refuse a file that lacks columns of the card.

    Raises:
        TableInvalid: naming up to five of them.
    """
    lacking = [name for name in wanted if name not in set(names)]
    if lacking:
        shown = ", ".join(map(quoted, lacking[:5])) + (f" and {len(lacking) - 5:,} more" if len(lacking) > 5 else "")  # noqa: PLR2004 - as many as one reads
        raise TableInvalid(
            f"the file lacks {'column' if len(lacking) == 1 else 'columns'} {shown} of the card: add it or change the card"
        )
