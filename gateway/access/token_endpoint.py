"""The token endpoint (RFC 6749, client credentials with `private_key_jwt`) without HTTP: a form in, an answer out.

Invariants:
    - A refusal is one of the error codes of RFC 6749 and says nothing about which principals or keys exist.
    - No scope is granted that the principal's roles do not carry; asking for none grants all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from gateway.access.access_tokens import LIFE, IssuedAccessToken, issue_access_token
from gateway.access.assertions import VerifiedAssertion, verify_client_assertion
from gateway.access.facts import FindPrincipal, Principal
from gateway.access.gateway_keys import Signer
from gateway.access.proofs import ProofContext, verify_proof
from gateway.access.refusal import reason_of
from gateway.access.replay import ReplayGuard
from gateway.access.scopes import SCOPES, scopes_of
from gateway.errors import NotAuthenticated

__all__ = ["ASSERTION_TYPE", "TokenDenied", "TokenGranted", "answer_token_request", "server_metadata"]

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class TokenGranted:
    """A token was issued."""

    issued: IssuedAccessToken
    principal: Principal
    key_thumbprint: str
    is_bound: bool

    def body(self) -> dict[str, Any]:
        """The JSON of RFC 6749, section 5.1."""
        return {
            "access_token": self.issued.token,
            "token_type": "DPoP" if self.is_bound else "Bearer",
            "expires_in": int(LIFE.total_seconds()),
            "scope": " ".join(sorted(self.issued.scopes)),
        }


@dataclass(frozen=True, slots=True)
class TokenDenied:
    """No token.

    Attributes:
        error: Code of RFC 6749, section 5.2 (or RFC 9449).
        reason: For the log only.
        principal: Who it was, where that was proven.
    """

    error: str
    status: HTTPStatus
    reason: str
    principal: str | None = None

    def body(self) -> dict[str, Any]:
        """The JSON of RFC 6749, section 5.2."""
        return {"error": self.error}


def answer_token_request(
    form: Mapping[str, Sequence[str]],
    *,
    find_principal: FindPrincipal,
    replay: ReplayGuard,
    signer: Signer,
    issuer: str,
    endpoint: str,
    now: datetime,
    proof: ProofContext | None = None,
) -> TokenGranted | TokenDenied:
    """Answer one call of the token endpoint.

    Args:
        form: Every parameter with all its values (`request.form.to_dict(flat=False)`).
        find_principal: Name → principal.
        replay: Remembers assertion and proof in the transaction of the act.
        signer: The gateway's token key.
        issuer: Our issuer URL.
        endpoint: The address of this endpoint.
        now: The present moment.
        proof: The DPoP proof, if one came along; the token is then bound to its key.
    """
    try:
        single = _parameters(form)
        client = _authenticate(single, find_principal=find_principal, audiences=(issuer, endpoint), replay=replay, now=now)
        scopes = _scopes(single.get("scope", ""), client.principal)
        jkt = None if proof is None else _jkt(proof, client.principal, replay=replay, now=now)
    except _NoToken as refused:
        return refused.denied
    issued = issue_access_token(
        principal=client.principal,
        key_thumbprint=client.key_thumbprint,
        scopes=scopes,
        issuer=issuer,
        signer=signer,
        now=now,
        jkt=jkt,
    )
    return TokenGranted(issued, client.principal, client.key_thumbprint, jkt is not None)


class _NoToken(Exception):
    def __init__(self, error: str, reason: str, principal: str | None = None) -> None:
        super().__init__(error)
        status = HTTPStatus.UNAUTHORIZED if error == "invalid_client" else HTTPStatus.BAD_REQUEST
        self.denied = TokenDenied(error, status, reason, principal)


def _parameters(form: Mapping[str, Sequence[str]]) -> dict[str, str]:
    if any(len(values) != 1 for values in form.values()):
        raise _NoToken("invalid_request", "parameter-twice")
    single = {name: values[0] for name, values in form.items()}
    if "grant_type" not in single:
        raise _NoToken("invalid_request", "no-grant-type")
    if single["grant_type"] != "client_credentials":
        raise _NoToken("unsupported_grant_type", "grant-type")
    return single


def _authenticate(
    single: Mapping[str, str],
    *,
    find_principal: FindPrincipal,
    audiences: Sequence[str],
    replay: ReplayGuard,
    now: datetime,
) -> VerifiedAssertion:
    if "client_secret" in single or single.get("client_assertion_type") != ASSERTION_TYPE or "client_assertion" not in single:
        raise _NoToken("invalid_client", "no-assertion")
    raw = single["client_assertion"]
    try:
        client = verify_client_assertion(raw, find_principal=find_principal, audiences=audiences, replay=replay, now=now)
    except NotAuthenticated as error:
        raise _NoToken("invalid_client", reason_of(error)) from None
    name = client.principal.name
    if single.get("client_id", name) != name:
        raise _NoToken("invalid_client", "client-id", name)
    return client


def _scopes(asked: str, principal: Principal) -> frozenset[str]:
    allowed, wanted = scopes_of(principal.roles), frozenset(asked.split())
    if not wanted <= allowed:
        raise _NoToken("invalid_scope", "scope", principal.name)
    return wanted or allowed


def _jkt(proof: ProofContext, principal: Principal, *, replay: ReplayGuard, now: datetime) -> str:
    try:
        return verify_proof(proof, token=None, replay=replay, now=now)
    except NotAuthenticated as error:
        raise _NoToken("invalid_dpop_proof", reason_of(error), principal.name) from None


def server_metadata(issuer: str) -> dict[str, Any]:
    """Authorization server metadata (RFC 8414)."""
    return {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/oauth/token",
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "revocation_endpoint": f"{issuer}/v1/tokens/revocation",
        "introspection_endpoint": f"{issuer}/v1/tokens/introspection",
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["EdDSA", "Ed25519", "ES256"],
        "dpop_signing_alg_values_supported": ["EdDSA", "Ed25519", "ES256"],
        "scopes_supported": sorted(SCOPES),
    }
