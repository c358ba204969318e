"""Dates and times from text: one format a column, no guess between day and month, no silent mix of zones.

Invariants:
    - ISO 8601 is read as it stands. Another form is read only when every value has it, and it is noted.
    - Whether 05/03 is May or March is decided by values that allow one order only; when both are possible it is refused.
    - Times with an offset and times without never share a column; several offsets need the card's time zone.
"""

from __future__ import annotations

import pyarrow as pa

from policies.tables import cells as c
from policies.tables.arrow import Cells, pc
from policies.tables.limits import TableInvalid, quoted

__all__ = ["DateReader", "TimeReader", "settle_date_form"]

REMEDY_DATE = "write dates like 2025-01-31, or give the column the type text"
REMEDY_TIME = "write times like 2025-01-31 14:05:00, or give the column the type text"
REWRITE = {
    "YYYY/MM/DD": (r"^(\d{4})/(\d{1,2})/(\d{1,2})$", r"\1-0\2-0\3"),
    "YYYYMMDD": (r"^(\d{4})(\d{2})(\d{2})$", r"\1-\2-\3"),
    "DD.MM.YYYY": (r"^(\d{1,2})\.(\d{1,2})\.(\d{4})$", r"\3-0\2-0\1"),
    "DD/MM/YYYY": (r"^(\d{1,2})/(\d{1,2})/(\d{4})$", r"\3-0\2-0\1"),
    "MM/DD/YYYY": (r"^(\d{1,2})/(\d{1,2})/(\d{4})$", r"\3-0\1-0\2"),
}
AMBIGUOUS = "D/M/Y"


def settle_date_form(raw: Cells) -> str | None:
    """The one form in which all dates are written; `D/M/Y` when day and month cannot be told apart; None when mixed."""
    present = pc.drop_null(raw)
    for form, pattern in c.DATE_FORMS.items():
        if len(present) and c.count(c.matches(present, pattern)) == len(present):
            if form != AMBIGUOUS:
                return form
            day_first = c.count(c.matches(present, r"^(1[3-9]|2\d|3[01])/"))
            month_first = c.count(c.matches(present, r"^\d{1,2}/(1[3-9]|2\d|3[01])/"))
            if bool(day_first) == bool(month_first):
                return AMBIGUOUS if not day_first else None
            return "DD/MM/YYYY" if day_first else "MM/DD/YYYY"
    return None


def iso_dates(raw: Cells, form: str) -> Cells:
    """Dates of a form rewritten as ISO 8601 text."""
    if form not in REWRITE:
        return raw
    pattern, replacement = REWRITE[form]
    loose = pc.replace_substring_regex(raw, pattern=pattern, replacement=replacement)
    return pc.replace_substring_regex(loose, pattern=r"-0(\d\d)", replacement=r"-\1")


def impossible(raw: Cells, kind: pa.DataType) -> Cells:
    """Where text of the right form is no day of the calendar or no time of the clock."""
    bad = []
    for value in raw:
        try:
            value.cast(kind)
            bad.append(False)
        except pa.ArrowInvalid:
            bad.append(True)
    return pa.array(bad, pa.bool_())


class DateReader:
    """Reads a column of dates."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._form: str | None = None
        self.notes: tuple[str, ...] = ()

    def read(self, raw: Cells, first_row: int) -> Cells:
        """Convert text cells to days.

        Raises:
            TableInvalid: mixed forms, an order that cannot be told, or a day that does not exist.
        """
        raw = pc.replace_substring_regex(raw, pattern=r"[T ]00:00(:00(\.0+)?)?$", replacement="")
        if self._form is None and raw.null_count < len(raw):
            self._form = self._settled(raw, first_row)
        form = self._form or "YYYY-MM-DD"
        bad = pc.and_(pc.is_valid(raw), pc.invert(c.matches(raw, _pattern(form))))
        if c.count(bad):
            raise c.misfit(self._name, bad, first_row, f"not a date of the form {form}|not dates of the form {form}", REMEDY_DATE)
        text = iso_dates(raw, form)
        try:
            return pc.cast(text, pa.date32())
        except pa.ArrowInvalid:
            wrong = impossible(text, pa.date32())
            raise c.misfit(self._name, wrong, first_row, "no day of the calendar|no days of the calendar", REMEDY_DATE) from None

    def _settled(self, raw: Cells, first_row: int) -> str:
        form = settle_date_form(raw)
        if form == AMBIGUOUS:
            row = c.where(pc.is_valid(raw), first_row)
            raise TableInvalid(
                f"column {quoted(self._name)}: whether day or month comes first cannot be told (first in row {row:,}): "
                "write dates like 2025-01-31"
            )
        if form is None:
            bad = pc.and_(pc.is_valid(raw), pc.invert(c.matches(raw, c.ISO_DATE)))
            raise c.misfit(self._name, bad, first_row, "not a date of the same form|not dates of one form", REMEDY_DATE)
        if form != "YYYY-MM-DD":
            self.notes = (f"column {quoted(self._name)}: dates were read as {form}",)
        return form


def _pattern(form: str) -> str:
    return c.DATE_FORMS[AMBIGUOUS if form in {"DD/MM/YYYY", "MM/DD/YYYY"} else form]


class TimeReader:
    """Reads a column of times, naive or with offsets."""

    def __init__(self, name: str, zone: str | None) -> None:
        self._name = name
        self._zone = zone
        self._has_offset: bool | None = None
        self._offset: str | None = None
        self._form: str | None = None
        self._counts: dict[str, int] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """How the times were read, where that was a choice."""
        return tuple(f"column {quoted(self._name)}: {text.format(n=f'{n:,}')}" for text, n in self._counts.items())

    def read(self, raw: Cells, first_row: int) -> Cells:
        """Convert text cells to times in the card's zone, or to wall time when it names none.

        Raises:
            TableInvalid: mixed forms or zones, or a time that does not exist.
        """
        raw = self._iso(raw, first_row)
        zoned = c.matches(raw, c.ISO_ZONED)
        naive = c.matches(raw, c.ISO_TIME)
        bad = pc.and_(pc.is_valid(raw), pc.invert(pc.or_(zoned, naive)))
        if c.count(bad):
            raise c.misfit(
                self._name,
                bad,
                first_row,
                "not a time of the form YYYY-MM-DD hh:mm:ss|not times of the form YYYY-MM-DD hh:mm:ss",
                REMEDY_TIME,
            )
        if self._has_offset is None and raw.null_count < len(raw):
            self._has_offset = bool(c.count(zoned))
        other = naive if self._has_offset else zoned
        if c.count(other):
            raise self._mixed(other, first_row)
        text = self._to_microseconds(raw)
        return self._zoned(text, first_row) if self._has_offset else self._naive(text, first_row)

    def _mixed(self, mask: Cells, first_row: int) -> TableInvalid:
        are = "without a UTC offset while others have one" if self._has_offset else "with a UTC offset while others have none"
        return c.misfit(self._name, mask, first_row, are, "write all times with an offset, or none")

    def _iso(self, raw: Cells, first_row: int) -> Cells:
        """Rewrite `31.01.2025 14:05` and its kin; the date part has one form in the whole column."""
        if self._form is None and raw.null_count < len(raw):
            days = pc.replace_substring_regex(raw, pattern=r"[T ].*$", replacement="")
            form = settle_date_form(days)
            if form == AMBIGUOUS:
                row = c.where(pc.is_valid(raw), first_row)
                raise TableInvalid(
                    f"column {quoted(self._name)}: whether day or month comes first cannot be told (first in row {row:,}): "
                    "write times like 2025-01-31 14:05:00"
                )
            self._form = form or "YYYY-MM-DD"
            if self._form != "YYYY-MM-DD":
                self._counts[f"dates were read as {self._form}"] = 1
        if self._form in {None, "YYYY-MM-DD"}:
            return raw
        day = iso_dates(pc.replace_substring_regex(raw, pattern=r"[T ].*$", replacement=""), str(self._form))
        clock = pc.replace_substring_regex(raw, pattern=r"^[^T ]*", replacement="")
        clock = pc.replace_substring_regex(clock, pattern=r"^([T ])(\d:)", replacement=r"\10\2")
        return pc.binary_join_element_wise(day, clock, "")

    def _to_microseconds(self, raw: Cells) -> Cells:
        finer = c.matches(raw, r"\.\d{7,9}")
        if number := c.count(finer):
            text = "{n} times are finer than a microsecond and were cut"
            self._counts[text] = self._counts.get(text, 0) + number
            raw = pc.replace_substring_regex(raw, pattern=r"(\.\d{6})\d{1,3}", replacement=r"\1")
        return raw

    def _naive(self, text: Cells, first_row: int) -> Cells:
        times = self._cast(text, pa.timestamp("us"), first_row)
        if self._zone is None:
            return times
        try:
            local = pc.assume_timezone(times, timezone=self._zone, ambiguous="earliest", nonexistent="raise")
        except pa.ArrowInvalid:
            wrong = self._gaps(times)
            remedy = "the clocks were put forward: correct them"
            raise c.misfit(
                self._name,
                wrong,
                first_row,
                f"a time that does not exist in {self._zone}|times that do not exist in {self._zone}",
                remedy,
            ) from None
        late = pc.assume_timezone(times, timezone=self._zone, ambiguous="latest", nonexistent="raise")
        if number := c.count(pc.fill_null(pc.not_equal(local, late), False)):
            text_ = "{n} times exist twice when clocks go back; the earlier one was taken"
            self._counts[text_] = self._counts.get(text_, 0) + number
        return local

    def _gaps(self, times: Cells) -> Cells:
        early = pc.assume_timezone(times, timezone=self._zone, ambiguous="earliest", nonexistent="earliest")
        late = pc.assume_timezone(times, timezone=self._zone, ambiguous="earliest", nonexistent="latest")
        return pc.fill_null(pc.not_equal(early, late), False)

    def _zoned(self, text: Cells, first_row: int) -> Cells:
        compact = pc.replace_substring_regex(text, pattern=r" (Z|[+-])", replacement=r"\1")
        moments = self._cast(compact, pa.timestamp("us", tz="UTC"), first_row)
        if self._zone is not None:
            return pc.cast(moments, pa.timestamp("us", tz=self._zone))
        offsets = pc.unique(
            pc.drop_null(pc.replace_substring_regex(compact, pattern=r"^.*(Z|[+-]\d{2}):?(\d{2})?$", replacement=r"\1\2"))
        )
        for offset in offsets.to_pylist():
            known = "+0000" if offset in {"Z", "-0000"} else str(offset)
            self._offset = self._offset or known
            if known != self._offset:
                mask = pc.invert(c.matches(compact, _ending(self._offset)))
                remedy = "name the time zone of the column in the card"
                raise c.misfit(self._name, pc.and_(mask, pc.is_valid(compact)), first_row, "with another UTC offset", remedy)
        if self._offset is not None:
            self._counts[f"every time has the offset {self._offset}; it was taken off, since the card names no time zone"] = 1
        wall = pc.replace_substring_regex(compact, pattern=r"(Z|[+-]\d{2}:?\d{2})$", replacement="")
        return self._cast(wall, pa.timestamp("us"), first_row)

    def _cast(self, text: Cells, kind: pa.DataType, first_row: int) -> Cells:
        try:
            return pc.cast(text, kind)
        except pa.ArrowInvalid:
            wrong = impossible(text, kind)
            raise c.misfit(
                self._name,
                wrong,
                first_row,
                "no time of the calendar and the clock|no times of the calendar and the clock",
                REMEDY_TIME,
            ) from None


def _ending(offset: str) -> str:
    return r"(Z|[+-]00:?00)$" if offset == "+0000" else f"[{offset[0]}]{offset[1:3]}:?{offset[3:]}$"
