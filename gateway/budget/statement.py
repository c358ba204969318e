"""What a ledger shows: its limit, what was spent, what is held, what is left, and every entry.

Invariants:
    - Figures are told at the ledger's δ and never add up naively: spent, reserved and remaining are compositions, so their
      sum may exceed the limit although the limit holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from gateway.budget.entries import Charge, Entry
from gateway.budget.ledger import Ledger
from gateway.budget.limits import Limit
from gateway.budget.loss import PrivacyLoss
from gateway.budget.privacy_filter import composed_epsilon
from policies.quantities import duration_text

__all__ = ["BudgetStatement", "Figure", "WindowStatement", "statement_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A pair (ε, δ); ε is None where no finite figure can be told."""

    epsilon: Decimal | None
    delta: Decimal

    def to_json(self) -> dict[str, str | None]:
        """Decimal strings."""
        return {"epsilon": None if self.epsilon is None else _text(self.epsilon), "delta": _text(self.delta)}


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowStatement:
    """A window now: at most `epsilon` within `length`; `spent` is what counts in the stretch that ends now (None: no bound)."""

    epsilon: Decimal
    length: timedelta
    spent: Decimal | None

    def to_json(self) -> dict[str, str | None]:
        """Decimal strings; the length as policies say it."""
        spent = None if self.spent is None else _text(self.spent)
        return {"epsilon": _text(self.epsilon), "length": duration_text(self.length), "spent": spent}


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetStatement:
    """One ledger as people read it.

    Attributes:
        ledger: Its name (the budget group, or the dataset).
        limit: In force; None when no document states one.
        spent: All settled releases, composed.
        reserved: All releases that are still open, composed.
        remaining: The largest ε that one more release with ρ-zCDP can have; None without a limit.
        entries: All of them, oldest first.
        mode: The filter that the ledger is bound to; None before the first release under the limit.
        order: Its Rényi order.
        lifetime: Everything spent and reserved since the ledger was opened, composed: no window takes anything off it.
        windows: Speeds that must be kept too, with what counts in each now.
        flagged: How many releases have no ε.
    """

    ledger: str
    limit: Figure | None
    spent: Figure
    reserved: Figure
    remaining: Figure | None
    lifetime: Figure
    windows: tuple[WindowStatement, ...]
    entries: tuple[Entry, ...]
    charges: tuple[Charge, ...]
    mode: str | None
    order: Decimal | None
    flagged: int
    at: datetime

    def to_json(self) -> dict[str, Any]:
        """The contract's form."""
        return {
            "limit": None if self.limit is None else self.limit.to_json(),
            "spent": self.spent.to_json(),
            "reserved": self.reserved.to_json(),
            "remaining": None if self.remaining is None else self.remaining.to_json(),
            "lifetime": self.lifetime.to_json(),
            "windows": [window.to_json() for window in self.windows],
            "entries": [entry.to_json() for entry in self.entries],
        }


def statement_of(ledger: Ledger, *, stated: Limit, now: datetime) -> BudgetStatement:
    """Draw up the statement of a ledger.

    Args:
        ledger: As loaded.
        stated: The least of the card's and of all applied policies' limits.
        now: When it is drawn up.
    """
    limit = ledger.in_force(stated)
    delta = limit.delta or ledger.delta
    judge = ledger.filter_under(limit, PrivacyLoss.nothing())
    bound = judge if judge in ledger.filters else None
    settled = tuple(charge.loss for charge in ledger.charges if charge.is_settled)
    held = tuple(charge.loss for charge in ledger.charges if not charge.is_settled)
    return BudgetStatement(
        ledger=ledger.name,
        limit=None if limit.epsilon is None else Figure(epsilon=limit.epsilon, delta=delta),
        spent=_figure(settled, delta),
        reserved=_figure(held, delta),
        remaining=None if judge is None else Figure(epsilon=judge.remaining(ledger.losses), delta=delta),
        lifetime=_figure(settled + held, delta),
        windows=tuple(
            WindowStatement(
                epsilon=window.epsilon, length=window.length, spent=composed_epsilon(ledger.within(window, now), delta)
            )
            for window in limit.windows
        ),
        entries=ledger.entries,
        charges=ledger.charges,
        mode=None if bound is None else bound.mode,
        order=None if bound is None else bound.order,
        flagged=sum(not charge.loss.is_dp for charge in ledger.charges),
        at=now,
    )


def _figure(losses: tuple[PrivacyLoss, ...], delta: Decimal) -> Figure:
    epsilon = composed_epsilon(losses, delta)
    return Figure(epsilon=epsilon, delta=Decimal(0) if epsilon == 0 else delta)


def _text(number: Decimal) -> str:
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
