"""The signed release request: verified to the letter, then read into its claims.

A signature or registered claim that does not hold says `invalid_token` and nothing more (401). A well signed request that
cannot be processed names every member that is missing, unknown or wrong (422), never its value.

Invariants:
    - ε and δ are exact: the decimal text of the request is the `Decimal` here.
    - The principal is the one whose registered key signed; `iss` must name the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from gateway.access.claims import ClaimRules, Life
from gateway.access.facts import FindKey, Principal
from gateway.access.jws import RELEASE_REQUEST, digest_of
from gateway.access.refusal import refusal
from gateway.errors import InvalidRequest, PayloadTooLarge
from policies.columns import NAME
from policies.types import GENERATORS, RequestFacts

__all__ = ["MAX_LIFE", "GeneratorClaims", "ReleaseClaims", "VerifiedRequest", "read_claims", "verify_release_request"]

MAX_LIFE: Final = timedelta(seconds=300)
REGISTERED: Final = frozenset({"iss", "aud", "iat", "exp", "jti"})
EXACT_TEXT: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,18})?(?:[eE][-+]?[0-9]{1,2})?\Z")
MAX_DIGITS, MAX_PLACES = 24, 24
PRINTABLE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
SLUG = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
MEMBER = r"^[a-z][a-z0-9_]{0,63}$"
MAX_ERRORS = 20


def _exact(value: object) -> Decimal:
    """An integer, a decimal, or its text; never a binary float."""
    if isinstance(value, str) and EXACT_TEXT.match(value):
        value = Decimal(value)
    if type(value) is int:
        value = Decimal(value)
    if not isinstance(value, Decimal):
        raise ValueError("must be a decimal number, as a JSON number or as text")  # noqa: TRY004 - pydantic wants ValueError
    _sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or len(digits) > MAX_DIGITS or exponent < -MAX_PLACES:
        raise ValueError(f"must have at most {MAX_DIGITS} digits and {MAX_PLACES} decimal places")
    return value


Exactly = Annotated[Decimal, BeforeValidator(_exact)]
Scalar = bool | int | float | Annotated[str, Field(max_length=200)]
Parameter = Scalar | Annotated[tuple[Scalar, ...], Field(max_length=32)]


class _Claims(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class GeneratorClaims(_Claims):
    """Which generator, at what privacy loss, with which hyper-parameters (flat members in the request)."""

    name: str = Field(pattern=SLUG)
    epsilon: Exactly | None = Field(default=None, gt=0, le=1_000_000, validate_default=True)
    delta: Exactly | None = Field(default=None, gt=0, lt=1)
    hyperparameters: Mapping[Annotated[str, Field(pattern=MEMBER)], Parameter] = Field(default_factory=dict, max_length=32)

    @field_validator("epsilon")
    @classmethod
    def _dp_needs_epsilon(cls, epsilon: Decimal | None, info: ValidationInfo) -> Decimal | None:
        known = GENERATORS.get(info.data.get("name", ""))
        if known is not None and known.is_dp and epsilon is None:
            raise ValueError("is missing: a generator with differential privacy needs one")
        return epsilon


class ReleaseClaims(_Claims):
    """What is asked for."""

    ticket: str = Field(pattern=SLUG)
    dataset: str = Field(pattern=NAME)
    purpose: str = Field(pattern=SLUG)
    rows: int = Field(ge=1, le=1_000_000_000)
    format: Literal["parquet", "csv"]
    generator: GeneratorClaims
    policy: str | None = Field(default=None, pattern=NAME)
    columns: tuple[Annotated[str, Field(min_length=1, max_length=128)], ...] | None = Field(
        default=None, min_length=1, max_length=1000
    )
    seed: int | None = Field(default=None, ge=0, le=2**63 - 1)

    @field_validator("columns")
    @classmethod
    def _columns_once(cls, columns: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if columns is not None and len(set(columns)) != len(columns):
            raise ValueError("names a column twice")
        return columns


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRequest:
    """A release request whose signature holds.

    Attributes:
        digest: SHA-256 of the message as sent.
        key_thumbprint: The registered key that signed it.
    """

    principal: Principal
    claims: ReleaseClaims
    jti: str
    issued_at: datetime
    expires_at: datetime
    digest: str
    key_thumbprint: str
    raw: str

    def facts(self, *, request_id: str, requested_at: datetime) -> RequestFacts:
        """What decisions look at."""
        claims = self.claims
        return RequestFacts(
            request_id=request_id,
            principal=self.principal.name,
            ticket=claims.ticket,
            dataset=claims.dataset,
            purpose=claims.purpose,
            rows=claims.rows,
            format=claims.format,
            generator=claims.generator.name,
            epsilon=claims.generator.epsilon,
            delta=claims.generator.delta,
            hyperparameters=dict(claims.generator.hyperparameters),
            policy=claims.policy,
            columns=claims.columns,
            seed=claims.seed,
            requested_at=requested_at,
        )


def verify_release_request(raw: bytes, *, find_key: FindKey, audience: str, now: datetime) -> VerifiedRequest:
    """Verify a signed release request.

    Args:
        raw: The body as received.
        find_key: Thumbprint → registered key, e.g. `Principals(work).key_of`.
        audience: The gateway's issuer URL.
        now: The present moment.

    Raises:
        PayloadTooLarge: more than 16 KiB.
        NotAuthenticated: the signature or a registered claim does not hold; the words never say which.
        InvalidRequest: well signed, but a member is missing, unknown or wrong; the detail names it.
    """
    if len(raw) > RELEASE_REQUEST.max_bytes:
        raise PayloadTooLarge(f"a signed request has at most {RELEASE_REQUEST.max_bytes} bytes")
    message = RELEASE_REQUEST.take_apart(raw)
    registered = find_key(message.unverified_header["kid"])
    claims = RELEASE_REQUEST.open(message, registered.key.public if registered else None)
    life = _check_registered(claims, audience=audience, now=now)
    if registered is None or not registered.is_usable(now):
        raise refusal("principal-or-key-out-of-use")
    if life.issuer != registered.principal.name:
        raise refusal("issuer-of-another-key")
    return VerifiedRequest(
        principal=registered.principal,
        claims=read_claims({name: value for name, value in claims.items() if name not in REGISTERED}),
        jti=life.jti,
        issued_at=life.issued_at,
        expires_at=life.expires_at,
        digest=digest_of(raw),
        key_thumbprint=registered.key.public.thumbprint,
        raw=message.raw,
    )


def _check_registered(claims: Mapping[str, Any], *, audience: str, now: datetime) -> Life:
    return ClaimRules(audiences=frozenset({audience}), max_life=MAX_LIFE).check(claims, now=now)


def read_claims(members: Mapping[str, Any]) -> ReleaseClaims:
    """The request part of the claims.

    Raises:
        InvalidRequest: names each member that is missing, unknown or wrong.
    """
    document = {name: tuple(value) if name == "columns" and isinstance(value, list) else value for name, value in members.items()}
    generator = document.get("generator")
    if isinstance(generator, dict):
        own = {name: generator[name] for name in ("name", "epsilon", "delta") if name in generator}
        others = {name: _plain(value) for name, value in generator.items() if name not in own}
        document["generator"] = {**own, "hyperparameters": others}
    try:
        return ReleaseClaims.model_validate(document)
    except ValidationError as error:
        raise InvalidRequest(_sentence(error), unlock=("correct the named members and sign the request anew",)) from None


def _plain(value: object) -> object:
    """Hyper-parameters are no privacy parameters: ordinary numbers will do."""
    if isinstance(value, Decimal):
        return float(value)
    return tuple(_plain(item) for item in value) if isinstance(value, list) else value


def _sentence(error: ValidationError) -> str:
    found: dict[str, str] = {}
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        path = [str(part) for part in item["loc"] if part not in ("hyperparameters", "[key]")]
        depth = 2 if path[:1] in (["generator"], ["columns"]) else 1
        name = ".".join(part if PRINTABLE.match(part) else "(unprintable)" for part in path[:depth]) or "request"
        kind = item["type"]
        words = {"missing": "is missing", "extra_forbidden": "is not a member of a release request"}.get(kind, item["msg"])
        found.setdefault(name, words.removeprefix("Value error, "))
    return "; ".join(f"{name}: {words}" for name, words in list(found.items())[:MAX_ERRORS])
