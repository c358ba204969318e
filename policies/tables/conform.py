"""Typed columns (of Parquet, or made by a program) to the fixed Arrow types.

Invariants:
    - A conversion that would change a value is refused by name, except what is listed and noted: decimals to double
      precision, nanoseconds to microseconds, NaN to missing.
    - Zones are never mixed: a time with a zone goes to the card's zone, or keeps its own wall time when the card names none.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from policies.columns import Column, ColumnType
from policies.tables import cells as c
from policies.tables.arrow import Cells, pc
from policies.tables.limits import TableInvalid, quoted
from policies.tables.values import arrow_type, check_domain

__all__ = ["ColumnCaster", "natural_type"]

TEXT = frozenset({"category", "text", "id"})


def natural_type(kind: pa.DataType) -> ColumnType | None:
    """The column type that an Arrow type stands for; None when no column of a table can have it."""
    if pa.types.is_dictionary(kind):
        inner = natural_type(kind.value_type)
        return "category" if inner == "text" else inner
    tests: tuple[tuple[Callable[[pa.DataType], bool], ColumnType], ...] = (
        (pa.types.is_boolean, "boolean"),
        (pa.types.is_integer, "integer"),
        (pa.types.is_floating, "number"),
        (pa.types.is_decimal, "number"),
        (pa.types.is_timestamp, "datetime"),
        (pa.types.is_date, "date"),
        (pa.types.is_string, "text"),
        (pa.types.is_large_string, "text"),
        (pa.types.is_string_view, "text"),
    )
    return next((name for test, name in tests if test(kind)), None)


class ColumnCaster:
    """Turns one typed column into its fixed type, batch after batch."""

    def __init__(self, name: str, column: Column, kind: pa.DataType, *, endless_is_missing: bool = False) -> None:
        self._name = name
        self._endless_is_missing = endless_is_missing
        self._column = column
        self._from = kind.value_type if pa.types.is_dictionary(kind) else kind
        self._counts: dict[str, int] = {}
        natural = natural_type(kind)
        if natural is None and not pa.types.is_null(kind):
            raise TableInvalid(
                f"column {quoted(name)} has the type {_spoken(kind)}, which no table column can have: convert or drop it"
            )
        if natural is not None and not _may_become(natural, column.type):
            raise TableInvalid(
                f"column {quoted(name)} holds {_spoken(kind)} in the file, but the card says {column.type}: change one of them"
            )

    @property
    def notes(self) -> tuple[str, ...]:
        """What was converted, where that was a choice."""
        return tuple(f"column {quoted(self._name)}: {text.format(n=f'{n:,}')}" for text, n in self._counts.items())

    def read(self, raw: Cells, first_row: int) -> Cells:
        """Convert one batch.

        Raises:
            TableInvalid: naming the column, a count and a row.
        """
        target = arrow_type(self._column)
        if pa.types.is_dictionary(raw.type):
            raw = raw.dictionary_decode()
        values = pc.cast(raw, target) if pa.types.is_null(raw.type) else self._cast(raw, target, first_row)
        check_domain(self._name, self._column, values, first_row)
        return values

    def _note(self, text: str, number: int) -> None:
        if number:
            self._counts[text] = self._counts.get(text, 0) + number

    def _cast(self, raw: Cells, target: pa.DataType, first_row: int) -> Cells:
        kind = self._column.type
        if pa.types.is_floating(raw.type):
            raw = self._finite(pc.cast(raw, pa.float64()), first_row)
        try:
            if kind in TEXT:
                return pc.cast(raw, target)
            if kind == "number" and pa.types.is_decimal(raw.type):
                self._note("{n} decimals were rounded to double precision", len(raw) - raw.null_count)
                return pc.cast(raw, target, safe=False)
            if kind == "number" and pa.types.is_integer(raw.type):
                return self._whole_to_number(raw, target)
            if kind == "boolean" and not pa.types.is_boolean(raw.type):
                return self._truth(raw, first_row)
            if kind == "datetime":
                return self._moments(raw, target, first_row)
            return pc.cast(raw, target)
        except pa.ArrowInvalid:
            remedy = "give the column another type, such as id or text"
            raise c.misfit(self._name, _unfit(raw, target), first_row, f"not of the type {kind}", remedy) from None

    def _finite(self, numbers: Cells, first_row: int) -> Cells:
        nan = pc.fill_null(pc.is_nan(numbers), False)
        self._note("{n} values that are no number (NaN) were read as missing", c.count(nan))
        endless = pc.fill_null(pc.is_inf(numbers), False)
        if self._endless_is_missing:
            self._note("{n} infinite values were read as missing; with a card they are refused", c.count(endless))
            nan = pc.or_(nan, endless)
        elif c.count(endless):
            raise c.misfit(self._name, endless, first_row, "infinite", "leave such cells empty or correct them")
        return pc.if_else(nan, None, numbers)

    def _whole_to_number(self, raw: Cells, target: pa.DataType) -> Cells:
        try:
            return pc.cast(raw, target)
        except pa.ArrowInvalid:
            self._note("whole numbers above 2^53 were rounded to double precision", 1)
            return pc.cast(raw, target, safe=False)

    def _truth(self, raw: Cells, first_row: int) -> Cells:
        text = pc.utf8_lower(pc.cast(raw, pa.string()))
        pair = next((p for p in c.BOOLEAN_PAIRS if c.count(c.matches(text, f"^({p[0]}|{p[1]})$"))), c.BOOLEAN_PAIRS[0])
        bad = pc.and_(pc.is_valid(text), pc.invert(c.matches(text, f"^({pair[0]}|{pair[1]})$")))
        if c.count(bad):
            raise c.misfit(self._name, bad, first_row, f"neither '{pair[0]}' nor '{pair[1]}'", "use true and false")
        return pc.equal(text, pair[0])

    def _moments(self, raw: Cells, target: pa.DataType, first_row: int) -> Cells:
        if pa.types.is_date(raw.type):
            raw = pc.cast(raw, pa.timestamp("us"))
        finer = pc.cast(raw, pa.timestamp("us", tz=raw.type.tz), safe=False)
        self._note("times finer than a microsecond were cut", int(raw.type.unit == "ns" and not _exact(raw)))
        zone = self._column.timezone
        if raw.type.tz is not None and zone is None:
            self._note(f"the wall time of {raw.type.tz} was kept, since the card names no time zone", 1)
            return pc.local_timestamp(finer)
        if raw.type.tz is None and zone is not None:
            return self._local(finer, zone, first_row)
        return pc.cast(finer, target)

    def _local(self, times: Cells, zone: str, first_row: int) -> Cells:
        early = pc.assume_timezone(times, timezone=zone, ambiguous="earliest", nonexistent="earliest")
        late = pc.assume_timezone(times, timezone=zone, ambiguous="earliest", nonexistent="latest")
        gaps = pc.fill_null(pc.not_equal(early, late), False)
        if c.count(gaps):
            raise c.misfit(
                self._name,
                gaps,
                first_row,
                f"a time that does not exist in {zone}|times that do not exist in {zone}",
                "the clocks were put forward: correct them",
            )
        return early


def _exact(raw: Cells) -> bool:
    try:
        pc.cast(raw, pa.timestamp("us", tz=raw.type.tz))
    except pa.ArrowInvalid:
        return False
    return True


def _unfit(raw: Cells, target: pa.DataType) -> Cells:
    bad = []
    for value in raw:
        try:
            value.cast(target)
            bad.append(False)
        except pa.ArrowInvalid:
            bad.append(True)
    return pa.array(bad, pa.bool_())


def _may_become(natural: ColumnType, wanted: ColumnType) -> bool:
    allowed: dict[ColumnType, frozenset[str]] = {
        "boolean": TEXT | {"boolean"},
        "integer": TEXT | {"integer", "number", "boolean"},
        "number": TEXT | {"number", "integer"},
        "datetime": TEXT | {"datetime", "date"},
        "date": TEXT | {"date", "datetime"},
        "text": TEXT | {"boolean"},
        "category": TEXT | {"boolean"},
        "id": TEXT,
    }
    return wanted in allowed[natural]


def _spoken(kind: pa.DataType) -> str:
    return str(kind).split("<", 1)[0].split("(", 1)[0]
