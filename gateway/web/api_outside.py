"""What lies outside /v1: keys, metadata, the interface's own description, problem pages."""

from __future__ import annotations

from http import HTTPStatus

from flask import Response, current_app, json, jsonify
from flask_openapi3 import APIBlueprint, Tag
from markupsafe import escape
from pydantic import BaseModel, Field

from gateway.access import GatewayKeys, server_metadata
from gateway.access.gateway_keys import JWKS_MAX_AGE
from gateway.errors import NotFound
from gateway.telemetry import utc_now
from gateway.web.guard import declares, house
from gateway.web.problems import CODES

api = APIBlueprint("outside", __name__, abp_tags=[Tag(name="outside")])


class ProblemPath(BaseModel):
    """One problem type."""

    code: str = Field(max_length=64, pattern=r"^[a-z0-9-]+$")


@api.get("/.well-known/jwks.json")
@declares("public", audit=None)
def jwks() -> Response:
    """The gateway's public keys (RFC 7517)."""
    with house().database.read() as work:
        response = jsonify(GatewayKeys(work, house().sealing).jwks(utc_now()))
    response.headers["Cache-Control"] = f"public, max-age={int(JWKS_MAX_AGE.total_seconds())}"
    return response


@api.get("/.well-known/oauth-authorization-server")
@declares("public", audit=None)
def metadata() -> Response:
    """Authorization server metadata (RFC 8414)."""
    response = jsonify(server_metadata(house().issuer))
    response.headers["Cache-Control"] = "public, max-age=300"
    return response


@api.get("/openapi.json")
@declares("public", audit=None)
def openapi() -> Response:
    """The description of this interface (OpenAPI 3.1)."""
    document = current_app.api_doc  # type: ignore[attr-defined]  # flask-openapi3's application
    return Response(json.dumps(document), content_type="application/json")


@api.get("/problems/<code>")
@declares("public", audit=None)
def problem(path: ProblemPath) -> Response:
    """What a problem means and what to do about it."""
    page = CODES.get(path.code)
    if page is None:
        raise NotFound("there is no problem of this name")
    body = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(page.title)}</title>"
        f"<h1>{escape(page.title)}</h1><p><code>{escape(path.code)}</code></p><h2>What happened</h2><p>{escape(page.meaning)}</p>"
        f"<h2>What to do</h2><p>{escape(page.remedy)}</p></html>"
    )
    return Response(body, status=HTTPStatus.OK, content_type="text/html; charset=utf-8")
