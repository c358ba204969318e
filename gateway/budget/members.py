"""Which ledgers and datasets are about the same people.

Invariants:
    - A dataset belongs to every ledger that a registered card of it named, and to every ledger in which it has an entry. It
      never leaves one: what a card once said about the people of a table stays true of them.
    - Ledgers that share a dataset are one history, and so are those that share one with these, and so on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Table, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from gateway.db import Work
from gateway.db.tables.budget import budget_entry, budget_ledger, budget_member

__all__ = ["Kin", "join_ledger", "kin_of", "open_ledger"]


@dataclass(frozen=True, slots=True)
class Kin:
    """All ledgers that hold a part of one history, and all datasets that have a part in it."""

    ledgers: frozenset[str]
    datasets: frozenset[str]


def open_ledger(work: Work, name: str, *, now: datetime) -> None:
    """Open a ledger, unless there is one of this name."""
    _add(work, budget_ledger, name=name, opened_at=now)


def join_ledger(work: Work, name: str, *, dataset: str, now: datetime) -> None:
    """Write down that a card charges a dataset to a ledger; for good."""
    open_ledger(work, name, now=now)
    _add(work, budget_member, ledger=name, dataset=dataset, at=now)


def kin_of(work: Work, *, ledger: str, dataset: str) -> Kin:
    """What a ledger and a dataset belong together with, both of them included."""
    ledgers, datasets = {ledger}, {dataset}
    while True:
        pairs = [pair for table in (budget_entry, budget_member) for pair in _pairs(work, table, ledgers, datasets)]
        more_ledgers, more_datasets = ledgers | {pair[0] for pair in pairs}, datasets | {pair[1] for pair in pairs}
        if (more_ledgers, more_datasets) == (ledgers, datasets):
            return Kin(frozenset(ledgers), frozenset(datasets))
        ledgers, datasets = more_ledgers, more_datasets


def _pairs(work: Work, table: Table, ledgers: set[str], datasets: set[str]) -> list[tuple[str, str]]:
    column = table.c
    touched = or_(column.ledger.in_(ledgers), column.dataset.in_(datasets))
    found = work.execute(select(column.ledger, column.dataset).where(touched).distinct())
    return [(str(row[0]), str(row[1])) for row in found]


def _add(work: Work, table: Table, **values: object) -> None:
    dialect = sqlite if work.is_sqlite else postgresql
    work.execute(dialect.insert(table).values(**values).on_conflict_do_nothing())
