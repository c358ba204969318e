"""Parquet files: judged by their footer before anything is read, then read in small batches.

Invariants:
    - Rows, columns, cells and the least memory are checked against the limits from the footer; what the footer does not
      tell (dictionary-encoded text) is counted while reading, and reading stops at the limit.
    - A footer that lies, a damaged page or a wrong length is a refusal, never a crash or a partial table.
    - Metadata of the file (pandas blocks, authors) goes nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from policies.tables.limits import MIB, Limits, TableInvalid, plural, quoted

__all__ = ["open_parquet", "parquet_batches"]

MOST_FOOTER = 64 * MIB
DAMAGED = "the Parquet data is damaged or cut off: export it again"
# pyarrow reports a damaged file in many voices; each of them is the file's fault here.
FAULTS = (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError, ValueError)


@contextmanager
def _clear() -> Iterator[None]:
    try:
        yield
    except TableInvalid:
        raise
    except (MemoryError, pa.ArrowMemoryError):
        raise TableInvalid("reading it needs more memory than the limit allows: split it") from None
    except FAULTS:
        raise TableInvalid(DAMAGED) from None


@contextmanager
def open_parquet(path: Path, *, limits: Limits) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file whose footer keeps the limits.

    Raises:
        TableInvalid: a damaged file, a column twice, or a limit that the footer already breaks.
    """
    with path.open("rb") as raw:
        size = raw.seek(0, 2)
        raw.seek(max(0, size - 8))
        footer = int.from_bytes(raw.read(8)[:4], "little")
    if footer > min(size, MOST_FOOTER):
        raise TableInvalid(DAMAGED)
    with _clear():
        file = pq.ParquetFile(
            path, memory_map=False, pre_buffer=False, thrift_string_size_limit=MOST_FOOTER, thrift_container_size_limit=1_000_000
        )
    with file:
        with _clear():
            _check_footer(file, limits)
        yield file


def _check_footer(file: pq.ParquetFile, limits: Limits) -> None:
    schema = file.schema_arrow
    names = schema.names
    if len(names) > limits.columns:
        raise TableInvalid(f"the file has {len(names):,} columns, the limit is {limits.columns:,}: leave out what is not needed")
    for name in names:
        if names.count(name) > 1:
            raise TableInvalid(f"two columns have the name {quoted(name)}: rename one of them")
    rows = file.metadata.num_rows
    groups = sum(file.metadata.row_group(index).num_rows for index in range(file.metadata.num_row_groups))
    if rows < 0 or rows != groups:
        raise TableInvalid(DAMAGED)
    if rows > limits.rows:
        raise TableInvalid(f"the file has {rows:,} rows, the limit is {limits.rows:,}: take a part of it")
    if rows * len(names) > limits.cells:
        raise TableInvalid(f"the file has {rows * len(names):,} cells, the limit is {limits.cells:,}: take a part of it")


def parquet_batches(file: pq.ParquetFile, columns: Sequence[str], *, limits: Limits, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the chosen columns batch by batch; no batch is larger than the memory limit."""
    with _clear():
        read = 0
        for batch in file.iter_batches(batch_size=batch_rows, columns=list(columns), use_threads=False):
            if batch.nbytes > limits.memory_bytes:
                raise too_much_memory(limits)
            read += batch.num_rows
            _check_text(batch)
            yield batch.replace_schema_metadata(None)
        if columns and read != file.metadata.num_rows:
            raise TableInvalid(
                f"the footer promises {plural(file.metadata.num_rows, 'row')}, the file holds {read:,}: export it again"
            )


def _check_text(batch: pa.RecordBatch) -> None:
    """Refuse text that is not UTF-8; Parquet readers do not look."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            column.validate(full=True)
        except (pa.ArrowException, UnicodeDecodeError):
            raise TableInvalid(
                f"column {quoted(name)}: some values are damaged or not UTF-8 text: export the file again"
            ) from None


def too_much_memory(limits: Limits) -> TableInvalid:
    """The refusal of a table that would not fit."""
    return TableInvalid(f"in memory it is larger than the limit of {limits.memory_bytes // MIB:,} MiB: take a part of it")
