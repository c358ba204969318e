"""The ticket system says that a ticket changed: look at it again, and let tokens die that it no longer justifies.

Invariants:
    - The news is a hint: before anything is asked, the snapshots of the ticket stop counting, so that a use of a token fetches it
      whatever happens here afterwards.
    - What counts is what is fetched. A ticket that is gone, or breaks a rule of the policy of one of its releases, takes every
      token under it along; a ticket system that does not answer leaves it to the next use, which fails closed.
    - Nothing is fetched for a ticket under which nothing stands: a stranger's tickets are no way to make the gateway call out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.access import Principals, Revocations
from gateway.audit import Log
from gateway.catalogue import Policies
from gateway.db import Work
from gateway.releases.house import House
from gateway.releases.produce import subjects_of
from gateway.releases.repository import Release, Releases
from gateway.releases.request import TicketAnswer, fetch_ticket, ticket_json
from gateway.releases.states import FINAL
from gateway.tickets import snapshot_digest
from policies.ticket_rules import recheck_ticket
from policies.types import TicketFacts

__all__ = ["TicketChange", "look_again"]

BY = "ticket-system"


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketChange:
    """What came of the news.

    Attributes:
        releases: How many open releases stand under the ticket.
        problem: Why the ticket could not be fetched, or None.
        tokens_revoked: How many tokens died.
    """

    ticket: str
    releases: int
    problem: str | None
    tokens_revoked: int

    def to_json(self) -> dict[str, Any]:
        """For the answer and the log."""
        return {
            "ticket": self.ticket, "releases": self.releases, "problem": self.problem, "tokens_revoked": self.tokens_revoked,
        }  # fmt: skip


def look_again(house: House, key: str, *, now: datetime) -> TicketChange:
    """Fetch a ticket that is said to have changed, and act on what it says now.

    Raises:
        NotRecorded: the database could not take it; the snapshots may count no more already.
    """
    with house.database.begin() as work:
        found = _open_under(work, key)
        for release in found:
            Releases(work).put(release.id, ticket_checked_at=None)
        Log(work).append("webhook.received", at=now, ticket=key, data={"releases": len(found)})
        for release in found:
            Log(work).append("ticket.invalidated", at=now, **subjects_of(release), data={})
        work.commit()
    if not found:
        return TicketChange(ticket=key, releases=0, problem=None, tokens_revoked=0)
    answer = fetch_ticket(house, key, now=now)
    with house.database.begin() as work:
        revoked = _act_on(work, key, answer, now=now)
        work.commit()
    return TicketChange(ticket=key, releases=len(found), problem=answer.problem, tokens_revoked=revoked)


def _open_under(work: Work, key: str) -> list[Release]:
    """Releases that are, or may yet be, handed over under this ticket."""
    return [release for release in Releases(work).all_of(ticket=key) if release.status not in FINAL]


def _act_on(work: Work, key: str, answer: TicketAnswer, *, now: datetime) -> int:
    ticket, log = answer.ticket, Log(work)
    if ticket is None and answer.problem != "not-found":
        log.append("ticket.fetched", at=now, ticket=key, data={"problem": answer.problem})
        return 0
    broken: dict[str, list[str]] = {}
    for release in _open_under(work, key):
        Releases(work).put(release.id, ticket_snapshot=ticket_json(ticket), ticket_checked_at=now)
        codes = ["ticket-not-found"] if ticket is None else _broken(work, release, ticket, now=now)
        if codes:
            broken[release.id] = codes
    digest = None if ticket is None else snapshot_digest(ticket)
    log.append("ticket.fetched", at=now, ticket=key, data={"digest": digest, "problem": answer.problem, "broken": broken})
    if not broken:
        return 0
    revoked = Revocations(work).add("ticket", key, by=BY, reason="the ticket no longer justifies its releases", now=now)
    log.append("token.revoked", at=now, ticket=key, data={"tokens": list(revoked.token_ids), "by": "ticket"})
    return len(revoked.token_ids)


def _broken(work: Work, release: Release, ticket: TicketFacts, *, now: datetime) -> list[str]:
    """Codes of the rules that the ticket breaks for a release under the policy that it was decided by."""
    policy = Policies(work).get(str(release.policy), version=release.policy_version).policy
    principal = Principals(work).get(release.principal).facts()
    reasons = recheck_ticket(ticket, named=release.ticket, dataset=release.dataset, principal=principal, policy=policy, now=now)
    return [reason.code for reason in reasons if not reason.holds]
