"""From what Jira says of an issue to the plain facts of a ticket.

Responsible for reading project, type, status, assignee, dataset and approver, and for finding in the changelog who approved
the issue, when, and whether anything that the approval rests on was changed since.

Invariants:
    - Pure. People are account ids; display names and e-mail addresses are never read.
    - The approver is whoever made the last move into an approved status. Where a custom field names an approver too, both must
      agree, else there is no approver; an automation's account may move the issue on behalf of the named approver.
    - What cannot be read is refused, never skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from policies.types import TicketFacts

__all__ = ["IssueUnreadable", "JiraFields", "ticket_from_issue"]

RESTED_ON = frozenset({"status", "project", "key", "issuetype", "assignee"})
TIME = "%Y-%m-%dT%H:%M:%S.%f%z"


class IssueUnreadable(ValueError):
    """Jira's answer is JSON, but not an issue that can be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JiraFields:
    """Which of Jira's fields mean what.

    Attributes:
        dataset: Id of the custom field that names the dataset, as in `customfield_10042`.
        approver: Id of the custom field (user picker) that names the approver, or None: the changelog alone says it.
        approved_statuses: Moving into one of these (case ignored) is an approval.
        automations: Account ids that may move an issue on behalf of the named approver.
    """

    dataset: str | None = None
    approver: str | None = None
    approved_statuses: tuple[str, ...] = ("Approved",)
    automations: frozenset[str] = frozenset()

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of the fields to ask Jira for."""
        own = (name for name in (self.dataset, self.approver) if name)
        return ("project", "issuetype", "status", "assignee", *own)


@dataclass(frozen=True, slots=True)
class _Change:
    at: datetime
    author: str | None
    what: str
    into: str | None


def ticket_from_issue(
    issue: Mapping[str, Any], history: Sequence[Mapping[str, Any]], *, fields: JiraFields, now: datetime
) -> TicketFacts:
    """Read an issue.

    Args:
        issue: Jira's issue.
        history: Every entry of its changelog.
        fields: Which fields mean what.
        now: Becomes `fetched_at`.

    Raises:
        IssueUnreadable: something that is needed is missing or of another shape.
    """
    values = _mapping(issue.get("fields"), "fields")
    changes = sorted((change for entry in history for change in _changes(entry)), key=lambda change: change.at)
    approved = {status.casefold() for status in fields.approved_statuses}
    approval = next((c for c in reversed(changes) if c.what == "status" and (c.into or "").casefold() in approved), None)
    named = _account(values.get(fields.approver), "approver") if fields.approver else None
    rests_on = RESTED_ON | {name.casefold() for name in (fields.dataset, fields.approver) if name}
    later = [] if approval is None else [c.at for c in changes if c.at >= approval.at and c.what in rests_on]
    return TicketFacts(
        key=_text(issue.get("key"), "key"),
        project=_text(_mapping(values.get("project"), "project").get("key"), "project"),
        type=_text(_mapping(values.get("issuetype"), "issuetype").get("name"), "issuetype"),
        status=_text(_mapping(values.get("status"), "status").get("name"), "status"),
        dataset=_word(values.get(fields.dataset)) if fields.dataset else None,
        assignee=_account(values.get("assignee"), "assignee"),
        approver=_approver(approval, named=named, fields=fields),
        approved_at=None if approval is None else approval.at,
        changed_at=max(later, default=None),
        fetched_at=now,
        extra={"source": "jira", "approved_by": approval.author if approval else None, "named_approver": named},
    )


def _approver(approval: _Change | None, *, named: str | None, fields: JiraFields) -> str | None:
    if approval is None:
        return None
    if fields.approver is None or named is None:
        return None if approval.author in fields.automations else approval.author
    return named if approval.author == named or approval.author in fields.automations else None


def _changes(entry: Mapping[str, Any]) -> Iterator[_Change]:
    items = entry.get("items")
    if not isinstance(items, list):
        raise IssueUnreadable("an entry of Jira's changelog has no items")
    at, author = _time(entry.get("created")), _account(entry.get("author"), "author")
    for item in items:
        what = _mapping(item, "changelog item")
        name = what.get("fieldId") or what.get("field")
        into = what.get("toString")
        yield _Change(at, author, _text(name, "changelog field").casefold(), into if isinstance(into, str) else None)


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise IssueUnreadable(f"Jira's answer has no readable {what}")
    return value


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise IssueUnreadable(f"Jira's answer has no readable {what}")
    return value


def _account(value: Any, what: str) -> str | None:
    """The account id of a user; None where the field is empty."""
    if isinstance(value, list) and len(value) <= 1:
        value = value[0] if value else None
    return None if value is None else _text(_mapping(value, what).get("accountId"), what)


def _word(value: Any) -> str | None:
    """The one word of a text, option or single-choice field; None where it is empty or says several things."""
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else None
    if isinstance(value, Mapping):
        value = value.get("value") or value.get("name")
    return value.strip() or None if isinstance(value, str) else None


def _time(value: Any) -> datetime:
    try:
        return datetime.strptime(_text(value, "time"), TIME)  # noqa: DTZ007 - TIME ends in %z
    except ValueError as error:
        raise IssueUnreadable("Jira's answer has a time that cannot be read") from error
