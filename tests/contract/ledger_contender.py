"""Processes that fight for the budget: the threads of each reserve and settle until the ledger refuses.

Usage: ledger_contender.py URL PROCESSES THREADS [DOOMED]
Prints the id of each process, waits for a line on standard input, and lets them all go at once. A winner prints `won`.
The first DOOMED processes kill themselves with SIGKILL between the reserve and the settlement of their first win; the others
start when the first of them is about to die, so that at least one reserve is left behind however fast the machine is.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from decimal import Decimal

from gateway.budget import Ledgers, PrivacyLoss
from gateway.db import Database
from gateway.errors import BudgetExhausted, NotRecorded
from policies.card import DatasetCard

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CARD = DatasetCard.model_validate(
    {
        "apiVersion": "ticketgate/v1",
        "kind": "Dataset",
        "metadata": {"name": "contested"},
        "spec": {
            "source": "a.csv",
            "budget": {"epsilon": Decimal("3.0"), "delta": Decimal("1e-5")},
            "columns": {"age": {"type": "integer", "bounds": [0, 100]}},
        },
    }
)
LOSS = PrivacyLoss(
    epsilon=Decimal("0.8"), delta=Decimal("1e-5"), unit="row", neighbours="add-remove", method="zCDP", rho=Decimal("0.0118")
)


def contend(database: Database, last_words: int | None) -> None:
    while True:
        try:
            with database.begin() as work:
                entry = Ledgers(work).reserve(CARD, loss=LOSS, release_id="race", principal="ana", now=NOW)
                work.commit()
        except BudgetExhausted:
            return
        except NotRecorded:
            time.sleep(0.05)
            continue
        os.write(1, b"won\n")
        if last_words is not None:
            os.write(last_words, b"!")
            os.kill(os.getpid(), signal.SIGKILL)
        with database.begin() as work:
            Ledgers(work).settle(entry, spent=LOSS, now=NOW)
            work.commit()


def fight(url: str, threads: int, gate: int, last_words: int | None) -> None:
    """One process: wait until the starter opens the gate, then fight."""
    database = Database(url, pool_size=threads)
    os.read(gate, 1)
    fighters = [threading.Thread(target=contend, args=(database, last_words)) for _ in range(threads)]
    for fighter in fighters:
        fighter.start()
    for fighter in fighters:
        fighter.join()


def main() -> None:
    url, processes, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    doomed = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    first_gate, open_first = os.pipe()
    gate, open_rest = os.pipe()
    hear, last_words = os.pipe()
    children = []
    for number in range(processes):
        child = os.fork()
        if child == 0:
            os.close(open_first)
            os.close(open_rest)
            is_doomed = number < doomed
            fight(url, threads, first_gate if is_doomed else gate, last_words if is_doomed else None)
            os._exit(0)
        children.append(child)
    os.close(last_words)
    os.write(1, " ".join(map(str, children)).encode() + b"\n")
    sys.stdin.readline()
    os.close(open_first)  # the read of everybody behind this gate ends at once
    if doomed:
        os.read(hear, 1)
    os.close(open_rest)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    os.write(1, f"codes {' '.join(map(str, codes))}\n".encode())


if __name__ == "__main__":
    main()
