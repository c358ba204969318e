"""The Flask application: who is calling, may they, is it recorded, and how errors leave.

Invariants:
    - Every route declares its access; an undeclared one answers 404 as if it were not there.
    - An error becomes a problem document; a refused call is recorded before it is answered, and if that fails the answer is 503.
    - The application holds no state of its own: the house is given, the database is the truth.
"""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import Any, Literal, cast

from flask import Flask, Response, current_app, g, request
from flask_openapi3 import Info, OpenAPI
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.middleware.proxy_fix import ProxyFix

from gateway.audit import Log
from gateway.errors import NotAuthenticated, NotAuthorised, NotRecorded, TicketgateError, TooManyRequests, status_of
from gateway.releases import House
from gateway.telemetry import utc_now
from gateway.web import (
    api_audit,
    api_catalogue,
    api_compliance,
    api_download,
    api_dp,
    api_health,
    api_jobs,
    api_outside,
    api_releases,
    api_requests,
    api_review,
    api_tickets,
    api_tokens,
    console,
)
from gateway.web.guard import declaration_of, house
from gateway.web.identity import authenticate
from gateway.web.limits import add_limits
from gateway.web.metrics import Standing, add_metrics
from gateway.web.problems import problem_of, problem_response
from gateway.web.reading import JsonReader
from gateway.web.sending import Desk
from gateway.web.streams import STREAMS, Streams
from gateway.web.unauthenticated import add_noise, flush_noise, note_refused
from gateway.web.unstorable import add_tracebacks, record_unforeseen, refuse_unstorable

__all__ = ["Role", "create_app", "end_app"]

MAX_BODY = 64 << 20
THREADS = 16
Role = Literal["all", "downloads"]
DOWNLOADS = (api_health, api_download)
BLUEPRINTS = (
    api_outside, *DOWNLOADS, api_requests, api_releases, api_review, api_tokens, api_catalogue, api_dp, api_compliance,
    api_audit, api_jobs, api_tickets, console,
)  # fmt: skip
HTTP_CODES = {404: "not-found", 405: "method-not-allowed", 413: "payload-too-large", 415: "unsupported-media-type"}


def create_app(rooms: House, *, with_limits: bool = True, role: Role = "all", threads: int = THREADS) -> OpenAPI:
    """Make the application that serves a house.

    Args:
        rooms: The house.
        with_limits: Whether calls are counted and throttled.
        role: `downloads` has the one route over which data leaves, and what probes ask; it signs nothing.
        threads: How many threads the server has for it; event streams take a share of them.
    """
    info = Info(title="Ticketgate", version="1", description="Governed release of synthetic data.")
    app = OpenAPI("gateway.web", info=info, doc_ui=False, validation_error_callback=_invalid)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.json = JsonReader(app)
    app.config["WRITES_ARTIFACTS"] = role == "all"
    app.extensions["ticketgate"] = rooms
    app.extensions[api_download.DESK] = Desk(rooms)
    app.extensions[STREAMS] = Streams(threads)
    app.extensions[api_health.STANDING] = Standing(rooms) if role == "all" else None
    for module in BLUEPRINTS if role == "all" else DOWNLOADS:
        app.register_api(module.api)
    add_metrics(app)
    app.before_request(_name_the_call)
    if rooms.settings.proxies:
        hops = rooms.settings.proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops)  # type: ignore[method-assign]  # Flask's documented way
    if with_limits:
        add_limits(app, rooms)
    app.before_request(_guard)
    app.after_request(_finish)
    add_noise(app)
    add_tracebacks(app)
    app.after_request(_flush)
    app.register_error_handler(TicketgateError, _known)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unforeseen)
    return app


def end_app(app: Flask) -> None:
    """Before the process ends: record the downloads that it cuts off, and what was counted of strangers."""
    app.extensions[api_download.DESK].close()
    flush_noise(app, everything=True)


def _name_the_call() -> None:
    g.call_id = secrets.token_hex(8)


def _guard() -> Response | None:
    """Refuse what is not declared; authenticate what asks for it."""
    if request.endpoint is None:
        return None
    declared = declaration_of(current_app.view_functions[request.endpoint])
    if declared is None:
        return problem_response(HTTPStatus.NOT_FOUND, code="not-found", detail="there is nothing under this path")
    authenticate(declared.access)
    refuse_unstorable(declared.access)
    return None


def _finish(response: Response) -> Response:
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Request-Id"] = g.get("call_id", "")
    return response


def _flush(response: Response) -> Response:
    flush_noise(cast("Flask", current_app._get_current_object()))  # type: ignore[attr-defined]  # noqa: SLF001 - Flask's documented way
    return response


def _known(error: TicketgateError) -> Response:
    try:
        _record_refusal(error)
    except NotRecorded as unrecorded:
        return problem_of(unrecorded)
    return problem_of(error)


def _record_refusal(error: TicketgateError) -> None:
    """Refused calls are events too: of a principal one by one, of strangers and throttled callers in sums."""
    if g.get("is_recorded") or isinstance(error, NotRecorded):
        return
    if isinstance(error, NotAuthenticated | TooManyRequests) or g.get("principal") is None:
        note_refused(error)
        return
    kind = _kind_of_refusal(error)
    if kind is not None:
        data = {"method": request.method, "path": request.path, "code": error.slug}
        with house().database.begin() as work:
            Log(work).append(kind, at=utc_now(), actor=g.principal.name, data=data)
            work.commit()


def _kind_of_refusal(error: TicketgateError) -> str | None:
    """Which refusals of a known principal are events: those of a right, and every refused release request and token."""
    if isinstance(error, NotAuthorised):
        return "call.unauthorised"
    if request.endpoint == "requests.ask":
        return "release.replayed" if error.slug == "replayed" else "release.refused"
    return "token.refused" if request.endpoint == "releases.obtain_token" else None


def _http(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or 500)
    code = HTTP_CODES.get(int(status), "invalid-request" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "internal-error")
    if request.endpoint is None and status == HTTPStatus.NOT_FOUND:
        return problem_response(status, code=code, detail="there is nothing under this path")
    response = problem_response(status, code=code, detail=str(error.description or status.phrase))
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def _unforeseen(error: Exception) -> Response:
    try:
        record_unforeseen(error)
    except NotRecorded as unrecorded:
        return problem_of(unrecorded)
    status = status_of(TicketgateError(""))
    return problem_response(status, code="internal-error", detail="the gateway met an error that nobody foresaw")


def _invalid(error: Any) -> Response:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    return problem_response(status, code="invalid-request", detail=f"{where}: {first['msg']}")
