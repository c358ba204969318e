"""From a path to characters: what kind of file it is, how it is compressed and encoded.

Invariants:
    - Only regular files are opened; the kind is read off the content, never believed from the name.
    - No more than the limits allow is ever unpacked, and a decompression bomb is refused while it unpacks.
    - Text is UTF-8 (with or without a byte order mark) or UTF-16/32 with one. Nothing is decoded by guess.
"""

from __future__ import annotations

import codecs
import gzip
import io
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TextIO

from policies.tables.limits import MIB, Limits, TableInvalid

__all__ = ["kind_of", "line_of_bad_byte", "open_text"]

Kind = Literal["parquet", "text", "gzip"]
PARQUET = b"PAR1"
GZIP = b"\x1f\x8b"
OTHERS = {
    b"PK\x03\x04": "a zip archive or a spreadsheet: unpack it or save it as CSV first",
    b"PK\x05\x06": "an empty zip archive",
    b"ARROW1": "an Arrow file: save it as Parquet or CSV",
    b"\xfd7zXZ": "compressed by xz: unpack it first",
    b"BZh": "compressed by bzip2: unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unpack it first",
    b"SQLite format 3": "an SQLite database: export the table as CSV or Parquet",
    b"%PDF": "a PDF document, not a table",
}
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
RATIO_FROM = 64 * MIB


def kind_of(path: Path) -> Kind:
    """Tell by content whether a file is Parquet, text or compressed text; refuse anything else.

    Raises:
        TableInvalid: the file is missing, no regular file, empty, or of a kind that holds no table.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        raise TableInvalid("there is no such file, or it may not be read") from None
    if not stat.S_ISREG(mode):
        raise TableInvalid("this is not a regular file")
    try:
        with path.open("rb") as raw:
            head = raw.read(16)
            size = raw.seek(0, io.SEEK_END)
            raw.seek(max(0, size - 4))
            tail = raw.read(4)
    except OSError:
        raise TableInvalid("the file may not be read") from None
    if not head:
        raise TableInvalid("the file is empty: it needs a header line and rows")
    if head.startswith(PARQUET) or (path.suffix == ".parquet" and tail == PARQUET):
        return "parquet"
    if path.suffix.lower() == ".parquet":
        raise TableInvalid("the name says Parquet, the content does not: rename it if it is CSV, or export it again")
    if head.startswith(GZIP):
        return "gzip"
    for magic, what in OTHERS.items():
        if head.startswith(magic):
            raise TableInvalid(f"this is {what}")
    return "text"


class _Bounded(io.RawIOBase):
    """Unpacks at most what the limits allow."""

    def __init__(self, raw: gzip.GzipFile, *, packed: int, limits: Limits) -> None:
        self._raw = raw
        self._packed = max(packed, 1)
        self._limits = limits
        self._seen = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # the stub wants a private type
        try:
            block = self._raw.read(min(len(buffer), MIB))
        except (OSError, EOFError, zlib.error):
            raise TableInvalid("the compressed data is damaged or cut off: copy the file again") from None
        self._seen += len(block)
        if self._seen > self._limits.unpacked_bytes:
            raise TableInvalid(f"it unpacks to more than the limit of {self._limits.unpacked_bytes // MIB:,} MiB: split it")
        if self._seen > RATIO_FROM and self._seen > self._packed * self._limits.ratio:
            raise TableInvalid(f"it unpacks to more than {self._limits.ratio} times its size: a decompression bomb is not read")
        buffer[: len(block)] = block
        return len(block)


@contextmanager
def open_text(path: Path, *, limits: Limits, newline: str = "\n") -> Iterator[tuple[TextIO, str]]:
    """Open a text table for reading characters; yields the stream and the name of its encoding.

    Lines end at `newline` alone and nothing is translated, so that a stray carriage return stays visible.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
        file.seek(0)
        if not packed and size > limits.unpacked_bytes:
            raise TableInvalid(f"the file is larger than the limit of {limits.unpacked_bytes // MIB:,} MiB: split it")
        raw: io.RawIOBase | io.BufferedIOBase = file
        if packed:
            _check_unpacked(path, limits=limits)
            raw = _Bounded(gzip.GzipFile(fileobj=file), packed=size, limits=limits)
        buffered = io.BufferedReader(raw, 1 << 18)
        encoding = _encoding(buffered.peek(4)[:4])
        with io.TextIOWrapper(buffered, encoding=encoding, errors="strict", newline=newline) as text:
            yield text, encoding


def _check_unpacked(path: Path, *, limits: Limits) -> None:
    """Unpack once without looking: a bomb is found in a second, before any line of it is read."""
    with path.open("rb") as file, gzip.GzipFile(fileobj=file) as packed:
        bounded = _Bounded(packed, packed=path.stat().st_size, limits=limits)
        block = bytearray(MIB)
        while bounded.readinto(block):
            pass


def _encoding(head: bytes) -> str:
    for mark, name in MARKS:
        if head.startswith(mark):
            return name
    return "utf-8"


def line_of_bad_byte(path: Path, *, limits: Limits) -> int | None:
    """The first line (1-based) that is not UTF-8; None when it cannot be told (UTF-16)."""
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
        file.seek(0)
        raw = _Bounded(gzip.GzipFile(fileobj=file), packed=path.stat().st_size, limits=limits) if packed else file
        buffered = io.BufferedReader(raw, 1 << 18)
        if _encoding(buffered.peek(4)[:4]) not in {"utf-8", "utf-8-sig"}:
            return None
        decoder = codecs.getincrementaldecoder("utf-8")("strict")
        line = 1
        while block := buffered.read(1 << 16):
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                return line + error.object[: error.start].count(b"\n")
            line += block.count(b"\n")
        return line
