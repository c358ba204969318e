"""What a candidate policy would have done to past requests.

Responsible for replaying stored facts and report cards under a policy that is not in force yet, and for naming what would
change and by which rules.

Invariants: pure; nothing is generated or evaluated again; a metric that was not measured then is said to be missing, not
assumed good; the record itself is never judged, only compared. Budget, history and counts are those of then: every request is
tried as if it alone had met the candidate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal, get_args

from policies.decide import weigh
from policies.gate import gate
from policies.records import Outcome, Record
from policies.schema import ReleasePolicy
from policies.types import BudgetFacts

__all__ = ["CHANGES", "Replayed", "Simulation", "replay", "simulate"]

Would = Literal["released", "blocked", "denied", "fitted"]
Change = Literal["newly_denied", "newly_permitted", "newly_blocked", "newly_released"]
CHANGES: tuple[Change, ...] = get_args(Change)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One past request under the candidate.

    Attributes:
        was: What became of it then.
        would_be: What the candidate would make of it; `fitted` when it would be let through to a fit, and no report card says
            what the gate would do.
        rules: The rules that did it, as `path: code`: those that refuse it under the candidate; or, where the candidate lets
            through what was refused then, those that refused it then (as far as the record names them).
    """

    request_id: str
    ticket: str
    principal: str
    was: Outcome
    would_be: Would
    rules: tuple[str, ...]

    @property
    def change(self) -> Change | None:
        """What the candidate would change, or None."""
        if (self.was == "denied") != (self.would_be == "denied"):
            return "newly_denied" if self.would_be == "denied" else "newly_permitted"
        if (self.was, self.would_be) == ("released", "blocked"):
            return "newly_blocked"
        return "newly_released" if (self.was, self.would_be) == ("blocked", "released") else None

    def to_json(self) -> dict[str, Any]:
        """JSON-safe form; the id of a release is that of its request."""
        return {
            "release_id": self.request_id,
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
        newly_denied: Let through then, denied by the candidate before any data is read.
        newly_permitted: Denied then, let through to a fit by the candidate.
        newly_blocked: Let out by the gate then, blocked by the candidate's gate.
        newly_released: Blocked by the gate then, let out by the candidate's gate.
        by_rule: How many of the newly denied and newly blocked each rule refuses.
    """

    policy: str
    version: int
    replayed: int
    skipped: int
    newly_denied: tuple[Replayed, ...]
    newly_permitted: tuple[Replayed, ...]
    newly_blocked: tuple[Replayed, ...]
    newly_released: tuple[Replayed, ...]
    by_rule: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """JSON-safe form."""
        changes: dict[str, Any] = {name: [entry.to_json() for entry in getattr(self, name)] for name in CHANGES}
        return {
            "policy": {"name": self.policy, "version": self.version},
            "replayed": self.replayed,
            "skipped": self.skipped,
            **changes,
            "by_rule": dict(self.by_rule),
        }


def simulate(records: Iterable[Record], candidate: ReleasePolicy) -> Simulation:
    """Replay a history.

    Args:
        records: Past requests, in any order.
        candidate: The policy to try, with its preset expanded. Its mode is ignored.
    """
    changed: dict[str, list[Replayed]] = {name: [] for name in CHANGES}
    replayed = skipped = 0
    for record in records:
        if not candidate.covers(record.request.dataset):
            skipped += 1
            continue
        entry = replay(record, candidate)
        replayed += 1
        if entry.change is not None:
            changed[entry.change].append(entry)
    refused = changed["newly_denied"] + changed["newly_blocked"]
    return Simulation(
        policy=candidate.name,
        version=candidate.version,
        replayed=replayed,
        skipped=skipped,
        newly_denied=tuple(changed["newly_denied"]),
        newly_permitted=tuple(changed["newly_permitted"]),
        newly_blocked=tuple(changed["newly_blocked"]),
        newly_released=tuple(changed["newly_released"]),
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
        budget=_budget_under(record, candidate),
        history=record.history,
        card=record.card,
        now=record.now,
    )
    broken = [found for found in reasons if not found.holds and found.code != "policy-mismatch"]
    would_be: Would
    if broken:
        would_be, rules = "denied", tuple(f"{found.rule}: {found.code}" for found in broken)
    elif record.metrics is None:
        would_be, rules = "fitted", record.refused_by
    else:
        verdict = gate(record.metrics, candidate.spec.gate)
        would_be = "released" if verdict.passed else "blocked"
        rules = tuple(f"gate {result.metric}: {result.code}" for result in verdict.blocking) or record.refused_by
    return Replayed(
        request_id=request.request_id,
        ticket=request.ticket,
        principal=request.principal,
        was=record.outcome,
        would_be=would_be,
        rules=rules,
    )


def _budget_under(record: Record, candidate: ReleasePolicy) -> BudgetFacts:
    """The ledger of then under the candidate's limit.

    A lower limit refuses here only what it refuses for certain: the request alone is above it, or what was spent before is.
    In between, the accountant of the ledger would have to decide, and its answer of then stays.
    """
    stated, budget = candidate.spec.budget, record.budget
    asked = record.request.epsilon
    if stated is None or asked is None or not asked.is_finite():
        return budget
    spent = budget.lifetime_epsilon or Decimal(0)
    if asked <= stated.epsilon and spent < stated.epsilon:
        return budget
    return replace(budget, affords=False, limit_epsilon=stated.epsilon, remaining_epsilon=max(Decimal(0), stated.epsilon - spent))
