"""Produce one release: take up, run the child, seal what it wrote. One durable step; concluding is the next.

Invariants:
    - Every execution of this step takes the release up anew, so an interrupted one is noticed and charged.
    - Nothing that the child wrote outlives this step in plain form; nothing of it is kept once the release has ended.
    - Whatever breaks ends the release and settles its reserve; what is unavailable for a while does not.
    - The step's result is JSON and holds no row of any table.
"""

from __future__ import annotations

import secrets
import time
from functools import partial
from pathlib import Path
from typing import Any

from gateway.catalogue import Datasets, Policies
from gateway.db import Work
from gateway.errors import TicketgateError, Unavailable
from gateway.evidence.leaks import FINGERPRINT, fingerprint_key, keep_fingerprint, seal_fingerprint, watermark_key
from gateway.jobs.child import run_production
from gateway.jobs.order import Failure, Order, Outcome, ProducedFile
from gateway.jobs.rim import at_the_rim, patiently
from gateway.jobs.scratch import scratch_folder
from gateway.releases import House, Release, Releases
from gateway.releases.abandoned import abandon
from gateway.releases.artifacts import Sealer, make_sealer
from gateway.releases.produce import Taken, fail, hold, note_evaluating, note_reading, take_up
from gateway.releases.registration import split_key
from gateway.telemetry import utc_now
from policies.canonical import canonical_json

__all__ = ["produce"]

TELL_EVERY = 0.5


def produce(house: House, release_id: str) -> dict[str, Any] | None:
    """Produce a release.

    Returns:
        What `conclude` needs, or None when the release ended here: cancelled, failed, or nothing left to do.
    """
    seen = patiently(lambda: _fence_of(house, release_id))

    def taken_up() -> Taken | None:
        return patiently(lambda: take_up(house, release_id, now=utc_now()))

    taken = at_the_rim(taken_up, give_up=partial(_give_up, house, release_id, seen))
    if taken is None:
        return None
    return at_the_rim(lambda: _produce(house, taken), give_up=partial(_give_up, house, release_id, taken.fence))


def _give_up(house: House, release_id: str, fence: int, failure: Failure) -> None:
    abandon(house, release_id, fence=fence, code=failure.code, message=failure.message, now=utc_now())


def _produce(house: House, taken: Taken) -> dict[str, Any] | None:
    with scratch_folder(house, prefix="production-") as scratch:
        order = patiently(lambda: _order(house, taken, scratch))
        patiently(lambda: note_reading(house, taken, now=utc_now()))
        answer = run_production(order, progress=_Teller(house, taken), timeout=house.settings.job_timeout)
        if isinstance(answer, Outcome):
            return _sealed(house, taken, answer, scratch)
    if answer is not None:
        patiently(lambda: _fail(house, taken, answer))
    return None


def _fail(house: House, taken: Taken, failure: Failure) -> None:
    fail(house, taken, code=failure.code, message=failure.message, data_was_read=failure.data_was_read, now=utc_now())


def _fence_of(house: House, release_id: str) -> int:
    with house.database.read() as work:
        return Releases(work).get(release_id).fence


def _order(house: House, taken: Taken, scratch: Path) -> Order:
    release: Release = taken.release
    with house.database.read() as work:
        dataset = Datasets(work).get(release.dataset, version=release.dataset_version)
        policy = Policies(work).get(str(release.policy), version=release.policy_version).policy
    request = release.request
    return Order(
        release_id=release.id,
        card=_json(canonical_json(dataset.card)),
        source=dataset.source,
        s3_endpoint=house.settings.s3_endpoint,
        split_key=split_key(house, release.dataset, now=utc_now()).hex(),
        fingerprint_key=fingerprint_key(house).hex(),
        watermark_key=watermark_key(house, release.id).hex() if policy.spec.generation.watermark else None,
        policy=_json(canonical_json(policy)),
        generator=request["generator"],
        hyperparameters=request["hyperparameters"],
        epsilon=request["epsilon"],
        delta=request["delta"],
        rows=request["rows"],
        columns=request["columns"],
        format=request["format"],
        seed=request["seed"],
        evaluation_seed=secrets.randbits(48),
        folder=str(scratch),
        memory_mb=house.settings.job_memory_mb,
    )


def _json(raw: bytes) -> dict[str, Any]:
    import json

    document: dict[str, Any] = json.loads(raw)
    return document


class _Teller:
    """Writes progress to the database, not more often than people can see."""

    def __init__(self, house: House, taken: Taken) -> None:
        self._house, self._taken = house, taken
        self._told = 0.0
        self._phase = "generating"

    def __call__(self, share: float, stage: str, phase: str) -> bool:
        now = time.monotonic()
        is_new_phase = phase != self._phase
        if not is_new_phase and now - self._told < TELL_EVERY:
            return True
        self._told = now
        if is_new_phase:
            patiently(lambda: note_evaluating(self._house, self._taken, now=utc_now()))
            self._phase = phase
        try:
            return self._tell(share, stage)
        except Unavailable:  # a production is not given up for a line of progress; whether it may go on is asked with the next
            return True

    def _tell(self, share: float, stage: str) -> bool:
        with self._house.database.begin() as work:
            goes_on = Releases(work).set_progress(
                self._taken.release.id, fence=self._taken.fence, progress=share, stage=stage[:64], at=utc_now()
            )
            work.commit()
        return goes_on


def _sealed(house: House, taken: Taken, outcome: Outcome, scratch: Path) -> dict[str, Any]:
    release = taken.release
    limit = (release.decision.get("obligations") or {}).get("max_bytes")
    data = next(file for file in outcome.files if file.name.startswith("data."))
    if limit is not None and data.size > int(limit):
        too_large = f"the data file has {data.size} bytes; the policy allows {limit}"
        raise TicketgateError(too_large, code="artifact-too-large")
    raw = (scratch / FINGERPRINT).read_bytes()
    fingerprint = seal_fingerprint(house, raw, release_id=release.id, fence=taken.fence)

    def within(work: Work) -> None:
        hold(work, taken)
        keep_fingerprint(work, release_id=release.id, fence=taken.fence, sealed=fingerprint)

    sealer = patiently(lambda: make_sealer(house, release_id=release.id, fence=taken.fence, now=utc_now(), within=within))
    rows = [patiently(partial(_put, sealer, scratch / file.name, file)) for file in outcome.files]
    return {
        "release_id": release.id,
        "fence": taken.fence,
        "reserve": taken.reserve,
        "artifacts": rows,
        "outcome": outcome.model_dump(mode="json"),
    }


def _put(sealer: Sealer, path: Path, file: ProducedFile) -> dict[str, Any]:
    return sealer.put_file(path, media_type=file.media_type, sha256=file.sha256, size=file.size, audience=file.audience)
