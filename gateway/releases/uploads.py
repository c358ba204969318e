"""Files that compliance uploads to be traced: sealed into the store by the web, opened by the worker only, then destroyed.

Invariants: the web never parses an upload; its name is not used for anything; its key lives as long as its job.
"""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from sqlalchemy import select, update

from gateway.db.tables.storage import data_key
from gateway.errors import NotFound
from gateway.releases.artifacts import secret_of
from gateway.releases.house import House
from gateway.storage import encrypt, open_artifact

__all__ = ["drop_upload", "keep_upload", "read_upload"]

BLOCK = 1 << 20


def _location(upload: str) -> str:
    return f"uploads/{upload}"


def keep_upload(house: House, raw: bytes, *, now: datetime) -> str:
    """Seal an upload; returns its id."""
    upload = uuid4().hex
    key = secret_of(house, f"upload:{upload}", bound_to=upload, purpose="upload", now=now)
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
        row = work.execute(select(data_key).where(data_key.c.subject == f"upload:{upload}")).first()
    if row is None or row.wrapped is None:
        raise NotFound("the upload was destroyed")
    key = house.wrapper.unwrap(bytes(row.wrapped), release_id=upload)
    return b"".join(open_artifact(house.store, _location(upload), data_key=key).blocks())


def drop_upload(house: House, upload: str, *, now: datetime) -> None:
    """Destroy an upload and its key."""
    with house.database.begin() as work:
        mine = data_key.c.subject == f"upload:{upload}"
        work.execute(update(data_key).where(mine).values(wrapped=None, destroyed_at=now))
        work.commit()
    house.store.delete(_location(upload))
