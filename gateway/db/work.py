"""The unit of work: one database transaction in which decision, budget, state and audit event stand or fall together.

Responsible for engines (SQLite in WAL mode, PostgreSQL) and for transactions. It knows no tables: each repository
takes the `Work` it is given, e.g. `Ledgers(work)` or `Log(work)`.

Invariants:
    - Leaving the block without `commit()` rolls everything back.
    - A database that cannot take the write (disk full, lock held too long, server gone) raises `NotRecorded`: callers
      answer 503 and nothing was changed.
    - SQLite write transactions begin IMMEDIATE, so that two writers queue instead of failing half-way.
    - What SQLite deletes is overwritten, and after a transaction that says `shreds` its write-ahead log is emptied: a deleted
      key lies in no file of the database. A reader with an older view puts that off to a later commit.
    - Errors never hold the values of a statement.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ClauseElement, Connection, Engine, create_engine, event, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool

from gateway.errors import NotRecorded

__all__ = ["Database", "Work", "driver_text"]

BUSY_TIMEOUT_MS = 15_000
SCRUB_PATIENCE_MS = 500
DISK_FULL = "53100"
HELD = 0x7467
"""The key space of `Work.hold` among PostgreSQL's advisory locks of two keys; the sequencer's has one key."""
GONE = frozenset({"42P01", "42501", "3F000", "3D000"})
"""SQLSTATEs that PostgreSQL's driver files under mistakes of the program, and that are a database which cannot take the write:
no such table, no privilege, no such schema, no such database."""


@dataclass(slots=True)
class Work:
    """One open transaction.

    Attributes:
        connection: What repositories execute on.
        is_sqlite: Whether the one-writer rules of SQLite hold (else PostgreSQL).
        facts: What repositories of this one transaction share; gone with it.
        shreds: Whether it deletes something that nobody may find again; set by the repository that deletes.
    """

    connection: Connection
    is_sqlite: bool
    is_committed: bool = field(default=False, init=False)
    shreds: bool = field(default=False, init=False)
    facts: dict[str, Any] = field(default_factory=dict, init=False)

    def commit(self) -> None:
        """Make everything done in this unit of work durable, or raise and change nothing."""
        self.connection.commit()
        self.is_committed = True

    def execute(self, statement: Any, parameters: Any = None) -> Any:
        """Execute a statement in this transaction."""
        return self.connection.execute(statement, parameters)

    def hold(self, subject: str) -> None:
        """Make every other transaction that holds the same subject wait until this one ends.

        For what is counted and then added to, where no row stands for the count. SQLite has one writer at a time anyway.
        """
        if not self.is_sqlite:
            self.connection.execute(
                text("SELECT pg_advisory_xact_lock(:room, hashtext(:subject))"), {"room": HELD, "subject": subject}
            )

    def execute_driver(self, statement: str, parameters: dict[str, Any]) -> Any:
        """Execute SQL as the driver takes it (`driver_text`): for the few statements that stand in nearly every transaction."""
        return self.connection.exec_driver_sql(statement, parameters)


class Database:
    """An engine and its transactions."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self.engine = _sqlite_engine(url) if self.is_sqlite else _postgres_engine(url, pool_size)
        self._must_scrub = False

    @contextmanager
    def begin(self) -> Iterator[Work]:
        """A write transaction.

        Raises:
            NotRecorded: the database could not take it; nothing was changed.
        """
        with self._transaction("BEGIN IMMEDIATE") as work:
            yield work

    @contextmanager
    def read(self) -> Iterator[Work]:
        """A transaction for reading; it is always rolled back."""
        with self._transaction("BEGIN") as work:
            yield work

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Work]:
        try:
            with self.engine.connect() as connection:
                if self.is_sqlite:
                    connection.exec_driver_sql(begin)
                work = Work(connection=connection, is_sqlite=self.is_sqlite)
                try:
                    yield work
                finally:
                    # An interrupted connection was given up by the pool: asking it would hide what interrupted it.
                    if not work.is_committed and self.is_sqlite and not connection.invalidated:
                        connection.rollback()
            if self.is_sqlite and work.is_committed and (work.shreds or self._must_scrub):
                self._must_scrub = not self.scrub(patience_ms=SCRUB_PATIENCE_MS if work.shreds else 0)
        except (IntegrityError, ProgrammingError, DataError) as error:
            if getattr(error.orig, "sqlstate", None) not in GONE:
                raise
            raise _not_recorded(error) from error
        except DBAPIError as error:
            raise _not_recorded(error) from error
        except PoolTimeout as error:
            raise NotRecorded("no connection to the database is free") from error

    def scrub(self, *, patience_ms: int = 0) -> bool:
        """Empty SQLite's write-ahead log, which holds pages as they were before something was deleted from them.

        Args:
            patience_ms: How long to wait for readers with an older view.

        Returns:
            Whether it is empty now; True on PostgreSQL, whose log is the operator's to prune.
        """
        if not self.is_sqlite:
            return True
        with self.engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={patience_ms}")
            is_busy = bool(connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0])
        return not is_busy

    def ping(self) -> None:
        """Check that the database answers.

        Raises:
            NotRecorded: it does not.
        """
        with self.read() as work:
            work.execute(text("SELECT 1"))

    def dispose(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def driver_text(statement: ClauseElement, *, columns: Sequence[str] | None = None) -> str:
    """A statement as PostgreSQL's driver takes it, compiled once instead of at every use; parameters are given by name.

    Args:
        columns: Those that an INSERT sets.
    """
    dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # SQLAlchemy left this one without annotations
    return str(statement.compile(dialect=dialect, column_keys=columns))


def _not_recorded(error: DBAPIError) -> NotRecorded:
    is_full = "is full" in str(error.orig) or getattr(error.orig, "sqlstate", None) == DISK_FULL
    why = "its disk is full" if is_full else type(error.orig).__name__
    return NotRecorded(f"the database did not take the transaction ({why})")


def _sqlite_engine(url: str) -> Engine:
    # One connection a transaction: SQLite connections are cheap, and a pool would hand them across threads.
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves; the driver would defer it
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        _set_wal(cursor)
        cursor.execute("PRAGMA synchronous=FULL")  # NORMAL may lose the last commits on a power cut
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.close()

    return engine


def _set_wal(cursor: Any) -> None:
    """WAL is a property of the file: set once. Switching needs a moment without other connections, so ask patiently."""
    for attempt in range(50):
        try:
            if cursor.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                return
            cursor.execute("PRAGMA journal_mode=WAL")
        except Exception as error:  # the driver's own class: sqlite3.OperationalError
            if "locked" not in str(error) or attempt == 49:  # noqa: PLR2004 - the last attempt
                raise
            time.sleep(0.1)
        else:
            return


def _postgres_engine(url: str, pool_size: int) -> Engine:
    full = url if "+" in url.split("://", 1)[0] else url.replace("postgresql://", "postgresql+psycopg://", 1)
    return create_engine(
        full,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"connect_timeout": 10, "options": "-c lock_timeout=15000 -c statement_timeout=60000 -c timezone=UTC"},
    )
