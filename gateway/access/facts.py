"""Who a verified signature speaks for, and the ports through which verifiers look keys up.

Invariants:
    - A `Principal` or `RegisteredKey` is what the database says at this moment; verifiers ask anew each time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from gateway.access.public_keys import PublicKey
from policies.types import PrincipalFacts

__all__ = ["FindKey", "FindPrincipal", "KeyFacts", "Principal", "RegisteredKey"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFacts:
    """A public key of a principal.

    Attributes:
        expires_at: From then on it proves nothing; None for no end.
        disabled_at: When somebody put it out of use.
    """

    public: PublicKey
    added_at: datetime
    expires_at: datetime | None
    disabled_at: datetime | None

    def is_usable(self, now: datetime) -> bool:
        """Whether a signature with it counts."""
        return self.disabled_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who a verified signature or token speaks for.

    Attributes:
        account_id: The same person's id in the ticket system; two principals of one person share it.
    """

    name: str
    account_id: str
    roles: frozenset[str]
    created_at: datetime
    disabled_at: datetime | None
    keys: tuple[KeyFacts, ...] = ()

    def facts(self) -> PrincipalFacts:
        """What decisions look at."""
        return PrincipalFacts(
            name=self.name, roles=self.roles, account_id=self.account_id, is_disabled=self.disabled_at is not None
        )

    def key(self, thumbprint: str) -> KeyFacts | None:
        """The key of this principal with that thumbprint."""
        return next((key for key in self.keys if key.public.thumbprint == thumbprint), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredKey:
    """A key together with whose it is."""

    key: KeyFacts
    principal: Principal

    def is_usable(self, now: datetime) -> bool:
        """Whether a signature with it counts: neither the key nor its principal is out of use."""
        return self.principal.disabled_at is None and self.key.is_usable(now)


FindKey = Callable[[str], RegisteredKey | None]
FindPrincipal = Callable[[str], Principal | None]
