"""Roles, the scopes they carry, and the access levels that routes declare: plain data.

Invariants:
    - A scope that no role carries, or a role without a scope, cannot stand here (a test walks both).
    - Reviewing is nobody's by another role: an admin cannot approve a release.
    - What a token may do is the intersection of the scopes it was given and those of the principal's roles now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["ACCESS", "ROLES", "SCOPES", "SCOPES_OF_ROLE", "Access", "scopes_of"]

ROLES: Final = ("analyst", "steward", "reviewer", "compliance", "security", "admin")

SCOPES: Final[Mapping[str, str]] = {
    "requests:read": "see one's own release requests and releases",
    "requests:read-any": "see everybody's release requests and releases",
    "reports:read-exact": "see exact metrics, whatever a policy discloses to requesters",
    "requests:cancel": "cancel one's own release request",
    "releases:token": "obtain a release token for one's own release",
    "reviews:decide": "see reviews and vote",
    "datasets:read": "see registered datasets and their budgets",
    "datasets:inspect": "see the profile and the PII scan of a dataset",
    "policies:read": "see, explain and simulate policies",
    "dp:compute": "validate and recommend privacy configurations",
    "compliance:read": "trace, evidence, compliance reports, narratives",
    "leaks:trace": "find the release that a leaked file comes from",
    "releases:withdraw": "withdraw a release",
    "tokens:revoke": "revoke one's own release tokens",
    "tokens:revoke-any": "revoke release tokens by token, release, ticket, dataset, principal or key",
    "tokens:introspect": "ask about one's own release tokens",
    "tokens:introspect-any": "ask about any release token",
    "audit:read": "read log entries, checkpoints and proofs",
    "audit:export": "export the log",
}

_EVERYBODY = ("requests:read", "datasets:read", "policies:read", "dp:compute", "tokens:revoke", "tokens:introspect")
_OVERSIGHT = ("tokens:revoke-any", "tokens:introspect-any")

SCOPES_OF_ROLE: Final[Mapping[str, frozenset[str]]] = {
    "analyst": frozenset({*_EVERYBODY, "requests:cancel", "releases:token"}),
    "steward": frozenset({*_EVERYBODY, *_OVERSIGHT, "requests:read-any", "datasets:inspect", "releases:withdraw"}),
    "reviewer": frozenset({*_EVERYBODY, "requests:read-any", "reviews:decide"}),
    "compliance": frozenset(
        {
            *_EVERYBODY,
            *_OVERSIGHT,
            "requests:read-any",
            "reports:read-exact",
            "compliance:read",
            "leaks:trace",
            "releases:withdraw",
            "audit:read",
        }
    ),
    "security": frozenset({*_EVERYBODY, *_OVERSIGHT, "requests:read-any", "compliance:read", "audit:read", "audit:export"}),
    "admin": frozenset({*_EVERYBODY, *_OVERSIGHT}),
}


def scopes_of(roles: Iterable[str]) -> frozenset[str]:
    """Everything these roles may do; an unknown role carries nothing."""
    return frozenset().union(*(SCOPES_OF_ROLE.get(role, frozenset()) for role in roles))


@dataclass(frozen=True, slots=True)
class Access:
    """What a route asks of its caller.

    Attributes:
        name: As documented and as the route declares it.
        credential: How the caller proves who it is.
        scope: What an access token must be good for; None: any principal.
    """

    name: str
    credential: Literal["none", "signed-request", "client-assertion", "access-token", "release-token"]
    scope: str | None = None


ACCESS: Final[Mapping[str, Access]] = {
    level.name: level
    for level in (
        Access("public", "none"),
        Access("signed-request", "signed-request"),
        Access("client-assertion", "client-assertion"),
        Access("release-token", "release-token"),
        Access("principal", "access-token"),
        *(Access(scope, "access-token", scope) for scope in SCOPES),
    )
}
