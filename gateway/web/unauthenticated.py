"""Calls that prove nothing: recorded while they are few, counted when they are many.

Invariants:
    - A failed signature or token is an event of its own, until the address is throttled; from then on calls are counted per
      address and window, so that noise cannot fill the disk.
    - Addresses stand in the log as pseudonyms.
"""

from __future__ import annotations

import time

from flask import Flask, current_app, request

from gateway.access import reason_of
from gateway.audit import Log
from gateway.audit.noise import Noise, network_of
from gateway.errors import TicketgateError, TooManyRequests
from gateway.telemetry import utc_now
from gateway.web.guard import house

__all__ = ["add_noise", "count_stranger", "flush_noise", "note_refused"]

FLUSH_SECONDS = 60.0
KINDS = {"/oauth/token": "access-token.refused", "/v1/tickets/webhook": "webhook.refused"}
EXTENSION = "ticketgate.noise"
LAST_FLUSH = "ticketgate.noise.flushed"


def add_noise(app: Flask) -> None:
    """Give the application its counters."""
    app.extensions[EXTENSION] = Noise()
    app.extensions[LAST_FLUSH] = time.monotonic()


def note_refused(error: TicketgateError | str, reason: str | None = None) -> None:
    """Record a refused call of a stranger.

    Raises:
        NotRecorded: it could not be recorded, so the answer is 503.
    """
    now, rooms = utc_now(), house()
    if isinstance(error, TooManyRequests):
        count_stranger("throttled")
        return
    slug = error if isinstance(error, str) else error.slug
    why = reason or (slug if isinstance(error, str) else reason_of(error))
    kind = KINDS.get(request.path, "call.unauthenticated")
    with rooms.database.begin() as work:
        log = Log(work)
        address = log.address_pseudonym(network_of(request.remote_addr or ""), day=now)
        data = {"method": request.method, "path": request.path[:200], "code": slug, "reason": why, "from": address}
        log.append(kind, at=now, data=data)
        work.commit()


def count_stranger(reason: str) -> None:
    """Count this call by its address; the counts are written when their window closes."""
    current_app.extensions[EXTENSION].note(reason, address=request.remote_addr or "", at=utc_now())


def flush_noise(app: Flask, *, everything: bool = False) -> None:
    """Write closed windows into the log, at most once a minute; all of them when the process ends."""
    if not everything and time.monotonic() - app.extensions[LAST_FLUSH] < FLUSH_SECONDS:
        return
    app.extensions[LAST_FLUSH] = time.monotonic()
    app.extensions[EXTENSION].flush(app.extensions["ticketgate"].database, at=utc_now(), everything=everything)
