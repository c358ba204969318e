"""Audited commits beside unaudited ones: `python -m tests.bench.audit_commits [--rounds N] [--seconds S]`.

16 writer processes stay connected to one PostgreSQL database. Short phases alternate in the order plain, audited, audited,
plain, so that whatever else the machine does falls on both. Each commit is a small business transaction (an insert and an
update of the writer's own rows); an audited one writes its event in the same transaction, and a sequencer makes leaves of
the events all the while. What is told is the median of the ratios of neighbouring phases with their spread, and the CPU
milliseconds that one commit costs its writer and its database backend, which other load does not change.

Nothing is asserted: figures depend on the machine, which is printed with them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from gateway.audit import FileAnchor, Log, NoteSigner, Sequencer, install_guards
from gateway.db.metadata import metadata
from gateway.db.tables.audit import audit_event, checkpoint, pseudonym_key, tile
from gateway.db.work import Database, Work

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
POSTGRES = os.environ.get("TICKETGATE_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432")
FORK = multiprocessing.get_context("fork")
WRITERS = 16
IDLE, PLAIN, AUDITED, END = range(4)
SIGNER = NoteSigner("gate.example/log", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Phase:
    """What the writers did in one phase.

    Attributes:
        rate: Commits a second, of all writers together.
        cpu: CPU milliseconds of a commit: the writer's, and its backend's (0 where that runs elsewhere).
    """

    rate: float
    cpu: tuple[float, float]


def make(url: str) -> None:
    """Tables of the log, and two of a business."""
    database = Database(url)
    with database.engine.begin() as connection:
        metadata.create_all(connection, tables=[audit_event, tile, checkpoint, pseudonym_key])
        connection.execute(text("CREATE TABLE act (name VARCHAR(64) PRIMARY KEY, note VARCHAR(200))"))
        connection.execute(text("CREATE TABLE budget (dataset INTEGER PRIMARY KEY, spent INTEGER NOT NULL)"))
        connection.execute(text("INSERT INTO budget VALUES (:d, 0)"), [{"d": number} for number in range(WRITERS)])
        install_guards(connection)
    database.dispose()


def act(work: Work, number: int, count: int, *, audited: bool) -> None:
    """One business transaction."""
    name = f"{number}-{count}"
    work.execute(text("INSERT INTO act VALUES (:name, :note)"), {"name": name, "note": "x" * 120})
    work.execute(text("UPDATE budget SET spent = spent + 1 WHERE dataset = :d"), {"d": number})
    if audited:
        data = {"epsilon": "0.5", "decision": "permit", "reasons": ["a", "b"], "attempt": count}
        Log(work).append("release.decided", at=NOW, actor=f"p{number}", release=name, ticket="T-1", dataset="d", data=data)
    work.commit()


def backend_seconds(process: int) -> float:
    """CPU seconds of a backend on this machine; 0 when it runs elsewhere."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICK


def write(url: str, number: int, mode: Any, counts: Any, used: Any, backends: Any) -> None:
    """One writer: does what `mode` says until the end."""
    database = Database(url, pool_size=1)
    with database.read() as work:
        backend = work.execute(text("SELECT pg_backend_pid()")).scalar_one()
    count = 0
    while mode.value != END:
        if mode.value == IDLE:
            time.sleep(0.005)
            continue
        with database.begin() as work:
            act(work, number, count, audited=mode.value == AUDITED)
        count += 1
        counts[number], used[number], backends[number] = count, time.process_time(), backend_seconds(backend)


def sequence(url: str, folder: str) -> None:
    """The sequencer, as a worker runs it."""
    database = Database(url, pool_size=1)
    running = Sequencer(database, signer=SIGNER, anchor=FileAnchor(Path(folder) / "checkpoints.log"))
    while True:
        running.run_once(NOW)
        time.sleep(0.2)


@contextmanager
def fresh_database() -> Iterator[str]:
    """A database of a name of its own."""
    name = f"tg_bench_{secrets.token_hex(6)}"
    with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield f"{POSTGRES}/{name}"
    finally:
        with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def running_writers(url: str) -> Iterator[Callable[[int, float], Phase]]:
    """Writers and sequencer; gives the function that runs one phase."""
    mode = FORK.Value("i", IDLE)
    counts, used, backends = FORK.Array("l", WRITERS), FORK.Array("d", WRITERS), FORK.Array("d", WRITERS)

    def totals() -> tuple[int, float, float]:
        return sum(counts), sum(used), sum(backends)

    def phase(kind: int, seconds: float) -> Phase:
        before, began = totals(), time.monotonic()
        mode.value = kind
        time.sleep(seconds)
        mode.value = IDLE
        took = time.monotonic() - began
        time.sleep(0.4)  # the last commits, and the sequencer's next look
        done, client, backend = (after - old for after, old in zip(totals(), before, strict=True))
        return Phase(rate=done / took, cpu=(1000 * client / done, 1000 * backend / done))

    with tempfile.TemporaryDirectory() as folder:
        sequencer = FORK.Process(target=sequence, args=(url, folder), daemon=True)
        writers = [FORK.Process(target=write, args=(url, n, mode, counts, used, backends), daemon=True) for n in range(WRITERS)]
        for child in (sequencer, *writers):
            child.start()
        try:
            yield phase
        finally:
            mode.value = END
            for writer in writers:
                writer.join()
            sequencer.kill()
            sequencer.join()


def measured(rounds: int, seconds: float) -> list[tuple[Phase, Phase]]:
    """Pairs of neighbouring phases, plain and audited."""
    pairs = []
    with fresh_database() as url:
        make(url)
        with running_writers(url) as phase:
            for kind in (PLAIN, AUDITED):
                phase(kind, 1.0)  # statements are prepared, pages are there
            for _ in range(rounds):
                first, second, third, fourth = (phase(kind, seconds) for kind in (PLAIN, AUDITED, AUDITED, PLAIN))
                pairs += [(first, second), (fourth, third)]
    return pairs


def tell(pairs: list[tuple[Phase, Phase]], *, seconds: float) -> None:
    """Print medians and spreads."""
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}; "
        f"{WRITERS} writers on PostgreSQL, {len(pairs)} pairs of {seconds:g} s"
    )
    for label, phases in zip(("plain", "audited"), zip(*pairs, strict=True), strict=True):
        rates = [phase.rate for phase in phases]
        client, backend = (statistics.median(phase.cpu[place] for phase in phases) for place in (0, 1))
        print(
            f"{label:8} {statistics.median(rates):6.0f} commits/s ({min(rates):.0f}-{max(rates):.0f}), "
            f"CPU of a commit: writer {client:.2f} ms, backend {backend:.2f} ms"
        )
    ratios = [audited.rate / plain.rate for plain, audited in pairs]
    print(f"ratio    {statistics.median(ratios):6.2f} (median of {len(ratios)}; {min(ratios):.2f}-{max(ratios):.2f})")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=2.0)
    given = parser.parse_args()
    tell(measured(given.rounds, given.seconds), seconds=given.seconds)


if __name__ == "__main__":
    main()
