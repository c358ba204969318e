"""Trace at a million leaves: `python -m tests.bench.trace [--leaves N] [--sqlite-only | --postgres-only]`.

Fills a migrated database with releases, their charges, artifacts, tokens and the events of their stories, and with other
events, until the log has N leaves; then asks every question of `gateway.releases.trace` through the program's own code, in
a transaction that records the question, as the command line and the API do.

Nothing is asserted: figures depend on the machine, which is printed with them.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import Table, text

from gateway.audit import Log
from gateway.audit.event import Subjects, event_id, payload_of
from gateway.audit.guards import drop_insert_guard, guard_inserts
from gateway.audit.merkle import leaf_hash
from gateway.audit.tree import Head, Tree, add_head
from gateway.db import Database, upgrade_schema
from gateway.db.tables.access import release_token
from gateway.db.tables.audit import audit_event
from gateway.db.tables.budget import budget_entry, budget_ledger
from gateway.db.tables.releases import release
from gateway.db.tables.storage import artifact
from gateway.releases.trace import trace
from gateway.telemetry import utc_now
from tests.bench.audit_commits import fresh_database

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STORY = (
    "ticket.fetched", "release.requested", "release.decided", "budget.reserved", "release.queued", "release.generating",
    "release.evaluating", "release.evaluated", "budget.settled", "release.released", "token.issued", "download.started",
    "download.finished", "release.read", "release.closed",
)  # fmt: skip
TICKETS, PRINCIPALS, DATASETS = 2, 20, 25
"""Releases of one ticket, principal and dataset."""
CHUNK = 5000
ARTIFACTS = (
    "audit.tlog-proof",
    "data.csv",
    "manifest.dsse.json",
    "manifest.json",
    "model-card.md",
    "report-card.html",
    "report-card.json",
)


def digest(*parts: object) -> str:
    """A digest that a question can name again."""
    return sha256("/".join(map(str, parts)).encode()).hexdigest()


def release_row(number: int) -> dict[str, Any]:
    """A release that was let out and has expired."""
    at = NOW + timedelta(seconds=number)
    metrics = {
        f"utility.marginals.ks.column_{place}": {"value": 0.0123, "interval": [0.01, 0.02], "status": "ok"} for place in range(40)
    }
    return {
        "id": f"rel-{number}", "principal": f"person-{number // PRINCIPALS}", "account_id": f"person-{number // PRINCIPALS}",
        "ticket": f"DATA-{number // TICKETS}", "dataset": f"dataset-{number // DATASETS}", "dataset_version": 1, "policy": "p",
        "policy_version": 3, "policy_digest": digest("policy"), "status": "expired", "stage": "", "progress": 1.0,
        "request": {"purpose": "testing", "rows": 5000, "format": "csv", "generator": {"name": "dp-marginal", "epsilon": "1.0"}},
        "request_digest": digest("request", number), "signed_request": "x" * 800, "ticket_snapshot": {"key": "DATA", "status": "Approved"},
        "ticket_checked_at": at, "decision_id": f"dec-{number}", "decision": {"permitted": True, "violations": [], "obligations": {}},
        "verdict": {"passed": True, "rules": []}, "report_card": {"metrics": metrics}, "report_card_digest": digest("card", number),
        "spent": {"epsilon": "1.0", "delta": "0.000001"}, "generator_version": "1", "manifest_digest": digest("manifest", number),
        "released_event_id": None, "failure": None, "fence": 1, "requested_at": at, "updated_at": at, "released_at": at,
        "expires_at": at, "closed_at": at, "close_reason": "expired",
    }  # fmt: skip


def charge_rows(number: int) -> Iterator[dict[str, Any]]:
    """A reserve and its settlement."""
    for kind, settles in (("reserve", None), ("settle", f"res-{number}")):
        yield {
            "entry_id": f"{kind[:3]}-{number}", "ledger": "bench", "dataset": f"dataset-{number // DATASETS}", "kind": kind,
            "settles": settles, "release_id": f"rel-{number}", "principal": f"person-{number // PRINCIPALS}", "scope": "central",
            "unit": "row", "neighbours": "add-remove", "method": "zcdp", "epsilon": None, "delta": None, "rho": None, "rdp": None,
            "failure_delta": None, "outcome": "completed" if settles else "pending", "at": NOW,
        }  # fmt: skip


def event_rows(leaves: int, releases: int) -> Iterator[dict[str, Any]]:
    """All leaves: the stories, and readings of the log between them."""
    chance = random.Random(1)
    for index in range(leaves):
        number, step = divmod(index, len(STORY))
        in_story = number < releases
        kind = STORY[step] if in_story else "log.read"
        at = NOW + timedelta(milliseconds=100 * index)
        subjects = Subjects(
            actor="hmac-sha256:" + digest("person", number // PRINCIPALS),
            release=f"rel-{number}" if in_story else None,
            ticket=f"DATA-{number // TICKETS}" if in_story else None,
            dataset=f"dataset-{number // DATASETS}" if in_story else None,
            token=f"tok-{number}" if kind.startswith(("token", "download")) else None,
        )
        identifier = event_id(at, chance.getrandbits(79))
        data = {"digest": digest(kind, number), "bytes": index, "outcome": "completed", "range": [0, 4096]}
        payload = payload_of(identifier=identifier, kind=kind, at=at, subjects=subjects, data=data)
        yield {
            "id": identifier, "kind": kind, "at": at, "payload": payload, "leaf_hash": leaf_hash(payload.encode()), "leaf_index": index,
            **{name: getattr(subjects, name) for name in subjects.__slots__},
        }  # fmt: skip


def fill(database: Database, table: Table, rows: Iterator[dict[str, Any]]) -> None:
    """Insert rows, some thousands at a time."""
    while chunk := [row for _, row in zip(range(CHUNK), rows, strict=False)]:
        with database.begin() as work:
            work.execute(table.insert(), chunk)
            if table is audit_event:
                first = chunk[0]["leaf_index"]
                root = Tree(work).grow(first, [row["leaf_hash"] for row in chunk])
                add_head(work, Head(first + len(chunk), root, None))
            work.commit()


def build(database: Database, leaves: int) -> int:
    """Fill the database; gives the number of releases."""
    upgrade_schema(database)
    releases = leaves // len(STORY) * 6 // 10
    with database.begin() as work:
        work.execute(budget_ledger.insert(), {"name": "bench", "opened_at": NOW})
        work.commit()
    fill(database, release, map(release_row, range(releases)))
    fill(database, budget_entry, (row for number in range(releases) for row in charge_rows(number)))
    fill(database, artifact, (
        {"release_id": f"rel-{number}", "name": name, "media_type": "text/plain", "size": 9, "sha256": digest(name, number),
         "location": f"releases/rel-{number}/1-{digest(name, number)}/{name}", "audience": "requester"}
        for number in range(releases) for name in ARTIFACTS
    ))  # fmt: skip
    fill(database, release_token, (
        {"jti": f"tok-{number}", "release_id": f"rel-{number}", "principal": f"person-{number // PRINCIPALS}",
         "ticket": f"DATA-{number // TICKETS}", "dataset": f"dataset-{number // DATASETS}", "policy_digest": digest("policy"),
         "manifest_digest": digest("manifest", number), "scope": ["data.csv"], "gateway_kid": "kid", "max_downloads": 3,
         "issued_at": NOW, "expires_at": NOW}
        for number in range(releases)
    ))  # fmt: skip
    with database.begin() as work:  # rows that have their places already, as the sequencer would have given them
        drop_insert_guard(work.connection)
        work.commit()
    fill(database, audit_event, event_rows(leaves, releases))
    with database.begin() as work:
        guard_inserts(work.connection)
        work.commit()
    if not database.is_sqlite:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    return releases


def ask(database: Database, by: str, value: str) -> int:
    """A question, recorded as the program records it; gives the number of releases found."""
    with database.begin() as work:
        answer = trace(work, by=by, value=value)
        found = [story["release_id"] for story in answer["releases"]]
        Log(work).append("trace.read", at=utc_now(), actor="carl", data={"by": by, "found": found})
        work.commit()
    assert all(len(story["events"]) == len(STORY) for story in answer["releases"])
    return len(found)


def questions(releases: int) -> Iterator[tuple[str, str]]:
    """Each question about another release every time."""
    chance = random.Random(2)
    for _ in range(15):
        number = chance.randrange(releases)
        yield "ticket", f"DATA-{number // TICKETS}"
        yield "release", f"rel-{number}"
        yield "principal", f"person-{number // PRINCIPALS}"
        yield "dataset", f"dataset-{number // DATASETS}"
        yield "token", f"tok-{number}"
        yield "sha256", digest("data.csv", number)
        yield "sha256 of a manifest", digest("manifest", number)


def measure(label: str, url: str, leaves: int) -> None:
    """Build, ask, print."""
    database = Database(url)
    began = time.monotonic()
    releases = build(database, leaves)
    print(
        f"\n{label}: {leaves} leaves, {releases} releases, filled in {time.monotonic() - began:.0f} s, load {os.getloadavg()[0]:.1f}"
    )
    took: dict[str, list[tuple[float, float, int]]] = {}
    for by, value in questions(releases):
        start, used = time.perf_counter(), time.process_time()
        found = ask(database, by.split()[0], value)
        took.setdefault(by, []).append((1000 * (time.perf_counter() - start), 1000 * (time.process_time() - used), found))
    print(f"{'by':22}{'releases':>9}{'median ms':>11}{'worst ms':>10}{'CPU ms':>8}")
    for by, figures in took.items():
        walls = sorted(wall for wall, _, _ in figures)
        used = sorted(cpu for _, cpu, _ in figures)
        print(
            f"{by:22}{max(found for *_, found in figures):>9}{walls[len(walls) // 2]:>11.1f}{walls[-1]:>10.1f}{used[len(used) // 2]:>8.1f}"
        )
    database.dispose()


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--leaves", type=int, default=1_000_000)
    parser.add_argument("--sqlite-only", action="store_true")
    parser.add_argument("--postgres-only", action="store_true")
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}")
    if not given.postgres_only:
        with tempfile.TemporaryDirectory() as folder:
            measure("SQLite", f"sqlite:///{folder}/trace.db", given.leaves)
    if not given.sqlite_only:
        with fresh_database() as url:
            measure("PostgreSQL", url, given.leaves)


if __name__ == "__main__":
    main()
