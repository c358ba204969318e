"""The log for those who check it: entries, checkpoints, proofs, exports. Reading the log is recorded in it.

Invariants:
    - What was asked for stands in the record of the call; a person's name stands there as a pseudonym only, never as part of a
      path.
    - The record is in the database before the first line of an answer leaves.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Literal, cast

from flask import Response, jsonify
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from gateway.audit import newest_signed, prove_consistency, prove_inclusion
from gateway.audit.export import decode_cursor, export_lines, export_page
from gateway.audit.log import Log, Where
from gateway.errors import InvalidRequest, NotFound
from gateway.web.guard import WITHIN, declares, house, record

api = APIBlueprint("audit", __name__, url_prefix="/v1/audit", abp_tags=[Tag(name="audit")])

MEDIA = {"jsonl": "application/jsonl", "ocsf": "application/jsonl", "cef": "text/plain; charset=utf-8"}
EXPORT_PAGE = 1000


class EntriesQuery(BaseModel):
    """Which entries."""

    model_config = ConfigDict(extra="forbid")

    cursor: str | None = Field(default=None, max_length=200)
    limit: int = Field(default=100, ge=1, le=1000)
    kind: str | None = Field(default=None, max_length=64, description="A kind, or all of a subject with a dot: `release.`")
    actor: str | None = Field(default=None, max_length=128, description="Plain name; compared as its pseudonym.")
    release: str | None = Field(default=None, max_length=64)
    ticket: str | None = Field(default=None, max_length=64)
    dataset: str | None = Field(default=None, max_length=64)
    token: str | None = Field(default=None, max_length=64)

    def where(self) -> Where:
        """The conditions that were given."""
        names = ("kind", "actor", "release", "ticket", "dataset", "token")
        return cast("Where", {name: getattr(self, name) for name in names if getattr(self, name) is not None})


class InclusionQuery(BaseModel):
    """A leaf under a tree size."""

    index: int = Field(ge=0)
    size: int | None = Field(default=None, ge=1)


class ConsistencyQuery(BaseModel):
    """Two tree sizes."""

    old: int = Field(ge=1)
    new: int | None = Field(default=None, ge=1)


class ExportQuery(BaseModel):
    """An export from a cursor on."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["jsonl", "ocsf", "cef"] = "jsonl"
    cursor: str | None = Field(default=None, max_length=200)


@api.get("/entries")
@declares("audit:read", audit=WITHIN)
def entries(query: EntriesQuery) -> Response:
    """Entries in the order of the tree."""
    with house().database.read() as work:
        page = export_page(work, cursor=query.cursor, limit=query.limit, **query.where())
    record("log.read", where=query.where(), entries=len(page.entries))
    response = jsonify({"entries": [entry.to_json() for entry in page.entries], "next": page.cursor})
    if not page.is_last:
        response.headers["Link"] = f'</v1/audit/entries?cursor={page.cursor}&limit={query.limit}>; rel="next"'
    return response


@api.get("/checkpoint")
@declares("audit:read", audit="log.read")
def checkpoint() -> Response:
    """The newest signed checkpoint, as a C2SP signed note."""
    with house().database.read() as work:
        head = newest_signed(work)
    if head is None or head.note is None:
        raise NotFound("no checkpoint was signed yet")
    return Response(head.note, content_type="text/plain; charset=utf-8")


def _size(size: int | None) -> int:
    with house().database.read() as work:
        head = newest_signed(work)
    newest = 0 if head is None else head.size
    if (size or newest) > newest or newest == 0:
        raise InvalidRequest(f"size: the log has {newest} leaves under a signed checkpoint")
    return size or newest


@api.get("/proofs/inclusion")
@declares("audit:read", audit="log.read")
def inclusion(query: InclusionQuery) -> Response:
    """That a leaf stands in the tree of a size (RFC 9162)."""
    size = _size(query.size)
    if query.index >= size:
        raise InvalidRequest("index: not a leaf of a tree of this size")
    with house().database.read() as work:
        proof = prove_inclusion(work, query.index, size)
    return jsonify({"index": query.index, "size": size, "proof": [base64.b64encode(part).decode() for part in proof]})


@api.get("/proofs/consistency")
@declares("audit:read", audit="log.read")
def consistency(query: ConsistencyQuery) -> Response:
    """That the tree of one size continues the tree of a smaller one."""
    new = _size(query.new)
    if query.old > new:
        raise InvalidRequest("old: larger than new")
    with house().database.read() as work:
        proof = prove_consistency(work, query.old, new)
    return jsonify({"old": query.old, "new": new, "proof": [base64.b64encode(part).decode() for part in proof]})


@api.get("/export")
@declares("audit:export", audit=WITHIN)
def export(query: ExportQuery) -> Response:
    """All leaves from a cursor on, as JSON Lines, OCSF or CEF; the export itself is a leaf."""
    rooms = house()
    behind = None if query.cursor is None else decode_cursor(query.cursor)
    with rooms.database.read() as work:
        head = newest_signed(work)
    size = 0 if head is None else head.size
    record("log.exported", format=query.format, behind=behind, size=size)

    def stream() -> Iterator[str]:
        cursor = query.cursor
        while True:
            with rooms.database.read() as work:
                page = export_page(work, cursor=cursor, limit=EXPORT_PAGE)
            known = [entry for entry in page.entries if entry.index is not None and entry.index < size]
            yield from export_lines(known, query.format)
            cursor = page.cursor
            if page.is_last or len(known) < len(page.entries):
                return

    return Response(stream(), content_type=MEDIA[query.format])


class PseudonymQuery(BaseModel):
    """A known person; in the query and not in the path, which is recorded."""

    model_config = ConfigDict(extra="forbid")

    principal: str = Field(min_length=1, max_length=128)


@api.get("/pseudonym")
@declares("audit:read", audit="log.read")
def pseudonym(query: PseudonymQuery) -> Response:
    """Under which pseudonym a known person stands in the log, for a search outside."""
    with house().database.read() as work:
        found = Log(work).pseudonym_of(query.principal)
    if found is None:
        raise NotFound("nobody of this name stands in the log, or the name was erased")
    return jsonify({"principal": query.principal, "pseudonym": found})
