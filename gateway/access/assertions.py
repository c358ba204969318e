"""Client assertions (RFC 7523, `private_key_jwt`) as any OAuth client library makes them.

Their profile is wider than that of our own messages, because libraries differ: `typ`, `kid` and `iat` may be missing, and an
hour is a usual lifetime. Everything else is as strict, and an assertion is used once.

Invariants:
    - The key is one that is registered for the principal whom `iss` and `sub` name; a `kid` only chooses among those.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from gateway.access.claims import ClaimRules
from gateway.access.facts import FindPrincipal, KeyFacts, Principal
from gateway.access.jws import CLIENT_ASSERTION, UnverifiedJws, digest_of
from gateway.access.refusal import refusal
from gateway.access.replay import Repeated, ReplayGuard
from gateway.errors import NotAuthenticated

__all__ = ["VerifiedAssertion", "verify_client_assertion"]

MAX_LIFE: Final = timedelta(hours=1)
REQUIRED: Final = frozenset({"iss", "sub", "aud", "exp", "jti"})
ALLOWED: Final = REQUIRED | {"iat", "nbf"}


@dataclass(frozen=True, slots=True)
class VerifiedAssertion:
    """Who authenticated, and with which of the registered keys."""

    principal: Principal
    key_thumbprint: str
    jti: str


def verify_client_assertion(
    raw: str, *, find_principal: FindPrincipal, audiences: Sequence[str], replay: ReplayGuard, now: datetime
) -> VerifiedAssertion:
    """Verify an assertion and use it up.

    Args:
        raw: The `client_assertion` parameter.
        find_principal: Name → principal, e.g. `Principals(work).find`.
        audiences: Our issuer URL and the address of the token endpoint; `aud` is one of them.
        replay: Remembers the assertion in the transaction of the act.
        now: The present moment.

    Raises:
        NotAuthenticated: it proves nothing; the words never say why.
    """
    message = CLIENT_ASSERTION.take_apart(raw)
    name = message.unverified_claims().get("iss")
    principal = find_principal(name) if isinstance(name, str) and len(name) <= 128 else None  # noqa: PLR2004 - as registered
    claims, key = _open(message, principal, now)
    life = ClaimRules(audiences=frozenset(audiences), max_life=MAX_LIFE, needs_issued_at=False).check(claims, now=now)
    if not REQUIRED <= set(claims) <= ALLOWED:
        raise refusal("assertion-members")
    if principal is None or principal.disabled_at is not None or claims["sub"] != life.issuer:
        raise refusal("assertion-subject")
    used = replay.claim(
        life.issuer, life.jti, digest=digest_of(message.raw), request_id=None, expires_at=life.expires_at, now=now
    )
    if isinstance(used, Repeated):
        raise refusal("assertion-replayed")
    return VerifiedAssertion(principal, key.public.thumbprint, life.jti)


def _open(message: UnverifiedJws, principal: Principal | None, now: datetime) -> tuple[dict[str, Any], KeyFacts]:
    """Try the usable keys of the principal; a `kid` narrows them to one, and the algorithm always does."""
    kid, algorithm = message.unverified_header.get("kid"), CLIENT_ASSERTION.names[message.unverified_header["alg"]]
    possible = [
        key
        for key in (principal.keys if principal else ())
        if key.is_usable(now) and key.public.algorithm == algorithm and kid in (None, key.public.thumbprint)
    ]
    if not possible:
        CLIENT_ASSERTION.refuse_unknown_key(message)
    for key in possible[:-1]:
        with contextlib.suppress(NotAuthenticated):
            return CLIENT_ASSERTION.open(message, key.public), key
    return CLIENT_ASSERTION.open(message, possible[-1].public), possible[-1]
