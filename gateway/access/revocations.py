"""Revocation of tokens that are out: by token, release, ticket, dataset, principal or key, from the next byte range on.

Invariants:
    - Nothing un-revokes. A revocation bites every release token issued up to its moment; one of a token, release or key bites
      later ones too. Access tokens die by token, principal or key.
    - Signed requests are not tokens: a key that must not sign any more is disabled, not revoked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, get_args

from sqlalchemy import Column, and_, insert, or_, select

from gateway.db import Work
from gateway.db.tables.access import release_token, revocation
from gateway.errors import InvalidRequest

__all__ = ["KINDS", "Kind", "RevocationFacts", "Revocations"]

Kind = Literal["token", "release", "ticket", "dataset", "principal", "key"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
FOR_EVER: Final = frozenset({"token", "release", "key"})
MAX_SUBJECT, MAX_REASON = 128, 500

COLUMN: Final[Mapping[Kind, Column[Any]]] = {
    "token": release_token.c.jti,
    "release": release_token.c.release_id,
    "ticket": release_token.c.ticket,
    "dataset": release_token.c.dataset,
    "principal": release_token.c.principal,
    "key": release_token.c.key_thumbprint,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationFacts:
    """What was revoked: the caller logs it in the same transaction.

    Attributes:
        token_ids: Tokens that would have been good for some time yet.
    """

    kind: Kind
    subject: str
    revoked_at: datetime
    token_ids: tuple[str, ...]


class Revocations:
    """What was revoked."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def add(self, kind: Kind, subject: str, *, by: str, reason: str = "", now: datetime) -> RevocationFacts:
        """Revoke.

        Args:
            kind: What `subject` names.
            subject: Token id, release id, ticket key, dataset, principal, or key thumbprint.
            by: Who revokes.
            reason: Why, for people; up to 500 characters.
            now: The present moment.

        Raises:
            InvalidRequest: an unknown kind, or a subject or reason that cannot be.
        """
        if kind not in KINDS or not 0 < len(subject) <= MAX_SUBJECT or len(reason) > MAX_REASON:
            raise InvalidRequest(f"revoke one of {', '.join(KINDS)} by its name, with a reason of up to {MAX_REASON} characters")
        alive = (COLUMN[kind] == subject, release_token.c.expires_at > now)
        tokens = self._work.execute(select(release_token.c.jti).where(*alive).order_by(release_token.c.jti)).scalars().all()
        row = {"kind": kind, "subject": subject, "revoked_at": now, "revoked_by": by, "reason": reason}
        self._work.execute(insert(revocation).values(row))
        return RevocationFacts(kind=kind, subject=subject, revoked_at=now, token_ids=tuple(tokens))

    def bite(self, subjects: Mapping[Kind, str | None], *, issued_at: datetime) -> bool:
        """Whether a token is revoked by anything it depends on.

        Args:
            subjects: What it depends on, by kind.
            issued_at: When the token was issued.
        """
        named = [and_(revocation.c.kind == kind, revocation.c.subject == name) for kind, name in subjects.items()]
        timely = or_(revocation.c.revoked_at >= issued_at, revocation.c.kind.in_(FOR_EVER))
        return self._work.execute(select(revocation.c.id).where(or_(*named), timely).limit(1)).first() is not None

    def bite_row(self, token: Any) -> bool:
        """Whether a row of `release_token` is revoked by anything it depends on."""
        return self.bite({kind: getattr(token, column.name) for kind, column in COLUMN.items()}, issued_at=token.issued_at)
