"""Write events in the caller's transaction, and read them back.

Invariants:
    - `append` only adds a row to the transaction it is given: what it records and the record commit together or not at all.
    - Identifiers of people are replaced by pseudonyms before anything is written; the caller never does that itself.
    - An unknown kind is refused; so is data that is not JSON.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict, Unpack

from sqlalchemy import Select, insert, select

from gateway.audit.event import RANDOM_BITS, Entry, Subjects, entry_of, event_id, milliseconds, next_event_id, payload_of
from gateway.audit.kinds import kind_named
from gateway.audit.merkle import leaf_hash
from gateway.audit.pseudonyms import Pseudonym, Pseudonyms
from gateway.db.tables.audit import audit_event
from gateway.db.work import Work, driver_text

__all__ = ["Log", "Where"]

LAST_ID = "audit.last-id"
MAX_LIMIT = 10_000
_COLUMNS = tuple(column.name for column in audit_event.columns if column.name != "leaf_index")
_INSERT = insert(audit_event)
# Compiled once: an event is written with nearly every act, and building its statement costs as much as the database's work.
_INSERT_POSTGRES = driver_text(_INSERT, columns=_COLUMNS)


class Where(TypedDict, total=False):
    """Which events; every given condition must hold.

    Attributes:
        kind: Exactly this kind, or all kinds of a subject when it ends in a dot ("release.").
        actor: Plain identifier of the principal who acted.
        release: Release id.
        ticket: Ticket key.
        dataset: Dataset name.
        token: Token id.
        since: Not before.
        until: Before.
    """

    kind: str
    actor: str
    release: str
    ticket: str
    dataset: str
    token: str
    since: datetime
    until: datetime


class Log:
    """The log, as one transaction sees it."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._pseudonyms = Pseudonyms(work)

    def append(  # noqa: PLR0913 - the five subjects are what people search by
        self,
        kind: str,
        *,
        at: datetime,
        actor: str | None = None,
        release: str | None = None,
        ticket: str | None = None,
        dataset: str | None = None,
        token: str | None = None,
        data: Mapping[str, Any] | None = None,
        identifier: str | None = None,
    ) -> str:
        """Record an event in this transaction.

        Args:
            kind: One of `gateway.audit.kinds.KINDS`.
            at: When, aware.
            actor: Plain identifier of the principal who acted; stands in the leaf as a pseudonym.
            release: Release id.
            ticket: Ticket key.
            dataset: Dataset name.
            token: Token id (`jti`), never the token itself.
            data: What else is to be recorded. Fields that name people (`PERSONAL_FIELDS`) become pseudonyms.
            identifier: Of `event.event_id`, when something that the event names must name the event first (a manifest).

        Returns:
            Identifier of the event.

        Raises:
            ValueError: the kind is unknown, the time is naive, or the data is not JSON.
            NotRecorded: the database did not take it; the caller's act must not happen.
        """
        kind_named(kind)
        if at.tzinfo is None:
            raise ValueError("an event happens at an aware time")
        subjects = Subjects(
            actor=None if actor is None else str(self._pseudonyms.of(actor, at=at)),
            release=release,
            ticket=ticket,
            dataset=dataset,
            token=token,
        )
        identifier = identifier or self._next_id(at)
        clean = self._pseudonyms.replace_in(data or {}, at=at)
        payload = payload_of(identifier=identifier, kind=kind, at=at, subjects=subjects, data=clean)
        row = {"id": identifier, "kind": kind, "at": at, "payload": payload, "leaf_hash": leaf_hash(payload.encode())}
        row |= {name: getattr(subjects, name) for name in subjects.__slots__}
        if self._work.is_sqlite:
            self._work.execute(_INSERT, row)
        else:
            self._work.execute_driver(_INSERT_POSTGRES, row)
        return identifier

    def get(self, identifier: str) -> Entry | None:
        """One event, or None."""
        row = self._work.execute(select(audit_event).where(audit_event.c.id == identifier)).first()
        return None if row is None else entry_of(row)

    def entries(self, *, after: int | None = None, limit: int = 100, **where: Unpack[Where]) -> list[Entry]:
        """Events that are leaves, in the order of the tree.

        Args:
            after: Only leaves behind this index; None begins with the first.
            limit: At most so many, 1 to 10,000.
            **where: Conditions.
        """
        query = self._query(where).where(audit_event.c.leaf_index > (-1 if after is None else after))
        return self._fetch(query.order_by(audit_event.c.leaf_index).limit(_checked(limit)))

    def search(self, *, limit: int = 100, newest_first: bool = False, **where: Unpack[Where]) -> list[Entry]:
        """Events by what they are about, in the order of time, those that wait for their leaf included."""
        order = audit_event.c.id.desc() if newest_first else audit_event.c.id
        return self._fetch(self._query(where).order_by(order).limit(_checked(limit)))

    def of_release(self, release: str) -> list[Entry]:
        """The whole story of a release, in the order of time."""
        return self._fetch(select(audit_event).where(audit_event.c.release == release).order_by(audit_event.c.id))

    def of_releases(self, releases: Sequence[str]) -> dict[str, list[Entry]]:
        """The whole stories of some releases, each in the order of time, by release."""
        found: dict[str, list[Entry]] = {}
        for entry in self._fetch(select(audit_event).where(audit_event.c.release.in_(releases)).order_by(audit_event.c.id)):
            found.setdefault(str(entry.subjects.release), []).append(entry)
        return found

    def pseudonym_of(self, value: str, *, scope: str | None = None) -> Pseudonym | None:
        """The pseudonym under which a known person stands in the log; None when unknown or erased."""
        return self._pseudonyms.find(value, scope=scope)

    def address_pseudonym(self, network: str, *, day: datetime) -> Pseudonym:
        """The pseudonym of a network address on a day; all addresses of a day share one key, which can be deleted."""
        return self._pseudonyms.of(network, at=day, scope=f"addresses/{day:%Y-%m-%d}")

    def erase(self, principal: str, *, at: datetime, actor: str) -> bool:
        """Delete the key of a person's pseudonym and record that it was done; every leaf stays as it is.

        Returns:
            Whether there was a key to delete.
        """
        pseudonym = self._pseudonyms.erase(principal)
        if pseudonym is None:
            return False
        self.append("principal.erased", at=at, actor=actor, data={"pseudonym": str(pseudonym)})
        return True

    def _next_id(self, at: datetime) -> str:
        # Rooms build their own Log over one transaction: the last identifier is kept where they all see it.
        info = self._work.connection.info
        entropy = secrets.randbits(RANDOM_BITS - 1)
        identifier = next_event_id(info[LAST_ID], at, entropy) if LAST_ID in info else event_id(at, entropy)
        info[LAST_ID] = identifier
        return identifier

    def _query(self, where: Where) -> Select[Any]:
        query = select(audit_event)
        for name, value in where.items():
            match name:
                case "kind" if str(value).endswith("."):
                    query = query.where(audit_event.c.kind.like(f"{value}%"))
                case "actor":
                    query = query.where(audit_event.c.actor == (self._pseudonyms.find(str(value)) or ""))
                case "since" | "until":
                    bound = event_id(_moment(value), 0)
                    query = query.where(audit_event.c.id >= bound if name == "since" else audit_event.c.id < bound)
                case _:
                    query = query.where(audit_event.c[name] == value)
        return query

    def _fetch(self, query: Select[Any]) -> list[Entry]:
        return [entry_of(row) for row in self._work.execute(query)]


def _moment(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError("since and until are datetimes")
    milliseconds(value)  # refuses a naive one
    return value


def _checked(limit: int) -> int:
    if not 1 <= limit <= MAX_LIMIT:
        raise ValueError(f"a limit lies between 1 and {MAX_LIMIT}")
    return limit
