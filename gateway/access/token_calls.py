"""Revocation (RFC 7009) of release and access tokens, and introspection (RFC 7662) of release tokens, without HTTP.

Invariants:
    - Asking about or revoking a token that is unknown, dead or somebody else's looks the same as one that never was.
    - Whoever holds no oversight scope reaches own tokens only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.access.access_tokens import AccessFacts
from gateway.access.claims import JTI, seconds
from gateway.access.downloads import Downloads
from gateway.access.gateway_keys import GatewayKeys
from gateway.access.jws import ACCESS_TOKEN
from gateway.access.release_tokens import KnownToken, ReleaseTokens
from gateway.access.revocations import KINDS, Kind, RevocationFacts, Revocations
from gateway.db import Work
from gateway.errors import InvalidRequest, NotAuthenticated, NotAuthorised, TokenRefused

__all__ = ["Revoked", "introspect", "revoke"]

INACTIVE: dict[str, Any] = {"active": False}


@dataclass(frozen=True, slots=True)
class Revoked:
    """What a revocation call did.

    Attributes:
        facts: What was revoked.
        owner: Whose token it was, as far as that is known; None when it was revoked by anything but a token.
        is_access_token: Whether it was an access token.
    """

    facts: RevocationFacts
    owner: str | None = None
    is_access_token: bool = False


def revoke(
    form: Mapping[str, Sequence[str]],
    *,
    work: Work,
    tokens: ReleaseTokens,
    keys: GatewayKeys,
    was_issued: Callable[[str], bool],
    caller: AccessFacts,
    now: datetime,
) -> Revoked | None:
    """Carry out one revocation call.

    Args:
        form: `token` (the token itself or its id), or one of `release`, `ticket`, `dataset`, `principal`, `key`; optional
            `reason` and `token_type_hint`.
        work: The transaction that also records it.
        tokens: To recognise a release token.
        keys: To recognise a token.
        was_issued: Whether an access token of this id was issued, by the log: no table holds them.
        caller: Who calls; `tokens:revoke` for own tokens, `tokens:revoke-any` for everything else.
        now: The present moment, taken after `stop_issuing`.

    Returns:
        What was revoked; None when there is nothing that the caller may know of (still answered 200, as RFC 7009 says).

    Raises:
        InvalidRequest: not exactly one thing to revoke.
        NotAuthorised: a kind that needs oversight.
    """
    wanted: list[Kind] = [kind for kind in KINDS if kind in form]
    if len(wanted) != 1 or any(len(values) != 1 for values in form.values()):
        raise InvalidRequest(f"name exactly one of {', '.join(KINDS)}")
    kind, subject, reason = wanted[0], form[wanted[0]][0], form.get("reason", [""])[0]
    oversees = "tokens:revoke-any" in caller.scopes
    if kind != "token" and not oversees:
        raise NotAuthorised("revoking by anything but a token of your own needs an overseeing role")
    add = Revocations(work).add
    if kind != "token":
        return Revoked(add(kind, subject, by=caller.principal.name, reason=reason, now=now))
    known, is_access = tokens.recognise(subject, keys=keys, now=now), False
    if known is None:
        known, is_access = _access_token(subject, keys=keys, now=now), True
    if known is not None and (oversees or known.principal == caller.principal.name):
        return Revoked(add(kind, known.jti, by=caller.principal.name, reason=reason, now=now), known.principal, is_access)
    if known is None and oversees and JTI.match(subject) and was_issued(subject):
        return Revoked(add(kind, subject, by=caller.principal.name, reason=reason, now=now), None, is_access_token=True)
    return None


def _access_token(raw: str, *, keys: GatewayKeys, now: datetime) -> KnownToken | None:
    """An access token of ours, whatever has become of it since."""
    try:
        message = ACCESS_TOKEN.take_apart(raw)
        claims = ACCESS_TOKEN.open(message, keys.token_key(message.unverified_header["kid"], now))
    except NotAuthenticated:
        return None
    return KnownToken(str(claims.get("jti")), str(claims.get("sub")))


def introspect(
    raw: str, *, work: Work, tokens: ReleaseTokens, keys: GatewayKeys, caller: AccessFacts, now: datetime
) -> dict[str, Any]:
    """Answer one introspection call: everything about a token that is good now, else `{"active": false}`."""
    try:
        facts = tokens.look_up(raw, keys=keys, now=now)
    except TokenRefused:
        return INACTIVE
    subject = facts.subject
    is_own = subject.principal == caller.principal.name
    is_useful = facts.downloads_left > 0 or Downloads(work).is_open(facts, now=now)
    if not is_useful or not (is_own or "tokens:introspect-any" in caller.scopes):
        return INACTIVE
    return {
        "active": True,
        "token_type": "Bearer" if subject.jkt is None else "DPoP",
        "iss": tokens.issuer,
        "aud": tokens.issuer,
        "sub": subject.principal,
        "client_id": subject.principal,
        "jti": facts.jti,
        "iat": seconds(facts.issued_at),
        "exp": seconds(facts.expires_at),
        "scope": " ".join(subject.artifacts),
        "release": subject.release,
        "ticket": subject.ticket,
        "dataset": subject.dataset,
        "policy": subject.policy_digest,
        "manifest": subject.manifest_digest,
        "max_downloads": facts.max_downloads,
        "downloads_left": facts.downloads_left,
        **({} if subject.jkt is None else {"cnf": {"jkt": subject.jkt}}),
    }
