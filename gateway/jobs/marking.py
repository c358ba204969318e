"""Mark a synthetic table with its release's watermark, where the policy asks for it and the gate's metrics bear it.

Invariants:
    - What is released is what was evaluated: the marked table is written, read back and judged anew.
    - A mark that moves a metric of the gate by more than that metric's interval is not made, and the report card's notes say so:
      a copy of a real row whose last digit was moved is still a copy, so the unmarked table's card is the one that counts then.
    - Whether the mark was made is, like the verdict, read off confidential rows outside any ε.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import pyarrow as pa

from evaluator import ReportCard
from gateway.evidence.watermark import bearing, mark
from policies.card import DatasetCard
from policies.metrics import MetricResult

__all__ = ["Marked", "moved_too_far", "with_mark"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """A table that is to be released, its report card and, where it bears a mark, the decimals by column."""

    table: pa.Table
    report: ReportCard
    marks: dict[str, int]


def with_mark(
    synthetic: pa.Table,
    *,
    card: DatasetCard,
    key: bytes,
    report: ReportCard,
    gated: Collection[str],
    judge: Callable[[pa.Table], tuple[pa.Table, ReportCard]],
) -> Marked:
    """Mark a table, unless that moves the gate's metrics.

    Args:
        synthetic: The unmarked table.
        card: Its card.
        key: The release's key for marks.
        report: Report card of the unmarked table.
        gated: Metrics that the gate reads.
        judge: Writes a table as it will be released, reads it back and evaluates it, with the seed of `report`.
    """
    marks = {name: decimals for name, decimals in bearing(card).items() if name in synthetic.column_names}
    if not marks:
        return Marked(
            table=synthetic, report=_noted(report, "no column can bear the watermark that the policy asks for"), marks={}
        )
    table, judged = judge(mark(synthetic, card=card, key=key))
    moved = [name for name in sorted(gated) if moved_too_far(report.metrics.get(name), judged.metrics.get(name))]
    if moved:
        note = f"released without the watermark that the policy asks for: it would move {moved[0]} by more than its interval"
        table, judged = judge(synthetic)
        return Marked(table=table, report=_noted(judged, note), marks={})
    return Marked(table=table, report=judged, marks=marks)


def _noted(report: ReportCard, note: str) -> ReportCard:
    return replace(report, notes=(*report.notes, note))


def moved_too_far(before: MetricResult | None, after: MetricResult | None) -> bool:
    """Whether a metric moved by more than the width of its interval; one without an interval may not move at all."""
    if before is None or after is None or before.value is None or after.value is None:
        return (None if before is None else before.status) != (None if after is None else after.status)
    width = 0.0 if before.interval is None else before.interval[1] - before.interval[0]
    return abs(after.value - before.value) > width
