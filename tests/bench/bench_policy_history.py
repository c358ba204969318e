"""How long the gateway's own past takes to replay from its database: `python tests/bench/bench_policy_history.py [releases]`."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy import insert

import policies
from gateway.catalogue import Datasets
from gateway.db import Database, upgrade_schema
from gateway.db.tables.releases import release
from gateway.releases import House
from gateway.releases.history import record_of_decision, replay_under
from policies.canonical import digest
from policies.case_facts import facts_of, metrics_of
from policies.case_schema import Case
from policies.loader import load_policy
from policies.records import Record

LIBRARY = Path(policies.__file__).parent / "library"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def row_of(number: int, record: Record, card: str) -> dict[str, Any]:
    request = replace(record.request, request_id=f"r{number}", rows=1 + number * 60)
    facts = record_of_decision(replace(record, request=request, metrics=None))
    return {
        "id": f"r{number}", "principal": "ana", "account_id": "ana", "ticket": "DATA-1", "dataset": request.dataset,
        "dataset_version": 1, "status": "released", "request": {}, "request_digest": "0", "signed_request": "x.y.z",
        "decision_id": "d", "decision": {}, "decision_facts": facts, "verdict": {"passed": True, "rules": []},
        "report_card": {"metrics": json.loads(card)}, "requested_at": NOW, "updated_at": NOW,
    }  # fmt: skip


def main(releases: int) -> None:
    policy = load_policy(LIBRARY / "customer.yaml")
    sound = Case.model_validate({"name": "sound", "expect": {"decision": "permit"}})
    facts, metrics = facts_of(sound, policy), metrics_of(sound, policy)
    kept = {name: value for name, value in facts.items() if name not in ("policy", "candidates")}
    record = Record(**kept, metrics=metrics, outcome="released")
    card = json.dumps({name: metric.to_json() for name, metric in metrics.items()})
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/past.db")
        upgrade_schema(database)
        with database.begin() as work:
            known = facts["card"]
            Datasets(work).register(known, digest=digest(known), source="x", source_digest=None, by="bench", now=NOW)
            work.execute(insert(release), [row_of(number, record, card) for number in range(releases)])
            work.commit()
        house = cast("House", SimpleNamespace(database=database))
        wall, cpu = time.perf_counter(), time.process_time()
        result = replay_under(house, policy, sight="everything")
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{result['replayed']} releases with report cards of {len(metrics)} metrics ({len(card) >> 10} KiB): ", end="")
    print(f"{wall:.2f} s wall, {cpu:.2f} s CPU, peak {peak} MiB; newly denied {len(result['newly_denied'])}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
