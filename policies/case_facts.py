"""The facts of a case-file row: what the policy would let through, with the row's own values in their place.

Responsible for building full facts and a full report card from the few values of a row.

Invariants: without changes the facts are permitted and the report card passes, so that a row shows exactly what it changes;
every moment is an age before the fixed `NOW`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypedDict

from policies.card import CardMetadata, CardSpec, DatasetCard
from policies.case_schema import Case, MetricChange
from policies.columns import Column
from policies.gate_rule import GateRule
from policies.metric_catalogue import lookup
from policies.metrics import Direction, MetricResult
from policies.schema import ReleasePolicy
from policies.types import GENERATORS, BudgetFacts, HistoryFacts, PrincipalFacts, RequestFacts, TicketFacts

__all__ = ["NOW", "DecideFacts", "facts_of", "metrics_of"]

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
ACCOUNTS = {"requester": "account-of-requester", "approver": "account-of-approver"}
OTHERS = ("age", "region", "amount")
REQUESTER = "the-requester"
TICKET = "CASE-1"


class DecideFacts(TypedDict):
    """The arguments of `decide`."""

    request: RequestFacts
    ticket: TicketFacts | None
    ticket_problem: str | None
    principal: PrincipalFacts
    policy: ReleasePolicy
    candidates: tuple[str, ...]
    budget: BudgetFacts
    history: HistoryFacts
    card: DatasetCard | None
    now: datetime


def facts_of(case: Case, policy: ReleasePolicy) -> DecideFacts:
    """The facts that a row stands for."""
    request = _request(case, policy)
    return DecideFacts(
        request=request,
        ticket=None if case.ticket.problem else _ticket(case, policy, request.dataset),
        ticket_problem=case.ticket.problem,
        principal=PrincipalFacts(
            name=REQUESTER,
            roles=frozenset(case.principal.roles if case.principal.roles is not None else policy.spec.request.roles),
            account_id=_account(case.principal.account, "requester") or "",
            is_disabled=case.principal.disabled,
        ),
        policy=policy,
        candidates=(policy.name,),
        budget=_budget(case),
        history=_history(case),
        card=_card(case, policy, request.dataset) if case.registered else None,
        now=NOW,
    )


def metrics_of(case: Case, policy: ReleasePolicy) -> dict[str, MetricResult]:
    """The report card that a row stands for: every gated metric exactly on its line, but for the row's own values."""
    rules = policy.spec.gate
    names = dict.fromkeys([*(rule.metric.replace("*", "some") for rule in rules), *case.metrics])
    metrics = {name: _sound(name, rules) for name in names}
    for name, change in case.metrics.items():
        if change is None:
            metrics.pop(name)
        else:
            metrics[name] = _changed(name, change, metrics[name])
    return metrics


def _request(case: Case, policy: ReleasePolicy) -> RequestFacts:
    rules, asked = policy.spec, case.request
    generator = asked.generator or rules.generation.generators[0]
    is_dp = generator in GENERATORS and GENERATORS[generator].is_dp
    most = rules.generation.epsilon.max if rules.generation.epsilon is not None else Decimal(1)
    return RequestFacts(
        request_id="case",
        principal=REQUESTER,
        ticket=asked.ticket or TICKET,
        dataset=asked.dataset or rules.datasets[0],
        purpose=asked.purpose or rules.request.purposes[0],
        rows=rules.request.max_rows if asked.rows is None else asked.rows,
        format=asked.format or rules.request.formats[0],
        generator=generator,
        epsilon=_loss(asked.epsilon, most if is_dp else None),
        delta=_loss(asked.delta, rules.generation.delta.max if is_dp else None),
        columns=asked.columns or _columns(policy),
        requested_at=NOW,
    )


def _columns(policy: ReleasePolicy) -> tuple[str, ...] | None:
    """All columns, or a set that no rule of the policy keeps apart."""
    apart = policy.spec.differencing.never_together
    return tuple(name for name in OTHERS if all(name not in together for together in apart)) if apart else None


def _loss(asked: Decimal | str | None, otherwise: Decimal | None) -> Decimal | None:
    if isinstance(asked, str):
        return None
    return otherwise if asked is None else asked


def _ticket(case: Case, policy: ReleasePolicy, dataset: str) -> TicketFacts:
    rules, said = policy.spec.ticket, case.ticket
    age = timedelta(hours=1) if said.approved is None else said.approved
    approved_at = NOW - age if isinstance(age, timedelta) else None
    return TicketFacts(
        key=said.key or TICKET,
        project=said.project or (rules.projects or ("CASE",))[0],
        type=said.type or (rules.types or ("Task",))[0],
        status=said.status or rules.statuses[0],
        dataset=None if said.dataset == "none" else said.dataset or dataset,
        assignee=_account(said.assignee, "requester"),
        approver=_account(said.approver, "approver"),
        approved_at=approved_at,
        changed_at=approved_at if said.changed is None else NOW - said.changed,
        fetched_at=NOW,
        uses=said.uses,
        attempts=said.attempts,
    )


def _account(said: str | None, otherwise: str) -> str | None:
    return None if said == "none" else ACCOUNTS.get(said or otherwise, said)


def _budget(case: Case) -> BudgetFacts:
    return BudgetFacts(
        affords=case.budget.affords,
        limit_epsilon=None,
        limit_delta=None,
        remaining_epsilon=case.budget.remaining,
        window_closed_until=NOW + timedelta(days=1) if case.budget.window_closed else None,
    )


def _history(case: Case) -> HistoryFacts:
    said = case.history
    others = frozenset(f"recipient-{number}" for number in range(said.other_recipients))
    return HistoryFacts(
        releases_of_dataset=said.releases,
        releases_to_principal=said.to_requester,
        epsilon_to_principal=said.epsilon_to_requester,
        columns_to_principal=frozenset(said.columns_to_requester),
        recipients=others | ({REQUESTER} if said.to_requester else set()),
    )


def _card(case: Case, policy: ReleasePolicy, dataset: str) -> DatasetCard:
    kept_apart = (column for together in policy.spec.differencing.never_together for column in together)
    columns = {"person_id": Column(type="id", role="identifier")}
    columns |= {name: Column(type="number") for name in (*OTHERS, *kept_apart)}
    return DatasetCard(
        api_version="ticketgate/v1",
        kind="Dataset",
        metadata=CardMetadata(name=dataset),
        spec=CardSpec(source="case.csv", columns=columns, public_rows=case.public_rows),
    )


def _sound(name: str, rules: tuple[GateRule, ...]) -> MetricResult:
    """A result that keeps every line of a metric, by standing on the line."""
    mine = [rule for rule in rules if rule.matches(name)]
    most = min((rule.max for rule in mine if rule.max is not None), default=None)
    least = max((rule.min for rule in mine if rule.min is not None), default=None)
    line = most if most is not None else least if least is not None else Decimal(0)
    return MetricResult(value=float(line), p_value=1.0, n=MANY_RECORDS, direction=_direction(name), method="case")


MANY_RECORDS = 10_000


def _direction(name: str) -> Direction:
    spec = lookup(name)
    return "lower" if spec is None else spec.direction


def _changed(name: str, change: MetricChange, sound: MetricResult) -> MetricResult:
    if change.cause is not None or change.status == "inconclusive":
        cause = {} if change.cause is None else {"cause": change.cause}
        return MetricResult.inconclusive(
            direction=_direction(name), method="case", why="the case file says so", n=change.n, **cause
        )
    if change.status == "not_applicable":
        return MetricResult.not_applicable(direction=_direction(name), method="case", why="the case file says so")
    return MetricResult(
        value=sound.value if change.value is None else change.value,
        interval=change.interval,
        p_value=sound.p_value if change.p_value is None else change.p_value,
        n=change.n,
        direction=_direction(name),
        method="case",
    )
