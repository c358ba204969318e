"""What a text cell can mean: patterns, missing values, and the count of cells that do not fit.

Invariants:
    - A cell is judged by a pattern first and converted second; what fits no pattern is counted, never shown.
    - An empty cell is missing. Words for missing (`NA`, `null` …) count as missing in typed columns only, and it is noted.
"""

from __future__ import annotations

import pyarrow as pa

from policies.tables.arrow import Cells, pc
from policies.tables.limits import TableInvalid, plural, quoted

__all__ = [
    "BOOLEAN_PAIRS",
    "DATE_FORMS",
    "FLOAT",
    "FORMULA",
    "INTEGER",
    "MISSING_WORDS",
    "misfit",
    "neutral",
    "restored",
    "where",
]

INTEGER = r"^[+-]?\d+(\.0+)?$"
FLOAT = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
FLOAT_COMMA = r"^[+-]?\d+(,\d+)?$"
NOT_FINITE = r"^[+-]?(?i:inf|infinity)$"
MISSING_WORDS = r"^(?i:na|n/a|#n/a|nan|null|none|nil|missing)$"
BOOLEAN_PAIRS = (
    ("true", "false"), ("t", "f"), ("yes", "no"), ("y", "n"), ("1", "0"), ("on", "off"),
    ("oui", "non"), ("vrai", "faux"), ("ja", "nein"), ("wahr", "falsch"),
)  # fmt: skip
ISO_DATE = r"^\d{4}-\d{2}-\d{2}$"
DATE_FORMS = {
    "YYYY-MM-DD": ISO_DATE,
    "YYYY/MM/DD": r"^\d{4}/\d{1,2}/\d{1,2}$",
    "YYYYMMDD": r"^(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])$",
    "DD.MM.YYYY": r"^\d{1,2}\.\d{1,2}\.\d{4}$",
    "D/M/Y": r"^\d{1,2}/\d{1,2}/\d{4}$",
}
ISO_TIME = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?)?$"
ISO_ZONED = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)? ?(Z|[+-]\d{2}:?\d{2})$"

# A cell that a spreadsheet would run: one of = + - @ (also full width), a tab or a line break, even behind spaces,
# quotes or our own apostrophe. Numbers and telephone numbers stay as they are.
FORMULA = r"^[\s'\"\x{200b}\x{feff}\x{a0}]*[=+\-@\x{ff1d}\x{ff0b}\x{ff0d}\x{ff20}]|^'*[\t\r\n]"
HARMLESS = r"^([+-]?(\d+([.,]\d+)*|\.\d+)([eE][+-]?\d+)?|\+\d[\d ().-]{6,24}|\(\+\d{1,3}\)[\d ().-]{6,24})$"


def matches(cells: Cells, pattern: str) -> Cells:
    """Where a pattern matches; a missing cell does not."""
    return pc.fill_null(pc.match_substring_regex(cells, pattern=pattern), False)


def count(mask: Cells) -> int:
    """How many are true."""
    return int(pc.sum(mask).as_py() or 0)


def where(mask: Cells, first_row: int) -> int:
    """The row number (1-based, the header not counted) of the first that is true."""
    return first_row + int(pc.index(mask, pa.scalar(value=True)).as_py())


def misfit(name: str, mask: Cells, first_row: int, are: str, remedy: str) -> TableInvalid:
    """The refusal for cells of a column that do not fit: how many, and in which row the first stands.

    Args:
        name: The column.
        mask: Where they are.
        first_row: Number of the batch's first row.
        are: What they are, for one and for several, parted by `|` where the two differ.
        remedy: What to do.
    """
    number = count(mask)
    one, _, many = are.partition("|")
    what = f"is {one}" if number == 1 else f"are {many or one}"
    first = f"{'in' if number == 1 else 'first in'} row {where(mask, first_row):,}"
    return TableInvalid(f"column {quoted(name)}: {plural(number, 'value')} {what} ({first}): {remedy}")


def formulas(cells: Cells) -> Cells:
    """Where a text would be run by a spreadsheet."""
    return pc.and_not(matches(cells, FORMULA), matches(cells, HARMLESS))


def neutral(cells: Cells) -> Cells:
    """Texts made safe for a spreadsheet: an apostrophe before each that it would run."""
    mask = formulas(cells)
    if not count(mask):
        return cells
    return pc.if_else(mask, pc.binary_join_element_wise("'", cells, ""), cells)


def restored(cells: Cells) -> tuple[Cells, int]:
    """The texts before `neutral`, and how many had an apostrophe taken off."""
    marked = pc.fill_null(pc.starts_with(cells, pattern="'"), False)
    if not count(marked):
        return cells, 0
    bare = pc.utf8_slice_codeunits(cells, start=1)
    mask = pc.and_(marked, formulas(bare))
    return pc.if_else(mask, bare, cells), count(mask)
