"""Text that a database cannot hold is refused before a view sees it; and what was not foreseen is told without a flood.

PostgreSQL holds no U+0000, and neither database half a character. A caller can write both in a path, a form or a JSON string.

Invariants:
    - Such text in a path is nothing that exists (404), elsewhere an invalid request (422); in a signed message it is refused with
      the message (401, `gateway.access.strict_json`).
    - A call that ends in an unforeseen error is an event (of a principal) or counted (of a stranger). Its traceback is logged
      once a minute for each route and kind of error, and never with what the database said: that may quote a row.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Iterable

from flask import Flask, current_app, g, request

from gateway.access import Access
from gateway.access.strict_json import holds_nul
from gateway.audit import Log
from gateway.errors import InvalidRequest, NotFound
from gateway.telemetry import logger, utc_now
from gateway.web.guard import house
from gateway.web.unauthenticated import count_stranger

__all__ = ["add_tracebacks", "record_unforeseen", "refuse_unstorable"]

EXTENSION = "ticketgate.tracebacks"
TRACE_SECONDS = 60.0
MAX_TRACED = 200


def refuse_unstorable(access: Access) -> None:
    """Look at path, query, form and JSON of a call whose caller is known as far as its route asks for that.

    Raises:
        NotFound: the path holds text that no name can hold.
        InvalidRequest: another part does.
    """
    if _is_bad([request.path]):
        raise NotFound("there is nothing under this path")
    if access.credential == "client-assertion":
        return  # its parameters are compared or verified, and reach no column
    if _is_bad(_pairs(request.args.items(multi=True))) or _is_bad(_pairs(request.form.items(multi=True))) or _is_bad_json():
        raise InvalidRequest("a text holds a NUL or half a character", unlock=("leave it out",))


def _pairs(items: Iterable[tuple[str, str]]) -> Iterable[str]:
    return (part for pair in items for part in pair)


def _is_bad(texts: Iterable[str]) -> bool:
    return any("\0" in text or not _is_whole(text) for text in texts)


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_bad_json() -> bool:
    if not request.is_json:
        return False
    raw = request.get_data(cache=True)
    if b"\\u" not in raw:
        return False
    if holds_nul(raw):
        return True
    try:
        return not _is_whole(json.dumps(json.loads(raw), ensure_ascii=False))
    except (ValueError, RecursionError):
        return False  # the view says what is wrong with it


def add_tracebacks(app: Flask) -> None:
    """Give the application its memory of what it has told."""
    app.extensions[EXTENSION] = {}


def record_unforeseen(error: Exception) -> None:
    """Record and log a call that ended in an error which nobody foresaw.

    Raises:
        NotRecorded: it could not be recorded.
    """
    kind = type(error).__name__
    logger("web").error(
        "unforeseen", call_id=g.get("call_id"), path=request.path, kind=kind, where=_where(error), **_trace(error)
    )
    principal = g.get("principal")
    if principal is None:
        count_stranger("failed")
        return
    with house().database.begin() as work:
        data = {"method": request.method, "path": request.path[:200], "error": kind}
        Log(work).append("call.failed", at=utc_now(), actor=principal.name, data=data)
        work.commit()


def _where(error: Exception) -> str:
    """The innermost place in our own code."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/gateway/" in frame.filename]
    return f"{frames[-1].filename.rpartition('/gateway/')[2]}:{frames[-1].lineno}" if frames else "unknown"


def _trace(error: Exception) -> dict[str, object]:
    """The traceback, unless it was told a moment ago or may hold values of a row."""
    chain: BaseException | None = error
    while chain is not None:
        from_driver = getattr(chain, "orig", None)
        if from_driver is not None:
            return {"sqlstate": getattr(from_driver, "sqlstate", None)}
        chain = chain.__cause__ or chain.__context__
    told, key, now = current_app.extensions[EXTENSION], (request.endpoint, type(error)), time.monotonic()
    if key in told and now - told[key] < TRACE_SECONDS:
        return {}
    if len(told) >= MAX_TRACED:
        told.clear()
    told[key] = now
    return {"exc_info": error}
