"""Release tokens: short-lived, bound to release, ticket, principal and manifest, and asked about at every use.

A token is a signature over what the database knows anyway; the row decides. So a token dies the moment something that it
depends on is revoked, disabled, withdrawn or used up.

Invariants:
    - A refused token is `invalid_token`, whatever was wrong with it.
    - Every claim of an accepted token equals its row; its lifetime is the least of all that bounds it.
    - Downloads are counted for a release and its recipient, over all their tokens: a new token brings no new downloads.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import insert, select
from sqlalchemy.dialects import postgresql, sqlite

from gateway.access.claims import JTI, ClaimRules, seconds
from gateway.access.facts import KeyFacts
from gateway.access.gateway_keys import GatewayKeys, Signer
from gateway.access.jws import RELEASE_TOKEN, sign
from gateway.access.lifetime import Lifetime
from gateway.access.principals import Principals
from gateway.access.proofs import ProofContext, verify_proof
from gateway.access.refusal import reason_of, token_refusal
from gateway.access.replay import ReplayGuard
from gateway.access.revocations import Revocations, share_issuing
from gateway.access.signing import new_jti
from gateway.db import Work
from gateway.db.tables.access import download_count
from gateway.db.tables.access import release_token as table
from gateway.errors import Conflict, NotAuthenticated

__all__ = ["IssuedToken", "KnownToken", "ReleaseTokens", "TokenFacts", "TokenSubject"]

MAX_LIFE: Final = timedelta(days=366)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSubject:
    """What a token is about.

    Attributes:
        artifacts: Names of the artifacts it opens.
        key_thumbprint: The registered key by which the principal asked for it; disabling that key kills it.
        jkt: Thumbprint of the key that every use must prove, when the policy says so.
    """

    release: str
    principal: str
    ticket: str
    dataset: str
    policy_digest: str
    manifest_digest: str
    artifacts: tuple[str, ...]
    key_thumbprint: str
    jkt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A new release token, as its owner receives it."""

    token: str
    jti: str
    token_type: str
    issued_at: datetime
    expires_at: datetime
    max_downloads: int
    downloads_left: int

    def body(self) -> dict[str, Any]:
        """The JSON answer."""
        return {
            "token": self.token,
            "token_type": self.token_type,
            "expires_at": self.expires_at.isoformat(),
            "expires_in": int((self.expires_at - self.issued_at).total_seconds()),
            "max_downloads": self.max_downloads,
            "downloads_left": self.downloads_left,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFacts:
    """A token that is good at this moment."""

    jti: str
    subject: TokenSubject
    issued_at: datetime
    expires_at: datetime
    max_downloads: int
    downloads_left: int


@dataclass(frozen=True, slots=True)
class KnownToken:
    """A token that was issued here, and to whom."""

    jti: str
    principal: str


class ReleaseTokens:
    """Release tokens in the database."""

    def __init__(self, work: Work, *, issuer: str) -> None:
        self._work = work
        self.issuer = issuer

    def issue(
        self, subject: TokenSubject, *, lifetime: Lifetime, max_downloads: int, signer: Signer, now: datetime
    ) -> IssuedToken:
        """Sign and store a token. Whether the release may be handed over is the caller's to know.

        The token also ends with the registered key by which the principal asked for it.

        Raises:
            Conflict: no time or no download is left.
            TokenRefused: that key or the principal is out of use.
        """
        share_issuing(self._work)
        expires_at, jti = self._bounded(lifetime, subject, now).ends(now), new_jti()
        self._make_count(subject)
        left = max_downloads - self._used(subject)
        if left <= 0:
            raise Conflict("all downloads of this release are used up", code="used-up")
        token = sign({"typ": "release+jwt", "kid": signer.kid}, self._payload(subject, jti, now, expires_at), signer.private_key)
        row = {
            "jti": jti,
            "release_id": subject.release,
            "principal": subject.principal,
            "ticket": subject.ticket,
            "dataset": subject.dataset,
            "policy_digest": subject.policy_digest,
            "manifest_digest": subject.manifest_digest,
            "scope": list(subject.artifacts),
            "key_thumbprint": subject.key_thumbprint,
            "jkt": subject.jkt,
            "gateway_kid": signer.kid,
            "max_downloads": max_downloads,
            "issued_at": now,
            "expires_at": expires_at,
        }
        self._work.execute(insert(table).values(row))
        return IssuedToken(
            token=token,
            jti=jti,
            token_type="Bearer" if subject.jkt is None else "DPoP",
            issued_at=now,
            expires_at=expires_at,
            max_downloads=max_downloads,
            downloads_left=left,
        )

    def check(
        self, raw: str, *, release: str, artifact: str, keys: GatewayKeys, now: datetime, proof: ProofContext | None = None
    ) -> TokenFacts:
        """Whether a token opens this artifact of this release, now. Call it again for every byte range.

        Raises:
            TokenRefused: it does not; the words never say why.
        """
        facts = self.look_up(raw, keys=keys, now=now)
        if facts.subject.release != release or artifact not in facts.subject.artifacts:
            raise token_refusal("another-release-or-artifact")
        if (facts.subject.jkt is None) != (proof is None):
            raise token_refusal("proof-missing-or-not-asked-for")
        if proof is not None and self._jkt(proof, raw, now) != facts.subject.jkt:
            raise token_refusal("proof-of-another-key")
        return facts

    def look_up(self, raw: str, *, keys: GatewayKeys, now: datetime) -> TokenFacts:
        """A token that is good at this moment, for whatever it is presented.

        Raises:
            TokenRefused: forged, expired, revoked, or its principal or key is out of use.
        """
        claims = self._open(raw, keys, now)
        row = self._work.execute(select(table).where(table.c.jti == claims["jti"])).first()
        if row is None or claims != json.loads(self._payload(_subject(row), row.jti, row.issued_at, row.expires_at)):
            raise token_refusal("not-as-issued")
        if Revocations(self._work).bite_row(row):
            raise token_refusal("revoked")
        subject = _subject(row)
        self._usable_key(subject, now)
        return TokenFacts(
            jti=row.jti,
            subject=subject,
            issued_at=row.issued_at,
            expires_at=row.expires_at,
            max_downloads=row.max_downloads,
            downloads_left=max(0, row.max_downloads - self._used(subject)),
        )

    def still_stands(self, facts: TokenFacts, *, now: datetime) -> bool:
        """Whether a token that was checked a while ago is revoked by nothing since, its principal and key still in use.

        Its own time may run out meanwhile: a transfer that it began is brought to its end.
        """
        row = self._work.execute(select(table).where(table.c.jti == facts.jti)).first()
        registered = Principals(self._work).key_of(facts.subject.key_thumbprint)
        is_usable = registered is not None and registered.is_usable(now)
        return row is not None and is_usable and not Revocations(self._work).bite_row(row)

    def recognise(self, raw: str, *, keys: GatewayKeys, now: datetime) -> KnownToken | None:
        """The token that somebody presents, by itself or by its id, whatever has become of it since."""
        jti = raw
        if "." in raw:
            try:
                message = RELEASE_TOKEN.take_apart(raw)
                jti = str(RELEASE_TOKEN.open(message, keys.token_key(message.unverified_header["kid"], now)).get("jti"))
            except NotAuthenticated:
                return None
        if not JTI.match(jti):
            return None
        row = self._work.execute(select(table.c.jti, table.c.principal).where(table.c.jti == jti)).first()
        return None if row is None else KnownToken(row.jti, row.principal)

    def _usable_key(self, subject: TokenSubject, now: datetime) -> KeyFacts:
        registered = Principals(self._work).key_of(subject.key_thumbprint)
        if registered is None or not registered.is_usable(now) or registered.principal.name != subject.principal:
            raise token_refusal("principal-or-key-out-of-use")
        return registered.key

    def _bounded(self, lifetime: Lifetime, subject: TokenSubject, now: datetime) -> Lifetime:
        ends = [end for end in (lifetime.key_retires_at, self._usable_key(subject, now).expires_at) if end is not None]
        return replace(lifetime, key_retires_at=min(ends, default=None))

    def _open(self, raw: str, keys: GatewayKeys, now: datetime) -> dict[str, Any]:
        try:
            message = RELEASE_TOKEN.take_apart(raw)
            claims = RELEASE_TOKEN.open(message, keys.token_key(message.unverified_header["kid"], now))
            ClaimRules(audiences=frozenset({self.issuer}), max_life=MAX_LIFE).check(claims, now=now)
        except NotAuthenticated as error:
            raise token_refusal(reason_of(error)) from None
        return claims

    def _jkt(self, proof: ProofContext, raw: str, now: datetime) -> str:
        try:
            return verify_proof(proof, token=raw, replay=ReplayGuard(self._work), now=now)
        except NotAuthenticated as error:
            raise token_refusal(reason_of(error)) from None

    def _payload(self, subject: TokenSubject, jti: str, issued_at: datetime, expires_at: datetime) -> bytes:
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": self.issuer,
            "sub": subject.principal,
            "release": subject.release,
            "ticket": subject.ticket,
            "dataset": subject.dataset,
            "policy": subject.policy_digest,
            "manifest": subject.manifest_digest,
            "scope": " ".join(subject.artifacts),
            "jti": jti,
            "iat": seconds(issued_at),
            "exp": seconds(expires_at),
        }
        if subject.jkt is not None:
            claims["cnf"] = {"jkt": subject.jkt}
        return json.dumps(claims, separators=(",", ":")).encode()

    def _used(self, subject: TokenSubject) -> int:
        """Downloads of this release by this principal, over all their tokens."""
        where = (download_count.c.release_id == subject.release, download_count.c.principal == subject.principal)
        return int(self._work.execute(select(download_count.c.used).where(*where)).scalar_one())

    def _make_count(self, subject: TokenSubject) -> None:
        dialect = sqlite if self._work.is_sqlite else postgresql
        row = {"release_id": subject.release, "principal": subject.principal, "used": 0}
        self._work.execute(dialect.insert(download_count).values(row).on_conflict_do_nothing())


def _subject(row: Any) -> TokenSubject:
    return TokenSubject(
        release=row.release_id,
        principal=row.principal,
        ticket=row.ticket,
        dataset=row.dataset,
        policy_digest=row.policy_digest,
        manifest_digest=row.manifest_digest,
        artifacts=tuple(row.scope),
        key_thumbprint=row.key_thumbprint,
        jkt=row.jkt,
    )
