"""The registered claims of every signed message: who, for whom, when, once.

Invariants:
    - Times are whole seconds; a message lives for a bounded time; only the future start of a life is forgiven a skewed clock.
    - `aud` is one string, equal to ours.
    - `jti` has 16 to 64 visible ASCII characters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gateway.access.refusal import refusal

__all__ = ["JTI", "SKEW", "ClaimRules", "Life", "instant", "seconds"]

SKEW: Final = timedelta(seconds=60)
JTI: Final = re.compile(r"[\x21-\x7e]{16,64}\Z")
LATEST: Final = 253_402_300_799  # the last second that a datetime can hold


@dataclass(frozen=True, slots=True)
class Life:
    """The verified registered claims of a message."""

    issuer: str
    jti: str
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRules:
    """Which registered claims a purpose has.

    Attributes:
        audiences: Acceptable `aud`; one of them, as a string.
        max_life: Longest time from `iat` to `exp`.
        needs_issued_at: False for client assertions only; without `iat`, `exp` lies at most `max_life` ahead.
    """

    audiences: frozenset[str]
    max_life: timedelta
    needs_issued_at: bool = True

    def check(self, claims: Mapping[str, Any], *, now: datetime) -> Life:
        """Verify `iss`, `aud`, `iat`, `nbf`, `exp` and `jti`.

        Raises:
            NotAuthenticated: one is missing, of another type, or does not hold.
        """
        issuer, jti = claims.get("iss"), claims.get("jti")
        if not isinstance(issuer, str) or not issuer:
            raise refusal("issuer")
        if not isinstance(jti, str) or not JTI.match(jti):
            raise refusal("jti")
        audience = claims.get("aud")
        if not isinstance(audience, str) or audience not in self.audiences:
            raise refusal("audience")
        expires_at = instant(claims, "exp")
        issued_at = instant(claims, "iat") if self.needs_issued_at or "iat" in claims else now
        if "nbf" in claims and instant(claims, "nbf") > now + SKEW:
            raise refusal("not-yet-valid")
        if issued_at > now + SKEW:
            raise refusal("issued-in-the-future")
        if expires_at <= now:
            raise refusal("expired")
        if not timedelta(0) < expires_at - issued_at <= self.max_life:
            raise refusal("lifetime")
        return Life(issuer, jti, issued_at, expires_at)


def instant(claims: Mapping[str, Any], name: str) -> datetime:
    """A NumericDate in whole seconds as a datetime.

    Raises:
        NotAuthenticated: missing or anything else.
    """
    value = claims.get(name)
    if type(value) is not int or not 0 <= value <= LATEST:
        raise refusal(f"time-{name}")
    return datetime.fromtimestamp(value, tz=UTC)


def seconds(moment: datetime) -> int:
    """NumericDate of a datetime, rounded down."""
    return int(moment.timestamp())
