"""Write on the ticket what became of a request, where the operator wants that (`comment_decisions`; off by default).

Invariants:
    - The decision is committed before the comment is tried; whatever becomes of the comment changes nothing about it.
    - What was tried, and how it ended, is an event (`webhook.sent`).
    - A comment names the release and the codes of broken rules; it holds no figure of the data, of the ledger or of a report.
    - Nobody comments on other people's tickets by naming them: a denied request is told only where its requester is the assignee.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from gateway.audit import Log
from gateway.errors import NotRecorded, TicketgateError
from gateway.releases.house import House
from gateway.releases.repository import Release, Releases
from gateway.telemetry import logger

__all__ = ["TOLD", "comment_decision"]

TOLD: Final = "told"
CHANNEL: Final = "ticket:decision"


def comment_decision(house: House, release_id: str, *, now: datetime) -> str | None:
    """Comment on the ticket of a decided request.

    Returns:
        `told`, or in one word why not; None where nothing was to be told.
    """
    if not house.settings.comment_decisions:
        return None
    with house.database.read() as work:
        release = Releases(work).get(release_id)
    if not _concerns_its_ticket(release):
        return None
    try:
        problem = house.tickets().comment(release.ticket, _words(release), now=now)
        outcome: str = TOLD if problem is None else problem.kind
    except TicketgateError as error:
        outcome = error.slug
    try:
        with house.database.begin() as work:
            Log(work).append(
                "webhook.sent", at=now, release=release.id, ticket=release.ticket, dataset=release.dataset,
                data={"to": CHANNEL, "about": "decision", "outcome": outcome},
            )  # fmt: skip
            work.commit()
    except NotRecorded as error:
        logger("releases").warning("a comment was not recorded", release_id=release.id, outcome=outcome, detail=error.detail)
    if outcome != TOLD:
        logger("releases").warning("the ticket was not told of a decision", release_id=release.id, outcome=outcome)
    return outcome


def _concerns_its_ticket(release: Release) -> bool:
    snapshot = release.ticket_snapshot
    return snapshot is not None and (bool(release.decision["permitted"]) or snapshot.get("assignee") == release.account_id)


def _words(release: Release) -> str:
    about = f"release request {release.id} for {release.dataset}"
    if release.decision["permitted"]:
        return f"Ticketgate permitted {about} under the policy {release.policy} version {release.policy_version}."
    codes = dict.fromkeys(violation["code"] for violation in release.decision["violations"])
    return f"Ticketgate denied {about}: {', '.join(codes)}. The requester sees what would unlock it."
