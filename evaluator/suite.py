"""Run every metric family on one set of tables and put the results on a report card.

Responsible for the plan, the order, progress, and what happens when a family breaks.

Invariants:
    - A family that breaks is never left out: its metrics stand on the card as inconclusive with the exception's class name,
      a note says so, and a gate on any of them refuses. Its message is not repeated, because it may quote a value.
    - Numerical libraries run on one thread, so that the number of cores never changes a digit.
"""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import pyarrow as pa
from threadpoolctl import threadpool_limits

from evaluator import fairness, privacy, utility
from evaluator.inputs import Inputs, check_inputs
from evaluator.report_card import ReportCard, tidy_metric
from evaluator.utility.names import segment
from policies.card import DatasetCard
from policies.metric_catalogue import CATALOGUE
from policies.metrics import MetricResult, MetricSpec
from policies.types import PrivacySpent

__all__ = ["Step", "run_steps", "run_suite"]

LOG: Final = logging.getLogger(__name__)
REPORTED: Final = ("ticketgate", "numpy", "scipy", "scikit-learn", "pyarrow")
MAX_WORKERS: Final = 8
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One family of the plan: its name, the metric names it answers for, how it is run, and what it costs."""

    name: str
    names: tuple[str, ...]
    run: Callable[[Inputs], dict[str, MetricResult]]
    cost: str


def run_suite(
    *,
    train: pa.Table,
    holdout: pa.Table,
    synthetic: pa.Table,
    card: DatasetCard,
    seed: int,
    columns: Sequence[str] | None = None,
    spent: PrivacySpent | None = None,
    progress: Progress | None = None,
) -> ReportCard:
    """Check the tables, run all families and fill in the card; arguments as in `evaluator.evaluate`."""
    with threadpool_limits(limits=1):
        inputs = check_inputs(train=train, holdout=holdout, synthetic=synthetic, card=card, seed=seed, columns=columns)
        return run_steps(inputs, _plan(inputs, spent), progress=progress)


def run_steps(inputs: Inputs, steps: Sequence[Step], *, progress: Progress | None = None) -> ReportCard:
    """Run a plan on checked inputs, step by step."""
    metrics: dict[str, MetricResult] = {}
    notes: list[str] = []
    for done, step in enumerate(steps):
        if progress is not None:
            progress(step.name, done / len(steps))
        try:
            found = {name: tidy_metric(result) for name, result in step.run(inputs).items()}
        except Exception as error:  # noqa: BLE001 - the rim: whatever broke, its metrics must stand on the card and refuse
            LOG.error("metric family %s broke with %s", step.name, type(error).__name__)  # noqa: TRY400 - a trace may quote values
            found = broken(step, inputs.card, error)
            notes.append(f"{step.name} could not be measured ({type(error).__name__}); its metrics are inconclusive")
        metrics |= found
    if progress is not None:
        progress("done", 1.0)
    plots = {name: result.detail["plot"] for name, result in metrics.items() if "plot" in result.detail}
    return ReportCard(
        dataset=inputs.card.name,
        rows={table.which: table.rows for table in inputs.tables},
        seed=inputs.seed,
        versions=_versions(),
        metrics={name: _without_internals(result) for name, result in metrics.items()},
        plots=plots,
        plan=tuple(f"{step.name}: {step.cost}" for step in steps),
        notes=tuple(notes),
    )


def broken(step: Step, card: DatasetCard, error: Exception) -> dict[str, MetricResult]:
    """The metrics of a family that broke, all inconclusive."""
    results = {}
    for spec in CATALOGUE.values():
        if spec.name.startswith(step.names):
            for name in _expanded(spec, card):
                results[name] = MetricResult.inconclusive(
                    direction=spec.direction,
                    method="none",
                    why="the family broke",
                    cause="crashed",
                    exception=type(error).__name__,
                )
    return results


def _expanded(spec: MetricSpec, card: DatasetCard) -> list[str]:
    """A catalogue name with its placeholders filled from the card."""
    fillings = {
        "<column>": [*(segment(name) for name in card.learnt), "worst", "mean"],
        "<target>": [segment(name) for name in card.spec.targets],
    }
    for placeholder, names in fillings.items():
        if placeholder in spec.name:
            return [spec.name.replace(placeholder, name) for name in names]
    return [] if "<" in spec.name else [spec.name]


def _plan(inputs: Inputs, spent: PrivacySpent | None) -> list[Step]:
    options = privacy.PrivacyOptions(workers=min(MAX_WORKERS, len(os.sched_getaffinity(0))), spent=spent)
    sizes = privacy.plan_of(inputs, options)

    def step(family: privacy.Family) -> Step:
        cost = f"{sizes[family.name]}; cost {family.cost}"
        return Step(name=family.name, names=family.names, run=lambda inputs: family.run(inputs, options), cost=cost)

    own = [
        Step(name=family.name, names=family.names, run=family.run, cost=family.cost)
        for family in (*utility.FAMILIES, *fairness.FAMILIES)
    ]
    return [*(step(family) for family in privacy.FAMILIES), *own]


def _without_internals(result: MetricResult) -> MetricResult:
    """A metric without what its plot is drawn from and what only the aggregates over columns need."""
    detail: dict[str, Any] = {key: value for key, value in result.detail.items() if key not in {"plot", "simultaneous"}}
    document = result.to_json() | {"detail": detail}
    return MetricResult.from_json(document)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in REPORTED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found
