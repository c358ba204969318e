"""The most that all releases of a ledger may cost together, and how fast.

Invariants:
    - The limit in force is the least of the card's and of every applied policy's, ever; only a raise by two people lifts it,
      and no move of a dataset to another ledger does.
    - A window slows spending; it never restores any: the lifetime limit holds beside it. Only today's documents state windows:
      one person may take one away, and the event of the document shows it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from policies.canonical import decimal_text
from policies.card import Budget, DatasetCard
from policies.quantities import duration_text

__all__ = ["Limit", "LimitRecord", "Window", "default_delta", "least", "ledger_name", "limit_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """At most `epsilon` within any stretch of `length`."""

    epsilon: Decimal
    length: timedelta

    def __post_init__(self) -> None:
        if not (self.epsilon.is_finite() and self.epsilon > 0) or self.length <= timedelta(0):
            raise ValueError("a window has a positive ε and a positive length")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What one document states. None means: this document states none.

    Attributes:
        source: The document, e.g. `card` or the policy's name.
        windows: Speeds that must all be kept.
    """

    epsilon: Decimal | None = None
    delta: Decimal | None = None
    source: str = ""
    windows: tuple[Window, ...] = ()

    def __post_init__(self) -> None:
        if self.epsilon is not None and not (self.epsilon.is_finite() and self.epsilon > 0):
            raise ValueError(f"a limit of ε is a positive number, not {self.epsilon}")
        if self.delta is not None and not (self.delta.is_finite() and 0 < self.delta < 1):
            raise ValueError(f"a limit of δ lies strictly between 0 and 1, not {self.delta}")

    def to_json(self) -> dict[str, Any]:
        """ε, δ and windows; decimals as strings."""
        return {
            "epsilon": None if self.epsilon is None else decimal_text(self.epsilon),
            "delta": None if self.delta is None else decimal_text(self.delta),
            "windows": [
                {"epsilon": decimal_text(window.epsilon), "length": duration_text(window.length)} for window in self.windows
            ],
        }


def limit_of(stated: Budget, *, source: str) -> Limit:
    """What a card or a policy states as its budget."""
    windows = tuple(Window(epsilon=window.epsilon, length=window.length) for window in stated.windows or ())
    return Limit(epsilon=stated.epsilon, delta=stated.delta, source=source, windows=windows)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRecord:
    """The newest recorded limit of a ledger: what documents said then, and what was in force from then on."""

    document: Limit
    in_force: Limit


def least(limits: Iterable[Limit]) -> Limit:
    """The least ε and the least δ of all documents, with all their windows."""
    stated = tuple(limits)
    return Limit(
        epsilon=min((limit.epsilon for limit in stated if limit.epsilon is not None), default=None),
        delta=min((limit.delta for limit in stated if limit.delta is not None), default=None),
        source="least of " + ", ".join(limit.source for limit in stated) if stated else "",
        windows=tuple(window for limit in stated for window in limit.windows),
    )


def after_history(stated: Limit, records: Collection[LimitRecord]) -> Limit:
    """The limit in force: a document that states less than before lowers it; one that states more changes nothing.

    Args:
        stated: The least of all documents now.
        records: The newest record of every ledger that holds a part of the history; the least of what they say is in force.
    """
    if not records:
        return stated
    found = least(
        Limit(
            epsilon=_component(stated.epsilon, record.document.epsilon, record.in_force.epsilon),
            delta=_component(stated.delta, record.document.delta, record.in_force.delta),
        )
        for record in records
    )
    return replace(stated, epsilon=found.epsilon, delta=found.delta)


def _component(now: Decimal | None, before: Decimal | None, in_force: Decimal | None) -> Decimal | None:
    if now is None or (before is not None and now >= before):
        return in_force
    return now if in_force is None else min(now, in_force)


def ledger_name(card: DatasetCard) -> str:
    """Which ledger a dataset is charged to: the group of all tables about the same people, else its own."""
    return card.spec.budget_group or card.name


def default_delta(public_rows: int | None) -> Decimal:
    """δ of a ledger whose documents state none: 1e-6, or 1 / (10 * public rows) where that is less (rounded down)."""
    most = Decimal("1e-6")
    if public_rows is None:
        return most
    return min(most, (Decimal(1) / (10 * public_rows)).quantize(Decimal("1e-15"), rounding="ROUND_FLOOR"))
