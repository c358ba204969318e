"""What evidence and narrative are made of: a release with the part of its log that can no longer grow.

Invariants:
    - A record ends with the decisive event: denied, released, blocked, cancelled, failed, or withdrawn from review. What
      happens to a release afterwards (tokens, downloads, withdrawal) does not change it.
    - Kinds of events are listed, and times bounded: a late event of another clock cannot slip in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.audit import Log
from gateway.audit.event import Entry
from gateway.budget import Ledgers
from gateway.budget.entries import Charge
from gateway.db import Work
from gateway.errors import Conflict
from gateway.releases import Release, Releases

__all__ = ["Record", "outcome_of", "record_of"]

ENDS = {
    "release.released": "released", "release.blocked": "blocked", "release.cancelled": "cancelled", "release.failed": "failed",
    "release.withdrawn": "withdrawn",
}  # fmt: skip
STEPS = frozenset(
    {
        "release.requested", "release.decided", "release.queued", "release.generating", "release.evaluating",
        "release.evaluated", "release.in-review", "release.reviewed", "budget.reserved", "budget.settled", "budget.cancelled",
        *ENDS,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A release up to its decisive event.

    Attributes:
        outcome: denied, released, blocked, cancelled, failed or withdrawn.
        decisive: The event that says so.
        events: All steps up to it, in the order of their identifiers.
    """

    release: Release
    outcome: str
    decisive: Entry
    events: Sequence[Entry]
    charges: Sequence[Charge]

    def last(self, kind: str) -> Entry | None:
        """The last event of a kind, or None."""
        return next((entry for entry in reversed(self.events) if entry.kind == kind), None)


def outcome_of(entry: Entry) -> str | None:
    """What an event decides; None when it decides nothing."""
    if entry.kind == "release.decided":
        return None if entry.data["decision"]["permitted"] else "denied"
    return ENDS.get(entry.kind)


def record_of(work: Work, release_id: str) -> Record:
    """The record of a release.

    Raises:
        NotFound: there is no such release.
        Conflict: it is not decided yet.
    """
    release = Releases(work).get(release_id)
    entries = Log(work).of_release(release_id)
    decisive = min((entry for entry in entries if outcome_of(entry)), key=lambda entry: (entry.at, entry.id), default=None)
    if decisive is None:
        raise Conflict(
            f"the release is {release.status}; its evidence is complete once it is decided", code="wrong-status",
            unlock=("ask again when it was denied, released, blocked or cancelled",),
        )  # fmt: skip
    charges = [charge for charge in Ledgers(work).charges_of_release(release_id) if charge.at <= decisive.at]
    return Record(
        release=release,
        outcome=str(outcome_of(decisive)),
        decisive=decisive,
        events=[entry for entry in entries if entry.kind in STEPS and entry.at <= decisive.at],
        charges=charges,
    )
