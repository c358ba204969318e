from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import settings

from policies.card import DatasetCard
from policies.loader import load_card, load_policy
from policies.schema import ReleasePolicy
from policies.types import BudgetFacts, HistoryFacts, PrincipalFacts, RequestFacts, TicketFacts

settings.register_profile("policies", deadline=None, derandomize=True)  # a busy machine is no failure
settings.load_profile("policies")

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

CARD = """
apiVersion: ticketgate/v1
kind: Dataset
metadata: {name: card-transactions, steward: dana, frameworks: [GDPR]}
spec:
  source: transactions.parquet
  privacy_unit: customer_id
  max_rows_per_unit: 50
  public_rows: 30000
  columns:
    customer_id: {type: id, role: identifier}
    age: {type: integer, bounds: [18, 100], role: quasi-identifier}
    region: {type: category, values: [north, south, no, "true"], role: quasi-identifier}
    amount: {type: number, bounds: [0, 20000], role: sensitive}
"""

POLICY = """
apiVersion: ticketgate/v1
kind: ReleasePolicy
metadata: {name: analytics, version: 3, owner: privacy-office}
spec:
  datasets: [card-transactions]
  request: {purposes: [model-development], max_rows: 100000}
  ticket: {projects: [DATA], types: [Data request]}
  generation: {generators: [dp-marginal, dp-ctgan], epsilon: {max: 3.0}}
  gate:
    - {metric: privacy.membership_inference.auc, max: 0.55}
    - {metric: utility.marginals.ks.worst, max: 0.15, severity: warn}
  review: {approvers: 1, when: [warn, first-release]}
"""


@pytest.fixture(scope="session")
def card() -> DatasetCard:
    return load_card(CARD)


@pytest.fixture(scope="session")
def policy() -> ReleasePolicy:
    return load_policy(POLICY)


@pytest.fixture
def facts(card, policy) -> dict[str, object]:
    """Arguments of a decision that permits."""
    return {
        "request": RequestFacts(
            request_id="r1",
            principal="ana",
            ticket="DATA-101",
            dataset="card-transactions",
            purpose="model-development",
            rows=5000,
            format="parquet",
            generator="dp-marginal",
            epsilon=Decimal("1.0"),
            delta=Decimal("1e-6"),
            requested_at=NOW,
        ),
        "ticket": TicketFacts(
            key="DATA-101",
            project="DATA",
            type="Data request",
            status="Approved",
            dataset="card-transactions",
            assignee="acc-ana",
            approver="acc-rob",
            approved_at=NOW - timedelta(days=1),
            changed_at=NOW - timedelta(days=1),
            fetched_at=NOW,
        ),
        "ticket_problem": None,
        "principal": PrincipalFacts(name="ana", roles=frozenset({"analyst"}), account_id="acc-ana"),
        "policy": policy,
        "candidates": ("analytics",),
        "budget": BudgetFacts(affords=True, limit_epsilon=Decimal(10), limit_delta=Decimal("1e-5"), remaining_epsilon=Decimal(9)),
        "history": HistoryFacts(releases_of_dataset=1),
        "card": card,
        "now": NOW,
    }
