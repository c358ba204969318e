"""Pages of releases by an opaque cursor, with `Link: rel="next"`.

Invariants: a cursor is a place, no permission; what a page shows is decided anew for every page.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from flask import Response, jsonify, request

from gateway.errors import InvalidRequest
from gateway.releases import Release, Releases
from gateway.releases.views import summary
from gateway.web.guard import house
from gateway.web.reading import moment_of
from gateway.web.schemas import PageQuery

__all__ = ["cursor_of", "page_of", "place_of"]

IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")


def cursor_of(release: Release) -> str:
    """The place behind a release."""
    return base64.urlsafe_b64encode(f"{release.requested_at.isoformat()}|{release.id}".encode()).decode().rstrip("=")


def place_of(cursor: str) -> tuple[datetime, str]:
    """The place of a cursor.

    Raises:
        InvalidRequest: it is none of ours.
    """
    try:
        moment, _, last = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition("|")
    except (ValueError, binascii.Error) as error:
        raise InvalidRequest("cursor: not one that this list gave out") from error
    if not IDENTIFIER.fullmatch(last):
        raise InvalidRequest("cursor: not one that this list gave out")
    return moment_of(moment, name="cursor"), last


def page_of(name: str, query: PageQuery, *, only: Mapping[str, Any]) -> Response:
    """One page of releases as {name: […], next}."""
    wanted = {**only, **{key: value for key, value in (("status", query.status), ("dataset", query.dataset)) if value}}
    before = None if query.cursor is None else place_of(query.cursor)
    with house().database.read() as work:
        found = list(Releases(work).page(before=before, limit=query.limit + 1, only=wanted))
    more, found = len(found) > query.limit, found[: query.limit]
    cursor = cursor_of(found[-1]) if more else None
    response = jsonify({name: [summary(release) for release in found], "next": cursor})
    if cursor is not None:
        kept = {key: value for key, value in request.args.items() if key != "cursor"}
        response.headers["Link"] = f'<{request.path}?{urlencode({**kept, "cursor": cursor})}>; rel="next"'
    return response
