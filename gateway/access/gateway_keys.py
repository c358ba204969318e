"""The gateway's own Ed25519 keys: next → active → retired → destroyed, one life for each purpose.

A planned rotation overlaps: the retired key still verifies for a while, and the next key has been published for a while
before it signs. Retiring a key by name is for a key that leaked: it stops verifying tokens at once.

Invariants:
    - A purpose has one active and one next key (a unique column says so, also to two processes at once).
    - A key signs for its purpose only, and only while active. Private parts are stored sealed and vanish when destroyed.
    - Public parts of manifest and log keys stay published for ever: what they signed must stay verifiable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, get_args

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.access.private_keys import PrivateKey, generate_keypair, private_key_of_pem
from gateway.access.public_keys import PublicKey, public_key_of
from gateway.access.sealing import Sealing
from gateway.db import Work
from gateway.db.tables.access import gateway_key as table
from gateway.errors import Conflict, NotFound, Unavailable

__all__ = ["JWKS_MAX_AGE", "OVERLAP", "PURPOSES", "GatewayKey", "GatewayKeys", "KeyEvent", "Purpose", "Signer", "seal_context"]

Purpose = Literal["token", "manifest", "log"]
State = Literal["next", "active", "retired", "destroyed"]
PURPOSES: Final[tuple[Purpose, ...]] = get_args(Purpose)
SIGNS_FOR: Final[Mapping[Purpose, timedelta | None]] = {"token": timedelta(days=90), "manifest": None, "log": None}
OVERLAP: Final = timedelta(days=1)
JWKS_MAX_AGE: Final = timedelta(minutes=5)
PUBLIC: Final = tuple(column for column in table.c if column.name != "sealed")
"""What a process without the passphrase may read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayKey:
    """What is public about a key of the gateway.

    Attributes:
        retires_at: When an active key is due for rotation; None when only by hand.
        verifies_until: End of the overlap of a retired key; None while it has none.
    """

    public: PublicKey
    purpose: Purpose
    state: State
    created_at: datetime
    activated_at: datetime | None
    retires_at: datetime | None
    retired_at: datetime | None
    verifies_until: datetime | None
    destroyed_at: datetime | None

    @property
    def kid(self) -> str:
        """RFC 7638 thumbprint."""
        return self.public.thumbprint

    def verifies(self, now: datetime) -> bool:
        """Whether a token signed with it is to be believed."""
        return self.state in ("active", "retired") and (self.verifies_until is None or now < self.verifies_until)

    def is_published(self, now: datetime) -> bool:
        """Whether it stands in the JWKS."""
        return self.purpose != "token" or self.state == "next" or self.verifies(now)


@dataclass(frozen=True, slots=True)
class KeyEvent:
    """What happened to a key: the caller logs it in the same transaction."""

    action: Literal["created", "activated", "retired", "destroyed"]
    kid: str
    purpose: Purpose
    at: datetime


@dataclass(frozen=True, slots=True)
class Signer:
    """An active key that can sign for its purpose."""

    purpose: Purpose
    private_key: PrivateKey
    retires_at: datetime | None

    @property
    def kid(self) -> str:
        """RFC 7638 thumbprint."""
        return self.private_key.thumbprint

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return self.private_key.public

    @property
    def public_bytes(self) -> bytes:
        """The 32 bytes of the Ed25519 public key."""
        return self.private_key.public.raw_bytes()

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature of 64 bytes."""
        return self.private_key.sign_bytes(message)


class GatewayKeys:
    """The keys of the gateway in the database."""

    def __init__(self, work: Work, sealing: Sealing) -> None:
        self._work = work
        self._sealing = sealing

    def ensure(self, now: datetime) -> tuple[KeyEvent, ...]:
        """Make what is missing, rotate what is due. For every start, and before signing tokens."""
        events: list[KeyEvent] = []
        for purpose in PURPOSES:
            known = self._by_state(purpose)
            if "active" not in known:
                events += self._create(purpose, "active", now)
            if "next" not in known:
                events += self._create(purpose, "next", now)
            active = known.get("active")
            if active is not None and active.retires_at is not None and active.retires_at <= now + OVERLAP:
                events += self.rotate(now, purpose)
        return tuple(events)

    def rotate(self, now: datetime, purpose: Purpose) -> tuple[KeyEvent, ...]:
        """Retire the active key with an overlap, let the next one sign, and make another next.

        Raises:
            Conflict: the purpose has no active key yet.
        """
        return self._succeed(purpose, now, overlap=OVERLAP)

    def retire(self, kid: str, now: datetime) -> tuple[KeyEvent, ...]:
        """Retire an active key at once, without overlap: no token that it signed is believed any more.

        Raises:
            NotFound: no such key.
            Conflict: the key is not active.
        """
        key = self.get(kid)
        if key.state == "retired" and key.verifies(now):
            self._set(kid, verifies_until=now)
            return (KeyEvent("retired", kid, key.purpose, now),)
        if key.state != "active":
            raise Conflict(f"only an active key can be retired; this one is {key.state}")
        return self._succeed(key.purpose, now, overlap=timedelta(0))

    def destroy(self, kid: str, now: datetime) -> tuple[KeyEvent, ...]:
        """Destroy the private part of a retired key, for ever.

        Raises:
            NotFound: no such key.
            Conflict: the key is not retired.
        """
        key = self.get(kid)
        if key.state != "retired":
            raise Conflict(f"only a retired key can be destroyed; this one is {key.state}")
        ends = {"verifies_until": now} if key.purpose == "token" else {}
        self._work.shreds = True
        self._set(kid, state="destroyed", sealed=None, destroyed_at=now, **ends)
        return (KeyEvent("destroyed", kid, key.purpose, now),)

    def signer(self, purpose: Purpose) -> Signer:
        """The active key of a purpose, opened.

        Raises:
            Unavailable: there is none; `ensure` was not called.
            VerificationFailed: the passphrase is another one, or the row was changed.
        """
        row = self._work.execute(select(table).where(table.c.slot == f"{purpose}/active")).first()
        if row is None:
            raise Unavailable("the gateway has no signing key yet", unlock=("run `ticketgate init` or restart the gateway",))
        private = private_key_of_pem(self._sealing.open(row.sealed, context=seal_context(row.kid, purpose)))
        return Signer(purpose, private, row.retires_at)

    def token_key(self, kid: str, now: datetime) -> PublicKey | None:
        """The key that a token of ours may be verified with: the port of the verifiers."""
        where = (table.c.kid == kid, table.c.purpose == "token")
        row = self._work.execute(select(*PUBLIC).where(*where)).first()
        key = None if row is None else _key(row)
        return key.public if key is not None and key.verifies(now) else None

    def get(self, kid: str) -> GatewayKey:
        """One key.

        Raises:
            NotFound: there is none of that name.
        """
        row = self._work.execute(select(*PUBLIC).where(table.c.kid == kid)).first()
        if row is None:
            raise NotFound("the gateway has no key of this name")
        return _key(row)

    def list(self) -> tuple[GatewayKey, ...]:
        """All keys, oldest first, destroyed ones too."""
        rows = self._work.execute(select(*PUBLIC).order_by(table.c.created_at, table.c.purpose, table.c.kid)).all()
        return tuple(_key(row) for row in rows)

    def log_origin(self) -> str:
        """The name under which the log signs: made of its first key, so that neither port nor host nor rotation changes it.

        Raises:
            Unavailable: there are no keys yet.
        """
        first = next((key for key in self.list() if key.purpose == "log"), None)
        if first is None:
            raise Unavailable("the gateway has no signing key yet", unlock=("run `ticketgate init` or restart the gateway",))
        return f"ticketgate.local/log/{first.kid}"

    def jwks(self, now: datetime) -> dict[str, Any]:
        """The public JWK set; `ticketgate_*` says what a key is for (other readers ignore it, RFC 7517, section 4)."""
        found = self.list()
        origin = {"ticketgate_origin": self.log_origin()} if found else {}
        return {
            "keys": [
                {
                    **key.public.jwk, "kid": key.kid, "alg": "EdDSA", "use": "sig", "ticketgate_purpose": key.purpose,
                    **(origin if key.purpose == "log" else {}),
                }
                for key in found
                if key.is_published(now)
            ]
        }  # fmt: skip

    def _by_state(self, purpose: Purpose) -> dict[State, GatewayKey]:
        """The next and active key. Locked first and read then: whoever waited reads what the other one left."""
        self._work.execute(select(table.c.kid).where(table.c.purpose == purpose).with_for_update()).all()
        rows = self._work.execute(select(table).where(table.c.purpose == purpose, table.c.slot.is_not(None))).all()
        return {key.state: key for key in map(_key, rows)}

    def _succeed(self, purpose: Purpose, now: datetime, *, overlap: timedelta) -> tuple[KeyEvent, ...]:
        known = self._by_state(purpose)
        if "active" not in known or "next" not in known:
            raise Conflict(f"there is no active and next key for {purpose} yet")
        old, new = known["active"].kid, known["next"].kid
        until = now + overlap if purpose == "token" else None
        self._set(old, state="retired", slot=None, retired_at=now, verifies_until=until)
        self._set(new, state="active", slot=f"{purpose}/active", activated_at=now, retires_at=_due(purpose, now))
        made = self._create(purpose, "next", now)
        return (KeyEvent("retired", old, purpose, now), KeyEvent("activated", new, purpose, now), *made)

    def _create(self, purpose: Purpose, state: Literal["next", "active"], now: datetime) -> tuple[KeyEvent, ...]:
        key = generate_keypair()
        row = {
            "kid": key.thumbprint,
            "purpose": purpose,
            "state": state,
            "slot": f"{purpose}/{state}",
            "jwk": dict(key.public.jwk),
            "sealed": self._sealing.seal(key.pem(), context=seal_context(key.thumbprint, purpose)),
            "created_at": now,
            "activated_at": now if state == "active" else None,
            "retires_at": _due(purpose, now) if state == "active" else None,
        }
        dialect = sqlite if self._work.is_sqlite else postgresql
        statement = dialect.insert(table).values(row).on_conflict_do_nothing(index_elements=["slot"]).returning(table.c.kid)
        if self._work.execute(statement).first() is None:
            return ()  # another process was first
        created = KeyEvent("created", key.thumbprint, purpose, now)
        return (created, KeyEvent("activated", key.thumbprint, purpose, now)) if state == "active" else (created,)

    def _set(self, kid: str, **values: Any) -> None:
        self._work.execute(update(table).where(table.c.kid == kid).values(**values))


def _due(purpose: Purpose, now: datetime) -> datetime | None:
    span = SIGNS_FOR[purpose]
    return None if span is None else now + span


def seal_context(kid: str, purpose: Purpose) -> dict[str, str]:
    """What a sealed private key is bound to."""
    return {"kid": kid, "purpose": purpose}


def _key(row: Any) -> GatewayKey:
    return GatewayKey(
        public=public_key_of(row.jwk),
        purpose=row.purpose,
        state=row.state,
        created_at=row.created_at,
        activated_at=row.activated_at,
        retires_at=row.retires_at,
        retired_at=row.retired_at,
        verifies_until=row.verifies_until,
        destroyed_at=row.destroyed_at,
    )
