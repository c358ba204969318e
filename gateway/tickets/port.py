"""The port through which the gateway looks at tickets.

Responsible for what every source of tickets must do. Invariants: a source either returns the ticket as it is now, or says in
one of five words why it cannot; it never guesses, never returns an old copy, and never raises for what a ticket system does.
People are named by the ticket system's account ids.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from policies.types import TicketFacts

__all__ = ["KEY", "Fetched", "Problem", "TicketProblem", "TicketSource"]

KEY = re.compile(r"[A-Z][A-Z0-9_]{0,29}-[1-9][0-9]{0,11}\Z")
Problem = Literal["not-found", "unreachable", "refused", "malformed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketProblem:
    """Why there is no ticket to look at.

    Attributes:
        kind: `not-found`; `unreachable` (no answer in time, or none but errors); `refused` (our own credentials);
            `malformed` (an answer that cannot be read).
        detail: A sentence for operators; holds no credential and nothing from the ticket's text.
    """

    key: str
    kind: Problem
    detail: str


Fetched = TicketFacts | TicketProblem


class TicketSource(Protocol):
    """Where tickets are fetched from."""

    def fetch(self, key: str, *, now: datetime) -> Fetched:
        """The ticket as it is now, or why there is none.

        Args:
            key: As in `DATA-101`; anything else is `not-found`.
            now: Becomes `fetched_at`.
        """
        ...

    def comment(self, key: str, text: str, *, now: datetime) -> TicketProblem | None:
        """Write back on the ticket what became of it; None when it was written."""
        ...
