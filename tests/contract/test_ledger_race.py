"""Many fight for the last unit of budget: exactly the allowed number win, also when fighters are killed half-way."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text

from gateway.budget import Ledgers, install_guards
from gateway.budget.privacy_filter import filter_for
from gateway.db import Database, metadata
from gateway.db.tables.budget import budget_entry, budget_filter, budget_ledger, budget_limit, budget_member

SCRIPT = Path(__file__).with_name("ledger_contender.py")
POSTGRES = "postgresql+psycopg://postgres@127.0.0.1:5432"
PROCESSES = 8


def _contender() -> Any:
    spec = importlib.util.spec_from_file_location("ledger_contender", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CONTENDER = _contender()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    name = f"race_{uuid4().hex[:12]}"
    admin = create_engine(f"{POSTGRES}/postgres", isolation_level="AUTOCOMMIT")
    is_sqlite = request.param == "sqlite"
    if not is_sqlite:
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
    found = Database(f"sqlite:///{tmp_path / 'race.db'}" if is_sqlite else f"{POSTGRES}/{name}")
    metadata.create_all(found.engine, tables=[budget_ledger, budget_entry, budget_filter, budget_limit, budget_member])
    with found.begin() as work:
        install_guards(work.connection)
        work.commit()
    yield found
    found.dispose()
    if not is_sqlite:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


def allowed() -> int:
    """How many may win, by the filter alone and one after the other."""
    budget = CONTENDER.CARD.spec.budget
    judge = filter_for(epsilon=budget.epsilon, delta=budget.delta, losses=(), request=CONTENDER.LOSS)
    return next(number for number in count() if not judge.admits([CONTENDER.LOSS] * (number + 1)))


def start(database: Database, *, threads: int, doomed: int = 0) -> tuple[subprocess.Popen[bytes], list[int]]:
    arguments = [sys.executable, str(SCRIPT), database.url, str(PROCESSES), str(threads), str(doomed)]
    starter = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert starter.stdout is not None
    return starter, [int(word) for word in starter.stdout.readline().split()]


def go(starter: subprocess.Popen[bytes]) -> None:
    assert starter.stdin is not None
    starter.stdin.write(b"go\n")
    starter.stdin.flush()


def charges(database: Database) -> Any:
    with database.read() as work:
        return Ledgers(work).of(CONTENDER.CARD).charges


def test_exactly_the_allowed_number_win(database: Database) -> None:
    threads = 2 if database.is_sqlite else 8  # 8 processes; with PostgreSQL 64 threads
    starter, _ = start(database, threads=threads)
    out, err = starter.communicate(b"go\n", timeout=120)
    assert b"codes" + b" 0" * PROCESSES in out, err.decode()[-2000:]
    assert allowed() > 3
    assert out.count(b"won") == allowed()
    found = charges(database)
    assert (len(found), all(charge.is_settled for charge in found)) == (allowed(), True)


def test_killed_fighters_leave_their_reserves_counted(database: Database) -> None:
    choice = random.Random(7)
    doomed = 4
    starter, fighters = start(database, threads=2, doomed=doomed)
    go(starter)
    for fighter in choice.sample(fighters[doomed:], 2):  # these die anywhere, unless they were done before
        time.sleep(choice.random() * 0.1)
        with suppress(ProcessLookupError):
            os.kill(fighter, signal.SIGKILL)
    out, err = starter.communicate(timeout=120)
    codes = [int(word) for word in out.rpartition(b"codes ")[2].split()]
    assert len(codes) == PROCESSES, err.decode()[-2000:]
    found = charges(database)
    assert len(found) == allowed()
    with database.read() as work:
        opened = Ledgers(work).open_reserves()
    assert len(opened) >= codes[:doomed].count(-signal.SIGKILL) >= 1
    assert len(opened) == sum(not charge.is_settled for charge in found)
    with database.begin() as work:
        for entry in opened:  # what a worker's recovery does: the data may have been read, so all of it is spent
            Ledgers(work).settle(entry.entry_id, spent=None, now=CONTENDER.NOW)
        work.commit()
    with database.read() as work:
        assert Ledgers(work).open_reserves() == ()
        assert not Ledgers(work).facts(CONTENDER.CARD, loss=CONTENDER.LOSS, now=CONTENDER.NOW, lock=False).affords
