"""Eight processes that use the same fifty identifiers at once. Usage: access_claimant.py URL; prints what each of them won."""

from __future__ import annotations

import multiprocessing
import sys
from datetime import UTC, datetime, timedelta
from multiprocessing.context import ForkProcess
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

from gateway.access import FirstUse, ReplayGuard
from gateway.db import Database

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PROCESSES, IDENTIFIERS = 8, 50


def claim_all(url: str, name: str, start: Barrier, results: Queue[int]) -> None:
    database, wins = Database(url), 0
    database.ping()
    start.wait(timeout=60)
    for number in range(IDENTIFIERS):
        with database.begin() as work:
            guard, jti = ReplayGuard(work), f"identifier-{number:06}"
            used = guard.claim("ana", jti, digest="d" * 64, request_id=name, expires_at=NOW + timedelta(minutes=5), now=NOW)
            wins += isinstance(used, FirstUse)
            work.commit()
    database.dispose()
    results.put(wins)


def main() -> None:
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(PROCESSES), context.Queue()
    arguments = [(sys.argv[1], f"r-{number}", start, results) for number in range(PROCESSES)]
    processes: list[ForkProcess] = [context.Process(target=claim_all, args=each) for each in arguments]
    for process in processes:
        process.start()
    print(*(results.get(timeout=60) for _ in processes))
    for process in processes:
        process.join(timeout=10)


if __name__ == "__main__":
    main()
