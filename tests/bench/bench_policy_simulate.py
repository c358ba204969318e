"""How long a history takes to replay under a candidate policy: `python tests/bench/bench_policy_simulate.py [releases]`."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import policies
from policies.case_facts import facts_of, metrics_of
from policies.case_schema import Case
from policies.loader import load_policy
from policies.records import Record
from policies.simulate import simulate

LIBRARY = Path(policies.__file__).parent / "library"


def main(releases: int) -> None:
    policy = load_policy(LIBRARY / "customer.yaml")
    sound = Case.model_validate({"name": "sound", "expect": {"decision": "permit"}})
    facts, metrics = facts_of(sound, policy), metrics_of(sound, policy)
    kept = {name: value for name, value in facts.items() if name not in ("policy", "candidates")}
    history = [
        Record(
            **{**kept, "request": replace(facts["request"], request_id=f"r{n}", rows=1 + n * 60)},
            metrics=metrics,
            outcome="released",
        )
        for n in range(releases)
    ]
    wall, cpu = time.perf_counter(), time.process_time()
    result = simulate(history, policy)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{result.replayed} releases, {len(policy.spec.gate)} gate rules: {wall:.2f} s wall, {cpu:.2f} s CPU")
    print(f"newly denied: {len(result.newly_denied)} by {result.by_rule}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
