"""Write a table file: the same bytes for the same rows, whatever their batches were.

Invariants:
    - No metadata of the source is copied: no pandas block, no author, no path.
    - CSV: UTF-8, commas, lines that end with a line feed, text quoted where needed, empty = missing. A text that a
      spreadsheet would run gets an apostrophe in front; numbers and telephone numbers stay as they are; `read_table` takes
      it off again.
    - NaN is written as missing; an infinite number is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq

from policies.card import DatasetCard
from policies.tables import cells as c
from policies.tables.arrow import Cells, pc
from policies.tables.limits import TableInvalid, quoted
from policies.tables.values import arrow_type, require_columns

__all__ = ["write_table"]

GROUP_ROWS = 131_072
Format = Literal["parquet", "csv"]


def write_table(
    source: pa.Table | Iterable[pa.RecordBatch],
    path: Path | str,
    *,
    format: Format,  # noqa: A002 - the word of the contract
    card: DatasetCard | None = None,
) -> int:
    """Write rows to a file and return how many.

    Args:
        source: A table or its batches; batches may have any sizes.
        path: Where to; an existing file is replaced.
        format: `parquet` or `csv`.
        card: Puts columns in the card's order and types; identifier columns may be absent, others not.

    Raises:
        TableInvalid: a column of the card is missing, does not fit its type, or holds an infinite number.
    """
    batches = iter(source.to_batches() if isinstance(source, pa.Table) else source)
    first = next(batches, None)
    if first is None:
        if isinstance(source, pa.Table):
            first = pa.RecordBatch.from_pylist([], schema=source.schema)
        else:
            raise TableInvalid("there are no rows to write, and no batch says which columns there are")
    schema = _schema(first.schema, card)
    even = _even(_shaped(chain([first], batches), schema))
    return _write_parquet(even, schema, Path(path)) if format == "parquet" else _write_csv(even, schema, Path(path))


def _schema(given: pa.Schema, card: DatasetCard | None) -> pa.Schema:
    if card is None:
        return pa.schema([pa.field(field.name, _plain(field.type)) for field in given])
    columns = {name: column for name, column in card.columns.items() if column.role != "identifier" or name in given.names}
    require_columns(given.names, list(columns))
    return pa.schema([pa.field(name, arrow_type(column)) for name, column in columns.items()])


def _plain(kind: pa.DataType) -> pa.DataType:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.string() if pa.types.is_large_string(inner) or pa.types.is_string_view(inner) else inner


def _shaped(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    for batch in batches:
        arrays = []
        for field in schema:
            array = batch.column(field.name)
            if pa.types.is_floating(array.type):
                array = _finite(field.name, array)
            try:
                arrays.append(pc.cast(array, field.type))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                raise TableInvalid(f"column {quoted(field.name)}: some values are not of the type {field.type}") from None
        yield pa.Table.from_arrays(arrays, schema=schema)


def _finite(name: str, array: Cells) -> Cells:
    if c.count(pc.fill_null(pc.is_inf(array), False)):
        raise TableInvalid(f"column {quoted(name)}: an infinite number is not written")
    return pc.if_else(pc.fill_null(pc.is_nan(array), False), None, array)


def _even(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Cut to row groups of one size, so that the bytes do not depend on how the rows came."""
    waiting: list[pa.Table] = []
    rows = 0
    for table in tables:
        waiting.append(table)
        rows += table.num_rows
        while rows >= GROUP_ROWS:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, GROUP_ROWS).combine_chunks()
            waiting = [whole.slice(GROUP_ROWS)]
            rows -= GROUP_ROWS
    if rows:
        yield pa.concat_tables(waiting).combine_chunks()


def _write_parquet(tables: Iterator[pa.Table], schema: pa.Schema, path: Path) -> int:
    rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd", version="2.6", store_schema=True, write_page_checksum=True) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=GROUP_ROWS)
            rows += table.num_rows
    return rows


def _write_csv(tables: Iterator[pa.Table], schema: pa.Schema, path: Path) -> int:
    rows = 0
    names = c.neutral(pa.array(schema.names, pa.string())).to_pylist()
    with path.open("wb") as out:
        out.write((",".join(_quoted_name(name) for name in names) + "\n").encode())
        for table in tables:
            cells = [_csv_cells(column) for column in table.columns]
            # Quotes where any text of these rows needs them; without any, readers are ten times as fast.
            needs = any(pa.types.is_string(cell.type) and c.count(c.matches(cell, r'[",\r\n]')) for cell in cells)
            options = pc_csv.WriteOptions(include_header=False, quoting_style="needed" if needs else "none")
            pc_csv.write_csv(pa.Table.from_arrays(cells, names=schema.names), out, options)
            rows += table.num_rows
    return rows


def _quoted_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if set(name) & set('",\r\n') else name


def _csv_cells(column: Cells) -> Cells:
    """What stands in a CSV file: numbers, truth values and days as they are, times as ISO text, texts made safe."""
    if pa.types.is_string(column.type):
        return c.neutral(column)
    if pa.types.is_timestamp(column.type):
        form = "%Y-%m-%d %H:%M:%S%z" if column.type.tz else "%Y-%m-%d %H:%M:%S"
        return pc.replace_substring_regex(pc.strftime(column, format=form), pattern=r"\.000000", replacement="")
    return column
