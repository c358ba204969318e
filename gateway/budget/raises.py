"""Raising a limit: two people and a reason.

Invariants:
    - Nobody approves their own proposal; the ids of accounts are compared, not names.
    - A raise states the limit that is in force from then on, and the documents that it was made against: a document that
      states less than they did lowers the limit again.
    - Both acts carry the signature by which they were verified; it stays in the ledger.
    - A raise is written to every ledger that holds a part of the history: else the least of the others would stay in force.
    - A proposal is approved at most once (unique in the database) and only while the limit is the one it was made against.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import insert, select

from gateway.budget.ledgers import Ledgers, stated_limit
from gateway.budget.limits import Limit, ledger_name
from gateway.db import Work
from gateway.db.tables.budget import budget_limit
from gateway.errors import Conflict, InvalidRequest, NotAuthorised, NotFound
from policies.card import DatasetCard

__all__ = ["Proposal", "Raises", "Signature"]

MINIMAL_REASON = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """By which an act was verified before it came here.

    Attributes:
        key: Thumbprint of the registered key.
        message: What was signed, with its signature (compact JWS).
        digest: Hexadecimal SHA-256 of the message.
    """

    key: str
    message: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A raise that one person proposes.

    Attributes:
        by: Account id of who proposed it.
    """

    proposal_id: int
    ledger: str
    epsilon: Decimal | None
    delta: Decimal | None
    reason: str
    by: str
    at: datetime
    is_approved: bool


class Raises:
    """Proposals and approvals, within one transaction."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._ledgers = Ledgers(work)

    def propose(
        self, card: DatasetCard, *, limits: tuple[Limit, ...] = (), epsilon: Decimal, delta: Decimal | None = None,
        reason: str, by: str, signature: Signature, now: datetime,
    ) -> Proposal:  # fmt: skip
        """Propose a higher limit.

        Raises:
            InvalidRequest: there is no limit to raise, the proposal raises nothing, or the reason says nothing.
        """
        if len(reason.strip()) < MINIMAL_REASON:
            raise InvalidRequest(f"a raise needs a reason of at least {MINIMAL_REASON} characters")
        limit = self._ledgers.note_limits(card, limits=limits, by=by, now=now)
        raised = Limit(epsilon=epsilon, delta=delta or limit.delta)
        if limit.epsilon is None:
            raise InvalidRequest("this ledger has no limit that could be raised")
        if (
            epsilon < limit.epsilon
            or (raised.delta or 0) < (limit.delta or 0)
            or (epsilon, raised.delta) == (limit.epsilon, limit.delta)
        ):
            raise InvalidRequest(f"the limit is ε = {limit.epsilon}, δ = {limit.delta}; a raise states more. Documents lower it")
        row = {
            "ledger": ledger_name(card), "kind": "proposal", "document_epsilon": limit.epsilon, "document_delta": limit.delta,
            "epsilon": epsilon, "delta": raised.delta, "by": by, "reason": reason, "key": signature.key,
            "signed": signature.message, "at": now,
        }  # fmt: skip
        found = self._work.execute(insert(budget_limit).values(**row)).inserted_primary_key[0]
        return self.get(int(found))

    def approve(
        self,
        card: DatasetCard,
        proposal_id: int,
        *,
        limits: tuple[Limit, ...] = (),
        by: str,
        signature: Signature,
        now: datetime,
    ) -> Limit:
        """Put a proposed limit into force.

        Raises:
            NotFound: this ledger has no such proposal.
            NotAuthorised: the same person proposed it.
            Conflict: it is approved already, or the limit changed since.
        """
        before = self._ledgers.note_limits(card, limits=limits, by=by, now=now)
        row = self._row(proposal_id)
        if row["ledger"] != ledger_name(card):
            raise NotFound(f"the ledger '{ledger_name(card)}' has no proposal {proposal_id}")
        if row["by"] == by:
            raise NotAuthorised("a raise needs a second person", unlock=("ask another principal to approve it",))
        if self._is_approved(proposal_id):
            raise Conflict("this proposal is approved already")
        if (row["document_epsilon"], row["document_delta"]) != (before.epsilon, before.delta):
            raise Conflict("the limit changed since this was proposed; propose anew")
        stated = stated_limit(card, limits)
        raised = {
            "kind": "raise", "document_epsilon": stated.epsilon, "document_delta": stated.delta, "epsilon": row["epsilon"],
            "delta": row["delta"], "by": by, "reason": row["reason"], "key": signature.key, "signed": signature.message,
            "at": now,
        }  # fmt: skip
        for name in sorted(self._ledgers.kin(card).ledgers):
            proposal = proposal_id if name == row["ledger"] else None
            self._work.execute(insert(budget_limit).values(ledger=name, proposal=proposal, **raised))
        return Limit(epsilon=row["epsilon"], delta=row["delta"], source="raise")

    def get(self, proposal_id: int) -> Proposal:
        """One proposal.

        Raises:
            NotFound: there is none with this id.
        """
        return self._proposal(self._row(proposal_id))

    def list(self, card: DatasetCard) -> tuple[Proposal, ...]:
        """All proposals for a ledger, oldest first."""
        query = select(budget_limit).where(budget_limit.c.ledger == ledger_name(card), budget_limit.c.kind == "proposal")
        return tuple(self._proposal(row) for row in self._work.execute(query.order_by(budget_limit.c.id)).mappings())

    def _proposal(self, row: Any) -> Proposal:
        return Proposal(
            proposal_id=row["id"], ledger=row["ledger"], epsilon=row["epsilon"], delta=row["delta"], reason=row["reason"],
            by=row["by"], at=row["at"], is_approved=self._is_approved(row["id"]),
        )  # fmt: skip

    def _row(self, proposal_id: int) -> Any:
        query = select(budget_limit).where(budget_limit.c.id == proposal_id, budget_limit.c.kind == "proposal")
        row = self._work.execute(query).mappings().first()
        if row is None:
            raise NotFound(f"there is no proposal {proposal_id}")
        return row

    def _is_approved(self, proposal_id: int) -> bool:
        query = select(budget_limit.c.id).where(budget_limit.c.proposal == proposal_id)
        return self._work.execute(query).first() is not None
