"""Figures of the log: `python -m tests.bench.audit [--no-postgres]`.

1. Commits a second with and without the log on PostgreSQL (`tests.bench.audit_commits`).
2. Root, proofs and growth of the tree at 10^3, 10^5 and 10^6 leaves (tiles on SQLite).
3. Verification of a whole log, in leaves a second.

Nothing is asserted: figures depend on the machine, which is printed with them.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

from gateway.audit import FileAnchor, Log, Sequencer, prove_consistency, prove_inclusion, verify_log
from gateway.audit.merkle import verify_inclusion
from gateway.audit.tree import Head, Tree, add_head
from gateway.db.metadata import metadata
from gateway.db.tables.audit import checkpoint, tile
from gateway.db.work import Database
from tests.bench.audit_commits import NOW, SIGNER, make, measured, tell


def cpu(function: Callable[[], object], count: int) -> float:
    """CPU seconds of one call: what the wall clock would say if the machine had nothing else to do."""
    began = time.process_time()
    for _ in range(count):
        function()
    return (time.process_time() - began) / count


def timed(function: Callable[[], object], repeat: int) -> float:
    """Median seconds of one call."""
    took = []
    for _ in range(repeat):
        began = time.perf_counter()
        function()
        took.append(time.perf_counter() - began)
    return sorted(took)[repeat // 2]


def tree_figures(size: int) -> dict[str, float]:
    chance = random.Random(1)
    leaves = [sha256(number.to_bytes(8)).digest() for number in range(size)]
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/tree.db")
        metadata.create_all(database.engine, tables=[tile, checkpoint])
        began = time.perf_counter()
        for start in range(0, size, 4096):
            with database.begin() as work:
                root = Tree(work).grow(start, leaves[start : start + 4096])
                work.commit()
        growth = size / (time.perf_counter() - began)
        with database.begin() as work:
            add_head(work, Head(size, root, None))
            work.commit()
        with database.read() as work:
            root_ms = 1000 * timed(lambda: Tree(work).root(size), 31)
            root_cpu = 1000 * cpu(lambda: Tree(work).root(size), 100)
            proof_cpu = cpu(lambda: prove_inclusion(work, chance.randrange(size), size), 500)
            places = [chance.randrange(size) for _ in range(300)]
            began = time.perf_counter()
            proofs = [prove_inclusion(work, place, size) for place in places]
            inclusion = (time.perf_counter() - began) / len(places)
            for place, proof in zip(places, proofs, strict=True):
                assert verify_inclusion(index=place, size=size, leaf=leaves[place], proof=proof, root=root)
            began = time.perf_counter()
            for place in places:
                prove_consistency(work, place + 1, size)
            consistency = (time.perf_counter() - began) / len(places)
        database.dispose()
    return {
        "root_cpu_ms": root_cpu, "proofs_cpu": 1 / proof_cpu, "growth": growth, "root_ms": root_ms, "inclusion_ms": 1000 * inclusion, "proofs": 1 / inclusion, "consistency_ms": 1000 * consistency,
    }  # fmt: skip


def verified_a_second(size: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/log.db"
        make(url)
        database = Database(url)
        for start in range(0, size, 5000):
            with database.begin() as work:
                log = Log(work)
                for number in range(start, start + 5000):
                    at = NOW + timedelta(seconds=number)
                    log.append("release.decided", at=at, actor="ana", release=f"r{number}", ticket="T-1", data={"number": number})
                work.commit()
        anchor = FileAnchor(Path(folder) / "checkpoints.log")
        began = time.perf_counter()
        Sequencer(database, signer=SIGNER, anchor=anchor).run_once(NOW)
        sequenced = size / (time.perf_counter() - began)
        began, used = time.perf_counter(), time.process_time()
        assert verify_log(database, keys=[SIGNER.verifier], anchor=anchor).ok
        took, used = time.perf_counter() - began, time.process_time() - used
        with database.read() as work:
            search = timed(lambda: Log(work).search(release="r777"), 31)
        database.dispose()
    return {"verified": size / took, "verified_cpu": size / used, "sequenced": sequenced, "search_ms": 1000 * search}


def main() -> None:
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    if "--no-postgres" not in sys.argv:
        tell(measured(rounds=6, seconds=2.0), seconds=2.0)
    print(
        f"\n{'leaves':>9}{'grow/s':>10}{'root ms':>9}{'(cpu)':>7}{'inclusion ms':>14}{'proofs/s':>10}{'(cpu)':>7}{'consistency ms':>16}"
    )
    for size in (1_000, 100_000, 1_000_000):
        f = tree_figures(size)
        print(
            f"{size:>9}{f['growth']:>10.0f}{f['root_ms']:>9.2f}{f['root_cpu_ms']:>7.2f}{f['inclusion_ms']:>14.2f}"
            f"{f['proofs']:>10.0f}{f['proofs_cpu']:>7.0f}{f['consistency_ms']:>16.2f}"
        )
    f = verified_a_second(50_000)
    print(
        f"\n50,000 leaves on SQLite: verify_log {f['verified']:.0f} leaves/s ({f['verified_cpu']:.0f} per CPU second), "
        f"sequencer {f['sequenced']:.0f} leaves/s, search by release {f['search_ms']:.2f} ms"
    )


if __name__ == "__main__":
    main()
