"""Who is calling: access tokens to principals, once per call.

Invariants:
    - A principal is read anew from the database for every call: a disabled one is refused at once.
    - What a call may do is the intersection of the token's scopes and those of the principal's roles now.
    - Signed requests, client assertions and release tokens are checked by their own views, which alone know their profile.
"""

from __future__ import annotations

from datetime import datetime
from typing import cast

from flask import g, request

from gateway.access import (
    Access,
    AccessFacts,
    GatewayKeys,
    Principals,
    ProofContext,
    ReplayGuard,
    Revocations,
    scopes_of,
    verify_access_token,
)
from gateway.access.refusal import refusal
from gateway.access.revocations import Kind
from gateway.db import Work
from gateway.errors import NotAuthorised
from gateway.telemetry import utc_now
from gateway.web.guard import house

__all__ = ["authenticate", "caller", "credential", "proof_of_call", "still_holds"]


def credential(*schemes: str) -> str:
    """What follows `Bearer` or `DPoP` in the Authorization header.

    Raises:
        NotAuthenticated: there is none.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() not in (schemes or ("bearer", "dpop")) or not token:
        raise refusal("no-credential")
    return token.strip()


def proof_of_call() -> ProofContext | None:
    """The DPoP proof of this call, under the public issuer URL.

    Raises:
        NotAuthenticated: there are several.
    """
    proofs = request.headers.getlist("DPoP")
    if len(proofs) > 1:
        raise refusal("several-proofs")
    return ProofContext(proofs[0], request.method, house().issuer + request.path) if proofs else None


def caller() -> AccessFacts:
    """Whom the access token of this call speaks for; only in views that ask for one."""
    return cast("AccessFacts", g.caller)


def authenticate(access: Access) -> None:
    """Put the principal of an access token into the call's context, and check the scope that the route asks for.

    Raises:
        NotAuthenticated: no token, or one that does not hold.
        NotAuthorised: the roles do not carry the scope.
    """
    g.principal = None
    if access.credential != "access-token":
        return
    rooms, now, raw = house(), utc_now(), credential()
    is_bound = request.headers["Authorization"].lower().startswith("dpop")
    proof = proof_of_call() if is_bound else None
    with rooms.database.begin() if proof else rooms.database.read() as work:
        facts = verify_access_token(
            raw, issuer=rooms.issuer, keys=GatewayKeys(work, rooms.sealing), find_principal=Principals(work).find,
            replay=ReplayGuard(work), revocations=Revocations(work), now=now, proof=proof,
        )  # fmt: skip
        if proof:
            work.commit()
    g.caller, g.principal = facts, facts.principal
    if access.scope is not None and access.scope not in facts.scopes:
        raise NotAuthorised(f"this needs the scope {access.scope}", unlock=("ask an administrator for a role that carries it",))


def still_holds(work: Work, who: AccessFacts, *, scope: str, since: datetime) -> bool:
    """Whether a caller whose call was let in at `since` and goes on may still do what needs this scope.

    A proof of possession is not asked for anew: it was for that call.
    """
    now = utc_now()
    principal = Principals(work).find(who.principal.name)
    if principal is None or principal.disabled_at is not None or now >= who.expires_at:
        return False
    key = principal.key(who.key_thumbprint)
    subjects: dict[Kind, str | None] = {"token": who.jti, "principal": principal.name, "key": who.key_thumbprint}
    if key is None or not key.is_usable(now) or Revocations(work).bite(subjects, issued_at=since):
        return False
    return scope in who.scopes & scopes_of(principal.roles)
