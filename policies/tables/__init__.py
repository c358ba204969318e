"""Table files, read and written in one way for every room.

Responsible for CSV, TSV and other delimited text (also gzip) and Parquet: types, limits, refusals, and safe output.

Arrow types are fixed: integer → int64, number → float64, category, text and id → string, boolean → bool,
datetime → timestamp[us] (naive, or in the card's zone), date → date32; missing is null.

Invariants:
    - No guess is silent: what cannot be told is refused, what was chosen is a note.
    - A refusal (`TableInvalid`) is one sentence naming the file and a row, line or column; it never holds a cell.
    - Limits on rows, columns, cells, unpacked bytes and memory hold for every file, hostile ones included.
"""

from policies.tables.limits import STREAMING, Limits, TableInvalid
from policies.tables.read import TableRead, card_schema, open_batches, read_table
from policies.tables.write import write_table

__all__ = ["STREAMING", "Limits", "TableInvalid", "TableRead", "card_schema", "open_batches", "read_table", "write_table"]
