"""Past requests tried under a candidate policy: what it would newly deny, permit, block or release, and by which rules.

Responsible for the records of the past: the facts that were stored with each decision, and the report card that came after.

Invariants:
    - Nothing is written, no data is read, nothing is fitted or measured again.
    - What is replayed is what the decision of then rested on. A decision whose facts were not stored is counted, not guessed.
    - Exact figures are confidential, and a candidate's line can ask for them one by one: who may not see them replays decisions
      alone, without any report card. Whose a request is, its account says, not the name that asked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from gateway.catalogue import Datasets
from gateway.db import Work
from gateway.releases.house import House
from gateway.releases.repository import Past, Releases
from gateway.releases.states import Status
from policies.canonical import digest
from policies.card import DatasetCard
from policies.gate import read_metrics
from policies.records import Outcome, Record, record_from_json, record_to_json
from policies.schema import ReleasePolicy
from policies.simulate import Simulation, simulate

__all__ = ["Sight", "facts_digest", "record_of_decision", "replay_under"]

Sight = Literal["everything", "others", "own"]
"""Whose past: all of it with all report cards; all of it, one's own requests without their report cards; one's own alone,
without report cards."""


def record_of_decision(record: Record) -> dict[str, Any]:
    """The facts of a decision as they are stored beside it; the dataset's card is in the catalogue, by version."""
    return record_to_json(record, with_card=False)


def facts_digest(facts: Mapping[str, Any]) -> str:
    """SHA-256 of the stored facts, for the log: they cannot be exchanged unnoticed."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def replay_under(
    house: House, candidate: ReleasePolicy, *, since: datetime | None = None, sight: Sight, viewer: str = ""
) -> dict[str, Any]:
    """Replay stored decisions and report cards under a candidate.

    Args:
        house: The house.
        candidate: The policy to try, checked, with its preset written out.
        since: Only requests not older.
        sight: How much of the past may be looked at.
        viewer: Account whose own requests `sight` speaks of; a person's second name is the same account.

    Returns:
        The simulation as JSON, with `unrecorded`: how many decisions of the candidate's datasets have no stored facts.
    """
    with house.database.read() as work:
        past = _Past(work, candidate, since=since, sight=sight, viewer=viewer)
        found: Simulation = simulate(past, candidate)
    return {**found.to_json(), "unrecorded": past.unrecorded, "digest": digest(candidate)}


class _Past:
    """Records of the past, one by one; counts what cannot be replayed."""

    def __init__(self, work: Work, candidate: ReleasePolicy, *, since: datetime | None, sight: Sight, viewer: str) -> None:
        self._work = work
        self._candidate = candidate
        self._since = since
        self._sight = sight
        self._viewer = viewer
        self._cards: dict[tuple[str, int | None], DatasetCard | None] = {}
        self.unrecorded = 0

    def __iter__(self) -> Iterator[Record]:
        own = self._viewer if self._sight == "own" else None
        for row in Releases(self._work).past(self._candidate.spec.datasets, since=self._since, account=own):
            if row.facts is None:
                self.unrecorded += 1
                continue
            yield self._record(row, row.facts)

    def _record(self, row: Past, facts: Mapping[str, Any]) -> Record:
        record = record_from_json(facts, card=self._card(row.dataset, row.dataset_version))
        shows_metrics = self._sight == "everything" or (self._sight == "others" and row.account_id != self._viewer)
        if row.status is not Status.DENIED and not shows_metrics:
            return replace(record, outcome="permitted")
        metrics = None if row.report_card is None else read_metrics(row.report_card["metrics"])
        return replace(record, metrics=metrics, outcome=_outcome(row), refused_by=_refused_by(row))

    def _card(self, name: str, version: int | None) -> DatasetCard | None:
        key = (name, version)
        if key not in self._cards:
            self._cards[key] = None if version is None else Datasets(self._work).get(name, version=version).card
        return self._cards[key]


def _outcome(row: Past) -> Outcome:
    """What policy and gate made of it; what people or the clock did afterwards is not the policy's doing."""
    if row.status is Status.DENIED:
        return "denied"
    if row.verdict is None:
        return "permitted"
    return "released" if row.verdict["passed"] else "blocked"


def _refused_by(row: Past) -> tuple[str, ...]:
    if row.status is Status.DENIED:
        return tuple(f"{found['rule']}: {found['code']}" for found in row.decision.get("violations", ()))
    blocking = (rule for rule in (row.verdict or {}).get("rules", ()) if rule["blocks"])
    return tuple(f"gate {rule['metric']}: {rule['code']}" for rule in blocking)
