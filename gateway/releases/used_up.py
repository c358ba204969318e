"""Say in the log that a release is used up.

Used up means: every download that its policy allows has begun, and none of them can be continued any more. From then on no
transfer of the data can begin, whatever token is shown; one that is under way comes to its end. The status stays `released`,
so that the release can still expire or be withdrawn.

Invariants:
    - The event is written once a release, in the transaction that looked.
    - A download that could still be resumed keeps a release open.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from gateway.access.downloads import ALLOWANCE, WINDOW
from gateway.db import Work
from gateway.db.tables.access import download, download_count, release_token
from gateway.db.tables.releases import release as release_table
from gateway.releases.closing import close, is_closed
from gateway.releases.handover import policy_of
from gateway.releases.house import House
from gateway.releases.repository import Releases
from gateway.releases.states import Status

__all__ = ["close_used_up"]


def close_used_up(house: House, *, now: datetime) -> int:
    """Write the closing event of every release that is used up and has none; answers how many."""
    with house.database.read() as work:
        waiting = [release_id for release_id in _downloaded(work) if _is_used_up(work, release_id, now=now)]
    closed = 0
    for release_id in waiting:
        with house.database.begin() as work:
            release = Releases(work).for_update(release_id)
            if release.status is Status.RELEASED and _is_used_up(work, release_id, now=now):
                used = policy_of(work, release).spec.access.max_downloads
                close(work, release, reason="used up", at=now, downloads=used)
                work.commit()
                closed += 1
    return closed


def _downloaded(work: Work) -> list[str]:
    """Releases that are handed over and were downloaded at least once."""
    query = (
        select(release_table.c.id)
        .join(download_count, download_count.c.release_id == release_table.c.id)
        .where(release_table.c.status == Status.RELEASED, download_count.c.used > 0)
    )
    return list(work.execute(query).scalars())


def _is_used_up(work: Work, release_id: str, *, now: datetime) -> bool:
    release = Releases(work).get(release_id)
    mine = (download_count.c.release_id == release_id, download_count.c.principal == release.principal)
    used = work.execute(select(download_count.c.used).where(*mine)).scalar_one_or_none() or 0
    if used < policy_of(work, release).spec.access.max_downloads:
        return False
    resumable = (
        select(download.c.id)
        .join(release_token, release_token.c.jti == download.c.jti)
        .where(release_token.c.release_id == release_id, download.c.started_at > now - WINDOW)
        .where(download.c.promised < ALLOWANCE * download.c.size)
    )
    return not is_closed(work, release_id) and work.execute(resumable.limit(1)).first() is None
