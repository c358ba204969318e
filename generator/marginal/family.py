"""The generator `dp-marginal`, end to end.

Responsible for the order of the fit: open domains → one-way counts → bins → choice of groups → noisy groups → model; and
for the fitted generator: codes → rows.

Invariants:
    - Rows are read through `Lens` and `domains` alone, which are charged beforehand.
    - The fitted generator holds noisy, processed probabilities only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from generator.base import FittedGenerator, GeneratorError, Progress, Train, no_progress
from generator.calendar import TimeField
from generator.clamped import Outside, count_outside
from generator.constraints import Order, bin_interval, order_mask, orders_of
from generator.domains import estimate_domains, kept_delta, open_columns
from generator.encoding import CELLS, Field, NumberField, Variable
from generator.fields import Known, make_fields
from generator.hyperparameters import MarginalParameters
from generator.marginal.bins import Bins, make_bins
from generator.marginal.cells import season_table
from generator.marginal.faint import measure_faint
from generator.marginal.fitted import FittedMarginal
from generator.marginal.measure import Lens
from generator.marginal.model import Model
from generator.marginal.oneway import measure_levels
from generator.marginal.saving import load
from generator.marginal.structure import Learner, Plan
from generator.relations import modelled
from generator.rhythm import Rhythm, learn_rhythm
from generator.slots import Pace, cut_values, slots_of
from generator.source import Rows, Source
from generator.tally import Tally
from generator.units import UnitModel, learn_units
from generator.zcdp import Account
from policies.card import DatasetCard
from policies.types import GENERATORS, GeneratorInfo, PrivacyTarget

Floats = NDArray[np.float64]
__all__ = ["Marginal", "create", "load"]


FINER = (4 * CELLS, 2 * CELLS)
FULL = 1.5
"""Rows a slot up to which a table counts one number a slot."""
MASK_SHARE = Fraction(1, 10)
"""Share of what is left for counts of ordered pairs where everything else goes to one-way counts."""
CLEAR, VERY_CLEAR = 150.0, 1800.0
"""Rows over noise from which more groups are worth measuring: the fewer are asked for, the surer is each choice."""


class Marginal:
    """Unfitted `dp-marginal`."""

    name = "dp-marginal"

    def __init__(self, values: MarginalParameters) -> None:
        self.values = values

    @property
    def info(self) -> GeneratorInfo:
        """The line of the generator catalogue."""
        return GENERATORS[self.name]

    def fit(
        self,
        train: Train,
        *,
        card: DatasetCard,
        target: PrivacyTarget | None,
        rng: np.random.Generator,  # noqa: ARG002 - private noise has no seed
        progress: Progress = no_progress,
        checkpoint: Path | None = None,  # noqa: ARG002 - it fits within seconds or cannot be resumed
    ) -> FittedGenerator:
        """Learn from a train table under (ε, δ)-differential privacy; `rng` is not used: private noise has no seed."""
        if target is None:
            raise GeneratorError("dp-marginal needs a privacy target: epsilon and delta")
        opened, kept = open_columns(card), kept_delta(card, target)
        account = Account(target, unit=card.spec.privacy_unit or "row", approximate_delta=kept)
        rows = Rows(train, card=card)
        progress(0.02, "open domains")
        domains: Mapping[str, Known] = {}
        if opened:
            domains = estimate_domains(
                rows, card=card, account=account, rho=self._share(account.total, "domain_share"), delta=kept
            )
        fields, cells = _finest(card, domains)
        if not fields:
            raise GeneratorError("the card has no column that can be learnt")
        orders = orders_of(card, fields)
        units = None
        if card.spec.privacy_unit is not None:
            bounds = {f.name: (f.low, f.high) for f in fields if isinstance(f, TimeField)}
            units = learn_units(rows, card=card, account=account, rho=self._share(account.total, "unit_share"), bounds=bounds)
        rhythm = self._rhythm(rows, card, fields, account, units)
        outside: Mapping[str, Outside] = {}
        if self.values.outside_share:
            outside = count_outside(rows, card=card, account=account, rho=self._share(account.total, "outside_share"))
        source = Source(rows, card=card, fields=fields)
        model, bins, pace = self._model(source, card, fields, orders, account, rhythm, progress)
        progress(1.0, "fitted")
        return FittedMarginal(
            name=self.name, card=card, fields=fields, bins=bins, model=model, orders=orders, units=units,
            spent=account.spent(), domains=domains, cells=cells, pace=pace, outside=outside,
        )  # fmt: skip

    def learner(self, **parts: object) -> Learner:
        """What chooses and measures groups."""
        return Learner(**parts)  # type: ignore[arg-type]

    def _share(self, rho: Fraction, name: str) -> Fraction:
        return rho * Fraction(getattr(self.values, name)).limit_denominator(1000)

    def _rhythm(
        self, rows: Rows, card: DatasetCard, fields: tuple[Field, ...], account: Account, units: UnitModel | None
    ) -> Rhythm | None:
        """The volume profile of the time index where units own several rows; one-way counts tell it where they do not."""
        field = next((f for f in fields if isinstance(f, TimeField) and f.name == card.spec.time_index), None)
        if units is None or field is None or not field.is_daily or card.rows_per_unit == 1:
            return None
        share = self._share(account.total, "time_share")
        return learn_rhythm(rows, card=card, account=account, rho=share, field=field, unit_rows=units.rows)

    def _model(
        self, source: Source, card: DatasetCard, fields: tuple[Field, ...], orders: tuple[Order, ...], account: Account,
        rhythm: Rhythm | None, progress: Progress,
    ) -> tuple[Model, tuple[Bins, ...], Pace | None]:  # fmt: skip
        variables = [variable for field in fields for variable in field.variables]
        lens = Lens(source, names=[v.name for v in variables], account=account, rows_per_unit=card.rows_per_unit)
        rest = account.left
        progress(0.05, "one-way counts")
        given, week = _given(variables, card.spec.time_index, rhythm)
        levels = measure_levels(lens, variables, rho=self._share(rest, "one_way_share"), given=given)
        clarity, rows = _clarity(account.left, len(variables), levels.rows, card.rows_per_unit), levels.rows
        is_faint = clarity < self.values.faint
        if is_faint:
            share = account.left * (1 - MASK_SHARE if orders else 1)
            found = measure_faint(lens, variables, rho=share, levels=levels, clarity=clarity, given=given)
        else:
            if clarity <= self.values.clear:
                more = measure_levels(lens, variables, rho=self._share(rest, "more_one_way_share"), given=given)
                levels = levels.pooled(more)
            found, rows = levels.one_ways(variables, given), levels.rows
        most = self.values.bins or int(min(max(0.7 * clarity**0.5, 4), 32))
        bins = tuple(
            make_bins(v, one.clean / rows, most=most, least=self.values.least_sigma * one.fine**0.5 / rows)
            for v, one in zip(variables, found, strict=True)
        )
        lens.use_bins([b.of_cell for b in bins], [b.size for b in bins])
        known = [one.in_bins(b.of_cell, b.size) for one, b in zip(found, bins, strict=True)]
        goal = next((i for i, v in enumerate(variables) if v.name in modelled(card, card.spec.targets)), None)
        volume = None if is_faint else _volume(card, fields, bins, goal, rows=rows)
        pace = None if volume is None else _pace(lens, fields, bins, volume, rows=rows, rho=self._share(rest, "pace_share"))
        rounds, picks = (0, 1) if is_faint else _questions(clarity)
        choice = Fraction(0) if is_faint else self._share(rest, "choice_share")
        plan = Plan(
            choice=choice,
            counts=account.left - choice,
            rounds=rounds and (self.values.rounds or rounds),
            picks=self.values.picks or picks,
            cells=self.values.clique_cells,
            caution=self.values.caution,
            reluctance=self.values.reluctance,
            emphasis=self.values.emphasis,
            asks_triples=clarity > self.values.triples_from and volume is None,
        )
        learner = (Learner if is_faint else self.learner)(
            lens=lens, sizes=[b.size for b in bins], known=known, rows=rows, target=goal, plan=plan,
            masks=_masks(fields, bins, orders), volume=volume and volume[1:],
            free={(i, i + 1): season_table(bins[i], v) for i, v in enumerate(variables) if v.season is not None}
            | {group: _binned(table, [bins[i] for i in group]) for group, table in week.items()},
        )  # fmt: skip
        return learner.learn(progress), bins, pace


def _finest(card: DatasetCard, domains: Mapping[str, Known]) -> tuple[tuple[Field, ...], int]:
    """Fields with the most cells that let one pass count all pairs, should the table be too large to hold; and how many."""
    for cells in FINER:
        fields = make_fields(card, domains, cells=cells)
        variables = [variable for field in fields for variable in field.variables]
        names = modelled(card, card.spec.targets)
        if Tally.fits([v.size for v in variables], next((i for i, v in enumerate(variables) if v.name in names), None)):
            return fields, cells
    return make_fields(card, domains, cells=CELLS), CELLS


def _given(
    variables: list[Variable], index: str | None, rhythm: Rhythm | None
) -> tuple[dict[int, Floats], dict[tuple[int, ...], Floats]]:
    """Probabilities of the time index's variables, and of weekday and hour together, as its rhythm has them."""
    if rhythm is None:
        return {}, {}
    day = next(i for i, v in enumerate(variables) if v.name == index)
    if rhythm.week is None:
        return {day: rhythm.days}, {}
    return {day: rhythm.days, day + 2: rhythm.week.sum(axis=0)}, {(day + 1, day + 2): rhythm.week}


def _volume(
    card: DatasetCard, fields: tuple[Field, ...], bins: tuple[Bins, ...], goal: int | None, *, rows: float
) -> tuple[int, int, int] | None:
    """Day, hour and target of a table of time slots: a number for each hour of each day, about one row for each."""
    slots = slots_of(fields, card, [one.cells for one in bins])
    numbers = [isinstance(field, NumberField) for field in fields for _ in field.variables]
    if slots is None or goal is None or not numbers[goal] or rows > FULL * bins[slots[0]].cells.size * 24:
        return None
    return (*slots, goal)


def _pace(
    lens: Lens, fields: tuple[Field, ...], bins: tuple[Bins, ...], volume: tuple[int, int, int], *, rows: float, rho: Fraction
) -> Pace:
    """How alike volumes a day and a week apart are."""
    day, hour, goal = volume
    shares, slots = bins[goal].cells, bins[day].cells.size * bins[hour].cells.size
    values = cut_values([field for field in fields for _ in field.variables][goal], shares)
    sums = lens.measure_lags(day=day, hour=hour, volume=goal, values=values, days=bins[day].cells.size, rho=rho)
    filled = min(1.0, rows / slots)
    mean = filled * float((shares * values).sum())
    square = max(filled * float((shares * values**2).sum()) - mean**2, 1e-12)
    by_day, by_week = np.clip((sums / slots - (mean - 0.5) ** 2) / square, 0.0, 1.0).tolist()
    return Pace(goal, values, by_day, by_week)


def _binned(table: Floats, bins: list[Bins]) -> Floats:
    """A table of cells summed up to bins."""
    for axis, one in enumerate(bins):
        table = np.moveaxis(np.moveaxis(table, axis, -1) @ np.eye(one.size)[one.of_cell], -1, axis)
    return table


def _clarity(rho: Fraction, variables: int, rows: float, per_unit: int) -> float:
    """Rows over the noise of one of as many measurements as there are variables."""
    return rows * math.sqrt(2 * rho / max(1, variables)) / per_unit


def _questions(clarity: float) -> tuple[int, int]:
    """How often the model is asked what it gets worst, and how many groups are chosen each time."""
    if clarity < CLEAR:
        return 3, 3
    return (8, 4) if clarity < VERY_CLEAR else (12, 5)


def _masks(fields: tuple[Field, ...], bins: tuple[Bins, ...], orders: tuple[Order, ...]) -> dict[tuple[int, ...], Floats]:
    """Which pairs of bins the orders between columns leave possible."""
    place: dict[str, tuple[int, Field]] = {}
    for field in fields:
        first = sum(len(other.variables) for other in fields[: fields.index(field)])
        place |= dict.fromkeys(field.columns, (first, field))
    masks: dict[tuple[int, ...], Floats] = {}
    for order in orders:
        (a, low), (b, high) = place[order.low], place[order.high]
        spans = [bin_interval(f, bins[i].of_cell, bins[i].size) for i, f in ((a, low), (b, high))]
        mask = order_mask(spans[0], spans[1], order.gap)
        masks[min(a, b), max(a, b)] = mask if a < b else mask.T
    return masks


def create(name: str, values: MarginalParameters) -> Marginal:  # noqa: ARG001 - the shape of every family
    """Make the unfitted generator."""
    return Marginal(values)
