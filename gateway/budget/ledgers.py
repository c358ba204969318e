"""Reserve and settle privacy loss.

Invariants:
    - Entries are never changed or deleted; triggers in the database say so too.
    - The composed loss of reserved and settled entries never exceeds the limit: a ledger is locked before it is read, and
      the entry is written under the same lock and in the caller's transaction.
    - What was read is spent, whatever became of it. Only a reserve whose data was never read is released.
    - Tables about the same people are one ledger. A dataset that changes its group takes its history along: entries, limits and
      bound filters. Of several limits the least is in force, until a raise that is written to every one of these ledgers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from sqlalchemy import insert, select

from gateway.budget.entries import SCOPE, Charge, Entry, charges_of
from gateway.budget.ledger import Ledger
from gateway.budget.limits import Limit, LimitRecord, default_delta, least, ledger_name, limit_of
from gateway.budget.loss import PrivacyLoss
from gateway.budget.members import Kin, join_ledger, kin_of, open_ledger
from gateway.budget.privacy_filter import PrivacyFilter
from gateway.budget.statement import BudgetStatement, statement_of
from gateway.db import Work
from gateway.db.tables.budget import budget_entry, budget_filter, budget_ledger, budget_limit
from gateway.errors import BudgetExhausted, Conflict, NotFound
from policies.card import DatasetCard
from policies.types import BudgetFacts, PrivacySpent

__all__ = ["Ledgers", "Settled", "stated_limit"]

LONGEST_REASON = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A settlement. `is_overrun`: more was spent than reserved; it is charged in full and the release must be blocked."""

    entry_id: str
    is_overrun: bool


class Ledgers:
    """The ledgers of all datasets, within one transaction."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def of(self, card: DatasetCard) -> Ledger:
        """A ledger as it stands, without a lock: for reading only."""
        return self._load(card, self.kin(card).ledgers)

    def for_update(self, card: DatasetCard, *, now: datetime) -> Ledger:
        """Lock the ledger of a dataset for the rest of the transaction and read it.

        Other transactions wait. On SQLite the write transaction itself is the lock.
        """
        open_ledger(self._work, ledger_name(card), now=now)
        names: frozenset[str] = frozenset()
        while (found := self.kin(card).ledgers) != names:
            names = found
            locked = select(budget_ledger.c.name).where(budget_ledger.c.name.in_(names)).order_by(budget_ledger.c.name)
            self._work.execute(locked.with_for_update()).all()
        return self._load(card, names)

    def facts(
        self, card: DatasetCard, *, limits: Iterable[Limit] = (), loss: PrivacyLoss, now: datetime, lock: bool = True
    ) -> BudgetFacts:
        """Whether the ledger affords a request, for `decide`.

        Args:
            card: The dataset's card; its own budget is always among the limits.
            limits: What the applied policies state.
            loss: What the request would cost at most (`loss_of`).
            now: The present time, for windows.
            lock: Whether a reserve follows in this transaction. Without it the answer may be stale when it arrives.
        """
        ledger = self.for_update(card, now=now) if lock else self.of(card)
        return ledger.facts(stated=stated_limit(card, limits), request=loss, now=now)

    def reserve(
        self,
        card: DatasetCard,
        *,
        limits: Iterable[Limit] = (),
        loss: PrivacyLoss,
        release_id: str,
        principal: str,
        now: datetime,
    ) -> str:
        """Hold what a release may cost, before any data is read.

        Returns:
            The entry's id, by which it is settled. A release without ε gets a flagged entry.

        Raises:
            BudgetExhausted: the ledger does not afford it; nothing was written.
        """
        ledger = self.for_update(card, now=now)
        stated = stated_limit(card, limits)
        limit = ledger.in_force(stated)
        if not ledger.affords(limit, loss, now):
            raise _exhausted(ledger, stated, loss, now)
        self._note(ledger, stated, limit, by="ledger", now=now)
        judge = ledger.filter_under(limit, loss) if loss.is_dp else None
        if judge is not None and judge not in ledger.filters:
            self._bind(ledger.name, judge, now)
        return self._write(
            ledger=ledger.name, dataset=card.name, kind="reserve", release_id=release_id, principal=principal,
            outcome="pending", loss=loss, at=now,
        )  # fmt: skip

    def settle(
        self, entry_id: str, *, spent: PrivacySpent | PrivacyLoss | None, data_was_read: bool = True, now: datetime
    ) -> Settled:
        """Replace a reserve by what was spent.

        Args:
            entry_id: What `reserve` returned.
            spent: What the generator reports; None when it did not report: then the whole reserve is spent.
            data_was_read: False releases the reserve, and then `spent` must be None.
            now: The present time.

        Raises:
            NotFound: there is no such reserve.
            Conflict: it is settled already, or `spent` contradicts `data_was_read`.
        """
        reserve = self._locked_reserve(entry_id, now)
        if not data_was_read and spent is not None:
            raise Conflict("a release that read no data has spent nothing", code="budget-contradiction")
        loss = _settled_loss(reserve, spent, data_was_read=data_was_read)
        is_overrun = data_was_read and not _covers(reserve.loss, loss)
        outcome = "overrun" if is_overrun else ("spent" if data_was_read else "unread")
        found = self._write(
            ledger=reserve.ledger, dataset=reserve.dataset, kind="settle", settles=entry_id, release_id=reserve.release_id,
            principal=reserve.principal, outcome=outcome, loss=loss, at=now,
        )  # fmt: skip
        return Settled(entry_id=found, is_overrun=is_overrun)

    def kin(self, card: DatasetCard) -> Kin:
        """All ledgers and datasets that share a history with a dataset, as they stand."""
        return kin_of(self._work, ledger=ledger_name(card), dataset=card.name)

    def open_reserves(self) -> tuple[Entry, ...]:
        """Reserves that nobody settled yet, oldest first: what a worker's recovery has to look after."""
        settled = select(budget_entry.c.settles).where(budget_entry.c.settles.is_not(None))
        query = select(budget_entry).where(budget_entry.c.kind == "reserve", budget_entry.c.entry_id.not_in(settled))
        return tuple(Entry.from_row(row) for row in self._work.execute(query.order_by(budget_entry.c.id)).mappings())

    def charges_of_release(self, release_id: str) -> tuple[Charge, ...]:
        """All charges of one release, oldest first."""
        return charges_of(self._entries(budget_entry.c.release_id == release_id))

    def statement(self, card: DatasetCard, *, limits: Iterable[Limit] = (), now: datetime) -> BudgetStatement:
        """What the ledger of a dataset shows (unlocked)."""
        return statement_of(self.of(card), stated=stated_limit(card, limits), now=now)

    def note_limits(self, card: DatasetCard, *, limits: Iterable[Limit] = (), by: str, now: datetime) -> Limit:
        """Record what documents state, so that a later one cannot lift it; returns the limit in force, with all windows.

        To be called whenever a document about the dataset is registered or applied.
        """
        join_ledger(self._work, ledger_name(card), dataset=card.name, now=now)
        ledger = self.for_update(card, now=now)
        stated = stated_limit(card, limits)
        limit = ledger.in_force(stated)
        self._note(ledger, stated, limit, by=by, now=now)
        return limit

    def _note(self, ledger: Ledger, stated: Limit, limit: Limit, *, by: str, now: datetime) -> None:
        before = ledger.records.get(ledger.name)
        if before is not None and (before.in_force.epsilon, before.in_force.delta) == (limit.epsilon, limit.delta):
            return
        if before is None and limit.epsilon is None and limit.delta is None:
            return
        self._work.execute(
            insert(budget_limit).values(
                ledger=ledger.name,
                kind="document",
                document_epsilon=stated.epsilon,
                document_delta=stated.delta,
                epsilon=limit.epsilon,
                delta=limit.delta,
                by=by,
                reason=stated.source[:LONGEST_REASON] or "documents",
                at=now,
            )
        )

    def _bind(self, ledger: str, judge: PrivacyFilter, now: datetime) -> None:
        self._work.execute(
            insert(budget_filter).values(
                ledger=ledger, epsilon=judge.epsilon, delta=judge.delta, mode=judge.mode, order=judge.order, at=now
            )
        )

    def _locked_reserve(self, entry_id: str, now: datetime) -> Entry:
        found = self._entries(budget_entry.c.entry_id == entry_id)
        if not found or found[0].kind != "reserve":
            raise NotFound(f"there is no reserve '{entry_id}'")
        open_ledger(self._work, found[0].ledger, now=now)
        query = select(budget_ledger.c.name).where(budget_ledger.c.name == found[0].ledger)
        self._work.execute(query.with_for_update()).all()
        if self._entries(budget_entry.c.settles == entry_id):
            raise Conflict("this reserve is settled already; a settlement is final", code="already-settled")
        return found[0]

    def _load(self, card: DatasetCard, names: frozenset[str]) -> Ledger:
        limits = select(budget_limit).where(budget_limit.c.ledger.in_(names), budget_limit.c.kind != "proposal")
        recorded = self._work.execute(limits.order_by(budget_limit.c.id)).mappings()
        bound = select(budget_filter).where(budget_filter.c.ledger.in_(names)).order_by(budget_filter.c.id)
        return Ledger(
            name=ledger_name(card),
            entries=self._entries(budget_entry.c.ledger.in_(names)),
            records={row["ledger"]: _record(row) for row in recorded},  # the newest of each ledger is read last
            filters=tuple(
                PrivacyFilter(epsilon=row["epsilon"], delta=row["delta"], mode=row["mode"], order=row["order"])
                for row in self._work.execute(bound).mappings()
            ),
            delta=default_delta(card.spec.public_rows),
        )

    def _entries(self, condition: Any) -> tuple[Entry, ...]:
        query = select(budget_entry).where(condition).order_by(budget_entry.c.id)
        return tuple(Entry.from_row(row) for row in self._work.execute(query).mappings())

    def _write(self, *, loss: PrivacyLoss, **columns: Any) -> str:
        entry_id = uuid4().hex
        row = {"entry_id": entry_id, "settles": None, "scope": SCOPE, **columns, **loss.to_row()}
        self._work.execute(insert(budget_entry).values(**row))
        return entry_id


def stated_limit(card: DatasetCard, limits: Iterable[Limit]) -> Limit:
    """The least of the card's budget and of what policies state."""
    own = card.spec.budget
    stated = [] if own is None else [limit_of(own, source="card")]
    return least([*stated, *limits])


def _record(row: Any) -> LimitRecord:
    return LimitRecord(
        document=Limit(epsilon=row["document_epsilon"], delta=row["document_delta"]),
        in_force=Limit(epsilon=row["epsilon"], delta=row["delta"]),
    )


def _settled_loss(reserve: Entry, spent: PrivacySpent | PrivacyLoss | None, *, data_was_read: bool) -> PrivacyLoss:
    if not data_was_read:
        if not reserve.loss.is_dp:
            return reserve.loss
        return PrivacyLoss.nothing(unit=reserve.loss.unit, neighbours=reserve.loss.neighbours or "add-remove")
    if spent is None:
        return reserve.loss
    found = PrivacyLoss.of(spent) if isinstance(spent, PrivacySpent) else spent
    if not (found.is_dp and reserve.loss.failure_delta > found.failure_delta):
        return found
    return replace(found, failure_delta=min(reserve.loss.failure_delta, found.delta or Decimal(0)))  # reports may leave it out


def _covers(held: PrivacyLoss, spent: PrivacyLoss) -> bool:
    """Whether what was held bounds what was spent at every order that the held curve knows."""
    if not spent.is_dp or not held.is_dp:
        return spent.is_dp == held.is_dp
    if (spent.neighbours, spent.unit) != (held.neighbours, held.unit) or spent.failure > held.failure:
        return False
    pairs = zip(spent.curve().values, held.curve().values, strict=True)
    return all(most is None or (used is not None and used <= most) for used, most in pairs)


def _exhausted(ledger: Ledger, stated: Limit, loss: PrivacyLoss, now: datetime) -> BudgetExhausted:
    facts = ledger.facts(stated=stated, request=loss, now=now)
    left = facts.remaining_epsilon if facts.remaining_epsilon is not None else Decimal(0)
    unlock = [f"ask for ε of at most {left}"] if left else ["ask the steward: raising a limit takes two people and a reason"]
    if facts.window_closed_until is not None:
        unlock.append(f"ask again after {facts.window_closed_until.isoformat()}")
    return BudgetExhausted(
        f"the ledger '{ledger.name}' has a limit of ε = {facts.limit_epsilon}; {left} is left and {loss.epsilon} was asked for",
        unlock=tuple(unlock),
    )
