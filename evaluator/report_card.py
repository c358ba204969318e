"""The report card: every metric of one synthetic table, as typed values and as canonical JSON.

Responsible for `ReportCard`, its JSON form (`schema: ticketgate/report-card/v1`) and its digest. It says what was measured
and nothing about permission: the gate is elsewhere.

Invariants:
    - The card holds aggregates only; no row of any table can stand in it.
    - Every float in a card is finite and has at most 10 significant digits, so that the last bits of an addition never
      change a digest.
    - `ReportCard.from_json(card.to_json()) == card`, and equal cards have equal digests.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, Self

import rfc8785

from policies.metrics import MetricResult

__all__ = ["SCHEMA", "ReportCard", "ReportCardInvalid", "tidy_metric", "tidy_value"]

SCHEMA: Final = "ticketgate/report-card/v1"
DIGITS: Final = 10
MAX_SEED: Final = 2**53 - 1


class ReportCardInvalid(ValueError):
    """A document that is no report card of the version this program reads."""


@dataclass(frozen=True, kw_only=True)
class ReportCard:
    """What was measured on train, holdout and synthetic.

    Attributes:
        dataset: Name of the dataset card.
        rows: Row counts under `train`, `holdout`, `synthetic`.
        seed: The seed every random choice was derived from.
        versions: Name and version of what computed the card.
        metrics: Flat metric name → result.
        plots: Metric name → aggregates that a plot is drawn from (curves, matrices of differences, profiles).
        plan: What was measured on how many records, one line per family, in the order it ran.
        notes: What a reader must know: a family that broke, a table that was sampled.
    """

    dataset: str
    rows: Mapping[str, int]
    seed: int
    versions: Mapping[str, str]
    metrics: Mapping[str, MetricResult]
    plots: Mapping[str, Any] = field(default_factory=dict)
    plan: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.metrics:
            raise ReportCardInvalid("a report card needs at least one metric")
        if not 0 <= self.seed <= MAX_SEED:
            raise ReportCardInvalid(f"a seed is a whole number from 0 to {MAX_SEED}, not {self.seed}")
        tidy = {name: tidy_metric(result) for name, result in sorted(self.metrics.items())}
        object.__setattr__(self, "metrics", MappingProxyType(tidy))
        object.__setattr__(self, "plots", MappingProxyType({name: tidy_value(plot) for name, plot in sorted(self.plots.items())}))
        object.__setattr__(self, "rows", MappingProxyType({name: int(count) for name, count in self.rows.items()}))
        object.__setattr__(self, "versions", MappingProxyType(dict(sorted(self.versions.items()))))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReportCard) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.digest)

    def to_json(self) -> dict[str, Any]:
        """The card as a JSON-safe document, as contract.md describes it."""
        return {
            "schema": SCHEMA,
            "dataset": self.dataset,
            "rows": dict(self.rows),
            "seed": self.seed,
            "versions": dict(self.versions),
            "metrics": {name: result.to_json() for name, result in self.metrics.items()},
            "plots": dict(self.plots),
            "plan": list(self.plan),
            "notes": list(self.notes),
        }

    def to_bytes(self) -> bytes:
        """The canonical JSON (RFC 8785): what is stored, hashed and signed."""
        return rfc8785.dumps(self.to_json())

    @property
    def digest(self) -> str:
        """Lower-case hex SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Rebuild a card.

        Raises:
            ReportCardInvalid: another schema, a missing key, a NaN, or an impossible metric.
        """
        if document.get("schema") != SCHEMA:
            raise ReportCardInvalid(f"this is no report card: its schema is not {SCHEMA}")
        try:
            return cls(
                dataset=str(document["dataset"]),
                rows={side: int(document["rows"][side]) for side in ("train", "holdout", "synthetic")},
                seed=int(document["seed"]),
                versions=dict(document["versions"]),
                metrics={name: MetricResult.from_json(result) for name, result in document["metrics"].items()},
                plots=dict(document.get("plots", {})),
                plan=tuple(document.get("plan", ())),
                notes=tuple(document.get("notes", ())),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ReportCardInvalid(f"this report card is incomplete: {error!r}") from error


def tidy_metric(result: MetricResult) -> MetricResult:
    """A metric as it stands on a card: finite numbers of 10 significant digits, JSON-safe detail."""
    return replace(
        result,
        value=None if result.value is None else tidy_value(float(result.value)),
        interval=None if result.interval is None else (tidy_value(result.interval[0]), tidy_value(result.interval[1])),
        p_value=None if result.p_value is None else tidy_value(float(result.p_value)),
        n=int(result.n),
        detail=tidy_value(dict(result.detail)),
    )


def tidy_value(value: Any) -> Any:
    """A JSON-safe copy of a value: floats cut to 10 significant digits, tuples as lists, NumPy scalars as Python's.

    Raises:
        ReportCardInvalid: a NaN, an infinity or a type that JSON does not have.
    """
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): tidy_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [tidy_value(item) for item in value]
    if hasattr(value, "tolist"):
        return tidy_value(value.tolist())
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return _cut(value)
    raise ReportCardInvalid(f"a report card holds no {type(value).__name__}")


def _cut(value: float) -> float:
    if not math.isfinite(value):
        raise ReportCardInvalid("a report card holds no NaN and no infinity")
    cut = float(f"{value:.{DIGITS}g}")
    return 0.0 if cut == 0 else cut
