"""How large a table file may be, and how a file that cannot be read is refused.

Invariants:
    - A refusal is one sentence that names the file and a row, line or column, and says what to do. It never holds a cell.
    - Names that come from a file are shown escaped and shortened, so that a hostile name cannot write to a terminal or a log.
    - Every reader has limits; there is no way to read without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["STREAMING", "Limits", "TableInvalid", "named", "plural", "quoted"]

MIB = 1 << 20
SHOWN = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that is read of one file.

    Attributes:
        rows: Rows of the table.
        columns: Columns of the file.
        cells: Rows times columns of the file.
        cell_chars: Characters of one cell (and of one line of a text file).
        unpacked_bytes: Bytes of a text file after decompression.
        ratio: Unpacked over packed bytes of a compressed text file, looked at beyond 64 MiB.
        memory_bytes: Bytes of the table in memory (Arrow buffers).
    """

    rows: int = 20_000_000
    columns: int = 1_000
    cells: int = 200_000_000
    cell_chars: int = 4 * MIB
    unpacked_bytes: int = 2048 * MIB
    ratio: int = 100
    memory_bytes: int = 1024 * MIB


STREAMING = Limits(rows=10**9, cells=10**11, unpacked_bytes=1 << 40, memory_bytes=256 * MIB)
"""Limits for reading batch by batch: long tables are welcome, one batch stays small."""


class TableInvalid(ValueError):
    """A table file that is not read: one clear sentence for people, without a single cell of it."""


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Put the file's name before the sentence of a refusal, once."""
    try:
        yield
    except TableInvalid as refusal:
        prefix = f"{quoted(path.name)}: "
        text = str(refusal)
        raise TableInvalid(text if text.startswith(prefix) else prefix + text) from None


def quoted(name: str) -> str:
    """A name from a file as it may be shown: escaped, in single quotes, at most 60 characters."""
    shown = name if len(name) <= SHOWN else name[: SHOWN - 1] + "…"
    safe = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in shown)
    return f"'{safe}'"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 value` or `12,345 values`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
