from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gateway.db import Database, create_schema
from gateway.errors import Conflict, InvalidRequest, NotFound
from gateway.tickets import FileRegistry, Tickets

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


@pytest.fixture
def database(tmp_path):
    found = Database(f"sqlite:///{tmp_path / 'tickets.db'}")
    create_schema(found)
    yield found
    found.dispose()


def test_a_ticket_is_opened_once(database):
    with database.begin() as work:
        tickets = Tickets(work)
        made = tickets.add("DATA-1", status="approved", dataset="adult", assignee="ana", approver="rob", now=NOW)
        assert (made.project, made.type, made.approved_at) == ("DATA", "Task", NOW)
        with pytest.raises(Conflict, match="already"):
            tickets.add("DATA-1", status="Open", now=NOW)
        with pytest.raises(InvalidRequest, match="as in DATA-101"):
            tickets.add("data 1", status="Open", now=NOW)
        assert tickets.add("DATA-2", status="Open", project="OTHER", now=NOW).approved_at is None
        assert [found.key for found in tickets.list(now=LATER)] == ["DATA-1", "DATA-2"]


def test_a_change_that_changes_nothing_is_none(database):
    with database.begin() as work:
        tickets = Tickets(work)
        tickets.add("DATA-1", status="Open", dataset="adult", now=NOW)
        assert tickets.set("DATA-1", now=LATER, dataset="adult").changed_at == NOW
        assert tickets.set("DATA-1", now=LATER, dataset="other").changed_at == LATER
        with pytest.raises(InvalidRequest, match="no field colour"):
            tickets.set("DATA-1", now=LATER, colour="red")
        with pytest.raises(NotFound):
            tickets.set("DATA-9", now=LATER, status="Open")


def test_saying_approved_again_is_a_new_approval(database):
    with database.begin() as work:
        tickets = Tickets(work)
        tickets.add("DATA-1", status="Approved", assignee="ana", approver="rob", now=NOW)
        moved = tickets.set("DATA-1", now=LATER, assignee="eve")
        assert moved.changed_at > moved.approved_at
        again = tickets.set("DATA-1", now=LATER, status="Approved")
        assert (again.approved_at, again.changed_at) == (LATER, LATER)


def test_comments_are_kept_but_not_for_ever(database):
    with database.begin() as work:
        Tickets(work).add("DATA-1", status="Open", now=NOW)
        work.commit()
    registry = FileRegistry(database)
    for number in range(105):
        assert registry.comment("DATA-1", f"note {number}", now=NOW) is None
    with database.read() as work:
        kept = Tickets(work)._row("DATA-1")["extra"]["comments"]
    assert len(kept) == 100
    assert kept[-1]["text"] == "note 104"
    assert registry.fetch("DATA-1", now=NOW).extra == {}


def test_a_change_without_commit_is_not_kept(database):
    with database.begin() as work:
        Tickets(work).add("DATA-1", status="Open", now=NOW)
    assert FileRegistry(database).fetch("DATA-1", now=NOW).kind == "not-found"
