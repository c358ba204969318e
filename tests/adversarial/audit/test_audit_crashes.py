"""Many writers and sequencers at once, killed at random: no gap, no fork, no act without its event, no event without its act."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, text

from gateway.audit import Log, verify_log
from gateway.audit.sequencer import LEADER_LOCK
from gateway.audit.tree import newest_head, newest_signed
from gateway.db.tables.audit import audit_event
from gateway.db.work import Work
from gateway.errors import NotRecorded

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FORK = multiprocessing.get_context("fork")


def write(site, name: str, count: int) -> None:
    database = site.open()
    for number in range(count):
        site.act(database, f"{name}-{number}")
    database.dispose()


def write_for_ever(site, name: str) -> None:
    write(site, name, 1_000_000)


def sequence_for_ever(site, _name: str) -> None:
    database = site.open()
    running = site.sequencer(database)
    while True:
        running.run_once(NOW)
        time.sleep(0.002)


@contextmanager
def children(site, *jobs: tuple[Callable, str]) -> Iterator[list]:
    started = [FORK.Process(target=job, args=(site, name), daemon=True) for job, name in jobs]
    for child in started:
        child.start()
    try:
        yield started
    finally:
        for child in started:
            child.kill()
            child.join()


def check(site) -> int:
    """Finish the sequencing and check everything; gives the number of acts."""
    database = site.open()
    site.sequencer(database).run_once(NOW)
    found = verify_log(database, keys=[site.signer.verifier], anchor=site.anchor)
    with database.read() as work:
        indices = work.execute(select(audit_event.c.leaf_index).order_by(audit_event.c.leaf_index)).scalars().all()
        acts = set(work.execute(text("SELECT name FROM act")).scalars())
        events = work.execute(select(audit_event.c.release)).scalars().all()
        head = newest_head(work)
        signed = newest_signed(work)
    database.dispose()
    assert found.findings == ()
    assert found.pending == 0
    assert indices == list(range(len(indices)))
    assert head.size == len(indices) == len(events)
    assert signed == head
    assert acts == set(events)
    assert len(acts) == len(events)
    return len(acts)


def wait_for_acts(site) -> None:
    """Until somebody has acted; the test's own time limit ends a wait for nothing."""
    database = site.open()
    acted = 0
    while not acted:
        time.sleep(0.01)
        with database.read() as work:
            acted = work.execute(text("SELECT count(*) FROM act")).scalar_one()
    database.dispose()


def test_concurrent_writers_and_sequencers(site):
    writers = [(lambda site, name: write(site, name, 25), f"w{number}") for number in range(8)]
    with children(site, *writers, (sequence_for_ever, "a"), (sequence_for_ever, "b")) as started:
        for child in started[:8]:
            child.join(timeout=90)
            assert child.exitcode == 0
    assert check(site) == 200


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_fifty_random_kills(site, seed: int):
    chance = random.Random(seed)
    jobs = [
        (write_for_ever, "w0"),
        (write_for_ever, "w1"),
        (write_for_ever, "w2"),
        (sequence_for_ever, "s0"),
        (sequence_for_ever, "s1"),
    ]
    with children(site, *jobs) as started:
        wait_for_acts(site)  # on a crowded machine all might be killed before any came to write
        for kill in range(50):
            time.sleep(chance.uniform(0.0, 0.1))
            place = chance.randrange(len(started))
            os.kill(started[place].pid, signal.SIGKILL)
            started[place].join()
            job, name = jobs[place]
            started[place] = FORK.Process(target=job, args=(site, f"{name}-{kill}"), daemon=True)
            started[place].start()
    assert check(site) > 0


def lose(database, *, before: Callable[[Work], None], big: str = "") -> None:
    """An act whose record the database does not take; `before` sees to that."""
    with database.begin() as work:
        work.execute(text("INSERT INTO act (name) VALUES ('lost')"))
        before(work)
        Log(work).append("release.requested", at=NOW, release="lost", data={"big": big})
        work.commit()


# --- the database does not take it -------------------------------------------------------------------------------------------


def test_a_full_disk_changes_nothing(sqlite_site):
    """On PostgreSQL a full disk cannot be made from here; it goes the same way as the lost connection below."""
    site = sqlite_site
    database = site.open()
    site.act(database, "before")

    def fill(work: Work) -> None:
        pages = work.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        work.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(NotRecorded):
        lose(database, before=fill, big="x" * 100_000)
    database.dispose()
    assert check(site) == 1


@pytest.mark.services
def test_a_lost_connection_changes_nothing(postgres_site):
    site = postgres_site
    database, other = site.open(), site.open()
    site.act(database, "before")

    def cut(work: Work) -> None:
        process = work.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with other.begin() as killer:
            killer.execute(text("SELECT pg_terminate_backend(:process)"), {"process": process})

    with pytest.raises(NotRecorded):
        lose(database, before=cut)
    other.dispose()
    database.dispose()
    assert check(site) == 1


def test_a_hanging_log_changes_nothing(site, monkeypatch):
    """Someone holds the log's lock and does not let go: the writer gives up and its act is not done."""
    monkeypatch.setattr("gateway.db.work.BUSY_TIMEOUT_MS", 200)
    database, other = site.open(), site.open()
    site.act(database, "before")

    def hurry(work: Work) -> None:
        work.execute(text("SET LOCAL lock_timeout = 200"))  # PostgreSQL only: on SQLite the transaction did not even begin

    with other.begin() as holder:
        if not holder.is_sqlite:
            holder.execute(text("LOCK TABLE audit_event IN ACCESS EXCLUSIVE MODE"))
        began = time.monotonic()
        with pytest.raises(NotRecorded):
            lose(database, before=hurry)
        assert time.monotonic() - began < 5
    other.dispose()
    database.dispose()
    assert check(site) == 1


@pytest.mark.services
def test_a_second_sequencer_stays_outside(postgres_site):
    """The leader holds its lock in the middle of its transaction; on SQLite the write lock is the leader lock."""
    site = postgres_site
    database, other = site.open(), site.open()
    for number in range(3):
        site.act(database, f"a{number}")
    with other.begin() as leader:
        leader.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LEADER_LOCK})
        assert site.sequencer(database).run_once(NOW) == 0
    assert site.sequencer(database).run_once(NOW) == 3
    other.dispose()
    database.dispose()
    assert check(site) == 3
