"""Ask for a release: from a verified request to a decision, a reserve and a queued job, in one transaction.

The ticket is fetched live before the transaction, because a slow ticket system must not hold a lock. Everything else that
the decision rests on is read, decided, written and logged together; a refusal is written like a permit.

Invariants:
    - One signed request makes one release, however often the same bytes arrive.
    - A permitted request has a reserve in the ledger and a job in the queue when the transaction ends; a denied one has neither.
    - A permitted request counts against its ticket: as a use when it is released, as an attempt as long as it is not. Requests on
      one ticket are decided one after the other, so that two at once cannot both be its last use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from gateway.access import FirstUse, ReplayGuard, VerifiedRequest
from gateway.audit import Log
from gateway.budget import Ledgers, Limit, PrivacyLoss, default_delta, loss_of
from gateway.catalogue import RegisteredDataset
from gateway.db import Work
from gateway.releases.documents import enforceable, limits_of, registered
from gateway.releases.history import facts_digest, record_of_decision
from gateway.releases.holdings import LEFT_THE_HOUSE, MAY_LEAVE, history_of
from gateway.releases.house import House
from gateway.releases.repository import Releases
from gateway.releases.states import Status
from gateway.releases.ticket_comments import comment_decision
from gateway.tickets import TicketProblem, snapshot, snapshot_digest
from policies.decide import Decision, decide, noisy_epsilon, select_policy, shadow_policies
from policies.records import Record
from policies.schema import ReleasePolicy
from policies.types import GENERATORS, BudgetFacts, PrivacyTarget, RequestFacts, TicketFacts

__all__ = ["Submission", "TicketAnswer", "fetch_ticket", "submit"]

COUNTS_AS_ATTEMPT = (*MAY_LEAVE, Status.BLOCKED, Status.FAILED, Status.CANCELLED)
COUNTS_AS_USE = (*MAY_LEAVE, *LEFT_THE_HOUSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What came of a request.

    Attributes:
        release_id: The release, which is also the request's id.
        is_repeat: Whether the same bytes were received before; then nothing was done.
        decision: The decision as JSON.
    """

    release_id: str
    status: Status
    decision_id: str
    decision: Mapping[str, Any]
    is_repeat: bool

    @property
    def is_permitted(self) -> bool:
        """Whether the release goes on."""
        return bool(self.decision["permitted"])


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketAnswer:
    """The ticket, or why there is none."""

    ticket: TicketFacts | None
    problem: str | None


def fetch_ticket(house: House, key: str, *, now: datetime) -> TicketAnswer:
    """Fetch a ticket live. A source that does not answer is an answer that denies, never an exception that permits."""
    fetched = house.tickets().fetch(key, now=now)
    if isinstance(fetched, TicketProblem):
        return TicketAnswer(ticket=None, problem=fetched.kind)
    return TicketAnswer(ticket=fetched, problem=None)


def submit(house: House, verified: VerifiedRequest, *, now: datetime) -> Submission:
    """Decide on a verified request and write down whatever was decided.

    Raises:
        Conflict: the request's jti was used before with other bytes.
        NotRecorded: the database could not take it; nothing was changed.
    """
    answer = fetch_ticket(house, verified.claims.ticket, now=now)
    release_id = uuid4().hex
    with house.database.begin() as work:
        use = ReplayGuard(work).claim(
            verified.principal.name, verified.jti, digest=verified.digest, request_id=release_id,
            expires_at=verified.expires_at, now=now,
        )  # fmt: skip
        if not isinstance(use, FirstUse):
            return _earlier(work, use.earlier_request())
        request = _with_delta(work, verified.facts(request_id=release_id, requested_at=now))
        made = _decide_in(work, verified, request, answer, now=now)
        submission = _write(house, work, verified, request, answer, made, now=now)
        work.commit()
    comment_decision(house, release_id, now=now)
    return submission


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """A decision with what it was made of."""

    decision: Decision
    dataset: RegisteredDataset | None
    loss: PrivacyLoss | None
    noise: Decimal | None
    limits: Sequence[Limit]
    shadows: Sequence[Mapping[str, Any]]
    facts: Mapping[str, Any]


def _earlier(work: Work, release_id: str) -> Submission:
    release = Releases(work).get(release_id)
    return Submission(
        release_id=release.id,
        status=release.status,
        decision_id=release.decision_id,
        decision=release.decision,
        is_repeat=True,
    )


def _with_delta(work: Work, request: RequestFacts) -> RequestFacts:
    """Fill in the default δ of the dataset where a request with ε names none."""
    dataset = registered(work, request.dataset)
    if request.epsilon is None or request.delta is not None or dataset is None:
        return request
    return replace(request, delta=default_delta(dataset.card.spec.public_rows))


def _decide_in(work: Work, verified: VerifiedRequest, request: RequestFacts, answer: TicketAnswer, *, now: datetime) -> _Made:
    if answer.ticket is not None:
        work.hold(f"ticket {answer.ticket.key}")  # before any ledger: requests for several datasets may count on one ticket
    dataset = registered(work, request.dataset)
    policies = enforceable(work)
    policy, candidates = select_policy(policies, dataset=request.dataset, named=request.policy)
    limits = () if dataset is None else limits_of(work, dataset.card, policies=policies)
    noise = None if policy is None else noisy_epsilon(policy, request)
    loss = _loss(request, dataset, noise)
    budget = _budget(work, dataset, limits, loss, noise, now=now)
    facts = verified.principal.facts()
    history = history_of(work, request.dataset, requester=facts)
    ticket = _counted(work, answer.ticket)

    def made_under(chosen: ReleasePolicy | None) -> Decision:
        return decide(
            request=request, ticket=ticket, ticket_problem=answer.problem, principal=facts, policy=chosen,
            candidates=candidates, budget=budget, history=history, card=None if dataset is None else dataset.card, now=now,
        )  # fmt: skip

    shadows = [made_under(shadow).to_json() for shadow in shadow_policies(policies, dataset=request.dataset)]
    decision = made_under(policy)
    record = Record(
        request=request, ticket=ticket, ticket_problem=answer.problem, principal=facts, budget=budget, history=history,
        card=None, now=now, metrics=None, outcome="permitted" if decision.permitted else "denied",
    )  # fmt: skip
    kept = record_of_decision(record)
    return _Made(decision=decision, dataset=dataset, loss=loss, noise=noise, limits=limits, shadows=shadows, facts=kept)


def _loss(request: RequestFacts, dataset: RegisteredDataset | None, noise: Decimal | None) -> PrivacyLoss | None:
    """The most that the fit and its noisy metrics can spend; None when there is nothing to plan: such a request is refused."""
    if dataset is None or request.generator not in GENERATORS:
        return None
    target = None
    if request.epsilon is not None and request.delta is not None and GENERATORS[request.generator].is_dp:
        target = PrivacyTarget(epsilon=request.epsilon, delta=request.delta)
    return loss_of(request.generator, target, request.hyperparameters, dataset.card).with_pure(noise)


def _budget(
    work: Work,
    dataset: RegisteredDataset | None,
    limits: Sequence[Limit],
    loss: PrivacyLoss | None,
    noise: Decimal | None,
    *,
    now: datetime,
) -> BudgetFacts:
    if dataset is None or loss is None:
        return BudgetFacts(affords=False, limit_epsilon=None, limit_delta=None, remaining_epsilon=None)
    facts = Ledgers(work).facts(dataset.card, limits=limits, loss=loss, now=now)
    if noise is None or facts.remaining_epsilon is None:
        return facts
    return replace(facts, remaining_epsilon=max(Decimal(0), facts.remaining_epsilon - noise))  # what is left for a generator


def _counted(work: Work, ticket: TicketFacts | None) -> TicketFacts | None:
    """The ticket with the gateway's own counts: releases that it justifies, and fits that led to none (no seed shopping)."""
    if ticket is None:
        return None
    releases = Releases(work)
    return replace(
        ticket,
        uses=releases.count(ticket=ticket.key, status=COUNTS_AS_USE),
        attempts=releases.count(ticket=ticket.key, status=COUNTS_AS_ATTEMPT),
    )


def _write(
    house: House,
    work: Work,
    verified: VerifiedRequest,
    request: RequestFacts,
    answer: TicketAnswer,
    made: _Made,
    *,
    now: datetime,
) -> Submission:
    decision_id = uuid4().hex
    document = {**made.decision.to_json(), "shadows": list(made.shadows)}
    releases = Releases(work)
    releases.add(_row(verified, request, answer, made, document, decision_id, now))
    log = Log(work)
    subjects = {"release": request.request_id, "ticket": request.ticket, "dataset": request.dataset}
    actor = request.principal
    requested = {"request": request_json(request), "request_digest": verified.digest, "key": verified.key_thumbprint}
    log.append("release.requested", at=now, actor=actor, **subjects, data=requested)
    log.append(
        "release.decided", at=now, actor=actor, **subjects,
        data={
            "decision_id": decision_id, "decision": document, "facts_digest": facts_digest(made.facts),
            "ticket": ticket_json(answer.ticket),
            "ticket_problem": answer.problem,
            "ticket_digest": None if answer.ticket is None else snapshot_digest(answer.ticket),
        },
    )  # fmt: skip
    status = Status.QUEUED if made.decision.permitted else Status.DENIED
    if made.decision.permitted and made.dataset is not None and made.loss is not None:
        entry = Ledgers(work).reserve(
            made.dataset.card, limits=made.limits, loss=made.loss, release_id=request.request_id, principal=actor, now=now
        )
        log.append(
            "budget.reserved", at=now, **subjects,
            data={"entry": entry, "epsilon": made.loss.epsilon, "delta": request.delta, "noisy_epsilon": made.noise},
        )  # fmt: skip
        house.enqueue(work, kind="release", subject=request.request_id)
    closing: dict[str, Any] = {"closed_at": now, "close_reason": "denied"} if status is Status.DENIED else {}
    move = releases.move(releases.get(request.request_id), status, at=now, **closing)
    if status is Status.QUEUED:
        log.append(move.event, at=now, **subjects, data={"status": status})
    return Submission(release_id=request.request_id, status=status, decision_id=decision_id, decision=document, is_repeat=False)


def _row(
    verified: VerifiedRequest, request: RequestFacts, answer: TicketAnswer, made: _Made, decision: Mapping[str, Any],
    decision_id: str, now: datetime,
) -> dict[str, Any]:  # fmt: skip
    return {
        "id": request.request_id,
        "principal": request.principal,
        "account_id": verified.principal.account_id,
        "ticket": request.ticket,
        "dataset": request.dataset,
        "dataset_version": None if made.dataset is None else made.dataset.version,
        "policy": made.decision.policy,
        "policy_version": made.decision.version,
        "policy_digest": made.decision.policy_digest,
        "status": Status.RECEIVED,
        "stage": "",
        "progress": 0.0,
        "fence": 0,
        "request": request_json(request),
        "request_digest": verified.digest,
        "signed_request": verified.raw,
        "ticket_snapshot": ticket_json(answer.ticket),
        "ticket_checked_at": now,
        "decision_id": decision_id,
        "decision": decision,
        "decision_facts": made.facts,
        "requested_at": now,
        "updated_at": now,
    }


def request_json(request: RequestFacts) -> dict[str, Any]:
    """A request as stored: exact numbers as text."""
    document = asdict(request)
    document["requested_at"] = request.requested_at.isoformat()
    for name in ("epsilon", "delta"):
        document[name] = None if document[name] is None else str(document[name])
    document["columns"] = None if request.columns is None else list(request.columns)
    document["hyperparameters"] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in request.hyperparameters.items()
    }
    return document


def ticket_json(ticket: TicketFacts | None) -> dict[str, Any] | None:
    """A ticket snapshot as stored: evidence of what the decision saw."""
    return None if ticket is None else snapshot(ticket)
