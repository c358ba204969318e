"""Is every group as present in synthetic as in train?

Responsible for `fairness.representation.<column>.ratio` and the worst over protected columns: the least, over groups, of the
share in synthetic over the share in train or its inverse. 1 is equal presence, 0.8 is a group that lost (or won) a fifth, which
is the four-fifths rule in both directions; 0 is a group that vanished.

Invariants:
    - The interval holds for all groups at once (Katz's logarithm of a ratio, Bonferroni).
    - The group that is named is the one that surely changed most, so that chance in a small group does not hide a real loss.
    - A group counts with 20 privacy units of train; "(others)" may have fewer, and is then nobody's business.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from scipy.special import ndtri

from evaluator.utility.coverage import RARE_UNITS
from evaluator.utility.groups import groups_of
from evaluator.utility.intervals import CONFIDENCE
from evaluator.utility.names import segment
from evaluator.utility.tables import Tables
from policies.metrics import MetricResult

__all__ = ["measure"]

METHOD: Final = "least ratio of shares, either way; Katz, Bonferroni"
HALF: Final = 0.5


def measure(tables: Tables) -> dict[str, MetricResult]:
    """Representation of every protected column."""
    protected = [name for name in tables.card.spec.protected if name in tables.columns]
    found = {name: _ratio(tables, name) for name in protected}
    results = {f"fairness.representation.{segment(name)}.ratio": result for name, result in found.items()}
    known = {name: result for name, result in found.items() if result.value is not None}
    if known:
        worst = min(known, key=lambda name: (known[name].value or 0.0, name))
        detail = {"column": worst, "group": known[worst].detail["group"]}
        results["fairness.representation.worst.ratio"] = MetricResult.from_json(known[worst].to_json() | {"detail": detail})
    else:
        why = "the card names no protected column with a value"
        results["fairness.representation.worst.ratio"] = MetricResult.not_applicable(direction="higher", method=METHOD, why=why)
    return results


def _ratio(tables: Tables, name: str) -> MetricResult:
    groups = groups_of(tables, name)
    counts = {side: groups.count(side) for side in ("train", "synthetic")}
    units = tables.blocks("train")
    present = [
        index for index in range(len(groups.labels)) if len(np.unique(units[groups.members["train"] == index])) >= RARE_UNITS
    ]
    if not present:
        why = f"no group of this column has {RARE_UNITS} privacy units in train"
        return MetricResult.not_applicable(direction="higher", method=METHOD, why=why)
    total = {side: float(max(int(count.sum()), 1)) for side, count in counts.items()}
    z = float(-ndtri((1 - CONFIDENCE) / 2 / len(present)))
    found: dict[str, tuple[float, float, float]] = {}
    shares: dict[str, dict[str, float]] = {}
    for index in present:
        train, synthetic = (float(counts[side][index]) for side in ("train", "synthetic"))
        shares[groups.labels[index]] = {"train": train / total["train"], "synthetic": synthetic / total["synthetic"]}
        scale = {side: tables.effective[side] / tables.rows[side] for side in ("train", "synthetic")}
        error = math.sqrt(
            (1 / max(train, HALF) - 1 / total["train"]) / scale["train"]
            + (1 / max(synthetic, HALF) - 1 / total["synthetic"]) / scale["synthetic"]
        )
        ratio = (synthetic / total["synthetic"]) / (train / total["train"])
        most = -math.log((1 - CONFIDENCE) / 2 / len(present)) / (train / total["train"] * tables.effective["synthetic"])
        found[groups.labels[index]] = _folded(ratio, z * error) if ratio > 0 else (0.0, 0.0, min(1.0, most))
    worst = min(found, key=lambda label: (found[label][2], found[label][0], label))
    value = found[worst][0]
    low, high = min(item[1] for item in found.values()), found[worst][2]
    return MetricResult(
        value=value,
        interval=(min(low, value), max(high, value)),
        confidence=CONFIDENCE,
        n=int(total["synthetic"]),
        direction="higher",
        method=METHOD,
        detail={"group": worst, "by_group": shares},
    )


def _folded(ratio: float, reach: float) -> tuple[float, float, float]:
    """min(ratio, 1/ratio) of a positive ratio with its interval; `reach` is the half-width of the ratio's logarithm."""
    distance = abs(math.log(ratio))
    return math.exp(-distance), math.exp(-(distance + reach)), math.exp(-max(0.0, distance - reach))
