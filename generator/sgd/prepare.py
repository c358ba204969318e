"""What a neural generator measures before it trains: open domains, rows per unit, one-way counts; and its coded rows.

Invariants:
    - Every measurement is charged to one zCDP account, and together they stay within the planned share.
    - Bins come from noisy counts. A network is built from `Measured` alone; the coded rows (`Private`) go to batches or teachers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generator.base import BadTable, GeneratorError, Train
from generator.calendar import TimeField
from generator.constraints import Order, orders_of
from generator.domains import estimate_domains, kept_delta, open_columns
from generator.encoding import CELLS, Field, Variable
from generator.fields import Known, make_fields
from generator.marginal.bins import Bins, make_bins
from generator.marginal.measure import Lens
from generator.marginal.oneway import measure_levels
from generator.source import Rows, Source
from generator.units import UnitModel, learn_units
from generator.zcdp import Account
from policies.card import DatasetCard
from policies.types import PrivacySpent, PrivacyTarget

__all__ = ["Measured", "Private", "encode", "measure"]

DOMAIN_PART = Fraction(1, 4)
UNIT_PART = Fraction(1, 4)
MOST_BINS = 32
LEAST_SIGMA = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured; it is all that a network is built from, and may be released.

    Attributes:
        spent: What the measurements cost.
        rows: Noisy number of rows.
        total, rho: ρ of the whole target, and what of it the measurements took.
    """

    card: DatasetCard
    fields: tuple[Field, ...]
    bins: tuple[Bins, ...]
    orders: tuple[Order, ...]
    units: UnitModel | None
    domains: Mapping[str, Known]
    cells: int
    spent: PrivacySpent
    rows: float
    total: Fraction
    rho: Fraction

    @property
    def variables(self) -> tuple[Variable, ...]:
        """All variables in order."""
        return tuple(variable for field in self.fields for variable in field.variables)

    @property
    def ones(self) -> tuple[NDArray[np.float64], ...]:
        """Probability of each bin by variable, from noisy counts."""
        return tuple(bins.ones() for bins in self.bins)

    @property
    def expected_units(self) -> float:
        """Noisy number of units."""
        if self.units is None:
            return max(1.0, self.rows)
        mean = float((self.units.sizes * np.maximum(1, np.arange(self.units.sizes.size))).sum())  # place k holds units of k rows
        return max(1.0, self.rows / mean)

    def fitted_facts(self) -> dict[str, Any]:
        """What a fitted generator takes over, `spent` apart."""
        names = ("card", "fields", "bins", "orders", "units", "domains", "cells")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Private:
    """The train table as bins: for `Batches` and teachers alone.

    Attributes:
        codes: Bin of each variable by row.
        owners: The unit of each row, or None where a row is a unit.
    """

    codes: NDArray[np.int64]
    owners: NDArray[np.int64] | None


def measure(train: Train, *, card: DatasetCard, target: PrivacyTarget, share: float) -> tuple[Measured, Private, Account]:
    """Measure and encode.

    Args:
        train: The train table; it is held in memory as codes.
        card: The dataset card.
        target: The target of the whole fit.
        share: Which part of its ρ may be spent here.

    Returns:
        What was measured, the private rows, and the account with what is left.

    Raises:
        BadTable: the table has no row, or does not fit the card.
    """
    kept = kept_delta(card, target)
    account = Account(target, unit=card.spec.privacy_unit or "row", approximate_delta=kept)
    budget = account.total * Fraction(share).limit_denominator(10_000)
    rows, opened = Rows(train, card=card), open_columns(card)
    domains: Mapping[str, Known] = {}
    if opened:
        domains = estimate_domains(rows, card=card, account=account, rho=budget * DOMAIN_PART, delta=kept)
    fields = make_fields(card, domains)
    if not fields:
        raise GeneratorError("the card has no column that can be learnt")
    units = None
    if card.spec.privacy_unit is not None:
        bounds = {f.name: (f.low, f.high) for f in fields if isinstance(f, TimeField)}
        units = learn_units(rows, card=card, account=account, rho=budget * UNIT_PART, bounds=bounds)
    source = Source(rows, card=card, fields=fields)
    variables = tuple(variable for field in fields for variable in field.variables)
    lens = Lens(source, names=[v.name for v in variables], account=account, rows_per_unit=card.rows_per_unit)
    levels = measure_levels(lens, variables, rho=budget - (account.total - account.left))
    found, count = levels.one_ways(variables), max(1.0, levels.rows)
    bins = tuple(
        make_bins(v, one.clean / count, most=MOST_BINS, least=LEAST_SIGMA * one.fine**0.5 / count)
        for v, one in zip(variables, found, strict=True)
    )
    measured = Measured(
        card=card, fields=fields, bins=bins, orders=orders_of(card, fields), units=units, domains=domains, cells=CELLS,
        spent=account.spent(), rows=count, total=account.total, rho=account.total - account.left,
    )  # fmt: skip
    return measured, _private(rows, source, bins), account


def encode(train: Train, measured: Measured) -> Private:
    """The private rows again, as they were measured before: for a fit that goes on. Nothing is measured."""
    rows = Rows(train, card=measured.card)
    return _private(rows, Source(rows, card=measured.card, fields=measured.fields), measured.bins)


def _private(rows: Rows, source: Source, bins: tuple[Bins, ...]) -> Private:
    parts = [np.stack([b.of_cell[codes] for b, codes in zip(bins, chunk, strict=True)], axis=1) for chunk in source.chunks()]
    codes = np.concatenate(parts).astype(np.int64) if parts else np.zeros((0, len(bins)), np.int64)
    if rows.units is not None and rows.units.size != codes.shape[0]:
        raise BadTable("rows and their units do not agree")
    if not codes.shape[0]:
        raise BadTable("the train table has no row")
    return Private(codes, rows.units)
