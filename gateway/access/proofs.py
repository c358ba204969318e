"""DPoP proofs (RFC 9449): the caller holds the private key that a token is bound to.

Invariants:
    - A proof is for one method, one address, one token, one minute, and one use.
    - The key in the proof is believed only as far as its thumbprint is the one that the token names.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import SplitResult, urlsplit

from gateway.access.claims import JTI, SKEW, instant
from gateway.access.jws import DPOP_PROOF, access_hash, digest_of
from gateway.access.public_keys import public_key_of
from gateway.access.refusal import refusal
from gateway.access.replay import Repeated, ReplayGuard
from gateway.errors import InvalidRequest

__all__ = ["ProofContext", "verify_proof"]

MEMBERS: Final = frozenset({"jti", "htm", "htu", "iat"})
METHOD: Final = re.compile(r"[A-Z]{3,10}\Z")
PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class ProofContext:
    """A proof together with the request it came with.

    Attributes:
        proof: The one `DPoP` header; the web refuses two.
        method: The HTTP method.
        url: The address under the public issuer URL; query and fragment do not count.
    """

    proof: str
    method: str
    url: str


def verify_proof(context: ProofContext, *, token: str | None, replay: ReplayGuard, now: datetime) -> str:
    """Verify a proof and answer the thumbprint of its key.

    Args:
        context: The proof and its request.
        token: The access or release token it accompanies; None at the token endpoint.
        replay: Remembers the proof's identifier in the transaction of the act.
        now: The present moment.

    Raises:
        NotAuthenticated: it proves nothing.
    """
    message = DPOP_PROOF.take_apart(context.proof)
    jwk = message.unverified_header["jwk"]
    try:
        key = public_key_of(jwk if isinstance(jwk, dict) else {})
    except InvalidRequest:
        raise refusal("proof-key") from None
    claims = DPOP_PROOF.open(message, key)
    if set(claims) != (MEMBERS | {"ath"} if token is not None else MEMBERS):
        raise refusal("proof-members")
    jti, method, address = claims["jti"], claims["htm"], claims["htu"]
    if not isinstance(jti, str) or not JTI.match(jti):
        raise refusal("jti")
    if not isinstance(method, str) or not METHOD.match(method) or method != context.method:
        raise refusal("proof-method")
    if not isinstance(address, str) or _target(address) is None or _target(address) != _target(context.url):
        raise refusal("proof-address")
    issued_at = instant(claims, "iat")
    if abs(issued_at - now) > SKEW:
        raise refusal("proof-time")
    if token is not None and not (isinstance(claims["ath"], str) and _equal(claims["ath"], access_hash(token))):
        raise refusal("proof-of-another-token")
    issuer = f"dpop:{key.thumbprint}"
    used = replay.claim(issuer, jti, digest=digest_of(context.proof), request_id=None, expires_at=issued_at + SKEW, now=now)
    if isinstance(used, Repeated):
        raise refusal("proof-replayed")
    return key.thumbprint


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _target(address: str) -> tuple[str, str, int, str] | None:
    """Scheme, host, port and path; None for what is no address of ours."""
    try:
        parts: SplitResult = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    if scheme not in PORTS or not host or parts.username is not None or parts.password is not None:
        return None
    return scheme, host, PORTS[scheme] if port is None else port, parts.path or "/"
