"""One use for every identifier of a signed message, across workers and restarts.

Invariants:
    - The key is (issuer, jti), never a hash of the text: one signed message may have several spellings.
    - The insert is part of the business transaction: what is rolled back was not used.
    - An identifier is remembered for a day beyond the expiry of its message, when no verifier accepts it any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from gateway.db import Work
from gateway.db.tables.access import used_jti
from gateway.errors import Conflict

__all__ = ["MEMORY", "FirstUse", "Repeated", "ReplayGuard"]

MEMORY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class FirstUse:
    """Nobody has used the identifier before."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """The identifier was used before.

    Attributes:
        same_digest: Whether by the very same bytes.
        request_id: What came of them then.
    """

    same_digest: bool
    request_id: str | None

    def earlier_request(self) -> str:
        """The request that the same bytes made before: repeating them is harmless.

        Raises:
            Conflict: other bytes under the same identifier.
        """
        if not self.same_digest or self.request_id is None:
            raise Conflict("the identifier (jti) of this message was used before", code="replayed")
        return self.request_id


class ReplayGuard:
    """Remembers who used which identifier."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def claim(
        self, issuer: str, jti: str, *, digest: str, request_id: str | None, expires_at: datetime, now: datetime
    ) -> FirstUse | Repeated:
        """Use an identifier, or learn who did.

        Two transactions with the same identifier queue: the second sees the first when that commits, and wins when it rolls back.
        """
        insert = (sqlite if self._work.is_sqlite else postgresql).insert(used_jti)
        row = {"issuer": issuer, "jti": jti, "digest": digest, "request_id": request_id, "expires_at": expires_at, "used_at": now}
        inserted = self._work.execute(insert.values(row).on_conflict_do_nothing().returning(used_jti.c.jti)).first()
        if inserted is not None:
            return FirstUse()
        where = (used_jti.c.issuer == issuer, used_jti.c.jti == jti)
        earlier = self._work.execute(select(used_jti.c.digest, used_jti.c.request_id).where(*where)).one()
        return Repeated(same_digest=earlier.digest == digest, request_id=earlier.request_id)

    def forget(self, now: datetime) -> int:
        """Delete identifiers whose messages expired more than `MEMORY` ago; answers how many."""
        return int(self._work.execute(delete(used_jti).where(used_jti.c.expires_at < now - MEMORY)).rowcount)
