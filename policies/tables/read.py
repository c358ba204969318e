"""Read a table file whole, or batch by batch, in the types of its card.

Invariants:
    - With a card the result has exactly the card's columns, in the card's order and types; what the file has beyond is
      left out and noted, what it lacks is refused.
    - Without a card the types are found by content, and each choice that could be wrong is a note.
    - Whatever is wrong with a file ends in `TableInvalid`: one sentence that names the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from policies.card import DatasetCard
from policies.columns import Column, ColumnType
from policies.tables.arrow import Cells, pc
from policies.tables.cells import where
from policies.tables.conform import ColumnCaster, natural_type
from policies.tables.footer import open_parquet, parquet_batches, too_much_memory
from policies.tables.infer import infer_column, word_type
from policies.tables.limits import STREAMING, Limits, TableInvalid, named, plural, quoted
from policies.tables.octets import kind_of
from policies.tables.quick import Manner, manner_of, plain_batches
from policies.tables.records import Header, Unreadable, first_fault, read_header, record_batches
from policies.tables.values import ColumnReader, arrow_type, require_columns

__all__ = ["TableRead", "open_batches", "read_table"]

BATCH_ROWS = 65_536
Identifiers = Literal["required", "optional"]


@dataclass(frozen=True, slots=True)
class TableRead:
    """A table and how it was read.

    Attributes:
        table: Columns in the fixed Arrow types, without metadata.
        notes: Choices that a person should know of; no cell is ever quoted in them.
        types: Column types, from the card or found by content.
    """

    table: pa.Table
    notes: tuple[str, ...] = ()
    types: Mapping[str, ColumnType] = field(default_factory=dict)


class _Reader(Protocol):
    @property
    def notes(self) -> tuple[str, ...]: ...

    def read(self, raw: Cells, first_row: int) -> Cells: ...


def read_table(
    path: Path | str, *, card: DatasetCard | None = None, limits: Limits | None = None, identifiers: Identifiers = "required"
) -> TableRead:
    """Read a CSV, TSV or other delimited text (also gzip) or a Parquet file.

    Args:
        path: The file; its kind is read off its content.
        card: The dataset card; None finds types by content.
        limits: What may be read at most.
        identifiers: `optional` when identifier columns of the card may be absent (a released table); they are left out then.

    Raises:
        TableInvalid: one sentence that names the file and what is wrong with it.
    """
    path, limits = Path(path), limits or Limits()
    with named(path):
        if card is None:
            return _inferred(path, limits)
        notes: list[str] = []
        batches: list[pa.RecordBatch] = []
        size = 0
        source = _card_batches(path, card, limits=limits, batch_rows=BATCH_ROWS, notes=notes, identifiers=identifiers)
        for batch in source:
            size += batch.nbytes
            if size > limits.memory_bytes:
                raise too_much_memory(limits)
            batches.append(batch)
        schema = batches[0].schema if batches else card_schema(card)
        types = {name: card.columns[name].type for name in schema.names}
        return TableRead(pa.Table.from_batches(batches, schema), tuple(notes), types)


def open_batches(
    path: Path | str,
    *,
    card: DatasetCard,
    batch_rows: int = BATCH_ROWS,
    limits: Limits = STREAMING,
    identifiers: Identifiers = "required",
) -> Iterator[pa.RecordBatch]:
    """Read a table batch by batch in bounded memory, in the card's columns and types.

    Raises:
        TableInvalid: while iterating; batches that came before stand, so a consumer commits nothing before the end.
    """
    path = Path(path)
    with named(path):
        yield from _card_batches(path, card, limits=limits, batch_rows=batch_rows, notes=[], identifiers=identifiers)


def card_schema(card: DatasetCard) -> pa.Schema:
    """The Arrow schema of a card's tables."""
    return pa.schema([pa.field(name, arrow_type(column)) for name, column in card.columns.items()])


def _wanted(card: DatasetCard, names: list[str], identifiers: Identifiers) -> dict[str, Column]:
    columns = dict(card.columns)
    if identifiers == "optional":
        columns = {name: column for name, column in columns.items() if column.role != "identifier" or name in names}
    require_columns(names, list(columns))
    return columns


def _left_out(names: list[str], columns: Mapping[str, Column]) -> list[str]:
    extra = [name for name in names if name not in columns]
    if not extra:
        return []
    shown = ", ".join(map(quoted, extra[:5])) + (" …" if len(extra) > 5 else "")  # noqa: PLR2004 - as many as one reads
    return [
        f"{plural(len(extra), 'column')} of the file {'is' if len(extra) == 1 else 'are'} not in the card and left out: {shown}"
    ]


def _card_batches(
    path: Path, card: DatasetCard, *, limits: Limits, batch_rows: int, notes: list[str], identifiers: Identifiers
) -> Iterator[pa.RecordBatch]:
    readers: dict[str, _Reader] = {}
    if kind_of(path) == "parquet":
        with open_parquet(path, limits=limits) as file:
            schema = file.schema_arrow
            columns = _wanted(card, schema.names, identifiers)
            notes.extend(_left_out(schema.names, columns))
            readers.update({name: ColumnCaster(name, column, schema.field(name).type) for name, column in columns.items()})
            yield from _converted(parquet_batches(file, list(columns), limits=limits, batch_rows=batch_rows), readers, columns)
    else:
        header = read_header(path, limits=limits, expected=tuple(card.columns))
        columns = _wanted(card, list(header.names), identifiers)
        notes.extend((*header.notes, *_left_out(list(header.names), columns)))
        comma = header.separator != ","
        readers.update({name: ColumnReader(name, column, has_decimal_comma=comma) for name, column in columns.items()})
        texts = text_batches(path, header, limits=limits, batch_rows=batch_rows)
        yield from _converted(texts, readers, columns)
    for reader in readers.values():
        notes.extend(reader.notes)


def _converted(
    batches: Iterator[pa.RecordBatch], readers: Mapping[str, _Reader], columns: Mapping[str, Column]
) -> Iterator[pa.RecordBatch]:
    schema = pa.schema([pa.field(name, arrow_type(column)) for name, column in columns.items()])
    first_row = 1
    for batch in batches:
        arrays = [readers[name].read(batch.column(name), first_row) for name in columns]
        first_row += batch.num_rows
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def text_batches(path: Path, header: Header, *, limits: Limits, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Records as text columns, null where a cell is empty."""
    manner = manner_of(path, header)
    source = _quick(path, header, manner, limits, batch_rows) if manner else _strict(path, header, limits, batch_rows)
    rows = 0
    for batch in source:
        rows += batch.num_rows
        if rows > limits.rows or rows * header.width > limits.cells:
            raise TableInvalid(f"the file has more than {limits.rows:,} rows or {limits.cells:,} cells: take a part of it")
        if header.width > len(header.names) and batch.column(header.width - 1).null_count < batch.num_rows:
            row = where(pc.is_valid(batch.column(header.width - 1)), rows - batch.num_rows + 1)
            raise TableInvalid(f"row {row:,} has a value in the last column, which has no name: give it one in the header line")
        yield pa.RecordBatch.from_arrays(batch.columns[: len(header.names)], names=list(header.names))


def _quick(path: Path, header: Header, manner: Manner, limits: Limits, batch_rows: int) -> Iterator[pa.RecordBatch]:
    try:
        for batch in plain_batches(path, header, manner, limits=limits):
            for start in range(0, batch.num_rows, batch_rows):
                yield batch.slice(start, batch_rows)
    except Unreadable:
        raise first_fault(path, header, limits=limits) from None


def _strict(path: Path, header: Header, limits: Limits, batch_rows: int) -> Iterator[pa.RecordBatch]:
    # Records of very wide tables are Python objects for a moment: fewer at a time keep memory level.
    step = max(256, min(batch_rows, 4_000_000 // header.width))
    names = [str(position) for position in range(header.width)]
    for records in record_batches(path, header, limits=limits, batch_rows=step):
        if records:
            columns = zip(*records, strict=True)
            yield pa.RecordBatch.from_arrays(
                [pa.array([cell or None for cell in column], pa.string()) for column in columns], names=names
            )


def _inferred(path: Path, limits: Limits) -> TableRead:
    return _inferred_parquet(path, limits) if kind_of(path) == "parquet" else _inferred_text(path, limits)


def _gathered(batches: Iterator[pa.RecordBatch], limits: Limits) -> list[pa.RecordBatch]:
    kept: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        size += batch.nbytes
        if size > limits.memory_bytes:
            raise too_much_memory(limits)
        kept.append(batch)
    return kept


def _inferred_text(path: Path, limits: Limits) -> TableRead:
    header = read_header(path, limits=limits)
    notes = list(header.notes)
    batches = _gathered(text_batches(path, header, limits=limits, batch_rows=BATCH_ROWS), limits)
    comma = header.separator != ","
    if not batches:
        notes.append("there are no rows: no type could be told")
    arrays: list[Cells] = []
    types: dict[str, ColumnType] = {}
    for name in header.names:
        raw = pa.concat_arrays([batch.column(name) for batch in batches]) if batches else pa.array([], pa.string())
        column, note = infer_column(name, raw, has_decimal_comma=comma)
        reader = ColumnReader(name, column, has_decimal_comma=comma)
        arrays.append(reader.read(raw, 1))
        types[name] = column.type
        notes.extend(([note] if note else []) + list(reader.notes))
    schema = pa.schema([pa.field(name, array.type) for name, array in zip(header.names, arrays, strict=True)])
    return TableRead(pa.Table.from_arrays(arrays, schema=schema), tuple(notes), types)


def _natural(file: pq.ParquetFile, name: str, natural: ColumnType) -> ColumnType:
    """Unsigned 64-bit numbers become text when the footer does not promise that they fit."""
    index = file.schema_arrow.get_field_index(name)
    if not pa.types.is_uint64(file.schema_arrow.field(index).type):
        return natural
    leaf = next(i for i in range(len(file.schema)) if file.schema.column(i).path == name)
    groups = [file.metadata.row_group(group).column(leaf).statistics for group in range(file.metadata.num_row_groups)]
    fits = all(group is not None and group.has_min_max and int(str(group.max)) < 2**63 for group in groups)
    return natural if fits else "text"


def _inferred_parquet(path: Path, limits: Limits) -> TableRead:
    notes: list[str] = []
    with open_parquet(path, limits=limits) as file:
        kinds = {field.name: field.type for field in file.schema_arrow}
        columns: dict[str, Column] = {}
        for name, kind in kinds.items():
            natural = natural_type(kind)
            if natural is None and not pa.types.is_null(kind):
                notes.append(f"column {quoted(name)} is left out: the type {str(kind).split('<', 1)[0]} cannot stand in a table")
            else:
                columns[name] = Column(type=_natural(file, name, natural or "text"))
        if not columns:
            raise TableInvalid("no column of the file has a type that a table can have")
        readers = {name: ColumnCaster(name, column, kinds[name], endless_is_missing=True) for name, column in columns.items()}
        raw = parquet_batches(file, list(columns), limits=limits, batch_rows=BATCH_ROWS)
        batches = _gathered(_converted(raw, readers, columns), limits)
    schema = pa.schema([pa.field(name, arrow_type(column)) for name, column in columns.items()])
    for reader in readers.values():
        notes.extend(reader.notes)
    table = pa.Table.from_batches(batches, schema)
    types: dict[str, ColumnType] = {name: column.type for name, column in columns.items()}
    for name in [name for name, kind in types.items() if kind in {"text", "category"}]:
        present = len(table) - table.column(name).null_count
        types[name] = word_type(int(pc.count_distinct(table.column(name), mode="only_valid").as_py()), present)
    return TableRead(table, tuple(notes), types)
