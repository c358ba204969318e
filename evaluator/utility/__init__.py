"""How useful a synthetic table is: what it keeps of the columns, their relations, their time and what can be learnt from them.

Responsible for the order in which utility families run. Each is a pure function of the checked inputs; what several of them
need is computed once and kept with the inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from evaluator.inputs import Inputs
from evaluator.utility import (
    autocorrelation,
    coverage,
    distinguishability,
    gaps,
    magnitude,
    marginals,
    overall,
    pairs,
    seasonality,
    subgroups,
    tstr,
    validity,
)
from evaluator.utility.learning import MAX_TESTED, MAX_TRAINING
from evaluator.utility.tables import Tables, tables_of
from policies.metrics import MetricResult

__all__ = ["FAMILIES", "UtilityFamily"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UtilityFamily:
    """One family of utility or fairness metrics.

    Attributes:
        name: What progress shows, such as `utility.marginals`.
        names: Beginnings of the metric names it answers for; if it breaks, these become inconclusive.
        measure: The metrics of the family.
        cost: How its work grows, in words.
    """

    name: str
    names: tuple[str, ...]
    measure: Callable[[Tables], dict[str, MetricResult]]
    cost: str

    def run(self, inputs: Inputs) -> dict[str, MetricResult]:
        """Measure checked inputs."""
        return self.measure(tables_of(inputs))


FAMILIES: tuple[UtilityFamily, ...] = (
    UtilityFamily(
        name="utility.marginals",
        names=("utility.marginals", "utility.missingness"),
        measure=lambda tables: marginals.measure(tables) | magnitude.measure(tables),
        cost="every row and column, n log n",
    ),
    UtilityFamily(
        name="utility.pairs",
        names=("utility.pairs", "utility.threeway"),
        measure=pairs.measure,
        cost=f"every row, at most {pairs.MAX_PAIRS:,} pairs and {pairs.MAX_TRIPLES} triples of columns",
    ),
    UtilityFamily(
        name="utility.overall",
        names=("utility.overall",),
        measure=overall.measure,
        cost=f"every row, pairs of at most {overall.MAX_COLUMNS} columns",
    ),
    UtilityFamily(
        name="utility.validity",
        names=("utility.validity", "utility.constraints"),
        measure=validity.measure,
        cost="every row and column, n",
    ),
    UtilityFamily(
        name="utility.coverage", names=("utility.coverage",), measure=coverage.measure, cost="every row and column, n log n"
    ),
    UtilityFamily(
        name="utility.seasonality",
        names=("utility.seasonality", "utility.trend"),
        measure=seasonality.measure,
        cost="every row and numeric column, n",
    ),
    UtilityFamily(
        name="utility.autocorrelation",
        names=("utility.autocorrelation",),
        measure=autocorrelation.measure,
        cost="every row and numeric column, n log n",
    ),
    UtilityFamily(
        name="utility.gaps",
        names=("utility.gaps", "utility.unit_rows"),
        measure=gaps.measure,
        cost=f"every row, at most {gaps.MAX_GAPS:,} gaps",
    ),
    UtilityFamily(
        name="utility.tstr",
        names=("utility.tstr",),
        measure=tstr.measure,
        cost=f"three models a target on at most {MAX_TRAINING:,} rows, tested on at most {MAX_TESTED:,}",
    ),
    UtilityFamily(
        name="utility.distinguishability",
        names=("utility.distinguishability",),
        measure=distinguishability.measure,
        cost=f"boosting on at most {distinguishability.MAX_ROWS:,} rows of each table, {distinguishability.FOLDS} folds",
    ),
    UtilityFamily(
        name="utility.subgroups",
        names=("utility.subgroups",),
        measure=subgroups.measure,
        cost="the predictions of utility.tstr, group by group",
    ),
)
