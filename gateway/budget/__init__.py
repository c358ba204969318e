"""The privacy ledger: reserve, settle, compose, and never exceed the limit."""

from __future__ import annotations

from gateway.budget.entries import Charge, Entry
from gateway.budget.guards import install_guards
from gateway.budget.ledger import Ledger
from gateway.budget.ledgers import Ledgers, Settled
from gateway.budget.limits import Limit, Window, default_delta, ledger_name, limit_of
from gateway.budget.loss import PrivacyLoss
from gateway.budget.planning import loss_of
from gateway.budget.raises import Proposal, Raises, Signature
from gateway.budget.statement import BudgetStatement

__all__ = [
    "BudgetStatement", "Charge", "Entry", "Ledger", "Ledgers", "Limit", "PrivacyLoss", "Proposal", "Raises", "Settled",
    "Signature", "Window", "default_delta", "install_guards", "ledger_name", "limit_of", "loss_of",
]  # fmt: skip
