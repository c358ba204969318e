"""Principals and their public keys, in the database.

Invariants:
    - A name exists once, whatever its letters' case; a key belongs to one principal for ever.
    - Nothing is deleted: a principal or key is disabled, and stays known as disabled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.access.facts import KeyFacts, Principal, RegisteredKey
from gateway.access.public_keys import PublicKey, load_public_key, public_key_of
from gateway.access.scopes import ROLES
from gateway.db import Work
from gateway.db.tables.access import principal as principals
from gateway.db.tables.access import principal_key as keys
from gateway.errors import Conflict, InvalidRequest, NotFound

__all__ = ["MAX_KEYS", "Principals"]

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}\Z")
ACCOUNT: Final = re.compile(r"[\x21-\x7e]{1,128}\Z")
THUMBPRINT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
MAX_KEYS: Final = 16


class Principals:
    """Who is known here, and by which keys."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def add(
        self,
        name: str,
        *,
        roles: Iterable[str],
        key: str | bytes | Mapping[str, Any] | PublicKey,
        account_id: str | None = None,
        expires_at: datetime | None = None,
        now: datetime,
    ) -> Principal:
        """Register a principal with a first key.

        Args:
            name: Letters, digits and `._@-`, up to 128.
            roles: At least one of `ROLES`.
            key: Ed25519 or P-256 public key, as JWK or PEM.
            account_id: The same person's id in the ticket system; the name when None.
            expires_at: End of the key.
            now: The present moment.

        Raises:
            InvalidRequest: a name, role or key that cannot be.
            Conflict: the name or the key is known already.
        """
        account = name if account_id is None else account_id
        if not NAME.match(name):
            raise InvalidRequest("a principal's name has up to 128 letters, digits and ._@-, and begins with a letter or digit")
        if not ACCOUNT.match(account):
            raise InvalidRequest("an account id has up to 128 visible ASCII characters")
        wanted = _checked_roles(roles)
        row = {"name": name, "folded": name.casefold(), "account_id": account, "roles": wanted, "created_at": now}
        if not self._insert(principals, row):
            raise Conflict("a principal with this name, in some case of its letters, exists already")
        self.add_key(name, key, expires_at=expires_at, now=now)
        return self.get(name)

    def add_key(
        self, name: str, key: str | bytes | Mapping[str, Any] | PublicKey, *, expires_at: datetime | None = None, now: datetime
    ) -> KeyFacts:
        """Register a further key.

        Raises:
            NotFound: no such principal.
            InvalidRequest: not a key that can be, an expiry in the past, or too many keys.
            Conflict: the key is known already, whoever has it.
        """
        public = key if isinstance(key, PublicKey) else load_public_key(key)
        if expires_at is not None and expires_at <= now:
            raise InvalidRequest("the key would have expired already")
        if sum(known.is_usable(now) for known in self.get(name).keys) >= MAX_KEYS:
            raise InvalidRequest(f"a principal has at most {MAX_KEYS} keys in use", unlock=("disable one that is not needed",))
        row = {
            "thumbprint": public.thumbprint,
            "principal": name,
            "algorithm": public.algorithm,
            "jwk": dict(public.jwk),
            "added_at": now,
            "expires_at": expires_at,
        }
        if not self._insert(keys, row):
            raise Conflict("this key is registered already; keys are not shared and not registered anew")
        return KeyFacts(public=public, added_at=now, expires_at=expires_at, disabled_at=None)

    def set_roles(self, name: str, roles: Iterable[str]) -> Principal:
        """Replace the roles; tokens already out lose what is not in them.

        Raises:
            NotFound: no such principal.
            InvalidRequest: an unknown role, or none.
        """
        self.get(name)
        self._work.execute(update(principals).where(principals.c.name == name).values(roles=_checked_roles(roles)))
        return self.get(name)

    def disable(self, name: str, *, now: datetime) -> Principal:
        """Put a principal out of use, with every key and token at once; doing so again changes nothing.

        Raises:
            NotFound: no such principal.
        """
        self.get(name)
        where = (principals.c.name == name, principals.c.disabled_at.is_(None))
        self._work.execute(update(principals).where(*where).values(disabled_at=now))
        return self.get(name)

    def disable_key(self, thumbprint: str, *, now: datetime) -> RegisteredKey:
        """Put a key out of use, with every token it asked for at once; doing so again changes nothing.

        Raises:
            NotFound: no such key.
        """
        where = (keys.c.thumbprint == thumbprint, keys.c.disabled_at.is_(None))
        self._work.execute(update(keys).where(*where).values(disabled_at=now))
        found = self.key_of(thumbprint)
        if found is None:
            raise NotFound("no key with this thumbprint is registered")
        return found

    def find(self, name: str) -> Principal | None:
        """The principal of that exact name."""
        if not NAME.match(name):
            return None
        row = self._work.execute(select(principals).where(principals.c.name == name)).first()
        return None if row is None else self._principal(row)

    def get(self, name: str) -> Principal:
        """The principal of that exact name.

        Raises:
            NotFound: there is none.
        """
        found = self.find(name)
        if found is None:
            raise NotFound("no principal of this name is registered")
        return found

    def list(self) -> tuple[Principal, ...]:
        """All principals by name, disabled ones too."""
        return tuple(self._principal(row) for row in self._work.execute(select(principals).order_by(principals.c.name)).all())

    def key_of(self, thumbprint: str) -> RegisteredKey | None:
        """The key with that thumbprint and whose it is, disabled or not: the port of the verifiers."""
        if not THUMBPRINT.match(thumbprint):
            return None
        owner = select(principals).join(keys, keys.c.principal == principals.c.name).where(keys.c.thumbprint == thumbprint)
        row = self._work.execute(owner).first()
        if row is None:
            return None
        principal = self._principal(row)
        key = principal.key(thumbprint)
        return None if key is None else RegisteredKey(key=key, principal=principal)

    def _insert(self, table: Table, row: Mapping[str, Any]) -> bool:
        """Insert unless somebody else has, also at this very moment."""
        dialect = sqlite if self._work.is_sqlite else postgresql
        statement = dialect.insert(table).values(row).on_conflict_do_nothing().returning(*table.primary_key)
        return self._work.execute(statement).first() is not None

    def _principal(self, row: Any) -> Principal:
        where = select(keys).where(keys.c.principal == row.name).order_by(keys.c.added_at, keys.c.thumbprint)
        return Principal(
            name=row.name,
            account_id=row.account_id,
            roles=frozenset(row.roles),
            created_at=row.created_at,
            disabled_at=row.disabled_at,
            keys=tuple(
                KeyFacts(
                    public=public_key_of(key.jwk), added_at=key.added_at, expires_at=key.expires_at, disabled_at=key.disabled_at
                )
                for key in self._work.execute(where).all()
            ),
        )


def _checked_roles(roles: Iterable[str]) -> list[str]:
    wanted = sorted(set(roles))
    unknown = [role for role in wanted if role not in ROLES]
    if unknown or not wanted:
        raise InvalidRequest(f"roles are one or more of {', '.join(ROLES)}")
    return wanted
