"""The wrapped keys of what is kept sealed: made once, opened by subject, destroyed for ever, wrapped anew at a rotation.

Responsible for the table of wrapped keys. A subject is `RELEASE#FENCE` (artifacts), `proof:RELEASE` (manifest, envelope and the
signature of the evidence, which outlive a withdrawal), `upload:ID`, or the name of a secret of the gateway.

Invariants:
    - A wrapped key opens for the subject it was made for and for no other (associated data).
    - Destroying the keys of a release makes its artifacts unreadable wherever copies lie; its proof stays readable.
    - Wrapping anew replaces the very bytes that were read: a key that is destroyed meanwhile stays destroyed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.db import Database, Work
from gateway.db.tables.storage import data_key as table
from gateway.errors import NotFound
from gateway.releases.house import House
from gateway.storage import KeyWrapper, new_data_key

__all__ = ["artifact_subject", "bound_to", "destroy_keys", "open_key", "proof_subject", "rewrap_keys", "secret_of", "wrapped_by"]

BATCH = 100
UPLOAD = "upload:"


def artifact_subject(release_id: str, fence: int) -> str:
    """The key of the artifacts that one worker wrote."""
    return f"{release_id}#{fence}"


def proof_subject(release_id: str) -> str:
    """The key of what stays when a release is withdrawn."""
    return f"proof:{release_id}"


def bound_to(subject: str) -> str:
    """What the key of a subject is wrapped for."""
    if subject.startswith(UPLOAD):
        return subject.removeprefix(UPLOAD)
    return subject.partition("#")[0]


def secret_of(
    house: House, subject: str, *, bound_to: str, purpose: str, now: datetime, within: Callable[[Work], object] | None = None
) -> bytes:
    """A secret of 32 bytes that is stored wrapped: made the first time, the same ever after.

    Args:
        house: The house.
        subject: Its name in the table of wrapped keys.
        bound_to: What it is wrapped for (associated data).
        purpose: For people who look at the table.
        now: The present moment.
        within: What is looked at, or written, in the transaction that makes the secret; raising there, it makes none.

    Raises:
        NotFound: it was destroyed.
    """
    with house.database.begin() as work:
        if within is not None:
            within(work)
        row = work.execute(select(table).where(table.c.subject == subject)).first()
        if row is None:
            wrapped = house.wrapper.wrap(new_data_key(), release_id=bound_to)
            wrapping = house.wrapper.wrapped_by(wrapped)
            values = {"subject": subject, "purpose": purpose, "wrapping_key_id": wrapping, "wrapped": wrapped}
            dialect = sqlite if work.is_sqlite else postgresql
            fresh = dialect.insert(table).values(**values, created_at=now)
            work.execute(fresh.on_conflict_do_nothing(index_elements=["subject"]))
            # Another process may have been first: what is stored counts.
            row = work.execute(select(table).where(table.c.subject == subject)).one()
        work.commit()
    if row.wrapped is None:
        raise NotFound("this key was destroyed")
    return house.wrapper.unwrap(bytes(row.wrapped), release_id=bound_to)


def open_key(work: Work, wrapper: KeyWrapper, subject: str) -> bytes:
    """The key of a subject, unwrapped.

    Raises:
        NotFound: there is none, or it was destroyed.
    """
    row = work.execute(select(table.c.wrapped).where(table.c.subject == subject)).first()
    if row is None or row.wrapped is None:
        raise NotFound("the artifacts of this release were destroyed")
    return wrapper.unwrap(bytes(row.wrapped), release_id=bound_to(subject))


def destroy_keys(work: Work, release_id: str, *, now: datetime) -> int:
    """Destroy the wrapped keys of a release's artifacts: they can never be read again. Returns how many."""
    work.shreds = True
    mine = table.c.subject.startswith(f"{release_id}#", autoescape=True)
    statement = update(table).where(mine, table.c.wrapped.is_not(None)).values(wrapped=None, destroyed_at=now)
    return int(work.execute(statement).rowcount)


def wrapped_by(work: Work) -> dict[str, int]:
    """How many keys each key-encryption key wraps, by its id."""
    query = select(table.c.wrapping_key_id, func.count()).where(table.c.wrapped.is_not(None)).group_by(table.c.wrapping_key_id)
    return {str(name): int(count) for name, count in work.execute(query)}


def rewrap_keys(database: Database, wrapper: KeyWrapper) -> int:
    """Wrap every key that an older key-encryption key wraps by the present one; answers how many.

    A hundred keys a transaction: whoever is stopped in between leaves a mixture that opens, and is started again.

    Raises:
        VerificationFailed: a key is wrapped by a key that is not here; nothing of its batch was changed.
    """
    current, done = wrapper.key_id, 0
    for subjects in _batches(database, current):
        with database.begin() as work:
            for subject in subjects:
                row = work.execute(select(table.c.wrapped).where(table.c.subject == subject)).first()
                if row is None or row.wrapped is None:
                    continue
                old = bytes(row.wrapped)
                fresh = wrapper.wrap(wrapper.unwrap(old, release_id=bound_to(subject)), release_id=bound_to(subject))
                same = (table.c.subject == subject, table.c.wrapped == old)
                values = {"wrapped": fresh, "wrapping_key_id": wrapper.wrapped_by(fresh)}
                done += int(work.execute(update(table).where(*same).values(**values)).rowcount)
            work.commit()
    return done


def _batches(database: Database, current: str) -> Iterator[list[str]]:
    last = ""
    while True:
        with database.read() as work:
            older = (table.c.wrapped.is_not(None), table.c.wrapping_key_id != current, table.c.subject > last)
            found = list(work.execute(select(table.c.subject).where(*older).order_by(table.c.subject).limit(BATCH)).scalars())
        if not found:
            return
        yield found
        last = found[-1]
