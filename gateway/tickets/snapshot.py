"""A ticket as evidence: what was seen when a decision was made.

Invariants: the digest covers what the ticket system said and nothing that the gateway counts, so the same ticket gives the
same digest at any time; `from_snapshot(snapshot(t)) == t`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

import rfc8785

from policies.types import TicketFacts

__all__ = ["from_snapshot", "snapshot", "snapshot_digest"]

TIMES = ("approved_at", "changed_at", "fetched_at")
COUNTED = ("fetched_at", "uses", "attempts")


def snapshot(ticket: TicketFacts) -> dict[str, Any]:
    """The ticket as JSON."""
    document = {field.name: getattr(ticket, field.name) for field in fields(ticket)}
    for name in TIMES:
        document[name] = None if document[name] is None else document[name].isoformat()
    return {**document, "extra": dict(ticket.extra)}


def from_snapshot(document: Mapping[str, Any]) -> TicketFacts:
    """Rebuild from `snapshot`."""
    times = {name: None if document[name] is None else datetime.fromisoformat(document[name]) for name in TIMES}
    return TicketFacts(**{**document, **times})


def snapshot_digest(ticket: TicketFacts) -> str:
    """Lower-case hexadecimal SHA-256 of what the ticket system said (RFC 8785)."""
    said = {name: value for name, value in snapshot(ticket).items() if name not in COUNTED}
    return hashlib.sha256(rfc8785.dumps(said)).hexdigest()
