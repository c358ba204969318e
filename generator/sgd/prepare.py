"""What a neural generator measures before it trains: open domains, rows per unit, one-way counts; and its coded rows.

Invariants:
    - Every measurement is charged to one zCDP account, and together they stay within the planned share.
    - Bins come from noisy counts; the coded rows go to the trainer and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from generator.base import BadTable, GeneratorError, Train
from generator.calendar import TimeField
from generator.constraints import Order, orders_of
from generator.domains import estimate_domains, open_columns
from generator.encoding import Field, Variable
from generator.fields import Known, make_fields
from generator.marginal.bins import Bins, make_bins
from generator.marginal.measure import Lens
from generator.marginal.oneway import measure_levels
from generator.source import Rows, Source
from generator.units import UnitModel, learn_units
from generator.zcdp import Account
from policies.card import DatasetCard
from policies.types import PrivacyTarget

__all__ = ["Prepared", "kept_delta", "prepare"]

DOMAIN_PART = Fraction(1, 4)
UNIT_PART = Fraction(1, 4)
MOST_BINS = 32
LEAST_SIGMA = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Coded rows and what was measured.

    Attributes:
        codes: Bin of each variable by row: private.
        owners: The unit of each row, or None where a row is a unit: private.
        ones: Probability of each bin by variable, from noisy counts.
        rows: Noisy number of rows.
        account: What was spent.
    """

    fields: tuple[Field, ...]
    variables: tuple[Variable, ...]
    bins: tuple[Bins, ...]
    orders: tuple[Order, ...]
    units: UnitModel | None
    domains: Mapping[str, Known]
    codes: NDArray[np.int64]
    owners: NDArray[np.int64] | None
    rows: float
    account: Account

    @property
    def ones(self) -> tuple[NDArray[np.float64], ...]:
        """Probability of each bin by variable."""
        return tuple(bins.ones() for bins in self.bins)

    @property
    def expected_units(self) -> float:
        """Noisy number of units."""
        if self.units is None:
            return max(1.0, self.rows)
        mean = float((self.units.sizes * np.arange(1, self.units.sizes.size + 1)).sum())
        return max(1.0, self.rows / mean)


def kept_delta(card: DatasetCard, target: PrivacyTarget) -> Decimal:
    """The part of δ kept for finding the values of open categories."""
    has_open = any(column.type == "category" for column in open_columns(card).values())
    return target.delta / 10 if has_open else Decimal(0)


def prepare(train: Train, *, card: DatasetCard, target: PrivacyTarget, share: float) -> Prepared:
    """Measure and encode.

    Args:
        train: The train table; it is held in memory as codes.
        card: The dataset card.
        target: The target of the whole fit.
        share: Which part of its ρ may be spent here.
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
    spent = account.total - account.left
    levels = measure_levels(lens, variables, rho=budget - spent)
    found, count = levels.one_ways(variables), max(1.0, levels.rows)
    bins = tuple(
        make_bins(v, one.clean / count, most=MOST_BINS, least=LEAST_SIGMA * one.fine**0.5 / count)
        for v, one in zip(variables, found, strict=True)
    )
    return Prepared(
        fields=fields, variables=variables, bins=bins, orders=orders_of(card, fields), units=units, domains=domains,
        codes=_coded(source, bins, rows), owners=rows.units, rows=count, account=account,
    )  # fmt: skip


def _coded(source: Source, bins: tuple[Bins, ...], rows: Rows) -> NDArray[np.int64]:
    parts = [np.stack([b.of_cell[codes] for b, codes in zip(bins, chunk, strict=True)], axis=1) for chunk in source.chunks()]
    codes = np.concatenate(parts) if parts else np.zeros((0, len(bins)), np.int64)
    if rows.units is not None and rows.units.size != codes.shape[0]:
        raise BadTable("rows and their units do not agree")
    return codes.astype(np.int64)
