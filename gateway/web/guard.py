"""What every route declares: who may call it, and how the call is recorded.

Invariants:
    - A route without a declaration cannot be called: the guard refuses it, and a test finds it before.
    - A route is audited, or it stands in `UNAUDITED` with the reason why; a test compares both with the route table.
    - An audited route answers only after its event is in the database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

from flask import current_app, g, request

from gateway.access import ACCESS, Access
from gateway.audit import Log
from gateway.errors import TicketgateError
from gateway.releases import House
from gateway.telemetry import utc_now

__all__ = ["UNAUDITED", "WITHIN", "Declared", "declaration_of", "declares", "house", "record"]

View = TypeVar("View", bound=Callable[..., Any])
MARK = "__ticketgate__"
WITHIN = "within"
"""The view writes its event itself, in the transaction of what it does."""


UNAUDITED: Mapping[str, str] = {
    "/healthz": "says that the process lives; touches nothing",
    "/readyz": "says that database and store answer; touches no record",
    "/metrics": "counts without identifiers of people, tickets or releases",
    "/.well-known/jwks.json": "public keys",
    "/.well-known/oauth-authorization-server": "public metadata",
    "/openapi.json": "the description of this interface",
    "/problems/<code>": "documentation",
    "/console/": "a public page without data",
    "/v1/release-requests": "the listing of one's own requests; asking for a release by POST is audited",
    "/v1/release-requests/<request_id>": "the status of one's own request, polled every second",
    "/v1/release-requests/<request_id>/events": "the same status as a stream",
    "/v1/jobs/<job_id>": "the state of one's own job; asking for it was recorded",
}
"""Paths that are not audited, each with its reason. Published in docs/reference/unaudited-paths.md."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What a route declares.

    Attributes:
        access: How a caller proves who speaks, and the scope that is needed.
        audit: Kind of the event, `WITHIN`, or None for an unaudited path.
    """

    access: Access
    audit: str | None


def declares(access: str, *, audit: str | None) -> Callable[[View], View]:
    """Declare a route's access level (a name of `gateway.access.ACCESS`) and its record; stands below the route."""
    declared = Declared(access=ACCESS[access], audit=audit)

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            answer = view(*args, **kwargs)
            if declared.audit is not None and declared.audit != WITHIN:
                record(declared.audit)
            return answer

        setattr(guarded, MARK, declared)
        return cast("View", guarded)

    return decorate


def declaration_of(view: Callable[..., Any]) -> Declared | None:
    """What a view declares, or None."""
    return getattr(view, MARK, None)


def house() -> House:
    """The house this application serves."""
    return cast("House", current_app.extensions["ticketgate"])


def record(kind: str, *, release: str | None = None, **data: Any) -> str:
    """Write one event in a transaction of its own; used by calls that change nothing else.

    Args:
        kind: Of the event.
        release: Which release it is about, where the path does not name it.
        data: Further facts.

    Raises:
        NotRecorded: the log could not be written, so the answer is not given.
    """
    arguments = request.view_args or {}
    principal = g.get("principal")
    with house().database.begin() as work:
        event = Log(work).append(
            kind,
            at=utc_now(),
            actor=None if principal is None else principal.name,
            release=release or arguments.get("release_id"),
            dataset=arguments.get("name") if request.path.startswith("/v1/datasets/") else None,
            data={"method": request.method, "path": request.path, **data},
        )
        work.commit()
    return event


def refusal_facts(error: TicketgateError) -> dict[str, Any]:
    """What an event about a refused call holds."""
    return {"method": request.method, "path": request.path, "code": error.slug}
