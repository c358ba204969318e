"""What a candidate policy would have done to past requests.

Responsible for replaying stored facts and report cards under a policy that is not in force yet, and for naming what would
change and by which rules.

Invariants: pure; nothing is generated or evaluated again; a metric that was not measured then is said to be missing, not
assumed good; the record itself is never judged, only compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from policies.decide import weigh
from policies.gate import gate
from policies.records import Outcome, Record
from policies.schema import ReleasePolicy

__all__ = ["Replayed", "Simulation", "replay", "simulate"]

Then = Outcome
Would = Literal["released", "blocked", "denied", "fitted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One past request under the candidate.

    Attributes:
        was: What became of it then.
        would_be: What the candidate would make of it; `fitted` when it would be let through to a fit that never happened, so
            that no report card says what the gate would do.
        rules: Rules that refuse it under the candidate, as `path: code`.
    """

    request_id: str
    ticket: str
    principal: str
    was: Outcome
    would_be: Would
    rules: tuple[str, ...]

    @property
    def is_newly_refused(self) -> bool:
        """Released then, refused by the candidate."""
        return self.was == "released" and self.would_be in ("blocked", "denied")

    @property
    def is_newly_let_through(self) -> bool:
        """Refused then, let through by the candidate."""
        return (
            self.was != "released"
            and self.would_be in ("released", "fitted")
            and not (self.was == "blocked" and self.would_be == "fitted")
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-safe form."""
        return {
            "request_id": self.request_id,
            "ticket": self.ticket,
            "principal": self.principal,
            "was": self.was,
            "would_be": self.would_be,
            "rules": list(self.rules),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """A history under a candidate.

    Attributes:
        replayed: How many past requests were replayed.
        skipped: How many were about datasets that the candidate does not cover.
        newly_refused: Those that were released, and would not be.
        newly_let_through: Those that were refused, and would be released or fitted.
        by_rule: How many of the newly refused each rule refuses.
    """

    policy: str
    version: int
    replayed: int
    skipped: int
    newly_refused: tuple[Replayed, ...]
    newly_let_through: tuple[Replayed, ...]
    by_rule: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """JSON-safe form."""
        return {
            "policy": {"name": self.policy, "version": self.version},
            "replayed": self.replayed,
            "skipped": self.skipped,
            "newly_refused": [entry.to_json() for entry in self.newly_refused],
            "newly_let_through": [entry.to_json() for entry in self.newly_let_through],
            "by_rule": dict(self.by_rule),
        }


def simulate(records: Iterable[Record], candidate: ReleasePolicy) -> Simulation:
    """Replay a history.

    Args:
        records: Past requests, in any order.
        candidate: The policy to try, with its preset expanded. Its mode is ignored.
    """
    refused: list[Replayed] = []
    let_through: list[Replayed] = []
    replayed = skipped = 0
    for record in records:
        if not candidate.covers(record.request.dataset):
            skipped += 1
            continue
        entry = replay(record, candidate)
        replayed += 1
        if entry.is_newly_refused:
            refused.append(entry)
        elif entry.is_newly_let_through:
            let_through.append(entry)
    return Simulation(
        policy=candidate.name,
        version=candidate.version,
        replayed=replayed,
        skipped=skipped,
        newly_refused=tuple(refused),
        newly_let_through=tuple(let_through),
        by_rule=dict(Counter(rule for entry in refused for rule in entry.rules).most_common()),
    )


def replay(record: Record, candidate: ReleasePolicy) -> Replayed:
    """One past request under a candidate, which is taken to be the policy that the requester meant."""
    request = record.request
    reasons = weigh(
        request=request,
        ticket=record.ticket,
        ticket_problem=record.ticket_problem,
        principal=record.principal,
        policy=candidate,
        candidates=(candidate.name,),
        budget=record.budget,
        history=record.history,
        card=record.card,
        now=record.now,
    )
    broken = [found for found in reasons if not found.holds and found.code != "policy-mismatch"]
    would_be: Would
    if broken:
        would_be, rules = "denied", tuple(f"{found.rule}: {found.code}" for found in broken)
    elif record.metrics is None:
        would_be, rules = "fitted", ()
    else:
        verdict = gate(record.metrics, candidate.spec.gate)
        would_be = "released" if verdict.passed else "blocked"
        rules = tuple(f"gate {result.metric}: {result.code}" for result in verdict.blocking)
    return Replayed(
        request_id=request.request_id,
        ticket=request.ticket,
        principal=request.principal,
        was=record.outcome,
        would_be=would_be,
        rules=rules,
    )
