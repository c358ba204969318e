"""Policies as they were applied: a version is immutable, and a decision can be replayed against the one it was made under.

Invariants:
    - A version number names one document: applying the same document again changes nothing, another one under the same
      number is refused.
    - Versions of a policy only grow; the current one is the highest.
    - What is read back has the digest that was applied, or reading fails.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select

from gateway.db import Work
from gateway.db.tables.catalogue import policy as policy_table
from gateway.errors import Conflict, InvalidRequest, NotFound, VerificationFailed
from policies.canonical import canonical_json
from policies.canonical import digest as digest_of
from policies.schema import ReleasePolicy

__all__ = ["AppliedPolicy", "Policies"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedPolicy:
    """One version of a policy. `digest` is of its canonical form."""

    name: str
    version: int
    policy: ReleasePolicy
    digest: str
    applied_at: datetime
    applied_by: str


class Policies:
    """The applied policies, within one transaction."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def apply(self, policy: ReleasePolicy, *, digest: str, by: str, now: datetime) -> AppliedPolicy:
        """Add a version.

        Args:
            policy: Checked by lint.
            digest: Of its canonical form; compared.
            by: Who applies.
            now: When.

        Raises:
            InvalidRequest: the digest is not the policy's.
            Conflict: this version number has another content, or a higher one is applied already.
        """
        if digest != digest_of(policy):
            raise InvalidRequest("the digest is not the one of this policy", code="digest-mismatch")
        newest = self._newest_version(policy.name)
        if newest is not None and policy.version <= newest:
            return self._same_again(policy, digest, newest)
        self._work.execute(
            insert(policy_table).values(
                name=policy.name,
                version=policy.version,
                digest=digest,
                document=json.loads(canonical_json(policy)),
                applied_at=now,
                applied_by=by,
            )
        )
        return self.get(policy.name, policy.version)

    def get(self, name: str, version: int | None = None) -> AppliedPolicy:
        """One version of a policy; the current one where none is named.

        Raises:
            NotFound: there is no such policy or version.
            VerificationFailed: what is stored is not what was applied.
        """
        query = select(policy_table).where(policy_table.c.name == name).order_by(policy_table.c.version.desc()).limit(1)
        row = self._work.execute(query if version is None else query.where(policy_table.c.version == version)).mappings().first()
        if row is None:
            which = f"the policy '{name}'" if version is None else f"version {version} of the policy '{name}'"
            raise NotFound(f"{which} is not applied", unlock=("ticketgate policy list shows what is applied",))
        return _applied(row)

    def list(self) -> tuple[AppliedPolicy, ...]:
        """The current version of every policy, by name."""
        newest = select(policy_table.c.name, func.max(policy_table.c.version).label("version"))
        current = newest.group_by(policy_table.c.name).subquery()
        same = (policy_table.c.name == current.c.name) & (policy_table.c.version == current.c.version)
        rows = self._work.execute(select(policy_table).join(current, same).order_by(policy_table.c.name)).mappings()
        return tuple(_applied(row) for row in rows)

    def versions(self, name: str) -> tuple[AppliedPolicy, ...]:
        """All versions of a policy, oldest first."""
        rows = self._work.execute(
            select(policy_table).where(policy_table.c.name == name).order_by(policy_table.c.version)
        ).mappings()
        return tuple(_applied(row) for row in rows)

    def for_dataset(self, dataset: str) -> tuple[AppliedPolicy, ...]:
        """Current policies that cover a dataset, by name."""
        return tuple(applied for applied in self.list() if applied.policy.covers(dataset))

    def _newest_version(self, name: str) -> int | None:
        found = self._work.execute(select(func.max(policy_table.c.version)).where(policy_table.c.name == name)).scalar()
        return None if found is None else int(found)

    def _same_again(self, policy: ReleasePolicy, digest: str, newest: int) -> AppliedPolicy:
        known = {applied.version: applied for applied in self.versions(policy.name)}.get(policy.version)
        if known is not None and known.digest == digest:
            return known
        reason = "has another content" if known is not None else "was passed over"
        raise Conflict(
            f"version {policy.version} of the policy '{policy.name}' {reason}; versions are immutable",
            code="version-conflict",
            unlock=(f"apply it as version {newest + 1}",),
        )


def _applied(row: Any) -> AppliedPolicy:
    policy = ReleasePolicy.model_validate(row["document"])
    if digest_of(policy) != row["digest"]:
        raise VerificationFailed(f"the stored policy '{row['name']}' version {row['version']} was altered")
    return AppliedPolicy(
        name=row["name"],
        version=row["version"],
        policy=policy,
        digest=row["digest"],
        applied_at=row["applied_at"],
        applied_by=row["applied_by"],
    )
