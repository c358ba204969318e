"""The closing leaf of a release: from then on no transfer of its data can begin.

Invariants:
    - One closing leaf a release, whichever came first: it was used up, it expired, it was withdrawn.
    - What may still follow it: the end of a transfer that was under way, and the withdrawal of what was used up or had expired.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gateway.audit import Log
from gateway.db import Work
from gateway.releases.produce import subjects_of
from gateway.releases.repository import Release

__all__ = ["close", "is_closed"]

CLOSED = "release.closed"


def is_closed(work: Work, release_id: str) -> bool:
    """Whether the closing leaf of a release was written."""
    return bool(Log(work).search(kind=CLOSED, release=release_id, limit=1))


def close(work: Work, release: Release, *, reason: str, at: datetime, actor: str | None = None, **data: Any) -> bool:
    """Write the closing leaf of a release, which the caller holds, unless it has one; answers whether it was written."""
    if is_closed(work, release.id):
        return False
    Log(work).append(CLOSED, at=at, actor=actor, **subjects_of(release), data={"reason": reason, **data})
    return True
