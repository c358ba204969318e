"""The token endpoint (OAuth client credentials), revocation and introspection."""

from __future__ import annotations

from http import HTTPStatus

from flask import Response, g, jsonify, request
from flask_openapi3 import APIBlueprint, Tag

from gateway.access import (
    GatewayKeys,
    Principals,
    ReleaseTokens,
    ReplayGuard,
    TokenDenied,
    answer_token_request,
)
from gateway.access.token_calls import introspect, revoke
from gateway.audit import Log
from gateway.telemetry import utc_now
from gateway.web.guard import WITHIN, declares, house
from gateway.web.identity import caller, proof_of_call
from gateway.web.unauthenticated import note_refused

api = APIBlueprint("tokens", __name__, abp_tags=[Tag(name="tokens")])


@api.post("/oauth/token")
@declares("client-assertion", audit=WITHIN)
def token() -> Response:
    """An access token for a client assertion (RFC 6749 client credentials, RFC 7523 private_key_jwt)."""
    rooms, now = house(), utc_now()
    with rooms.database.begin() as work:
        keys = GatewayKeys(work, rooms.sealing)
        answer = answer_token_request(
            request.form.to_dict(flat=False), find_principal=Principals(work).find, replay=ReplayGuard(work),
            signer=keys.signer("token"), issuer=rooms.issuer, endpoint=f"{rooms.issuer}/oauth/token", now=now,
            proof=proof_of_call(),
        )  # fmt: skip
        if not isinstance(answer, TokenDenied):
            data = {"scopes": sorted(answer.issued.scopes), "expires_at": answer.issued.expires_at, "bound": answer.is_bound}
            Log(work).append("access-token.issued", at=now, actor=answer.principal.name, token=answer.issued.jti, data=data)
            work.commit()
    g.is_recorded = True
    if isinstance(answer, TokenDenied):
        note_refused(answer.error, answer.reason)
        response = jsonify(answer.body())
        response.status_code = answer.status
        if answer.status == HTTPStatus.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = "Bearer"
        return response
    response = jsonify(answer.body())
    response.headers["Cache-Control"] = "no-store"
    return response


@api.post("/v1/tokens/revocation")
@declares("tokens:revoke", audit=WITHIN)
def revocation() -> Response:
    """Revoke tokens (RFC 7009 shape): `token`, or one of release, ticket, dataset, principal, key. Always 200."""
    rooms, now, who = house(), utc_now(), caller()
    with rooms.database.begin() as work:
        keys, tokens = GatewayKeys(work, rooms.sealing), ReleaseTokens(work, issuer=rooms.issuer)
        revoked = revoke(request.form.to_dict(flat=False), work=work, tokens=tokens, keys=keys, caller=who, now=now)
        known = revoked is not None
        data = {
            "kind": revoked.kind if revoked else "token",
            "tokens": list(revoked.token_ids) if revoked else [],
            "known": known,
        }
        Log(work).append("token.revoked", at=now, actor=who.principal.name, data=data)
        work.commit()
    return jsonify({})


@api.post("/v1/tokens/introspection")
@declares("tokens:introspect", audit=WITHIN)
def introspection() -> Response:
    """Ask about a release token (RFC 7662)."""
    rooms, now, who = house(), utc_now(), caller()
    with rooms.database.begin() as work:
        keys, tokens = GatewayKeys(work, rooms.sealing), ReleaseTokens(work, issuer=rooms.issuer)
        answer = introspect(request.form.get("token", ""), work=work, tokens=tokens, keys=keys, caller=who, now=now)
        subject = answer.get("jti")
        Log(work).append("token.introspected", at=now, actor=who.principal.name, token=subject, data={"active": answer["active"]})
        work.commit()
    return jsonify(answer)
