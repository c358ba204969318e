"""The unit of work keeps the same promises on SQLite and on PostgreSQL: all or nothing, and trouble has one name."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from gateway.db import Database, Work, metadata, upgrade_schema
from gateway.db import work as unit_of_work
from gateway.errors import NotRecorded

SHORT_MS = 300


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'work.db'}"
    return str(request.getfixturevalue("postgres"))


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    found = Database(url, pool_size=3)
    with found.begin() as work:
        work.execute(text("CREATE TABLE word (id INTEGER PRIMARY KEY, value VARCHAR(40) NOT NULL)"))
        work.commit()
    yield found
    found.dispose()


def write(work: Work, number: int, value: str = "x") -> None:
    work.execute(text("INSERT INTO word VALUES (:number, :value)"), {"number": number, "value": value})


def attempt(database: Database, *acts: Callable[[Work], object]) -> None:
    """Do these in one unit of work and commit."""
    with database.begin() as work:
        for act in acts:
            act(work)
        work.commit()


def divide_by_zero(_work: Work) -> None:
    raise ZeroDivisionError


def words(database: Database) -> list[int]:
    with database.read() as work:
        return list(work.execute(text("SELECT id FROM word ORDER BY id")).scalars())


def test_without_a_commit_nothing_happened(database: Database) -> None:
    with database.begin() as work:
        write(work, 1)
    assert words(database) == []
    with database.begin() as work:
        write(work, 2)
        work.commit()
    assert words(database) == [2]


def test_an_error_half_way_undoes_the_first_half(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        attempt(database, lambda work: write(work, 1), divide_by_zero)
    with pytest.raises(IntegrityError):
        attempt(database, lambda work: write(work, 2), lambda work: write(work, 2))
    assert words(database) == []


def test_what_is_written_in_a_read_is_undone(database: Database) -> None:
    with database.read() as work:
        write(work, 1)
    assert words(database) == []


def test_uncommitted_rows_are_seen_by_nobody_else(database: Database) -> None:
    with database.begin() as work:
        write(work, 1)
        assert words(database) == []
        work.commit()
    assert words(database) == [1]


def test_a_table_that_is_gone_means_not_recorded(database: Database) -> None:
    with database.begin() as work:
        work.execute(text("DROP TABLE word"))
        work.commit()
    with pytest.raises(NotRecorded):
        attempt(database, lambda work: write(work, 1))
    database.ping()


@pytest.mark.services
def test_a_statement_that_makes_no_sense_is_a_fault_of_the_program(postgres: str) -> None:
    database = Database(postgres)
    with pytest.raises(ProgrammingError), database.begin() as work:
        work.execute(text("SELEKT 1"))
    database.dispose()


def hold(database: Database, taken: threading.Event, release: threading.Event) -> None:
    """Be in the middle of a write to row 1."""
    with database.begin() as work:
        work.execute(text("UPDATE word SET value = 'held' WHERE id = 1"))
        taken.set()
        release.wait(20)
        work.commit()


@pytest.fixture
def holder(database: Database) -> Iterator[Callable[[], threading.Event]]:
    with database.begin() as work:
        write(work, 1)
        work.commit()
    taken, release = threading.Event(), threading.Event()
    thread = threading.Thread(target=hold, args=(database, taken, release))

    def start() -> threading.Event:
        thread.start()
        assert taken.wait(10)
        return release

    yield start
    release.set()
    if thread.ident is not None:
        thread.join(20)


def lose_patience_soon(work: Work) -> None:
    if not work.is_sqlite:
        work.execute(text(f"SET LOCAL lock_timeout = {SHORT_MS}"))


def test_a_lock_held_too_long_means_not_recorded(
    url: str, holder: Callable[[], threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    holder()
    monkeypatch.setattr(unit_of_work, "BUSY_TIMEOUT_MS", SHORT_MS)
    impatient = Database(url)
    started = time.monotonic()
    with pytest.raises(NotRecorded):
        attempt(impatient, lose_patience_soon, lambda work: work.execute(text("UPDATE word SET value = 'late' WHERE id = 1")))
    assert time.monotonic() - started < 10
    impatient.dispose()


def test_two_writers_queue_and_both_are_recorded(database: Database, holder: Callable[[], threading.Event]) -> None:
    release = holder()
    threading.Timer(0.3, release.set).start()
    with database.begin() as work:  # waits for the other one here (SQLite) or at its row (PostgreSQL)
        work.execute(text("UPDATE word SET value = value || ', then mine' WHERE id = 1"))
        work.commit()
    with database.read() as work:
        assert work.execute(text("SELECT value FROM word WHERE id = 1")).scalar_one() == "held, then mine"


def test_no_increment_is_lost_among_many_writers(database: Database) -> None:
    with database.begin() as work:
        write(work, 1, "0")
        work.commit()

    def add() -> None:
        for _ in range(5):
            with database.begin() as work:
                work.execute(text("UPDATE word SET value = CAST(CAST(value AS INTEGER) + 1 AS VARCHAR(40)) WHERE id = 1"))
                work.commit()

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with database.read() as work:
        assert work.execute(text("SELECT value FROM word WHERE id = 1")).scalar_one() == "20"


@pytest.mark.services
def test_a_connection_killed_by_the_server_means_not_recorded_and_the_next_works(postgres: str) -> None:
    database = Database(postgres, pool_size=2)
    with database.begin() as work:
        work.execute(text("CREATE TABLE word (id INTEGER PRIMARY KEY, value VARCHAR(40) NOT NULL)"))
        work.commit()

    def kill(work: Work) -> None:
        victim = work.execute(text("SELECT pg_backend_pid()")).scalar_one()
        attempt(database, lambda other: other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": victim}))

    with pytest.raises(NotRecorded):
        attempt(database, lambda work: write(work, 1), kill)
    with database.begin() as work:
        write(work, 2)
        work.commit()
    assert words(database) == [2]
    database.dispose()


@pytest.mark.services
def test_a_pool_without_a_free_connection_means_not_recorded(postgres: str) -> None:
    database = Database(postgres, pool_size=1)
    database.engine.pool._timeout = 0.2  # type: ignore[attr-defined]  # a test does not wait half a minute
    with pytest.raises(NotRecorded), database.read(), database.read(), database.read():
        pass
    database.dispose()


def test_a_database_that_is_not_there_means_not_recorded(tmp_path: Path) -> None:
    with pytest.raises(NotRecorded):
        Database(f"sqlite:///{tmp_path / 'missing' / 'work.db'}").ping()
    (tmp_path / "noise.db").write_bytes(b"this is no database " * 400)
    with pytest.raises(NotRecorded):
        Database(f"sqlite:///{tmp_path / 'noise.db'}").ping()
    with pytest.raises(NotRecorded):
        Database("postgresql://postgres@127.0.0.1:1/nothing").ping()


def ours(_object: Any, name: str | None, kind: str, _reflected: bool, _other: Any) -> bool:
    return kind != "table" or name in metadata.tables


def test_migrations_run_twice_change_nothing_and_lead_to_the_metadata(url: str) -> None:
    database = Database(url)
    first = upgrade_schema(database)
    assert upgrade_schema(database) == first
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": ours, "compare_type": True})
        assert compare_metadata(context, metadata) == []
    database.dispose()


def test_a_column_that_no_migration_adds_would_be_seen(url: str) -> None:
    database = Database(url)
    upgrade_schema(database)
    with database.begin() as work:
        work.execute(text("ALTER TABLE ticket ADD COLUMN planted INTEGER"))
        work.commit()
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": ours, "compare_type": True})
        found = compare_metadata(context, metadata)
    assert [(change[0], change[2], change[3].name) for change in found] == [("remove_column", "ticket", "planted")]
    database.dispose()


def test_who_holds_a_subject_makes_others_wait_until_the_end(database: Database) -> None:
    """Count, then add: without the hold, several of these would see the same count."""
    start = threading.Barrier(6)

    def add() -> None:
        start.wait()
        with database.begin() as work:
            work.hold("words")
            count = work.execute(text("SELECT count(*) FROM word")).scalar_one()
            time.sleep(0.02)
            write(work, count)
            work.commit()

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert words(database) == list(range(6))


def test_an_error_holds_no_values_of_its_statement(database: Database) -> None:
    attempt(database, lambda work: write(work, 1))
    with pytest.raises(IntegrityError) as caught:
        attempt(database, lambda work: write(work, 1, "canary-9c1f"))
    assert "canary-9c1f" not in f"{caught.value}{caught.value!r}"
    assert "INSERT INTO word" in str(caught.value)


def test_scrubbing_says_whether_the_log_is_empty(database: Database) -> None:
    attempt(database, lambda work: write(work, 1))
    with database.read() as reader:
        reader.execute(text("SELECT id FROM word")).all()
        attempt(database, lambda work: write(work, 2))
        assert database.scrub() is not database.is_sqlite
    assert database.scrub()
