"""Fetch artifacts of a release: the one route over which data leaves.

Invariants:
    - Bytes leave only behind a release token that was checked against the store for this very range.
    - The intent to send is recorded before the first byte, what was sent after the last one, whatever ended it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import cast
from urllib.parse import quote

from flask import Response, current_app, g, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field
from werkzeug.exceptions import MethodNotAllowed

from gateway.access import ProofContext
from gateway.errors import RangeNotSatisfiable
from gateway.releases import Transfer, open_transfer
from gateway.releases.artifacts import Artifacts
from gateway.telemetry import utc_now
from gateway.web.guard import WITHIN, declares, house
from gateway.web.identity import credential, proof_of_call
from gateway.web.sending import Desk

__all__ = ["DESK", "api"]

api = APIBlueprint("download", __name__, url_prefix="/v1", abp_tags=[Tag(name="releases")])

DESK = "ticketgate.desk"
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z")


class ArtifactPath(BaseModel):
    """One artifact of a release."""

    release_id: str = Field(max_length=64)
    name: str = Field(max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


@api.get("/releases/<release_id>/artifacts/<name>")
@declares("release-token", audit=WITHIN)
def fetch(path: ArtifactPath) -> Response:
    """One artifact, or a byte range of it, behind a release token."""
    if request.method != "GET":  # a HEAD would count as a download that nobody receives
        raise MethodNotAllowed(valid_methods=["GET"])
    now = utc_now()
    context: ProofContext | None = proof_of_call()
    g.is_recorded = True  # a refused download records itself, with its reason
    byte_range = _range_of(path)
    transfer = open_transfer(
        house(), credential(), release_id=path.release_id, name=path.name, byte_range=byte_range, proof=context, now=now
    )
    return _response(transfer, is_part=byte_range is not None)


def _range_of(path: ArtifactPath) -> tuple[int | None, int | None] | None:
    """The range that is asked for; the whole artifact when If-Range names another version (RFC 9110, 13.1.5)."""
    header, version = request.headers.get("Range"), request.headers.get("If-Range")
    if header is None:
        return None
    if version is not None:
        with house().database.read() as work:
            known = {f'"{found.sha256}"' for found in Artifacts(work).of(path.release_id) if found.name == path.name}
        if version not in known:
            return None
    found = RANGE.match(header.strip())
    if found is None or found.groups() == ("", ""):
        raise RangeNotSatisfiable("one range of bytes at a time: Range: bytes=FIRST-LAST")
    first, last = (int(group) if group else None for group in found.groups())
    return first, last


def _response(transfer: Transfer, *, is_part: bool) -> Response:
    artifact = transfer.artifact
    response = Response(_body(transfer), status=HTTPStatus.PARTIAL_CONTENT if is_part else HTTPStatus.OK, direct_passthrough=True)
    headers = response.headers
    headers["Content-Type"] = artifact.media_type
    headers["Content-Length"] = str(transfer.length)
    headers["ETag"] = f'"{artifact.sha256}"'
    headers["Accept-Ranges"] = "bytes"
    headers["Repr-Digest"] = f"sha-256=:{base64.b64encode(bytes.fromhex(artifact.sha256)).decode()}:"
    headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(artifact.name)}"
    headers["Cache-Control"] = "private, no-store"
    if is_part:
        end = transfer.start + transfer.length - 1
        headers["Content-Range"] = f"bytes {transfer.start}-{end}/{artifact.size}"
    return response


def _body(transfer: Transfer) -> Iterable[bytes]:
    """The bytes, as the server below takes them best."""
    desk: Desk = current_app.extensions[DESK]
    wrapper = request.environ.get("wsgi.file_wrapper")
    if wrapper is None or wrapper.__module__ != "waitress.buffers" or transfer.length == 0:
        return desk.send(transfer, in_loop=False).blocks()
    return cast("Iterable[bytes]", wrapper(desk.send(transfer, in_loop=True)))
