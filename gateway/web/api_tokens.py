"""The token endpoint (OAuth client credentials), revocation and introspection."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Any

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
from gateway.access.revocations import share_issuing, stop_issuing
from gateway.access.token_calls import Revoked, introspect, revoke
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
        share_issuing(work)
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
    """Revoke tokens (RFC 7009 shape): `token` (release or access token), or one of release, ticket, dataset, principal, key.

    Always 200.
    """
    rooms, who = house(), caller()
    with rooms.database.begin() as work:
        # The moment of a revocation is taken when no token can be issued before it and committed after it.
        stop_issuing(work)
        now = utc_now()
        log, keys, tokens = Log(work), GatewayKeys(work, rooms.sealing), ReleaseTokens(work, issuer=rooms.issuer)
        revoked = revoke(
            request.form.to_dict(flat=False), work=work, tokens=tokens, keys=keys, caller=who, now=now,
            was_issued=lambda jti: bool(log.search(kind="access-token.issued", token=jti, limit=1)),
        )  # fmt: skip
        if revoked is None:
            log.append("token.revoked", at=now, actor=who.principal.name, data={"kind": "token", "tokens": [], "known": False})
        else:
            _record_revocation(log, revoked, by=who.principal.name, at=now)
        work.commit()
    return jsonify({})


def _record_revocation(log: Log, revoked: Revoked, *, by: str, at: datetime) -> None:
    """One event for the call, found by what it names; and one for each token that died of it, in the story of its release."""
    facts = revoked.facts
    data: dict[str, Any] = {"kind": facts.kind, "reason": facts.reason, "known": True}
    if revoked.is_access_token:
        log.append("access-token.revoked", at=at, actor=by, token=facts.subject, data={**data, "principal": revoked.owner})
        return
    if facts.kind != "token":
        is_subject = facts.kind in ("release", "ticket", "dataset")
        named: dict[str, Any] = {} if is_subject else {facts.kind: facts.subject}  # a principal becomes a pseudonym there
        about = {str(facts.kind): facts.subject} if is_subject else {}
        data_of_call = {**data, **named, "tokens": list(facts.token_ids)}
        log.append(
            "token.revoked", at=at, actor=by, release=about.get("release"), ticket=about.get("ticket"),
            dataset=about.get("dataset"), data=data_of_call,
        )  # fmt: skip
    elif not facts.tokens:
        log.append("token.revoked", at=at, actor=by, token=facts.subject, data={**data, "principal": revoked.owner, "tokens": []})
    for token in facts.tokens:
        log.append(
            "token.revoked", at=at, actor=by, token=token.jti, release=token.release, ticket=token.ticket, dataset=token.dataset,
            data={**data, "principal": token.principal, "tokens": [token.jti]},
        )  # fmt: skip


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
