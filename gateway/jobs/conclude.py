"""Conclude one release: read the report card back, gate it, write model card, manifest and envelope, and let out or block.

Invariants:
    - The verdict is computed from the report card as stored, read back through the store.
    - The identifier of the event that lets a release out is chosen first, because the manifest names it.
    - The files of a blocked release are never made visible; their key is destroyed in the transaction that blocks it.
    - Whatever breaks ends the release and settles its reserve.
    - Concluding again what was concluded, cancelled or taken over changes nothing but to remove what is left of it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from gateway.access import GatewayKeys
from gateway.audit.event import RANDOM_BITS, event_id
from gateway.catalogue import AppliedPolicy, Datasets, Policies, RegisteredDataset
from gateway.errors import Conflict
from gateway.jobs.order import Failure
from gateway.jobs.rim import at_the_rim, patiently
from gateway.releases import House, Release, Releases, Status
from gateway.releases.abandoned import abandon
from gateway.releases.artifacts import DESTROYED, Sealer, destroy_keys, make_sealer, remove_sealed
from gateway.releases.bundle import ENVELOPE, MANIFEST, FileEntry, envelope_of, manifest_bytes, sha256_hex, statement_of
from gateway.releases.model_card import model_card
from gateway.releases.produce import Conclusion, Taken, conclude, hold, noisy_epsilon_of
from gateway.telemetry import logger, utc_now
from policies.decide import ReviewDuty
from policies.gate import Verdict, gate
from policies.metrics import MetricResult
from policies.presets import expand
from policies.types import PrivacySpent

__all__ = ["conclude_production"]

FULL_CARD = "full-report-card.json"


def conclude_production(house: House, produced: Mapping[str, Any]) -> str:
    """Conclude what `produce` produced; answers the status."""
    release_id, fence = str(produced["release_id"]), int(produced["fence"])

    def give_up(failure: Failure) -> None:
        abandon(house, release_id, fence=fence, code=failure.code, message=failure.message, now=utc_now())

    status = at_the_rim(lambda: patiently(lambda: _conclude(house, produced)), give_up=give_up)
    return str(Status.FAILED) if status is None else status


def _conclude(house: House, produced: Mapping[str, Any]) -> str:
    now = utc_now()
    with house.database.read() as work:
        release = Releases(work).get(produced["release_id"])
        is_mine = release.fence == produced["fence"] and release.status is Status.EVALUATING
    if not is_mine:
        return _leave(house, produced, now)
    with house.database.read() as work:
        dataset = Datasets(work).get(release.dataset, version=release.dataset_version)
        applied = Policies(work).get(str(release.policy), version=release.policy_version)
    taken = Taken(release=release, fence=produced["fence"], reserve=produced["reserve"])
    try:
        sealer = make_sealer(house, release_id=release.id, fence=taken.fence, now=now, within=lambda work: hold(work, taken))
        conclusion = _conclusion(house, release, dataset, applied, sealer, produced, now)
        concluded = conclude(house, taken, conclusion, now=now)
    except Conflict as conflict:
        logger("jobs").warning("a production came too late", release_id=release.id, detail=conflict.detail)
        return _leave(house, produced, now)
    if concluded.status is Status.BLOCKED:
        remove_sealed(house, (row["location"] for row in conclusion.artifacts))
    return str(concluded.status)


def _conclusion(
    house: House,
    release: Release,
    dataset: RegisteredDataset,
    applied: AppliedPolicy,
    sealer: Sealer,
    produced: Mapping[str, Any],
    now: datetime,
) -> Conclusion:
    outcome = produced["outcome"]
    rows: list[dict[str, Any]] = [dict(row) for row in produced["artifacts"]]
    report = json.loads(sealer.read(next(row for row in rows if row["name"] == FULL_CARD)))
    metrics = {name: MetricResult.from_json(metric) for name, metric in report["metrics"].items()}
    verdict = gate(metrics, expand(applied.policy).spec.gate)
    spent = PrivacySpent.from_json(outcome["spent"])
    event = event_id(now, secrets.randbits(RANDOM_BITS - 1))
    rows.append(_model_card(release, dataset, sealer, verdict, spent, outcome["generator_version"]))
    manifest = _manifest(release, dataset, rows, verdict, spent, outcome, event)
    rows.append(sealer.put_proof(MANIFEST, manifest, media_type="application/json", now=now))
    rows.append(_envelope(house, sealer, manifest, now))
    return Conclusion(
        verdict=verdict,
        review=_duty(release),
        artifacts=tuple(rows),
        report_card=report,
        report_card_digest=outcome["report_card_digest"],
        manifest_digest=sha256_hex(manifest),
        spent=spent,
        generator_version=outcome["generator_version"],
        expires_in=applied.policy.spec.access.release_expires,
        event_id=event,
    )


def _duty(release: Release) -> ReviewDuty:
    duty = release.decision["obligations"]["review"]
    return ReviewDuty(
        approvers=duty["approvers"], roles=tuple(duty["roles"]), because=tuple(duty["because"]), on_warn=duty["on_warn"]
    )


def _model_card(
    release: Release, dataset: RegisteredDataset, sealer: Sealer, verdict: Verdict, spent: PrivacySpent, generator: str
) -> dict[str, Any]:
    text = model_card(
        release_id=release.id,
        card=dataset.card,
        request=release.request,
        spent=spent,
        verdict="passed" if not verdict.warnings else "passed, with warnings,",
        policy=f"{release.policy} v{release.policy_version}",
        generator=generator,
    )
    return sealer.put_bytes("model-card.md", text.encode(), media_type="text/markdown; charset=utf-8", audience="requester")


def _manifest(
    release: Release,
    dataset: RegisteredDataset,
    rows: Sequence[Mapping[str, Any]],
    verdict: Verdict,
    spent: PrivacySpent,
    outcome: Mapping[str, Any],
    event: str,
) -> bytes:
    files = [
        FileEntry(name=row["name"], media_type=row["media_type"], size=row["size"], sha256=row["sha256"])
        for row in rows
        if row["audience"] == "requester"
    ]
    cost = spent.to_json()
    facts = {
        "release_id": release.id,
        "request_id": release.id,
        "ticket": release.ticket,
        "principal": release.principal,
        "request_digest": release.request_digest,
        "decision_id": release.decision_id,
        "dataset": {"name": dataset.name, "version": dataset.version, "card_digest": dataset.digest},
        "policy": {"name": release.policy, "version": release.policy_version, "digest": release.policy_digest},
        "generator": {"name": release.request["generator"], "version": outcome["generator_version"]},
        "rows": release.request["rows"],
        "dp": {
            "scope": "mechanism-only" if spent.is_dp else "none",
            "outside": ["verdict", "report-card.json", "report-card.html"],
            "spent": cost,
            "noisy_metrics": _noisy(release),
        },
        "verdict": {"passed": verdict.passed, "disclosure": release.decision["obligations"]["disclosure"]},
        "report_card_digest": outcome["report_card_digest"],
        "audit_event_id": event,
    }
    return manifest_bytes(files=files, facts=_plain(facts))


def _noisy(release: Release) -> dict[str, str] | None:
    """What the noisy metrics in the report card cost: a guarantee of their own, charged beside the generator's."""
    epsilon = noisy_epsilon_of(release)
    return None if epsilon is None else {"epsilon": str(epsilon), "delta": "0", "in": "report-card.json"}


def _plain(value: Any) -> Any:
    """Canonical JSON has no integers beyond 2**53 and no exotic numbers; what is left is what RFC 8785 can write."""
    return json.loads(json.dumps(value, allow_nan=False))


def _envelope(house: House, sealer: Sealer, manifest: bytes, now: datetime) -> dict[str, Any]:
    with house.database.read() as work:
        signer = GatewayKeys(work, house.sealing).signer("manifest")
    raw = envelope_of(statement_of(manifest), sign=signer.sign, key_id=signer.kid)
    return sealer.put_proof(ENVELOPE, raw, media_type="application/vnd.dsse+json", now=now)


def _leave(house: House, produced: Mapping[str, Any], now: datetime) -> str:
    """What this attempt sealed goes, unless it is what was let out; answers the status."""
    with house.database.begin() as work:
        release = Releases(work).for_update(produced["release_id"])
        if release.status in DESTROYED:
            destroy_keys(work, release.id, now=now)
            work.commit()
    if release.status in DESTROYED or release.fence != produced["fence"]:
        remove_sealed(house, (row["location"] for row in produced["artifacts"]))
    return str(release.status)
