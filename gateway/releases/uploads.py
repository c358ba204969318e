"""Files that compliance uploads to be traced: sealed into the store by the web, opened by the worker only, then destroyed.

Invariants: the web never parses an upload; its name is not used for anything; its key lives as long as its job. An upload
without a job (the request broke in between, or its worker did at the wrong moment) is found by `sweep_uploads`.
"""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from sqlalchemy import select, update

from gateway.db import Work
from gateway.db.tables.releases import job
from gateway.db.tables.storage import data_key
from gateway.errors import NotFound
from gateway.releases.artifacts import remove_sealed, secret_of
from gateway.releases.house import House
from gateway.storage import encrypt, open_artifact, sweep

__all__ = ["drop_upload", "keep_upload", "read_upload", "sweep_uploads"]

BLOCK = 1 << 20
ROOM = "uploads/"
SUBJECT = "upload:"
PURPOSE = "upload"


def _location(upload: str) -> str:
    return f"{ROOM}{upload}"


def keep_upload(house: House, raw: bytes, *, now: datetime) -> str:
    """Seal an upload; returns its id."""
    upload = uuid4().hex
    key = secret_of(house, f"{SUBJECT}{upload}", bound_to=upload, purpose=PURPOSE, now=now)
    location = _location(upload)
    blocks = (raw[start : start + BLOCK] for start in range(0, len(raw), BLOCK))
    house.store.put(location, encrypt(blocks, data_key=key, name=location))
    return upload


def read_upload(house: House, upload: str) -> bytes:
    """Open an upload; for the worker.

    Raises:
        NotFound: it was destroyed.
    """
    with house.database.read() as work:
        row = work.execute(select(data_key).where(data_key.c.subject == f"{SUBJECT}{upload}")).first()
    if row is None or row.wrapped is None:
        raise NotFound("the upload was destroyed")
    key = house.wrapper.unwrap(bytes(row.wrapped), release_id=upload)
    return b"".join(open_artifact(house.store, _location(upload), data_key=key).blocks())


def drop_upload(house: House, upload: str, *, now: datetime) -> None:
    """Destroy an upload and its key."""
    with house.database.begin() as work:
        mine = data_key.c.subject == f"{SUBJECT}{upload}"
        work.execute(update(data_key).where(mine).values(wrapped=None, destroyed_at=now))
        work.commit()
    remove_sealed(house, (_location(upload),))


def sweep_uploads(house: House, *, older_than: datetime, now: datetime) -> int:
    """Destroy uploads that no job waits for, and remove bytes without a key; answers how many keys it destroyed.

    Args:
        house: The house.
        older_than: Younger ones may still be on their way to their job.
        now: The present moment.
    """
    with house.database.read() as work:
        waiting = _waiting(work)
        kept = (data_key.c.purpose == PURPOSE, data_key.c.wrapped.is_not(None), data_key.c.created_at <= older_than)
        subjects = work.execute(select(data_key.c.subject).where(*kept)).scalars()
        orphans = [name for name in (str(subject).removeprefix(SUBJECT) for subject in subjects) if name not in waiting]
    for upload in orphans:
        drop_upload(house, upload, now=now)
    sweep(house.store, older_than=older_than, known={_location(upload) for upload in waiting}, prefix=ROOM)
    return len(orphans)


def _waiting(work: Work) -> set[str]:
    """Uploads that a job is still to read."""
    inputs = work.execute(select(job.c.input).where(job.c.kind == "trace-file", job.c.status == "queued")).scalars()
    return {str(given["upload"]) for given in inputs}
