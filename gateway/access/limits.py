"""How often callers may try: what is counted, for whom, and how many; plain data that the web enforces.

Invariants:
    - An address is counted before anything of its message is parsed; a principal only after a signature proved it, so that
      nobody can lock another one out by using the name.
    - IPv6 callers are counted by /64, because one subscriber holds that many addresses.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from gateway.audit.noise import network_of

__all__ = ["LIMITS", "RateLimit", "address_key", "principal_key"]


@dataclass(frozen=True, slots=True)
class RateLimit:
    """One limit.

    Attributes:
        name: As it stands in the log.
        counts: Every call, or only those that ended in 401 or 404.
        by: Whose calls are counted together.
        calls: How many of them are allowed in `window`.
    """

    name: str
    counts: Literal["calls", "failures"]
    by: Literal["address", "principal"]
    calls: int
    window: timedelta

    def text(self) -> str:
        """As Flask-Limiter reads it."""
        return f"{self.calls} per {int(self.window.total_seconds())} second"


LIMITS: Final = (
    RateLimit("token-endpoint", "calls", "address", 60, timedelta(minutes=1)),
    RateLimit("signed-requests", "calls", "address", 120, timedelta(minutes=1)),
    RateLimit("signed-requests", "calls", "principal", 60, timedelta(minutes=1)),
    RateLimit("release-tokens", "calls", "principal", 60, timedelta(minutes=1)),
    RateLimit("credentials", "failures", "address", 30, timedelta(minutes=5)),
)


def address_key(address: str | None) -> str:
    """Under what an address is counted; everything that is no address counts together."""
    return f"address:{network_of(address)}"


def principal_key(name: str) -> str:
    """Under what a verified principal is counted."""
    return f"principal:{name}"
