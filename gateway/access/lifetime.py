"""How long a release token lives: the least of everything it depends on.

Invariants:
    - A token outlives neither the policy's time, nor its release, nor the ticket's approval, nor the key that signs it.
    - Times are cut down to whole seconds, never rounded up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.errors import Conflict

__all__ = ["Lifetime"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """What bounds a token.

    Attributes:
        policy_ttl: The policy's `token_ttl`.
        release_expires_at: End of the release.
        ticket_valid_until: When the ticket's approval becomes too old; None when the policy sets no age.
        key_retires_at: When the signing key is due; None when it has no date.
    """

    policy_ttl: timedelta
    release_expires_at: datetime | None
    ticket_valid_until: datetime | None
    key_retires_at: datetime | None

    def ends(self, now: datetime) -> datetime:
        """When a token issued now expires.

        Raises:
            Conflict: there is no whole second left.
        """
        bounds = (now + self.policy_ttl, self.release_expires_at, self.ticket_valid_until, self.key_retires_at)
        end = min(bound for bound in bounds if bound is not None).replace(microsecond=0)
        if end < now + timedelta(seconds=1):
            raise Conflict("the release or the approval of its ticket has run out", code="expired")
        return end
