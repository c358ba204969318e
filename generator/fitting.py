"""A fitted generator that draws bins: from bins to rows, whatever model draws them.

Responsible for drawing rows in bounded blocks, for their columns in the order of the card, and for the particulars that the
marginal and the neural families share on a model card.

Invariants:
    - Holds no row and no true count: noisy, processed probabilities or trained numbers only.
    - Every row that leaves lies within the card's bounds and domains and keeps its constraints.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from generator.arrow import Array
from generator.base import GeneratorError
from generator.calendar import TimeField
from generator.constancy import likeness, shared
from generator.constraints import Interval, Order, as_floats, bin_interval, repaired, step_of_field
from generator.encoding import Field, NumberField, Variable, arrow_type
from generator.fields import texts
from generator.keys import fake_texts, row_keys
from generator.marginal.bins import Bins
from generator.marginal.cells import draw_cells, draw_days
from generator.relations import copies
from generator.slots import Candidates, Pace, hour_place, seats, slots_of
from generator.units import UnitModel
from policies.card import DatasetCard
from policies.types import GENERATORS, GeneratorInfo, PrivacySpent

__all__ = ["FittedBins"]

BLOCK = 1 << 18
SPARE = 3
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FittedBins(ABC):
    """A fitted generator whose model draws bins."""

    name: str
    card: DatasetCard
    fields: tuple[Field, ...]
    bins: tuple[Bins, ...]
    orders: tuple[Order, ...]
    units: UnitModel | None
    spent: PrivacySpent
    domains: Mapping[str, Any]
    cells: int
    pace: Pace | None = None

    @abstractmethod
    def draw_bins(self, rows: int, *, rng: np.random.Generator, weights: Mapping[int, Floats]) -> list[Integers]:
        """A bin of each variable for each row.

        Args:
            rows: How many.
            rng: Drives the draw.
            weights: For conditioned variables, by place, the weight of each bin in [0, 1].
        """

    @abstractmethod
    def save(self, folder: Path) -> str:
        """Write the model; returns its digest."""

    @property
    def info(self) -> GeneratorInfo:
        """The line of the generator catalogue."""
        return GENERATORS[self.name]

    @property
    def variables(self) -> tuple[Variable, ...]:
        """All model variables in order."""
        return tuple(variable for field in self.fields for variable in field.variables)

    @property
    def notes(self) -> Mapping[str, Any]:
        """Public particulars for the model card."""
        return {
            "estimated_domains": sorted(self.domains),
            "replaced_by_fake_text": list(texts(self.card)),
            "synthetic_keys": [n for n, column in self.card.columns.items() if column.role == "identifier"],
        }

    def sample(self, rows: int, *, rng: np.random.Generator, where: Mapping[str, str] | None = None) -> Iterator[pa.RecordBatch]:
        """Draw rows in blocks; conditions hold in every row, for categories and booleans."""
        given = self._conditions(where or {})
        units = 0
        for start in range(0, max(rows, 1), BLOCK):
            batch, made = self._block(start, units, min(BLOCK, rows - start), rng, given)
            units += made
            yield batch

    def _block(
        self, start: int, units: int, rows: int, rng: np.random.Generator, given: Mapping[int, int]
    ) -> tuple[pa.RecordBatch, int]:
        slots = slots_of(self.fields, self.card, [bins.cells for bins in self.bins])
        asked = rows if slots is None else SPARE * rows
        binned = self.draw_bins(asked, rng=rng, weights={v: self._weights(v, cell) for v, cell in given.items()})
        codes = self._cells(binned, rng)
        if slots is not None:
            kept, codes[slots[0]] = self._seated(rows, binned, codes, slots, rng)
            binned = [b[kept] for b in binned]
            codes = [c if place == slots[0] else c[kept] for place, c in enumerate(codes)]
        for variable, cell in given.items():
            codes[variable] = np.full(rows, cell)
        columns: dict[str, Array] = {}
        place = 0
        for field in self.fields:
            count = len(field.variables)
            columns |= field.decode([c.astype(np.int32) for c in codes[place : place + count]], rng)
            place += count
        if self.orders:
            self._repair(columns, binned, rng)
        made = self._add_keys(columns, codes, start=start, units=units, rng=rng)
        for name, source in copies(self.card).items():
            columns[name] = columns[source].cast(arrow_type(self.card.columns[name]))
        names = list(self.card.columns)
        return pa.RecordBatch.from_arrays([columns[name] for name in names], names=names), made

    def _cells(self, binned: list[Integers], rng: np.random.Generator) -> list[Integers]:
        variables = self.variables
        codes: list[Integers] = []
        for place, (variable, bins) in enumerate(zip(variables, self.bins, strict=True)):
            if variable.season is None:
                codes.append(draw_cells(bins, binned[place], rng=rng))
                continue
            hour = self._hour_of(place)
            within = binned[self._evenest(place)] if hour is None else binned[hour]
            codes.append(draw_days(bins, variable, binned[place], binned[place + 1], rng=rng, within=within))
        return codes

    def _hour_of(self, day: int) -> int | None:
        """The variable that holds the hour of the days at a place."""
        variables = self.variables
        own = f"{variables[day].name}.hour"
        if day + 2 < len(variables) and variables[day + 2].name == own:
            return day + 2
        return hour_place(self.fields, self.card.spec.time_index) if variables[day].name == self.card.spec.time_index else None

    def _seated(
        self, rows: int, binned: list[Integers], codes: list[Integers], slots: tuple[int, int], rng: np.random.Generator
    ) -> tuple[Integers, Integers]:
        """Which of the drawn rows fill the slots, and their days."""
        day, hour = slots
        season = np.asarray(self.variables[day].season)
        level = None if self.pace is None else codes[self.pace.place]
        drawn = Candidates(binned[day], season[codes[day]], codes[hour], level, season, self.bins[day].of_cell)
        return seats(rows, drawn, self.pace, rng)

    def _evenest(self, day: int) -> int:
        """The variable other than the day's own whose bins are used most evenly: what a table of hours calls its hour."""
        variables = self.variables
        own = {variables[day].name, f"{variables[day].name}.weekday"}
        spread = [
            -1.0 if v.name in own else float(-(ones[ones > 0] * np.log(ones[ones > 0])).sum())
            for v, ones in ((v, bins.ones()) for v, bins in zip(variables, self.bins, strict=True))
        ]
        return int(np.argmax(spread))

    def _add_keys(
        self, columns: dict[str, Array], codes: list[Integers], *, start: int, units: int, rng: np.random.Generator
    ) -> int:
        """Add keys and texts, give rows to units, and let the rows of a unit share what they should; returns how many units."""
        rows, assigned = len(codes[0]), None
        if self.units is not None:
            field, times, missing = self._time_index(columns)
            alike = likeness(self.card, self.fields, codes)
            assigned = self.units.assign(times, rows, rng, likeness=alike)
            if field is not None and assigned.times is not None and missing is not None:
                columns[field.name] = field.to_arrow(assigned.times, missing)
        for name, column in self.card.columns.items():
            if name == self.card.spec.privacy_unit and assigned is not None:
                columns[name] = row_keys(np.where(assigned.unit < 0, -1, assigned.unit + units), arrow_type(column))
            elif column.role == "identifier":
                columns[name] = row_keys(np.arange(start, start + rows), arrow_type(column))
            elif column.type == "text":
                columns[name] = fake_texts(rows, rng)
        if assigned is None:
            return 0
        columns |= shared(columns, assigned.first, card=self.card, fields=self.fields, orders=self.orders)
        return int(assigned.unit.max(initial=-1)) + 1

    def _time_index(self, columns: Mapping[str, Array]) -> tuple[TimeField | None, Integers | None, NDArray[np.bool_] | None]:
        index = self.card.spec.time_index
        field = next((f for f in self.fields if isinstance(f, TimeField) and f.name == index), None)
        if field is None or any(index in (order.low, order.high) for order in self.orders):
            return None, None, None
        times, missing = field.to_micros(columns[field.name])
        return field, times, missing

    def _repair(self, columns: dict[str, Array], binned: list[Integers], rng: np.random.Generator) -> None:
        """Draw values again where an order between columns is violated."""
        named = {name for order in self.orders for name in (order.low, order.high)}
        values, missing, spans, steps = {}, {}, {}, {}
        place = 0
        for field in self.fields:
            name = field.columns[0]
            if name in named:
                values[name], missing[name] = as_floats(field, columns[name])
                bins = self.bins[place]
                span = bin_interval(field, bins.of_cell, bins.size)
                spans[name] = Interval(span.low[binned[place]], span.high[binned[place]])
                steps[name] = step_of_field(field)
            place += len(field.variables)
        fixed = repaired(values, missing, spans, self.orders, steps, rng)
        for field in self.fields:
            name = field.columns[0]
            if name in fixed and isinstance(field, TimeField):
                columns[name] = field.to_arrow(np.where(missing[name], 0, fixed[name]).astype(np.int64), missing[name])
            elif name in fixed and isinstance(field, NumberField):
                columns[name] = field.to_arrow(np.where(missing[name], 0, fixed[name]), missing[name])

    def _conditions(self, where: Mapping[str, str]) -> dict[int, int]:
        """Variable and cell of each condition."""
        given: dict[int, int] = {}
        for name, value in where.items():
            place = 0
            for field in self.fields:
                if field.columns == (name,) and hasattr(field, "code_of"):
                    cell = field.code_of(value)
                    if cell is None:
                        raise GeneratorError(f"the column '{name}' has no such value as the condition asks for")
                    given[place] = cell
                    break
                place += len(field.variables)
            else:
                raise GeneratorError(f"a condition needs a category or boolean column that is learnt alone; '{name}' is none")
        return given

    def _weights(self, variable: int, cell: int) -> NDArray[np.float64]:
        bins = self.bins[variable]
        weights = np.zeros(bins.size)
        held = bins.ones()[bins.of_cell[cell]]
        weights[bins.of_cell[cell]] = bins.cells[cell] / held if held > 0 and bins.cells[cell] > 0 else 1.0
        return weights
