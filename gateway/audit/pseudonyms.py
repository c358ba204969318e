"""Pseudonyms: identifiers of people as HMACs under a key per person, which can be deleted.

Invariants:
    - Plain identifiers stand in `pseudonym_key` only, beside the key; deleting the row is the erasure, and no leaf changes.
    - A pseudonym cannot be computed without the key, and keys are never cached beyond one transaction.
    - What is written as a pseudonym was computed here: text that merely looks like one is a value like any other.
    - After an erasure the same identifier gets a new key: old and new leaves are not linked.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from gateway.audit.kinds import PERSONAL_FIELDS
from gateway.db.tables.audit import pseudonym_key
from gateway.db.work import Work, driver_text

__all__ = ["PREFIX", "Pseudonym", "Pseudonyms"]

PREFIX = "hmac-sha256:"
KEY_BYTES = 32
KNOWN = "audit.pseudonyms"
_KEY = select(pseudonym_key.c.key).where(pseudonym_key.c.principal == bindparam("owner"))
_KEY_POSTGRES = driver_text(_KEY)


class Pseudonym(str):
    """A pseudonym that was computed here; only such a one is written into an event as it is."""

    __slots__ = ()


class Pseudonyms:
    """The pseudonyms of one transaction."""

    def __init__(self, work: Work) -> None:
        self._work = work
        # Rooms build their own Log over one transaction: what one of them looked up serves the others.
        self._known: dict[tuple[str, str], Pseudonym] = work.facts.setdefault(KNOWN, {})

    def of(self, value: str, *, at: datetime, scope: str | None = None) -> Pseudonym:
        """The pseudonym of a person; the key is made when there is none.

        Args:
            value: The plain identifier.
            at: When a new key counts as made.
            scope: Name of a shared key instead of one for this value (addresses share one a day).
        """
        owner = scope or value
        if (owner, value) not in self._known:
            key = self._key(owner) or self._make_key(owner, at)
            self._known[owner, value] = _pseudonym(key, value)
        return self._known[owner, value]

    def find(self, value: str, *, scope: str | None = None) -> Pseudonym | None:
        """The pseudonym of a known value, or None when it never had one or it was erased."""
        key = self._key(scope or value)
        return None if key is None else _pseudonym(key, value)

    def erase(self, value: str) -> Pseudonym | None:
        """Delete the key of a person: from now on nobody can say which leaves speak of them.

        Returns:
            The pseudonym as it was, so that the erasure itself can be recorded; None when there was no key.
        """
        pseudonym = self.find(value)
        self._work.shreds = True
        self._work.execute(delete(pseudonym_key).where(pseudonym_key.c.principal == value))
        self._known.pop((value, value), None)
        return pseudonym

    def replace_in(self, data: Any, *, at: datetime) -> Any:
        """The same document with every personal field, at any depth, replaced by pseudonyms."""
        match data:
            case Mapping():
                return {
                    key: self._replace(value, at) if key in PERSONAL_FIELDS else self.replace_in(value, at=at)
                    for key, value in data.items()
                }
            case list() | tuple():
                return [self.replace_in(item, at=at) for item in data]
            case _:
                return data

    def _replace(self, value: Any, at: datetime) -> Any:
        match value:
            case str():
                return str(value if isinstance(value, Pseudonym) else self.of(value, at=at))
            case list() | tuple():
                return [self._replace(item, at) for item in value]
            case Mapping():
                return {key: self._replace(item, at) for key, item in value.items()}
            case None | bool():
                return value
            case _:
                return str(self.of(str(value), at=at))

    def _key(self, owner: str) -> bytes | None:
        given = {"owner": owner}
        row = (
            self._work.execute(_KEY, given) if self._work.is_sqlite else self._work.execute_driver(_KEY_POSTGRES, given)
        ).first()
        return None if row is None else bytes(row.key)

    def _make_key(self, owner: str, at: datetime) -> bytes:
        insert = sqlite.insert if self._work.is_sqlite else postgresql.insert
        fresh = {"principal": owner, "key": secrets.token_bytes(KEY_BYTES), "created_at": at}
        self._work.execute(insert(pseudonym_key).values(fresh).on_conflict_do_nothing(index_elements=["principal"]))
        # Another transaction may have been first: what is stored counts.
        return bytes(self._work.execute(_KEY, {"owner": owner}).scalar_one())


def _pseudonym(key: bytes, value: str) -> Pseudonym:
    return Pseudonym(PREFIX + hmac.new(key, value.encode(), sha256).hexdigest())
