"""Draft a dataset card from a table file: types and roles guessed, public knowledge left to the steward.

Invariants:
    - No value of the table stands in the draft: no bound, no category, no count. Where public knowledge is needed it says
      TODO, and registering refuses a card with a TODO.
    - The draft is YAML that the loader reads; names are quoted so that a hostile column name is a name and nothing else.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa

from gateway.catalogue.pii import Finding, find_pii
from policies.columns import ColumnType, Role
from policies.tables import Limits, TableInvalid, read_table

__all__ = ["draft_card", "draft_file"]

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")
NOT_PLAIN = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null", "none", "nan", "inf", "todo"})
QUASI = (
    r"age|sex|gender|race|ethnicity|marital(_status)?|education.*|occupation|workclass|nationality|native_country|citizenship|country"
    r"|region|state|province|language|religion|household.*|children|relationship|employer|job|department|birth.*|admission.*"
)
SENSITIVE = (
    r".*income.*|.*salary.*|.*wage.*|.*diag.*|.*disease.*|.*medication.*|.*amount.*|.*balance.*|.*price.*|.*spend.*|.*debt.*|.*loan.*"
    r"|.*score.*"
    r"|bmi|.*cholesterol.*|chol|.*pressure.*|.*glucose.*|.*insulin.*|.*expens.*|.*coverage.*|.*fraud.*|.*readmi.*|.*capital.*|.*result.*"
)
UNIT = (
    r"(customer|patient|account|client|person|member|user|subject|employee|household|card|policy|student)"
    r"(_?(id|no|nbr|nr|number|key|uid))?"
)


def draft_card(path: Path | str, *, limits: Limits | None = None) -> str:
    """The draft card of a table file as YAML.

    Args:
        path: A table file; only its name goes into the draft.
        limits: What may be read at most.

    Raises:
        TableInvalid: the file cannot be read, or holds nothing that could be learnt.
    """
    path = Path(path)
    read = read_table(path, limits=limits)
    if not read.table.num_rows:
        raise TableInvalid(f"'{path.name}': there are no rows: nothing can be synthesised from it")
    columns, kinds, hints = [], {}, []
    for name in read.table.column_names:
        finding, embedded = find_pii(name, read.table.column(name))
        kind, role = _typed(name, read.types[name], finding, has_text=bool(embedded))
        kinds[name] = (kind, role)
        columns.append(_column(name, kind, role, finding, embedded=tuple(embedded)))
    if all(role == "identifier" for _, role in kinds.values()):
        hints.append("# every column looks like an identifier: a card needs one that can be learnt")
    return "\n".join([*_head(path, read.table, kinds), *hints, "  columns:", *columns, ""])


def draft_file(path: str) -> str:
    """`draft_card` for a bounded child process."""
    return draft_card(Path(path))


def _head(path: Path, table: pa.Table, kinds: dict[str, tuple[ColumnType, Role]]) -> list[str]:
    unit = next((name for name in kinds if re.fullmatch(UNIT, _word(name)) and _repeats(table.column(name))), None)
    times = [name for name, (kind, _) in kinds.items() if kind == "datetime"]
    name = re.sub(r"[^a-z0-9._-]+", "-", path.name.split(".")[0].lower()).strip("-._")[:63] or "dataset"
    lines = [
        "apiVersion: ticketgate/v1",
        "kind: Dataset",
        f"metadata: {{name: {_scalar(name)}, steward: TODO, classification: TODO}}",
        "spec:",
        f"  source: {_scalar(path.name)}",
    ]
    if unit is not None:
        lines += [
            f"  privacy_unit: {_scalar(unit)}  # several rows share one value; leave both lines out if one row is one person",
            "  max_rows_per_unit: TODO  # how many rows of one unit may count",
        ]
    else:
        lines.append("  # privacy_unit: leave out if one row is one person, else name the column and max_rows_per_unit")
    if times:
        lines.append(f"  time_index: {_scalar(times[0])}")
    lines += ["  holdout: {fraction: 0.2}", "  budget: {epsilon: TODO, delta: TODO}"]
    return lines


def _repeats(column: Any) -> bool:
    distinct = len(column.unique())
    return 1 < distinct < len(column)


def _typed(name: str, kind: ColumnType, finding: Finding | None, *, has_text: bool) -> tuple[ColumnType, Role]:
    if finding is not None and finding.role == "identifier":
        return "id", "identifier"
    word = _word(name)
    if finding is not None:
        # A postal code is a name of a place, even when it is written in digits.
        return ("category" if finding.kind == "postal-code" else kind), "quasi-identifier"
    if has_text or kind == "text":
        return "text", "identifier" if has_text else "sensitive"
    if re.fullmatch(SENSITIVE, word):
        return kind, "sensitive"
    return kind, "quasi-identifier" if re.fullmatch(QUASI, word) or kind in {"date", "datetime"} else "other"


def _column(name: str, kind: ColumnType, role: Role, finding: Finding | None, *, embedded: tuple[str, ...]) -> str:
    parts = [f"type: {kind}", f"role: {role}"]
    if kind in {"integer", "number", "date", "datetime"}:
        parts.append("bounds: [TODO, TODO]")
    if kind == "category":
        parts.append("values: [TODO]")
    if kind == "datetime":
        parts.append("parts: [trend, month, weekday, hour]")
    why = ""
    if finding is not None:
        why = f"  # looks like: {finding.kind}"
    elif embedded:
        why = f"  # its text holds: {', '.join(embedded)}"
    return f"    {_scalar(name)}: {{{', '.join(parts)}}}{why}"


def _word(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()).strip("_")


def _scalar(text: str) -> str:
    """A YAML scalar that is this text, whatever it holds."""
    if PLAIN.fullmatch(text) and text.lower() not in NOT_PLAIN:
        return text
    body = json.dumps(text, ensure_ascii=False)[1:-1]
    safe = "".join(
        sign
        if sign.isprintable() and sign != "\ufeff"
        else (f"\\u{ord(sign):04x}" if ord(sign) < 1 << 16 else f"\\U{ord(sign):08x}")
        for sign in body
    )
    return f'"{safe}"'
