"""Where tickets come from: the file registry in the gateway's own database, or Jira. One port, two adapters."""

from __future__ import annotations

from gateway.tickets.jira import Jira, JiraSettings
from gateway.tickets.port import Fetched, TicketProblem, TicketSource
from gateway.tickets.registry import FileRegistry, Tickets
from gateway.tickets.snapshot import from_snapshot, snapshot, snapshot_digest
from gateway.tickets.webhook import MAX_BODY, changed_tickets, is_authentic

__all__ = [
    "MAX_BODY", "Fetched", "FileRegistry", "Jira", "JiraSettings", "TicketProblem", "TicketSource", "Tickets",
    "changed_tickets", "from_snapshot", "is_authentic", "snapshot", "snapshot_digest",
]  # fmt: skip
