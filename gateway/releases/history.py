"""Past requests replayed under a candidate policy: what would newly be blocked, what newly released, and by which rules.

Invariants: nothing is written and no data is read; facts are those that were stored with the decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gateway.releases.house import House
from gateway.releases.repository import Release, Releases
from policies.gate import gate
from policies.metrics import MetricResult
from policies.presets import expand
from policies.schema import ReleasePolicy

__all__ = ["replay_under"]


def replay_under(house: House, candidate: ReleasePolicy, *, since: str | None = None) -> dict[str, Any]:
    """Replay stored report cards under a candidate's gate.

    Args:
        house: The house.
        candidate: The policy to try.
        since: ISO time; only requests not older.
    """
    bound = None if since is None else datetime.fromisoformat(since)
    with house.database.read() as work:
        found = [
            release
            for dataset in candidate.spec.datasets
            for release in Releases(work).all_of(dataset=dataset)
            if release.report_card is not None and (bound is None or release.requested_at >= bound)
        ]
    rows = [_replayed(release, candidate) for release in found]
    changed = [row for row in rows if row["before"] != row["after"]]
    return {
        "policy": {"name": candidate.name, "version": candidate.version},
        "replayed": len(rows),
        "newly_blocked": [row for row in changed if not row["after"]],
        "newly_released": [row for row in changed if row["after"]],
    }


def _replayed(release: Release, candidate: ReleasePolicy) -> dict[str, Any]:
    card: Mapping[str, Any] = release.report_card or {}
    metrics = {name: MetricResult.from_json(metric) for name, metric in card["metrics"].items()}
    verdict = gate(metrics, expand(candidate).spec.gate)
    rules = [result.metric for result in verdict.rules if result.blocks]
    before = bool((release.verdict or {}).get("passed"))
    return {"release_id": release.id, "before": before, "after": verdict.passed, "rules": rules}
