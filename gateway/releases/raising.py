"""Raise the limit of a budget: one principal signs a proposal, another signs the very same figures.

Responsible for what is signed, for verifying it against the registered keys, and for writing proposal or raise with its event
in one transaction.

Invariants:
    - Nobody is believed by name: each act carries a signature by a registered key, made for this act, within five minutes, used
      once. The signed message stays in the ledger; its digest and the key's thumbprint stand in the log.
    - The second person signs the figures and the reason, not a number that stands for them.
    - Proposer and approver are different people: their accounts are compared, not their names or keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.access import FirstUse, Principal, Principals, PrivateKey, ReplayGuard, new_jti
from gateway.access.claims import ClaimRules, seconds
from gateway.access.jws import Profile, digest_of, sign
from gateway.access.refusal import refusal
from gateway.audit import Log
from gateway.budget import Proposal, Raises, Signature
from gateway.catalogue import Datasets
from gateway.db import Work
from gateway.errors import InvalidRequest, NotAuthorised
from gateway.releases.documents import limits_of
from gateway.releases.house import House
from policies.canonical import decimal_text
from policies.columns import NAME

__all__ = ["MAY_RAISE", "approve_raise", "propose_raise", "sign_act"]

BUDGET_RAISE: Final = Profile(purpose="budget-raise", types=frozenset({"budget-raise+jwt"}), max_bytes=8 * 1024)
LIFE: Final = timedelta(seconds=300)
REGISTERED: Final = frozenset({"iss", "aud", "iat", "exp", "jti"})
MAY_RAISE: Final = frozenset({"steward", "admin", "reviewer", "compliance"})
Number = Annotated[Decimal, Field(gt=0, le=1000, max_digits=30, decimal_places=24)]


class Act(BaseModel):
    """What is signed, beside who signs, for whom and when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    act: Literal["propose", "approve"]
    dataset: str = Field(pattern=NAME)
    epsilon: Number
    delta: Annotated[Number, Field(lt=1)] | None = None
    reason: str = Field(min_length=10, max_length=2000)
    proposal: int | None = Field(default=None, ge=1)


@dataclass(frozen=True, slots=True)
class _Verified:
    principal: Principal
    act: Act
    signature: Signature


def sign_act(*, principal: str, audience: str, act: Mapping[str, Any], private_key: PrivateKey, now: datetime) -> str:
    """What a principal signs to propose or to approve a raise.

    Args:
        principal: Name under which the key is registered.
        audience: The gateway's issuer URL.
        act: `act` (`propose` or `approve`), `dataset`, `epsilon`, `reason`, optionally `delta`, and `proposal` to approve.
        private_key: The principal's key.
        now: The present moment.
    """
    members = {
        name: decimal_text(value) if isinstance(value, Decimal) else value for name, value in act.items() if value is not None
    }
    claims = {
        "iss": principal, "aud": audience, "iat": seconds(now), "exp": seconds(now + LIFE), "jti": new_jti(), **members,
    }  # fmt: skip
    return sign({"typ": "budget-raise+jwt", "kid": private_key.thumbprint}, rfc8785.dumps(claims), private_key)


def propose_raise(house: House, raw: str, *, now: datetime) -> Proposal:
    """Write a signed proposal down.

    Raises:
        NotAuthenticated: the signature or its claims do not hold.
        NotAuthorised: the principal has no role that may raise.
        InvalidRequest: the act is not a proposal, or raises nothing.
        NotFound: there is no such dataset.
    """
    with house.database.begin() as work:
        verified = _verify(work, raw, wanted="propose", audience=house.issuer, now=now)
        act, person = verified.act, verified.principal
        card = Datasets(work).get(act.dataset).card
        made = Raises(work).propose(
            card, limits=limits_of(work, card), epsilon=act.epsilon, delta=act.delta, reason=act.reason,
            by=person.account_id, signature=verified.signature, now=now,
        )  # fmt: skip
        data = {
            "proposal": made.proposal_id, "ledger": made.ledger, "epsilon": made.epsilon, "delta": made.delta,
            "reason": made.reason, **_proof(verified.signature),
        }  # fmt: skip
        Log(work).append("budget.raise-proposed", at=now, actor=person.name, dataset=act.dataset, data=data)
        work.commit()
    return made


def approve_raise(house: House, raw: str, *, now: datetime) -> Proposal:
    """Put a proposal into force by a second signature.

    Raises:
        NotAuthenticated: the signature or its claims do not hold.
        NotAuthorised: the same person proposed it, or the principal has no role that may raise.
        InvalidRequest: what was signed is not what was proposed.
        NotFound: there is no such dataset or proposal.
        Conflict: it is approved already, or the limit changed since.
    """
    with house.database.begin() as work:
        verified = _verify(work, raw, wanted="approve", audience=house.issuer, now=now)
        act, person = verified.act, verified.principal
        card, raises = Datasets(work).get(act.dataset).card, Raises(work)
        proposal = raises.get(act.proposal or 0)
        if (act.epsilon, act.delta, act.reason) != (proposal.epsilon, proposal.delta, proposal.reason):
            raise InvalidRequest("what was signed is not what was proposed", unlock=("read the proposal and sign it anew",))
        limits = limits_of(work, card)
        raises.approve(card, proposal.proposal_id, limits=limits, by=person.account_id, signature=verified.signature, now=now)
        data = {
            "proposal": proposal.proposal_id, "ledger": proposal.ledger, "epsilon": proposal.epsilon, "delta": proposal.delta,
            "reason": proposal.reason, **_proof(verified.signature),
        }  # fmt: skip
        Log(work).append("budget.raised", at=now, actor=person.name, dataset=act.dataset, data=data)
        work.commit()
    return proposal


def _verify(work: Work, raw: str, *, wanted: str, audience: str, now: datetime) -> _Verified:
    """Whose signature this is and what it says; uses it up in the caller's transaction."""
    message = BUDGET_RAISE.take_apart(raw)
    registered = Principals(work).key_of(message.unverified_header["kid"])
    claims = BUDGET_RAISE.open(message, registered.key.public if registered else None)
    life = ClaimRules(audiences=frozenset({audience}), max_life=LIFE).check(claims, now=now)
    if registered is None or not registered.is_usable(now):
        raise refusal("principal-or-key-out-of-use")
    person = registered.principal
    if life.issuer != person.name:
        raise refusal("issuer-of-another-key")
    digest = digest_of(raw)
    if not isinstance(
        ReplayGuard(work).claim(person.name, life.jti, digest=digest, request_id=None, expires_at=life.expires_at, now=now),
        FirstUse,
    ):
        raise refusal("replayed")
    if not MAY_RAISE & person.roles:
        raise NotAuthorised(f"'{person.name}' may not raise a budget; one of {', '.join(sorted(MAY_RAISE))} may")
    try:
        act = Act.model_validate({name: value for name, value in claims.items() if name not in REGISTERED})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise InvalidRequest(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if act.act != wanted:
        raise InvalidRequest(f"this was signed to {act.act}, not to {wanted}")
    thumbprint = registered.key.public.thumbprint
    return _Verified(person, act, Signature(key=thumbprint, message=message.raw, digest=digest))


def _proof(signature: Signature) -> dict[str, str]:
    """What the log keeps of a signature: enough to find it in the ledger and to see that it was not exchanged."""
    return {"key": signature.key, "signed_digest": signature.digest}
