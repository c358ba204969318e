"""Facts of a decision as JSON: what is kept so that a decision can be replayed and a candidate policy can be tried on the past.

Responsible for writing the facts that `decide` and `gate` looked at, and for reading them back exactly.

Invariants: `from_json(to_json(r)) == r`; decimals are text, times are ISO 8601 with zone, sets are sorted lists; nothing of a
ticket, request or report card is dropped; no raw row is in any of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeVar

from policies.canonical import canonical_json
from policies.card import DatasetCard
from policies.gate import read_metrics
from policies.metrics import MetricResult
from policies.reasons import json_safe
from policies.types import BudgetFacts, HistoryFacts, PrincipalFacts, RequestFacts, TicketFacts

__all__ = ["Outcome", "Record", "record_from_json", "record_to_json"]

Outcome = Literal["released", "blocked", "denied", "permitted"]
Facts = TypeVar("Facts")
DECIMALS = frozenset(
    {
        "epsilon",
        "delta",
        "limit_epsilon",
        "limit_delta",
        "remaining_epsilon",
        "lifetime_epsilon",
        "epsilon_to_principal",
        "window_epsilon",
    }
)
TIMES = frozenset({"requested_at", "approved_at", "changed_at", "fetched_at", "window_closed_until"})
SETS = frozenset({"roles", "columns_to_principal", "recipients"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One request of the past: every fact that was looked at, and what became of it.

    Attributes:
        metrics: The report card's metrics; None when nothing was fitted.
        outcome: What became of it under the policy of its time: `denied`; `blocked` or `released` as the gate judged it; or
            `permitted`, when it was let through to a fit and no gate has judged it.
        refused_by: The rules that refused it then, as `path: code`; empty where it was not refused, or where nobody noted them.
    """

    request: RequestFacts
    ticket: TicketFacts | None
    ticket_problem: str | None
    principal: PrincipalFacts
    budget: BudgetFacts
    history: HistoryFacts
    card: DatasetCard | None
    now: datetime
    metrics: Mapping[str, MetricResult] | None
    outcome: Outcome
    refused_by: tuple[str, ...] = ()


def record_to_json(record: Record, *, with_card: bool = True) -> dict[str, Any]:
    """The record as JSON; without the card where the reader keeps cards elsewhere, by version."""
    return {
        "request": _plain(record.request),
        "ticket": None if record.ticket is None else _plain(record.ticket),
        "ticket_problem": record.ticket_problem,
        "principal": _plain(record.principal),
        "budget": _plain(record.budget),
        "history": _plain(record.history),
        "card": json.loads(canonical_json(record.card)) if with_card and record.card is not None else None,
        "now": record.now.isoformat(),
        "metrics": None if record.metrics is None else {name: metric.to_json() for name, metric in record.metrics.items()},
        "outcome": record.outcome,
        "refused_by": list(record.refused_by),
    }


def record_from_json(
    document: Mapping[str, Any], *, card: DatasetCard | None = None, cards: dict[str, DatasetCard] | None = None
) -> Record:
    """Rebuild a record.

    Args:
        document: From `record_to_json`.
        card: The dataset's card, where the record was written without it.
        cards: Cards already read, by their JSON text: many records share one.

    Raises:
        ValueError: a part is missing or unreadable.
    """
    try:
        return Record(
            request=_rebuild(RequestFacts, document["request"]),
            ticket=None if document["ticket"] is None else _rebuild(TicketFacts, document["ticket"]),
            ticket_problem=document["ticket_problem"],
            principal=_rebuild(PrincipalFacts, document["principal"]),
            budget=_rebuild(BudgetFacts, document["budget"]),
            history=_rebuild(HistoryFacts, document["history"]),
            card=card or _card(document["card"], {} if cards is None else cards),
            now=datetime.fromisoformat(document["now"]),
            metrics=None if document["metrics"] is None else read_metrics(document["metrics"]),
            outcome=document["outcome"],
            refused_by=tuple(document.get("refused_by", ())),
        )
    except (KeyError, TypeError, ArithmeticError) as error:
        raise ValueError(f"the record of a past request cannot be read: {type(error).__name__} {error}") from error


def _card(document: Any, cards: dict[str, DatasetCard]) -> DatasetCard | None:
    if document is None:
        return None
    text = json.dumps(document, sort_keys=True)
    if text not in cards:
        cards[text] = DatasetCard.model_validate(document)
    return cards[text]


def _plain(facts: Any) -> dict[str, Any]:
    document = {field.name: json_safe(getattr(facts, field.name)) for field in fields(facts)}
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in document.items()}


def _rebuild(kind: type[Facts], document: Mapping[str, Any]) -> Facts:
    values: dict[str, Any] = {}
    for name, value in document.items():
        if value is None:
            values[name] = None
        elif name in DECIMALS:
            values[name] = Decimal(value)
        elif name in TIMES:
            values[name] = datetime.fromisoformat(value)
        elif name in SETS:
            values[name] = frozenset(value)
        else:
            values[name] = tuple(value) if name == "columns" else value
    return kind(**values)
