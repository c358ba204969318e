"""Access tokens (RFC 9068): ten minutes, signed by the gateway, checked against the store at every use.

Invariants:
    - Disabling the principal or the key that authenticated kills the token at once; a lost role takes its scopes along.
    - A token bound to a key (`cnf.jkt`) is worth nothing without a fresh proof of that key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from gateway.access.claims import ClaimRules, seconds
from gateway.access.facts import FindPrincipal, Principal
from gateway.access.gateway_keys import GatewayKeys, Signer
from gateway.access.jws import ACCESS_TOKEN, sign
from gateway.access.proofs import ProofContext, verify_proof
from gateway.access.refusal import refusal
from gateway.access.replay import ReplayGuard
from gateway.access.revocations import Kind, Revocations
from gateway.access.scopes import scopes_of
from gateway.access.signing import new_jti

__all__ = ["LIFE", "AccessFacts", "IssuedAccessToken", "issue_access_token", "verify_access_token"]

LIFE: Final = timedelta(minutes=10)
REQUIRED: Final = frozenset({"iss", "sub", "aud", "iat", "exp", "jti", "client_id", "scope", "client_key"})


@dataclass(frozen=True, slots=True)
class IssuedAccessToken:
    """A new access token."""

    token: str
    jti: str
    scopes: frozenset[str]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class AccessFacts:
    """Whom a verified access token speaks for, and what it may do now.

    Attributes:
        key_thumbprint: The registered key that obtained it.
        jkt: The key it is bound to, if any.
    """

    principal: Principal
    scopes: frozenset[str]
    jti: str
    key_thumbprint: str
    expires_at: datetime
    jkt: str | None


def issue_access_token(
    *,
    principal: Principal,
    key_thumbprint: str,
    scopes: Iterable[str],
    issuer: str,
    signer: Signer,
    now: datetime,
    jkt: str | None = None,
) -> IssuedAccessToken:
    """Sign an access token for a principal that has just authenticated."""
    granted, jti, expires_at = frozenset(scopes), new_jti(), (now + LIFE).replace(microsecond=0)
    claims: dict[str, Any] = {
        "iss": issuer,
        "sub": principal.name,
        "aud": issuer,
        "iat": seconds(now),
        "exp": seconds(expires_at),
        "jti": jti,
        "client_id": principal.name,
        "scope": " ".join(sorted(granted)),
        "client_key": key_thumbprint,
    }
    if jkt is not None:
        claims["cnf"] = {"jkt": jkt}
    payload = json.dumps(claims, separators=(",", ":")).encode()
    token = sign({"typ": "at+jwt", "kid": signer.kid}, payload, signer.private_key)
    return IssuedAccessToken(token, jti, granted, expires_at)


def verify_access_token(
    raw: str,
    *,
    issuer: str,
    keys: GatewayKeys,
    find_principal: FindPrincipal,
    revocations: Revocations,
    replay: ReplayGuard,
    now: datetime,
    proof: ProofContext | None = None,
) -> AccessFacts:
    """Verify an access token against its signature and the store.

    Args:
        raw: What follows `Bearer` or `DPoP` in the `Authorization` header.
        issuer: Our issuer URL, also `aud`.
        keys: The gateway's keys.
        find_principal: Name → principal.
        revocations: By token, principal or key.
        replay: For the proof's identifier.
        now: The present moment.
        proof: The DPoP proof of this request, if one came along.

    Raises:
        NotAuthenticated: not a token of ours, expired, or its principal or key is out of use; the words never say which.
    """
    message = ACCESS_TOKEN.take_apart(raw)
    claims = ACCESS_TOKEN.open(message, keys.token_key(message.unverified_header["kid"], now))
    life = ClaimRules(audiences=frozenset({issuer}), max_life=LIFE).check(claims, now=now)
    if life.issuer != issuer or set(claims) - {"cnf"} != REQUIRED:
        raise refusal("access-token-members")
    principal = find_principal(claims["sub"])
    key = principal.key(claims["client_key"]) if principal else None
    if principal is None or principal.disabled_at is not None or key is None or not key.is_usable(now):
        raise refusal("principal-or-key-out-of-use")
    subjects: dict[Kind, str | None] = {"token": life.jti, "principal": principal.name, "key": key.public.thumbprint}
    if revocations.bite(subjects, issued_at=life.issued_at):
        raise refusal("revoked")
    jkt = claims.get("cnf", {}).get("jkt")
    if (jkt is None) != (proof is None):
        raise refusal("proof-missing-or-not-asked-for")
    if proof is not None and verify_proof(proof, token=raw, replay=replay, now=now) != jkt:
        raise refusal("proof-of-another-key")
    scopes = frozenset(claims["scope"].split()) & scopes_of(principal.roles)
    return AccessFacts(principal, scopes, life.jti, key.public.thumbprint, life.expires_at, jkt)
