"""What every source of tickets must do: the file registry and Jira run the same tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gateway.tickets import TicketProblem, from_snapshot, snapshot, snapshot_digest

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
T1, T2, T3 = NOW - timedelta(days=3), NOW - timedelta(days=2), NOW - timedelta(days=1)


def opened(world, key="DATA-101"):
    world.open(key, dataset="adult", assignee="acc-ana", at=T1)
    return key


def test_an_open_ticket_says_what_it_is(world):
    found = world.source.fetch(opened(world), now=NOW)
    assert (found.key, found.project, found.type, found.status) == ("DATA-101", "DATA", "Data request", "Open")
    assert (found.dataset, found.assignee, found.approver) == ("adult", "acc-ana", None)
    assert found.approved_at is None
    assert found.fetched_at == NOW
    assert (found.uses, found.attempts) == (0, 0)


def test_an_approval_names_who_and_when(world):
    key = opened(world)
    world.approve(key, by="acc-rob", at=T2)
    found = world.source.fetch(key, now=NOW)
    assert (found.status, found.approver, found.approved_at) == ("Approved", "acc-rob", T2)
    assert found.changed_at == T2


def test_a_reopened_ticket_was_changed_after_its_approval(world):
    key = opened(world)
    world.approve(key, by="acc-rob", at=T2)
    world.reopen(key, at=T3)
    found = world.source.fetch(key, now=NOW)
    assert found.status == "Open"
    assert found.approved_at == T2
    assert found.changed_at == T3


@pytest.mark.parametrize("what", ["reassign", "rename_dataset"])
def test_what_the_approval_rests_on_cannot_be_changed_silently(world, what):
    key = opened(world)
    world.approve(key, by="acc-rob", at=T2)
    getattr(world, what)(key, to="other", at=T3)
    found = world.source.fetch(key, now=NOW)
    assert found.changed_at == T3 > found.approved_at


def test_a_second_approval_counts_from_its_own_moment(world):
    key = opened(world)
    world.approve(key, by="acc-rob", at=T1 + timedelta(hours=1))
    world.reopen(key, at=T2)
    world.approve(key, by="acc-mia", at=T3)
    found = world.source.fetch(key, now=NOW)
    assert (found.approver, found.approved_at, found.changed_at) == ("acc-mia", T3, T3)


@pytest.mark.parametrize("key", ["DATA-999", "data-1", "DATA-1/../../x", "", "DATA-0", "DATA-101\n", "D" * 200 + "-1"])
def test_what_is_not_there_is_not_found(world, key):
    found = world.source.fetch(key, now=NOW)
    assert isinstance(found, TicketProblem)
    assert found.kind == "not-found"


def test_a_comment_is_written_back(world):
    key = opened(world)
    assert world.source.comment(key, "release r1 was permitted", now=NOW) is None
    assert world.comments(key) == ["release r1 was permitted"]


def test_a_comment_on_nothing_is_a_problem(world):
    assert world.source.comment("DATA-999", "hello", now=NOW).kind == "not-found"
    assert world.source.comment("nothing", "hello", now=NOW).kind == "not-found"


def test_the_snapshot_survives_and_its_digest_is_of_what_the_ticket_says(world):
    key = opened(world)
    world.approve(key, by="acc-rob", at=T2)
    first, second = world.source.fetch(key, now=NOW), world.source.fetch(key, now=NOW + timedelta(hours=1))
    assert from_snapshot(snapshot(first)) == first
    assert snapshot_digest(first) == snapshot_digest(second)
    world.source.comment(key, "released", now=NOW)
    assert snapshot_digest(world.source.fetch(key, now=NOW)) == snapshot_digest(first)
    world.reopen(key, at=T3)
    assert snapshot_digest(world.source.fetch(key, now=NOW)) != snapshot_digest(first)
