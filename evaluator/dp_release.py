"""Publish a few metrics with noise, for a stated ε: an alternative to bands.

Responsible for `noisy_metrics`: distances of each column between train and synthetic, and the mean of each number with public
bounds, each with Laplace noise (OpenDP, random bits of the operating system, never seeded).

The guarantee: ε-differential privacy for adding or removing one privacy unit of train (2ε for replacing one), the synthetic table
and the card being given. It covers these numbers and nothing else: the synthetic table has its own guarantee, or none, and other
metrics have none.

Invariants:
    - One row of each privacy unit counts, chosen without looking at values. Noise is added to sums, which one unit moves by a
      public amount whatever the number of units is: rows that would have to move, and values less the middle of their bounds.
    - The number of units is one of the numbers, with noise of its own; shares and means are quotients of noisy numbers.
    - ε is divided evenly by exact decimals; their sum never exceeds what was stated.
    - The mechanism's own privacy map must account for no more than its part, or nothing is released.
    - Results are clipped to their range after the noise, which costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final

import numpy as np

from evaluator.inputs import Inputs
from evaluator.utility.marginals import ks_distance, tv_distance
from evaluator.utility.names import segment
from evaluator.utility.tables import FloatArray, IntArray, Measured, Tables, tables_of

__all__ = ["NoisyMetric", "NoisyRefused", "NoisyRelease", "noisy_metrics"]

GRID: Final = Decimal("1e-9")
ROUNDING: Final = 1e-9
LEAST: Final = 100
COUNT: Final = "train.units"


class NoisyRefused(ValueError):
    """An ε that buys nothing, or a train table too small to be told of at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisyMetric:
    """A number with noise.

    Attributes:
        value: The noisy number, within its range.
        scale: Laplace scale; 95 % of the noise lies within three times of it.
        epsilon: What this number cost.
    """

    value: float
    scale: float
    epsilon: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisyRelease:
    """Noisy metrics and the guarantee for all of them together."""

    metrics: dict[str, NoisyMetric]
    epsilon: Decimal
    unit: str

    def to_json(self) -> dict[str, Any]:
        """JSON-safe form; ε as text."""
        return {
            "epsilon": str(self.epsilon),
            "delta": "0",
            "unit": self.unit,
            "neighbours": "add-remove",
            "noise_source": "OpenDP Laplace, operating system",
            "covers": f"the {len(self.metrics)} numbers of this document together, for one {self.unit} of train more or less",
            "does_not_cover": [
                "the synthetic table",
                "the exact report card",
                "a verdict or bands",
                "a second release like this",
            ],
            "metrics": {
                name: {"value": metric.value, "scale": metric.scale, "epsilon": str(metric.epsilon)}
                for name, metric in self.metrics.items()
            },
        }


@dataclass(frozen=True, slots=True)
class _Query:
    """A sum to be released: its value, how much one unit can move it, and what a quotient of it means.

    Attributes:
        total: The sum over units.
        sensitivity: How far one unit more or less moves it.
        centre: What is added to the quotient.
        low, high: The range of the result.
    """

    total: float
    sensitivity: float
    centre: float
    low: float
    high: float


def noisy_metrics(inputs: Inputs, *, epsilon: Decimal) -> NoisyRelease:
    """The number of units, and distances and means of all columns, with noise.

    Args:
        inputs: Checked tables.
        epsilon: What all numbers together may cost, above 0.

    Raises:
        NoisyRefused: ε is not a positive number, or train has too few privacy units, by their noisy number, to say anything.
    """
    if not (epsilon.is_finite() and epsilon > 0):
        raise NoisyRefused(f"epsilon is a positive number, not {epsilon}")
    tables = tables_of(inputs)
    rows = _one_row_a_unit(tables)
    queries = _queries(tables, rows)
    each = (epsilon / (len(queries) + 1)).quantize(GRID, rounding=ROUND_DOWN)
    if each <= 0:
        raise NoisyRefused(f"epsilon {epsilon} is too small to be divided over {len(queries) + 1} numbers")
    units = _noisy(float(len(rows)), 1.0, each)
    if units < LEAST:
        raise NoisyRefused("train has fewer than about 100 privacy units: noise would hide everything")
    metrics = {COUNT: NoisyMetric(value=float(round(units)), scale=_scale(1.0, each), epsilon=each)}
    for name, query in queries.items():
        value = query.centre + _noisy(query.total, query.sensitivity, each) / units
        metrics[name] = NoisyMetric(
            value=min(max(value, query.low), query.high), scale=_scale(query.sensitivity, each) / units, epsilon=each
        )
    return NoisyRelease(metrics=metrics, epsilon=epsilon, unit=inputs.card.spec.privacy_unit or "row")


def _one_row_a_unit(tables: Tables) -> IntArray:
    """The first row of every unit of train in the order of the table."""
    return np.asarray(np.unique(tables.blocks("train"), return_index=True)[1], dtype=np.int64)


def _queries(tables: Tables, rows: IntArray) -> dict[str, _Query]:
    """A distance times the number of units is a count less what synthetic lets expect: one unit moves it by at most one."""
    queries = {}
    for column in tables.columns.values():
        name = segment(column.name)
        kind = "ks" if column.is_continuous else "tv"
        queries[f"utility.marginals.{kind}.{name}"] = _Query(len(rows) * _distance(column, rows), 1.0, 0.0, 0.0, 1.0)
        bounds = column.spec.number_bounds()
        if bounds is not None and bounds[1] > bounds[0]:
            low, high = bounds
            middle, half = (low + high) / 2, (high - low) / 2
            values = np.clip(_filled(column.values["train"][rows], middle), low, high)
            queries[f"mean.{name}"] = _Query(float((values - middle).sum()), half, middle, low, high)
    return queries


def _filled(values: FloatArray, stand_in: float) -> FloatArray:
    return np.asarray(np.where(np.isnan(values), stand_in, values))


def _distance(column: Measured, rows: IntArray) -> float:
    """Distance over all rows, a missing value being one of the values: leaving it out would make n depend on it."""
    if column.is_continuous:
        return ks_distance(_filled(column.values["train"][rows], np.inf), _filled(column.values["synthetic"], np.inf))
    return tv_distance(column.codes["train"][rows], column.codes["synthetic"], len(column.labels))


def _scale(sensitivity: float, epsilon: Decimal) -> float:
    return sensitivity / float(epsilon) * (1 + ROUNDING)


def _noisy(value: float, sensitivity: float, epsilon: Decimal) -> float:
    import opendp.prelude as dp

    dp.enable_features("contrib")
    domain, distance = dp.atom_domain(T=float, nan=False), dp.absolute_distance(T=float)
    measurement: Any = dp.m.make_laplace(domain, distance, scale=_scale(sensitivity, epsilon))
    if Decimal(measurement.map(sensitivity)) > epsilon:
        raise ArithmeticError("the mechanism's own account exceeds the epsilon that was set aside for it")
    return float(measurement(value))
