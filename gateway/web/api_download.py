"""Fetch artifacts of a release: the one route over which data leaves.

Invariants:
    - Bytes leave only behind a release token that was checked against the store for this very range.
    - Nothing is looked up for a call without a token; behind one every refusal is recorded, that of a range too.
    - The intent to send is recorded before the first byte, what was sent after the last one, whatever ended it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from http import HTTPStatus
from typing import cast
from urllib.parse import quote

from flask import Response, current_app, g, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field
from werkzeug.exceptions import MethodNotAllowed

from gateway.access import ProofContext
from gateway.releases import Transfer, open_transfer
from gateway.releases.ranges import RangeAsked, etag_of
from gateway.telemetry import utc_now
from gateway.web.guard import WITHIN, declares, house
from gateway.web.identity import credential, proof_of_call
from gateway.web.sending import Desk

__all__ = ["DESK", "api"]

api = APIBlueprint("download", __name__, url_prefix="/v1", abp_tags=[Tag(name="releases")])

DESK = "ticketgate.desk"


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
    token = credential()
    g.is_recorded = True  # from here on a refusal records itself, with its reason
    asked = RangeAsked(request.headers.get("Range"), request.headers.get("If-Range"))
    transfer = open_transfer(house(), token, release_id=path.release_id, name=path.name, asked=asked, proof=context, now=now)
    return _response(transfer)


def _response(transfer: Transfer) -> Response:
    artifact, is_part = transfer.artifact, transfer.is_part
    response = Response(_body(transfer), status=HTTPStatus.PARTIAL_CONTENT if is_part else HTTPStatus.OK, direct_passthrough=True)
    headers = response.headers
    headers["Content-Type"] = artifact.media_type
    headers["Content-Length"] = str(transfer.length)
    headers["ETag"] = etag_of(artifact.sha256)
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
