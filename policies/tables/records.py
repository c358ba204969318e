"""Delimited text as records: which separator, which header, and rows of exactly one width.

Invariants:
    - The separator is the one under which the header and the first records agree; every choice is a note.
    - Quoting is strict. A quote that never closes, a row that is too short or too long, a NUL, a stray carriage return is
      refused with its line. No row is dropped, padded or merged.
    - Memory holds one batch of records at a time.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self, TextIO

import pyarrow as pa

from policies.tables.cells import restored
from policies.tables.limits import Limits, TableInvalid, plural, quoted
from policies.tables.octets import line_of_bad_byte, open_text

__all__ = ["Header", "Unreadable", "first_fault", "read_header", "record_batches", "too_much_text"]

SEPARATORS = ",;\t|"
SPOKEN = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}
BY_ENDING = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".psv": "|"}
SAMPLE_CHARS = 1 << 16
SAMPLE_RECORDS = 50
NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")
SLICE = 64
SLICE_CHARS = 128 << 20
BATCH_CHARS = 64 << 20
csv.field_size_limit(Limits().cell_chars)  # the csv module knows one limit for the whole process


@dataclass(frozen=True, slots=True)
class Header:
    """What the start of a text table says.

    Attributes:
        names: Column names in file order, without an unnamed, empty last column.
        width: Fields of each record in the file.
        separator, newline: How fields and records end.
        encoding: How characters are encoded.
        notes: What was found out and how.
    """

    names: tuple[str, ...]
    width: int
    separator: str
    newline: str
    encoding: str
    notes: tuple[str, ...]


def read_header(path: Path, *, limits: Limits, expected: Sequence[str] = ()) -> Header:
    """Find out separator, line ends and column names.

    Args:
        path: A text table, possibly compressed by gzip.
        limits: What may be read at most.
        expected: Column names that the card has; they tell a header from a first row of data.

    Raises:
        TableInvalid: no header can be told without a guess.
    """
    sample, encoding = _sample(path, limits=limits)
    notes = [] if encoding == "utf-8" else [f"decoded as {encoding.removesuffix('-sig')} by its byte order mark"]
    newline = "\n"
    if "\n" not in sample and "\r" in sample.rstrip("\r"):
        newline = "\r"
        notes.append("lines end with a carriage return alone (old Mac files)")
    _refuse_preamble(sample, newline, expected)
    separator = _separator(sample, newline, path)
    records = _lenient(sample, separator, newline)
    names, width = records[0], len(records[0])
    if width > limits.columns:
        raise TableInvalid(f"the file has {width:,} columns, the limit is {limits.columns:,}: leave out what is not needed")
    if separator != ",":
        notes.append(f"fields are separated by {SPOKEN[separator]}")
    if names[-1] == "" and width > 1:
        names = names[:-1]
        notes.append("every line ends with a separator: the unnamed last column is empty and left out")
    plain, undone = restored(pa.array(names, pa.string()))
    if undone:
        names = plain.to_pylist()
        notes.append(f"an apostrophe that keeps a spreadsheet from running it was taken off {plural(undone, 'column name')}")
    _check_names(names)
    _refuse_data_as_header(names, records[1:], expected)
    return Header(tuple(names), width, separator, newline, encoding, tuple(notes))


def _sample(path: Path, *, limits: Limits) -> tuple[str, str]:
    try:
        with open_text(path, limits=limits) as (stream, encoding):
            sample = stream.read(SAMPLE_CHARS)
            while sample and not _has_header(sample) and len(sample) <= limits.cell_chars and (more := stream.read(SAMPLE_CHARS)):
                sample += more
    except UnicodeDecodeError:
        raise _not_utf8(path, limits=limits) from None
    if not sample.strip("\ufeff\r\n \t"):
        raise TableInvalid("the file is empty: it needs a header line and rows")
    if "\0" in sample:
        raise _nul(sample.count("\n", 0, sample.index("\0")) + 1)
    return sample, encoding


def _has_header(sample: str) -> bool:
    return "\n" in sample or "\r" in sample


def _not_utf8(path: Path, *, limits: Limits) -> TableInvalid:
    line = line_of_bad_byte(path, limits=limits)
    where = "the file" if line is None else f"line {line:,}"
    return TableInvalid(f"{where} holds bytes that are not UTF-8 text: save the file as UTF-8")


def _nul(line: int) -> TableInvalid:
    return TableInvalid(f"line {line:,} holds a NUL byte: this is not a text table, or it is damaged")


def _refuse_preamble(sample: str, newline: str, expected: Sequence[str]) -> None:
    first = sample.split(newline, 1)[0].strip()
    if first.startswith("#") and not any(sign in first for sign in SEPARATORS) and first not in expected:
        raise TableInvalid("line 1 is a comment ('#'), not a header: remove the lines before the header")


def _lenient(sample: str, separator: str, newline: str) -> list[list[str]]:
    """The first records, the last and possibly cut off one left out when there are more."""
    reader = csv.reader(_lines(sample, newline), delimiter=separator)
    records: list[list[str]] = []
    with suppress(csv.Error):  # a sample only suggests a separator; the strict reading says what is wrong
        records.extend(record for record in islice(reader, SAMPLE_RECORDS + 1) if record)
    if len(sample) >= SAMPLE_CHARS and len(records) > 1:
        records = records[:-1]
    return records or [[""]]


def _lines(sample: str, newline: str) -> list[str]:
    return [line + newline if newline == "\n" else line + "\n" for line in sample.split(newline)]


def _separator(sample: str, newline: str, path: Path) -> str:
    read = {sign: _lenient(sample, sign, newline) for sign in SEPARATORS}
    present = [sign for sign in SEPARATORS if len(read[sign][0]) > 1]
    if not present:
        return ","
    agreeing = [sign for sign in present if len({len(record) for record in read[sign]}) == 1]
    usual = BY_ENDING.get(path.suffixes[-2] if path.suffix == ".gz" and len(path.suffixes) > 1 else path.suffix, ",")
    for sign in (usual, *sorted(agreeing, key=lambda sign: -len(read[sign][0]))):
        if sign in agreeing:
            return sign
    return max(present, key=lambda sign: len(read[sign][0]))


def _check_names(names: Sequence[str]) -> None:
    seen: set[str] = set()
    for position, name in enumerate(names, start=1):
        if not name.strip():
            raise TableInvalid(f"column {position} has no name: give it one in the header line")
        if name in seen:
            raise TableInvalid(f"the column name {quoted(name)} stands twice in the header: rename one of them")
        seen.add(name)


def _refuse_data_as_header(names: Sequence[str], records: Sequence[Sequence[str]], expected: Sequence[str]) -> None:
    if set(names) & set(expected):
        return
    numbers = [position for position, name in enumerate(names) if NUMBER.fullmatch(name.strip())]
    alike = [p for p in numbers if any(len(record) > p and NUMBER.fullmatch(record[p].strip()) for record in records)]
    if alike and (alike[0] == 0 or 2 * len(alike) >= len(names)):
        raise TableInvalid("line 1 looks like data, not like a header (names are numbers): add a line with column names")


def record_batches(path: Path, header: Header, *, limits: Limits, batch_rows: int) -> Iterator[list[list[str]]]:
    """Yield the records below the header, at most `batch_rows` at a time, each exactly `header.width` wide.

    Blank lines hold no record, but in a table of one column a blank line is a missing value.

    Raises:
        TableInvalid: naming the line, when a record does not fit.
    """
    try:
        with open_text(path, limits=limits, newline=header.newline) as (stream, _encoding):
            lines = _Lines(stream, header, limits=limits)
            reader = csv.reader(lines, delimiter=header.separator, strict=True)
            next(filter(None, reader), None)
            while records := _batch(reader, lines, batch_rows):
                yield _fitting(records, header.width)
    except (csv.Error, Unreadable):
        raise first_fault(path, header, limits=limits) from None
    except UnicodeDecodeError:
        raise _not_utf8(path, limits=limits) from None


def _batch(reader: Iterator[list[str]], lines: _Lines, batch_rows: int) -> list[list[str]]:
    """Records up to a number and up to an amount of text."""
    records: list[list[str]] = []
    chars = 0
    while len(records) < batch_rows and chars < BATCH_CHARS:
        lines.chars = 0
        some = list(islice(reader, min(SLICE, batch_rows - len(records))))
        if not some:
            break
        records.extend(some)
        chars += lines.chars
    return records


class Unreadable(Exception):
    """Some record of a batch is too short or too long; a slow second look says which."""


def _fitting(records: list[list[str]], width: int) -> list[list[str]]:
    widths = set(map(len, records))
    if widths == {width}:
        return records
    if width == 1 and widths <= {0, 1}:
        return [record or [""] for record in records]
    if widths <= {0, width}:
        return [record for record in records if record]
    raise Unreadable


class _Lines:
    """Lines of a stream for the csv module, each bounded and free of NUL; counts characters."""

    def __init__(self, stream: TextIO, header: Header, *, limits: Limits) -> None:
        self._stream = stream
        self._is_mac = header.newline == "\r"
        self._limits = limits
        self._most = limits.cell_chars
        self._line = 0
        self.chars = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        text = self._stream.readline(self._most)
        if not text:
            raise StopIteration
        self._line += 1
        self.chars += len(text)
        if "\0" in text:
            raise _nul(self._line)
        if len(text) >= self._most or self.chars > SLICE_CHARS:
            raise too_much_text(limits=self._limits, line=self._line)
        if self._is_mac and text[-1] == "\r":
            return text[:-1] + "\n"
        return text


def too_much_text(limits: Limits, *, line: int | None = None) -> TableInvalid:
    """The refusal of a cell or a line that is too long."""
    where = "a cell" if line is None else f"line {line:,}, alone or with those before it,"
    return TableInvalid(f"{where} holds too much text: {limits.cell_chars:,} characters are the limit")


def first_fault(path: Path, header: Header, *, limits: Limits) -> TableInvalid:
    """Read once more, record by record, and put the first fault into words."""
    try:
        return _fault(path, header, limits=limits)
    except UnicodeDecodeError:
        return _not_utf8(path, limits=limits)
    except TableInvalid as refusal:
        return refusal


def _fault(path: Path, header: Header, *, limits: Limits) -> TableInvalid:
    start = 1
    with open_text(path, limits=limits, newline=header.newline) as (stream, _encoding):
        reader = csv.reader(_Lines(stream, header, limits=limits), delimiter=header.separator, strict=True)
        try:
            for record in reader:
                if record and len(record) != header.width:
                    fields = plural(len(record), "field")
                    return TableInvalid(
                        f"line {start:,} has {fields}, the header has {header.width:,}: correct the line or quote its text"
                    )
                start = reader.line_num + 1
        except csv.Error as error:
            return _syntax(str(error), start)
    return TableInvalid("the file changed while it was read: try again")


def _syntax(message: str, line: int) -> TableInvalid:
    if "new-line character" in message:
        text = "has a carriage return inside a field that is not quoted: quote the field or remove it"
    elif "unexpected end" in message:
        text = "opens a quote that is never closed: close it or double it"
    elif "expected after" in message:
        text = "has text after a closing quote: double the quotes inside a quoted field"
    else:
        text = "has a field that is too long, or a quote that is never closed"
    return TableInvalid(f"line {line:,} {text}")
