"""How often callers may try, by address and by principal; counted in Redis when several web processes share one limit.

Invariants:
    - An address is counted before anything of its message is parsed.
    - Failed credentials have a limit of their own, so guessing ends soon.
"""

from __future__ import annotations

from typing import cast

from flask import Flask, Response, current_app, g, request
from flask_limiter import Limiter
from flask_limiter.errors import RateLimitExceeded
from limits import parse

from gateway.access.limits import LIMITS, RateLimit, address_key, principal_key
from gateway.errors import TooManyRequests
from gateway.releases import House
from gateway.web.problems import problem_of

__all__ = ["add_limits", "count_principal"]

UNLIMITED = ("/healthz", "/readyz", "/metrics")
PATHS = {"token-endpoint": "/oauth/token", "signed-requests": "/v1/release-requests"}
FAILURES = (401, 404)
BROKEN = 500  # counts for strangers: what breaks us by chance breaks us seldom
EXTENSION = "ticketgate.limiter"


def _address() -> str:
    return address_key(request.remote_addr)


def _principal() -> str:
    principal = g.get("principal")
    return principal_key(principal.name) if principal is not None else _address()


def _exempt() -> bool:
    return request.path in UNLIMITED


def add_limits(app: Flask, rooms: House) -> Limiter:
    """Count calls and refuse the surplus with 429."""
    limiter = Limiter(
        _address,
        app=app,
        storage_uri=rooms.settings.redis or "memory://",
        strategy="moving-window",
        headers_enabled=False,
        default_limits=[rooms.settings.rate_limit],
        default_limits_exempt_when=_exempt,
        application_limits=[],
        swallow_errors=False,
        in_memory_fallback_enabled=False,
    )
    app.extensions[EXTENSION] = limiter
    app.before_request(_count_address)
    app.after_request(_count_failure)
    app.register_error_handler(RateLimitExceeded, _refused)
    return limiter


def _limit(counts: str, by: str, name: str | None = None) -> RateLimit | None:
    wanted = (limit for limit in LIMITS if limit.counts == counts and limit.by == by and name in (None, limit.name))
    return next(wanted, None)


def _limiter() -> Limiter | None:
    return cast("Limiter | None", current_app.extensions.get(EXTENSION))


def _count_address() -> None:
    """Count a call by its address, before anything of it is parsed; refuse addresses that guess credentials."""
    limiter, failures = _limiter(), _limit("failures", "address")
    if limiter is None or _exempt():
        return
    if failures is not None and not limiter.limiter.test(parse(failures.text()), failures.name, _address()):
        raise TooManyRequests("too many failed credentials from this address", unlock=("wait five minutes",))
    for name, path in PATHS.items():
        limit = _limit("calls", "address", name)
        if limit is not None and request.path == path and request.method == "POST":
            _hit(limiter, limit, _address())


def count_principal(name: str) -> None:
    """Count a call of the principal that a signature has proven.

    Raises:
        TooManyRequests: the limit of this principal is reached.
    """
    limiter, limit = _limiter(), _limit("calls", "principal", name)
    if limiter is not None and limit is not None:
        _hit(limiter, limit, _principal())


def _hit(limiter: Limiter, limit: RateLimit, key: str) -> None:
    if not limiter.limiter.hit(parse(limit.text()), limit.name, key):
        raise TooManyRequests(f"at most {limit.calls} calls in {int(limit.window.total_seconds())} s", unlock=("wait a minute",))


def _count_failure(response: Response) -> Response:
    limiter, failures = _limiter(), _limit("failures", "address")
    is_failure = response.status_code in FAILURES or (response.status_code == BROKEN and g.get("principal") is None)
    if limiter is not None and failures is not None and is_failure and not _exempt():
        limiter.limiter.hit(parse(failures.text()), failures.name, _address())
    return response


def _refused(error: RateLimitExceeded) -> Response:
    from gateway.web.unauthenticated import note_refused

    refusal = TooManyRequests(f"at most {error.limit.limit if error.limit else 'a few'} calls", unlock=("wait a minute",))
    note_refused(refusal)
    response = problem_of(refusal)
    response.headers["Retry-After"] = "60"
    return response
