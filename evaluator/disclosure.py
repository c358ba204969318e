"""How much of a report card somebody may see.

Responsible for `apply`: a report card as JSON at a disclosure level. Exact metrics are computed on confidential data and are a
release themselves: with retries they let a requester rebuild outliers. Bands leave a few bits.

    exact    everything, for compliance
    banded   each metric is {`band`, `value`: null}; no interval, p-value, n, detail or plot; row counts are bands too
    verdict  no metric at all, only that the card exists; the verdict travels beside it

Invariants:
    - Bands are fixed and do not depend on the data; the edges are the same for every table.
    - What is not known to be safe to show is left out: a new field of a metric does not reach a banded card by itself.
    - Aggregates that name an extreme (`worst`) keep their band; which column it was is not said.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, Final, Literal, get_args

from evaluator.report_card import ReportCard
from policies.metric_catalogue import lookup
from policies.metrics import MetricResult

__all__ = ["LEVELS", "Level", "apply", "band", "count_band"]

Level = Literal["exact", "banded", "verdict"]
LEVELS: Final[tuple[str, ...]] = get_args(Level)
AREA: Final = (0.55, 0.6, 0.7, 0.8, 0.9)
HIGHER: Final = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
LOWER: Final = (0.01, 0.05, 0.1, 0.2, 0.4, 0.7)
COUNTS: Final = tuple(step * 10**power for power in range(2, 10) for step in (1, 3))


def apply(card: ReportCard, level: Level) -> dict[str, Any]:
    """The card as its reader may see it.

    Args:
        card: What was measured.
        level: How much may be seen.

    Raises:
        ValueError: no such level; nothing is shown then.
    """
    if level == "exact":
        return card.to_json()
    if level not in LEVELS:
        raise ValueError(f"disclosure is one of {', '.join(LEVELS)}")
    metrics = {name: _banded(name, result) for name, result in card.metrics.items()} if level == "banded" else {}
    return {
        "schema": card.to_json()["schema"],
        "disclosure": level,
        "dataset": card.dataset,
        "rows": {side: count_band(count) for side, count in card.rows.items()},
        "metrics": metrics,
    }


def _banded(name: str, result: MetricResult) -> dict[str, Any]:
    spec = lookup(name)
    if spec is not None and spec.dp_exact:  # a declared fact of the generator, not computed from data
        shown = None if result.value is None else f"{result.value:g}"
        return {"band": shown, "value": None, "direction": result.direction, "status": result.status}
    shown = None if result.value is None else band(name, result.value)
    return {"band": shown, "value": None, "direction": result.direction, "status": result.status}


def band(name: str, value: float) -> str:
    """The band of a metric's value, such as `0.05 to 0.1`."""
    spec = lookup(name)
    if name.rsplit(".", 1)[-1] == "auc":
        return _between(AREA, value)
    if spec is not None and spec.high > 2:  # noqa: PLR2004 - counts and ratios, not shares
        return _between((0.5, 0.9, 1.1, 2.0, 5.0, 10.0, 100.0), value)
    better = spec.direction if spec is not None else "lower"
    return _between(HIGHER if better == "higher" else LOWER, value)


def _between(edges: tuple[float, ...], value: float) -> str:
    index = bisect_right(edges, value)
    if index == 0:
        return f"below {edges[0]:g}"
    if index == len(edges):
        return f"{edges[-1]:g} or more"
    return f"{edges[index - 1]:g} to {edges[index]:g}"


def count_band(count: int) -> str:
    """A row count to half an order of magnitude, such as `10,000 to 30,000`."""
    index = bisect_right(COUNTS, count)
    if index == 0:
        return f"below {COUNTS[0]:,}"
    if index == len(COUNTS):
        return f"{COUNTS[-1]:,} or more"
    return f"{COUNTS[index - 1]:,} to {COUNTS[index]:,}"
