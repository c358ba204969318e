"""What the ticket must say: the rules that bind a request to the case that justifies it.

Responsible for every rule of `spec.ticket`, at decision and again whenever a token is issued or used. People are compared by
the ticket system's account ids, never by names.

Invariants:
    - Pure. A ticket that could not be fetched, or lacks what a rule asks about, does not satisfy the rule.
    - `uses` counts the ticket's releases and those on their way, `attempts` its requests, whatever became of them. Both are
      counted before this request: a ticket with `max_uses: 5` justifies exactly five releases.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from policies.reasons import reason
from policies.schema import ReleasePolicy
from policies.types import PrincipalFacts, Reason, TicketFacts

__all__ = ["CLOCK_SKEW", "PROBLEMS", "recheck_ticket", "ticket_problem_reason", "ticket_reasons"]

CLOCK_SKEW = timedelta(seconds=60)
PROBLEMS = {
    "not-found": ("ticket-not-found", "the ticket does not exist, or the gateway may not see it"),
    "unreachable": ("ticket-source-unavailable", "the ticket system did not answer, so nothing can be released now"),
    "refused": ("ticket-source-refused", "the ticket system refused the gateway's own credentials"),
    "malformed": ("ticket-unreadable", "the ticket system answered with something that cannot be read"),
    "stale": ("ticket-stale", "the ticket was not fetched recently enough"),
}
ASK = "ask the ticket's approver"


def ticket_problem_reason(ticket: str, problem: str | None) -> Reason:
    """Why there is no ticket to look at: always a violation."""
    code, sentence = PROBLEMS.get(problem or "", PROBLEMS["unreachable"])
    unlock = (
        "name an existing ticket" if problem == "not-found" else "try again later; if it stays so, tell the gateway's operator"
    )
    return reason(
        code,
        "ticket",
        holds=False,
        observed=problem or "no answer",
        required="a ticket",
        message=f"{ticket}: {sentence}",
        unlock=unlock,
    )


def ticket_reasons(
    ticket: TicketFacts, *, named: str, dataset: str, principal: PrincipalFacts, policy: ReleasePolicy, now: datetime
) -> Iterator[Reason]:
    """Every ticket rule of a policy, for a new request.

    Args:
        ticket: The ticket as fetched live.
        named: The key that the request names.
        dataset: The dataset that is asked for.
        principal: Who asks.
        policy: The policy in force.
        now: The time of decision.
    """
    yield from recheck_ticket(ticket, named=named, dataset=dataset, principal=principal, policy=policy, now=now)
    uses, attempts = policy.spec.ticket.max_uses, policy.spec.request.attempts_per_ticket
    yield reason(
        "ticket-used-up",
        "ticket.max_uses",
        holds=ticket.uses < uses,
        observed=ticket.uses,
        required=uses,
        message=f"{ticket.key} has justified {ticket.uses} releases, of {uses} it may",
        unlock="open a new ticket",
    )
    yield reason(
        "ticket-attempts-used-up",
        "request.attempts_per_ticket",
        holds=ticket.attempts < attempts,
        observed=ticket.attempts,
        required=attempts,
        message=f"{ticket.key} has carried {ticket.attempts} requests, of {attempts} it may",
        unlock="open a new ticket and say there what changed",
    )


def recheck_ticket(
    ticket: TicketFacts, *, named: str, dataset: str, principal: PrincipalFacts, policy: ReleasePolicy, now: datetime
) -> Iterator[Reason]:
    """The ticket rules that must still hold when a token is issued or used (all but the counts). Arguments as above."""
    rules = policy.spec.ticket
    yield reason(
        "ticket-mismatch",
        "ticket",
        holds=ticket.key == named,
        observed=ticket.key,
        required=named,
        message=f"the request names {named}, the ticket that was fetched is {ticket.key}",
        unlock=f"sign a request that names {ticket.key}, if that is the case you mean",
    )
    yield _listed("ticket-project", "ticket.projects", ticket.project, rules.projects, "project", ticket.key)
    yield _listed("ticket-type", "ticket.types", ticket.type, rules.types, "type", ticket.key)
    yield _listed("ticket-status", "ticket.statuses", ticket.status, rules.statuses, "status", ticket.key)
    yield from _people(ticket, principal=principal, policy=policy)
    if rules.names_dataset:
        yield reason(
            "ticket-dataset",
            "ticket.names_dataset",
            holds=ticket.dataset == dataset,
            observed=ticket.dataset,
            required=dataset,
            message=f"{ticket.key} is about {ticket.dataset or 'no dataset'}, not about {dataset}",
            unlock=f"have {dataset} written on a ticket and approved there",
        )
    yield from _approval(ticket, policy=policy, now=now)


def _listed(code: str, rule: str, observed: str, allowed: tuple[str, ...] | None, word: str, key: str) -> Reason:
    return reason(
        code,
        rule,
        holds=allowed is None or observed in allowed,
        observed=observed,
        required=allowed or "any",
        message=f"{key} has the {word} '{observed}'; allowed: {', '.join(allowed or ())}",
        unlock=f"use a ticket whose {word} is {' or '.join(allowed or ())}",
    )


def _people(ticket: TicketFacts, *, principal: PrincipalFacts, policy: ReleasePolicy) -> Iterator[Reason]:
    rules, account = policy.spec.ticket, principal.account_id.strip()
    if rules.assignee_is_requester:
        yield reason(
            "ticket-assignee",
            "ticket.assignee_is_requester",
            holds=bool(account) and ticket.assignee == account,
            observed=ticket.assignee,
            required=account,
            message=f"{ticket.key} is not assigned to {principal.name}",
            unlock="have the ticket assigned to you and approved again",
        )
    if rules.approver_is_not_requester:
        approver = (ticket.approver or "").strip()
        yield reason(
            "ticket-approver-unknown",
            "ticket.approver_is_not_requester",
            holds=bool(approver),
            observed=ticket.approver,
            required="an approver",
            message=f"{ticket.key} does not say who approved it",
            unlock=ASK,
        )
        yield reason(
            "ticket-approver-is-requester",
            "ticket.approver_is_not_requester",
            holds=bool(account) and approver.casefold() != account.casefold(),
            observed=ticket.approver,
            required=f"not {account}",
            message=f"{ticket.key} was approved by the same person who asks",
            unlock="have somebody else approve the ticket",
        )


def _approval(ticket: TicketFacts, *, policy: ReleasePolicy, now: datetime) -> Iterator[Reason]:
    rules, approved_at = policy.spec.ticket, ticket.approved_at
    if approved_at is None:
        yield reason(
            "ticket-not-approved",
            "ticket.approval_max_age",
            holds=False,
            observed=None,
            required="an approval",
            message=f"{ticket.key} was never approved",
            unlock=ASK,
        )
        return
    age = now - approved_at
    yield reason(
        "ticket-approved-in-future",
        "ticket.approval_max_age",
        holds=age >= -CLOCK_SKEW,
        observed=approved_at,
        required=now,
        message=f"{ticket.key} was approved at {approved_at.isoformat()}, which has not come yet",
        unlock="tell the gateway's operator that a clock is wrong",
    )
    yield reason(
        "ticket-approval-expired",
        "ticket.approval_max_age",
        holds=age <= rules.approval_max_age,
        observed=approved_at,
        required=rules.approval_max_age,
        message=f"the approval of {ticket.key} is {age.days} days old",
        unlock=f"{ASK} to approve it again",
    )
    if rules.unchanged_since_approval:
        changed = ticket.changed_at is not None and ticket.changed_at > approved_at
        yield reason(
            "ticket-changed-since-approval",
            "ticket.unchanged_since_approval",
            holds=not changed,
            observed=ticket.changed_at,
            required=approved_at,
            message=f"{ticket.key} was reopened, moved or changed after its approval",
            unlock=f"{ASK} to approve it again",
        )
