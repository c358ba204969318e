"""Permit or deny, before any data is read.

Responsible for choosing the policy that speaks for a request and for putting every rule's answer together. Default deny: no
policy, several without a choice, an unknown dataset or generator, a ticket that could not be fetched are all refusals.

Invariants:
    - Pure: the same facts give the same decision; a stored decision can be replayed against the policy version it names.
    - Every rule yields a reason, satisfied or not; a decision permits only when all hold and the policy is enforced.
    - A policy in audit mode never permits and never denies: it is decided beside the enforced one and recorded (`would_deny`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from policies.canonical import digest
from policies.card import DatasetCard
from policies.differencing_rules import differencing_reasons
from policies.gate import Verdict
from policies.quantities import duration_text
from policies.reasons import reason
from policies.request_rules import advice, budget_reasons, generation_reasons, request_reasons
from policies.schema import Disclosure, ReleasePolicy, RoleName
from policies.ticket_rules import ticket_problem_reason, ticket_reasons
from policies.types import BudgetFacts, HistoryFacts, PrincipalFacts, Reason, RequestFacts, TicketFacts

__all__ = ["Decision", "Obligations", "ReviewDuty", "decide", "noisy_epsilon", "select_policy", "shadow_policies", "weigh"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewDuty:
    """How many of whom must agree, and why; `on_warn` asks for it when the gate warns."""

    approvers: int
    roles: tuple[RoleName, ...]
    because: tuple[str, ...]
    on_warn: bool

    def is_due(self, verdict: Verdict) -> bool:
        """Whether people must look at a release that the gate let through with this verdict."""
        return self.approvers > 0 and (bool(self.because) or (self.on_warn and bool(verdict.warnings)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligations:
    """What holds for a permitted release, taken from the policy in force.

    Attributes:
        max_bytes: Largest data file in bytes, or None.
        noisy_epsilon: What metrics with noise cost beside the generator's ε; None where none are published.
    """

    token_ttl: timedelta
    max_downloads: int
    proof_of_possession: str
    release_expires: timedelta
    disclosure: Disclosure
    noisy_epsilon: Decimal | None
    review: ReviewDuty
    max_bytes: int | None

    def to_json(self) -> dict[str, Any]:
        """JSON-safe form; durations as in policies."""
        return {
            "token_ttl": duration_text(self.token_ttl),
            "max_downloads": self.max_downloads,
            "proof_of_possession": self.proof_of_possession,
            "release_expires": duration_text(self.release_expires),
            "disclosure": self.disclosure,
            "noisy_epsilon": None if self.noisy_epsilon is None else str(self.noisy_epsilon),
            "max_bytes": self.max_bytes,
            "review": {
                "approvers": self.review.approvers,
                "roles": list(self.review.roles),
                "because": list(self.review.because),
                "on_warn": self.review.on_warn,
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Permit or deny, with every rule's reason.

    Attributes:
        permitted: Whether the request may go on: every reason holds and the policy is enforced.
        would_deny: Whether a rule is broken, whatever the mode.
        mode: `enforce` or `audit`; None without a policy.
        policy, version, policy_digest: The policy in force; None when none could be chosen.
        obligations: What holds for the release; None unless there is a policy.
        advice: What is allowed and seldom wise.
    """

    reasons: tuple[Reason, ...]
    decided_at: datetime
    mode: str | None
    policy: str | None
    version: int | None
    policy_digest: str | None
    obligations: Obligations | None
    advice: tuple[str, ...] = ()

    @property
    def would_deny(self) -> bool:
        """Whether a rule is broken."""
        return not self.reasons or not all(found.holds for found in self.reasons)

    @property
    def permitted(self) -> bool:
        """Whether the request may go on."""
        return self.mode == "enforce" and not self.would_deny

    @property
    def violations(self) -> tuple[Reason, ...]:
        """The reasons that do not hold."""
        return tuple(found for found in self.reasons if not found.holds)

    @property
    def unlock(self) -> tuple[str, ...]:
        """What the requester could change or whom to ask, each said once."""
        return tuple(dict.fromkeys(found.unlock for found in self.violations if found.unlock))

    def to_json(self) -> dict[str, Any]:
        """JSON-safe form: what the log keeps."""
        return {
            "permitted": self.permitted,
            "would_deny": self.would_deny,
            "mode": self.mode,
            "policy": None
            if self.policy is None
            else {"name": self.policy, "version": self.version, "digest": self.policy_digest},
            "reasons": [{**found.to_json(), "holds": found.holds} for found in self.reasons],
            "violations": [found.to_json() for found in self.violations],
            "unlock": list(self.unlock),
            "advice": list(self.advice),
            "obligations": None if self.obligations is None else self.obligations.to_json(),
            "decided_at": self.decided_at.isoformat(),
        }


def select_policy(
    policies: Iterable[ReleasePolicy], *, dataset: str, named: str | None
) -> tuple[ReleasePolicy | None, tuple[str, ...]]:
    """The enforced policy that speaks for a request, and the names that could.

    Args:
        policies: The newest version of every applied policy.
        dataset: The dataset that is asked for.
        named: The policy that the requester named, or None.

    Returns:
        The policy, or None when none matches or several do; and the names of all that match, sorted.
    """
    matching = {policy.name: policy for policy in policies if policy.is_enforced and policy.covers(dataset)}
    candidates = tuple(sorted(matching))
    if named is not None:
        return matching.get(named), candidates
    return (matching[candidates[0]] if len(candidates) == 1 else None), candidates


def shadow_policies(policies: Iterable[ReleasePolicy], *, dataset: str) -> tuple[ReleasePolicy, ...]:
    """Policies in audit mode that watch a dataset: each is decided beside the enforced one, and recorded."""
    return tuple(policy for policy in policies if not policy.is_enforced and policy.covers(dataset))


def decide(  # noqa: PLR0913 - every fact a decision rests on is named, none is fetched
    *,
    request: RequestFacts,
    ticket: TicketFacts | None,
    ticket_problem: str | None,
    principal: PrincipalFacts,
    policy: ReleasePolicy | None,
    candidates: Sequence[str],
    budget: BudgetFacts,
    history: HistoryFacts,
    card: DatasetCard | None,
    now: datetime,
) -> Decision:
    """Decide on a verified request.

    Args:
        request: What was asked.
        ticket: The ticket as fetched live, or None.
        ticket_problem: Why there is no ticket: `not-found`, `unreachable`, `refused`, `malformed`, `stale`.
        principal: Who a verified signature speaks for.
        policy: The policy in force (see `select_policy`), or None.
        candidates: Names of the policies that match, for the refusal that lists them.
        budget: What the ledger says.
        history: Earlier releases of the same dataset.
        card: The dataset's card, or None when no such dataset is registered.
        now: The time of decision, with time zone.
    """
    reasons = weigh(
        request=request,
        ticket=ticket,
        ticket_problem=ticket_problem,
        principal=principal,
        policy=policy,
        candidates=candidates,
        budget=budget,
        history=history,
        card=card,
        now=now,
    )
    return Decision(
        reasons=reasons,
        decided_at=now,
        mode=None if policy is None else policy.spec.mode,
        policy=None if policy is None else policy.name,
        version=None if policy is None else policy.version,
        policy_digest=None if policy is None else digest(policy),
        obligations=None if policy is None else _obligations(policy, request=request, history=history),
        advice=() if policy is None else advice(request, policy),
    )


def weigh(  # noqa: PLR0913 - as `decide`
    *,
    request: RequestFacts,
    ticket: TicketFacts | None,
    ticket_problem: str | None,
    principal: PrincipalFacts,
    policy: ReleasePolicy | None,
    candidates: Sequence[str],
    budget: BudgetFacts,
    history: HistoryFacts,
    card: DatasetCard | None,
    now: datetime,
) -> tuple[Reason, ...]:
    """Every rule's answer, without the decision that is made of them. Arguments as for `decide`."""
    reasons = [_card_reason(request, card), _policy_reason(request, policy, candidates)]
    if ticket is None or ticket_problem is not None:
        reasons.append(ticket_problem_reason(request.ticket, ticket_problem))
    if policy is not None:
        if ticket is not None:
            named, dataset = request.ticket, request.dataset
            reasons += ticket_reasons(ticket, named=named, dataset=dataset, principal=principal, policy=policy, now=now)
        if card is not None:
            reasons += request_reasons(request, principal=principal, policy=policy, card=card)
            reasons += generation_reasons(request, policy=policy, card=card)
            reasons += budget_reasons(request, budget=budget, now=now)
            reasons += differencing_reasons(request, policy=policy, card=card, history=history)
    return tuple(reasons)


def _card_reason(request: RequestFacts, card: DatasetCard | None) -> Reason:
    return reason(
        "dataset-unknown",
        "dataset",
        holds=card is not None and card.name == request.dataset,
        observed=request.dataset,
        required="a registered dataset",
        message=f"there is no dataset {request.dataset}",
        unlock="name a registered dataset: GET /v1/datasets lists them, and your steward registers new ones",
    )


def _policy_reason(request: RequestFacts, policy: ReleasePolicy | None, candidates: Sequence[str]) -> Reason:
    names = ", ".join(candidates)
    if policy is not None:
        return reason(
            "policy-mismatch",
            "policy",
            holds=policy.covers(request.dataset) and request.policy in (None, policy.name),
            observed=request.policy or policy.name,
            required=policy.name,
            message=f"the policy {policy.name} does not speak for this request",
            unlock="name a policy of this dataset",
        )
    if request.policy is not None:
        return reason(
            "policy-unknown",
            "policy",
            holds=False,
            observed=request.policy,
            required=list(candidates),
            message=f"no enforced policy '{request.policy}' covers {request.dataset}; there are: {names or 'none'}",
            unlock=f"name one of: {names}" if names else "ask the privacy office for a policy",
        )
    if candidates:
        return reason(
            "policy-ambiguous",
            "policy",
            holds=False,
            observed=list(candidates),
            required="one policy",
            message=f"several policies cover {request.dataset}: {names}",
            unlock=f"name one of: {names}",
        )
    return reason(
        "policy-none",
        "policy",
        holds=False,
        observed=None,
        required="a policy",
        message=f"no enforced policy covers {request.dataset}",
        unlock=f"ask whoever answers for {request.dataset} to have a policy applied for it",
    )


def noisy_epsilon(policy: ReleasePolicy, request: RequestFacts) -> Decimal | None:
    """What noisy metrics cost beside the generator's ε; None where none are published, as beside a table without guarantee."""
    return None if request.epsilon is None else policy.spec.disclosure.noisy_epsilon


def _obligations(policy: ReleasePolicy, *, request: RequestFacts, history: HistoryFacts) -> Obligations:
    access, review, let_out = policy.spec.access, policy.spec.review, history.releases_let_out
    occasions = {
        "always": True,
        "first-release": (history.releases_of_dataset if let_out is None else let_out) == 0,
        "non-dp": request.epsilon is None,
        "warn": False,
    }
    return Obligations(
        token_ttl=access.token_ttl,
        max_downloads=access.max_downloads,
        proof_of_possession=access.proof_of_possession,
        release_expires=access.release_expires,
        disclosure=policy.spec.disclosure.metrics,
        noisy_epsilon=noisy_epsilon(policy, request),
        max_bytes=policy.spec.request.max_size,
        review=ReviewDuty(
            approvers=review.approvers,
            roles=review.roles,
            because=tuple(occasion for occasion in review.when if occasions[occasion]),
            on_warn="warn" in review.when,
        ),
    )
