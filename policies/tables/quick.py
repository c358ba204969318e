"""The quick way through well-formed text: Arrow's reader, where it and the strict reading cannot differ.

Invariants:
    - Taken only for plain UTF-8 files without NUL and stray carriage returns, whose quotes all open after a separator and
      close before one. One pass over the bytes finds that out.
    - Any fault ends the quick way; the strict reader then looks again and puts it into words.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from policies.tables.arrow import pc
from policies.tables.limits import MIB, Limits
from policies.tables.records import Header, Unreadable, too_much_text

__all__ = ["Manner", "manner_of", "plain_batches"]

Manner = Literal["bare", "quoted"]
BLOCK = 8 * MIB
QUOTE, NEWLINE, RETURN = 34, 10, 13


def manner_of(path: Path, header: Header) -> Manner | None:
    """How a file is written when the quick way is open to it: without quotes, or with well-formed ones; else None.

    A blank line is a missing value where there is one column, so such files are read strictly.
    """
    if header.newline != "\n" or header.width < 2 or header.encoding not in {"utf-8", "utf-8-sig"}:  # noqa: PLR2004 - see above
        return None
    manner: Manner = "bare"
    is_open = False
    with path.open("rb") as file:
        if file.read(2) == b"\x1f\x8b":
            return None
        file.seek(0)
        while block := file.read(BLOCK):
            # To the end of a line: no pair of quotes and no line end is cut in two.
            block += file.readline(BLOCK)
            if (file.tell() == len(block) and block[:1] in {b"\n", b"\r"}) or b"\0" in block:
                return None
            if b"\r" in block and block.count(b"\r") != block.count(b"\r\n"):
                return None
            if b'"' in block:
                manner = "quoted"
                after = _is_open_after(block, header.separator, is_open=is_open)
                if after is None:
                    return None
                is_open = after
    return None if is_open else manner


def _is_open_after(block: bytes, separator: str, *, is_open: bool) -> bool | None:
    """Whether a quoted field is open at the end of a block; None when a quote stands where none belongs."""
    text = np.frombuffer(b"\n" + block.replace(b'""', b"") + b"\n", dtype=np.uint8)
    quotes = np.flatnonzero(text == QUOTE)
    opening, closing = (quotes[1::2], quotes[0::2]) if is_open else (quotes[0::2], quotes[1::2])
    before, behind = text[opening - 1], text[closing + 1]
    sign = ord(separator)
    if not np.isin(before, (sign, NEWLINE)).all() or not np.isin(behind, (sign, NEWLINE, RETURN)).all():
        return None
    return is_open != bool(len(quotes) % 2)


def plain_batches(path: Path, header: Header, manner: Manner, *, limits: Limits) -> Iterator[pa.RecordBatch]:
    """Yield text columns, null where a cell is empty, named by their position.

    Raises:
        Unreadable: some line does not fit; nothing is said about it here.
    """
    names = [str(position) for position in range(header.width)]
    is_quoted = manner == "quoted"
    read = pa_csv.ReadOptions(use_threads=False, block_size=BLOCK, skip_rows_after_names=1, column_names=names)
    parse = pa_csv.ParseOptions(
        delimiter=header.separator, quote_char='"' if is_quoted else False, double_quote=is_quoted, newlines_in_values=is_quoted
    )
    convert = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""], check_utf8=True
    )
    try:
        with pa_csv.open_csv(path, read, parse, convert) as reader:
            for batch in reader:
                longest = max((pc.max(pc.binary_length(column)).as_py() or 0 for column in batch.columns), default=0)
                if longest > limits.cell_chars:
                    raise too_much_text(limits)
                yield batch
    except pa.ArrowInvalid:
        raise Unreadable from None
