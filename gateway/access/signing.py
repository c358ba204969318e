"""Signed messages as clients make them: release requests, client assertions, DPoP proofs.

Used by the command line, the notebook client and tests; the gateway itself only verifies these.

Invariants:
    - Every message gets a fresh `jti` of 128 random bits, unless the caller gives one.
    - ε and δ travel as decimal text: no float rounds them on the way.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urldefrag

from gateway.access.claims import seconds
from gateway.access.jws import access_hash, sign
from gateway.access.private_keys import PrivateKey

__all__ = ["client_assertion", "dpop_proof", "new_jti", "sign_request"]

REQUEST_LIFE = timedelta(seconds=300)
ASSERTION_LIFE = timedelta(seconds=120)


def new_jti() -> str:
    """A one-time identifier: 128 bits from the operating system, 32 hex characters."""
    return secrets.token_hex(16)


def sign_request(
    *,
    principal: str,
    audience: str,
    request: Mapping[str, Any],
    private_key: PrivateKey,
    now: datetime,
    life: timedelta = REQUEST_LIFE,
    jti: str | None = None,
) -> str:
    """A signed release request.

    Args:
        principal: Name under which the key is registered.
        audience: The gateway's issuer URL.
        request: `ticket`, `dataset`, `purpose`, `rows`, `format`, `generator`, and optionally `policy`, `columns`, `seed`.
            Members that are None are left out; decimals are written as text.
        private_key: The principal's key.
        now: The present moment.
        life: At most 300 seconds.
        jti: A fresh one when None.
    """
    members = {name: _wire(value) for name, value in request.items() if value is not None}
    claims = {
        "iss": principal,
        "aud": audience,
        "iat": seconds(now),
        "exp": seconds(now + life),
        "jti": jti or new_jti(),
        **members,
    }
    return sign({"typ": "release-request+jwt", "kid": private_key.thumbprint}, _payload(claims), private_key)


def client_assertion(*, principal: str, audience: str, private_key: PrivateKey, now: datetime) -> str:
    """A client assertion of RFC 7523 for the token endpoint."""
    claims = {
        "iss": principal,
        "sub": principal,
        "aud": audience,
        "iat": seconds(now),
        "exp": seconds(now + ASSERTION_LIFE),
        "jti": new_jti(),
    }
    return sign({"typ": "client-authentication+jwt", "kid": private_key.thumbprint}, _payload(claims), private_key)


def dpop_proof(*, method: str, url: str, private_key: PrivateKey, now: datetime, token: str | None = None) -> str:
    """A DPoP proof of RFC 9449 for one request; `token` is the token it accompanies, if any."""
    claims: dict[str, Any] = {"htm": method, "htu": urldefrag(url).url.partition("?")[0], "iat": seconds(now), "jti": new_jti()}
    if token is not None:
        claims["ath"] = access_hash(token)
    return sign({"typ": "dpop+jwt", "jwk": dict(private_key.public.jwk)}, _payload(claims), private_key)


def _payload(claims: Mapping[str, Any]) -> bytes:
    return json.dumps(claims, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _wire(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _wire(item) for name, item in value.items() if item is not None}
    return [_wire(item) for item in value] if isinstance(value, list | tuple) else value
