"""Entries of a ledger as they are stored, and what they add up to.

Invariants:
    - A reserve counts in full until it is settled; a settlement replaces it and is final.
    - A release without ε is an entry with a flag; no figure stands for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Self

from gateway.budget.loss import PrivacyLoss

__all__ = ["SCOPE", "Charge", "Entry", "charges_of"]

SCOPE = "mechanism-only"
Kind = Literal["reserve", "settle"]
Outcome = Literal["pending", "spent", "unread", "overrun"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of the ledger.

    Attributes:
        entry_id: Its identifier.
        kind: `reserve`, or `settle` of another entry.
        settles: The reserve that this settles.
        scope: What the guarantee covers: the generator's output, not the verdict and the report about it.
        outcome: `pending` for a reserve; of a settlement `spent`, `unread` (nothing was read, so nothing is charged), or
            `overrun` (more was spent than reserved: charged in full, and the release must not leave).
    """

    entry_id: str
    ledger: str
    dataset: str
    kind: Kind
    settles: str | None
    release_id: str
    principal: str
    scope: str
    outcome: Outcome
    loss: PrivacyLoss
    at: datetime

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """From a database row."""
        names = ("entry_id", "ledger", "dataset", "kind", "settles", "release_id", "principal", "scope", "outcome", "at")
        return cls(**{name: row[name] for name in names}, loss=PrivacyLoss.from_row(row))

    def to_json(self) -> dict[str, Any]:
        """JSON-safe form; decimals as strings."""
        loss = self.loss
        return {
            "entry_id": self.entry_id,
            "kind": self.kind,
            "settles": self.settles,
            "release_id": self.release_id,
            "dataset": self.dataset,
            "principal": self.principal,
            "is_dp": loss.is_dp,
            "epsilon": _text(loss.epsilon),
            "delta": _text(loss.delta),
            "rho": _text(loss.rho),
            "unit": loss.unit,
            "neighbours": loss.neighbours,
            "method": loss.method,
            "dp": {"scope": self.scope},
            "outcome": self.outcome,
            "at": self.at.isoformat().replace("+00:00", "Z"),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """A reserve together with its settlement, if it has one."""

    reserve: Entry
    settlement: Entry | None

    @property
    def is_settled(self) -> bool:
        """Whether its final cost is known."""
        return self.settlement is not None

    @property
    def loss(self) -> PrivacyLoss:
        """What it counts for now."""
        return self.reserve.loss if self.settlement is None else self.settlement.loss

    @property
    def at(self) -> datetime:
        """When it was reserved."""
        return self.reserve.at


def charges_of(entries: tuple[Entry, ...]) -> tuple[Charge, ...]:
    """Join settlements to their reserves, in the order of reservation."""
    settlements = {entry.settles: entry for entry in entries if entry.kind == "settle"}
    return tuple(
        Charge(reserve=entry, settlement=settlements.get(entry.entry_id)) for entry in entries if entry.kind == "reserve"
    )


def _text(number: Decimal | None) -> str | None:
    return None if number is None else format(number, "f")
