"""Fail a release whose worker can no longer say how far it came.

Invariants: what is open in the ledger is settled in the same transaction: in full, unless the table was certainly not opened.
"""

from __future__ import annotations

from datetime import datetime

from gateway.audit import Log
from gateway.budget import Ledgers
from gateway.releases.house import House
from gateway.releases.produce import LIVE, UNREAD, fail_in, subjects_of
from gateway.releases.repository import Releases

__all__ = ["abandon"]


def abandon(house: House, release_id: str, *, fence: int, code: str, message: str, now: datetime) -> bool:
    """Fail a release that is queued or in production; answers whether it was.

    Args:
        house: The house.
        release_id: The release.
        fence: As it was seen; a release that another worker has taken up since is left alone.
        code, message: Why, as a stable code and one sentence.
        now: The present moment.
    """
    with house.database.begin() as work:
        release = Releases(work).for_update(release_id)
        if release.status not in LIVE or release.fence != fence:
            return False
        was_read = release.stage not in UNREAD
        ledgers, log = Ledgers(work), Log(work)
        for charge in ledgers.charges_of_release(release_id):
            if not charge.is_settled:
                settled = ledgers.settle(charge.reserve.entry_id, spent=None, data_was_read=was_read, now=now)
                kind = "budget.settled" if was_read else "budget.cancelled"
                log.append(kind, at=now, **subjects_of(release), data={"entry": settled.entry_id, "why": code})
        fail_in(work, release, {"code": code, "message": message}, now=now)
        work.commit()
    return True
