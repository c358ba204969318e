"""Revocation of tokens that are out: by token, release, ticket, dataset, principal or key, from the next byte range on.

Invariants:
    - Nothing un-revokes. A revocation bites every release token issued up to its moment; one of a token, release or key bites
      later ones too. Access tokens die by token, principal or key.
    - Its moment is not before the issue of any token that it finds, whatever the clocks say, and it finds every token whose issue
      is not yet committed: issuing and revoking wait for each other (`share_issuing`, `stop_issuing`).
    - Signed requests are not tokens: a key that must not sign any more is disabled, not revoked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, get_args

from sqlalchemy import Column, and_, insert, or_, select, text

from gateway.db import Work
from gateway.db.tables.access import release_token, revocation
from gateway.errors import InvalidRequest

__all__ = ["KINDS", "DeadToken", "Kind", "RevocationFacts", "Revocations", "share_issuing", "stop_issuing"]

Kind = Literal["token", "release", "ticket", "dataset", "principal", "key"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
FOR_EVER: Final = frozenset({"token", "release", "key"})
MAX_REASON = 500
MAX_SUBJECT: Final[Mapping[Kind, int]] = {"token": 64, "release": 64, "ticket": 64, "dataset": 64, "principal": 128, "key": 128}
"""Longest names, in characters: as long as what they name can be."""
ISSUING = 0x7467_746F_6B  # "tgtok"

COLUMN: Final[Mapping[Kind, Column[Any]]] = {
    "token": release_token.c.jti,
    "release": release_token.c.release_id,
    "ticket": release_token.c.ticket,
    "dataset": release_token.c.dataset,
    "principal": release_token.c.principal,
    "key": release_token.c.key_thumbprint,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadToken:
    """A release token that would have been good for some time yet."""

    jti: str
    release: str
    ticket: str
    dataset: str
    principal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationFacts:
    """What was revoked: the caller logs it in the same transaction.

    Attributes:
        tokens: Release tokens that would have been good for some time yet.
    """

    kind: Kind
    subject: str
    reason: str
    revoked_at: datetime
    tokens: tuple[DeadToken, ...]

    @property
    def token_ids(self) -> tuple[str, ...]:
        """Ids of the tokens."""
        return tuple(token.jti for token in self.tokens)


def share_issuing(work: Work) -> None:
    """For whoever issues a token: no revocation is under way until this transaction ends."""
    if not work.is_sqlite:  # SQLite has one writer at a time
        work.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": ISSUING})


def stop_issuing(work: Work) -> None:
    """For whoever revokes, before taking the time: every token issued so far is committed, and none is issued until this ends."""
    if not work.is_sqlite:
        work.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ISSUING})


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
        if (
            kind not in KINDS
            or not 0 < len(subject) <= MAX_SUBJECT[kind]
            or not subject.isprintable()
            or len(reason) > MAX_REASON
        ):
            raise InvalidRequest(f"revoke one of {', '.join(KINDS)} by its name, with a reason of up to {MAX_REASON} characters")
        if "\0" in reason:
            raise InvalidRequest("a reason is text without NUL")
        stop_issuing(self._work)
        alive = (COLUMN[kind] == subject, release_token.c.expires_at > now)
        rows = self._work.execute(select(release_token).where(*alive).order_by(release_token.c.jti)).all()
        moment = max([now, *(row.issued_at for row in rows)])
        dead = [
            DeadToken(jti=row.jti, release=row.release_id, ticket=row.ticket, dataset=row.dataset, principal=row.principal)
            for row in rows
            if not self.bite_row(row)
        ]
        values = {"kind": kind, "subject": subject, "revoked_at": moment, "revoked_by": by, "reason": reason}
        self._work.execute(insert(revocation).values(values))
        return RevocationFacts(kind=kind, subject=subject, reason=reason, revoked_at=moment, tokens=tuple(dead))

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
