"""What to reserve for a request: the most that its fit can spend, by the trainer's own plan.

Invariants:
    - A configuration that cannot keep its target is refused before anything is reserved.
    - The ledger never reserves less than the plan says.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from gateway.budget.curve import round_up
from gateway.budget.loss import PrivacyLoss
from gateway.errors import InvalidRequest
from generator.errors import GeneratorError
from generator.privacy import plan
from policies.card import DatasetCard
from policies.types import PrivacyTarget

__all__ = ["loss_of"]


FAILURE_SHARE = Decimal("0.1")
"""Share of δ that generators keep for finding the values of a category that the card leaves open."""


def loss_of(
    generator: str, target: PrivacyTarget | None, hyperparameters: Mapping[str, Any] | None, card: DatasetCard
) -> PrivacyLoss:
    """The loss to reserve for a fit.

    Args:
        generator: A name of the catalogue.
        target: The (ε, δ) asked for; None for a generator without any guarantee.
        hyperparameters: Of the generator.
        card: The dataset's card.

    Raises:
        InvalidRequest: the generator is unknown, a hyper-parameter is out of range, or the target is not feasible.
    """
    unit = card.spec.privacy_unit or "row"
    try:
        planned = plan(
            generator=generator, target=target, hyperparameters=hyperparameters, public_rows=card.spec.public_rows, unit=unit
        )
    except (GeneratorError, ValueError) as error:
        raise InvalidRequest(str(error), code="bad-configuration") from error
    if not planned.is_dp or planned.target is None:
        return PrivacyLoss.none(unit=unit)
    if planned.problem is not None:
        raise InvalidRequest(
            planned.problem, code="infeasible-configuration", unlock=("dp recommend names a configuration that fits",)
        )
    return PrivacyLoss(
        epsilon=planned.target.epsilon,
        delta=planned.target.delta,
        unit=unit,
        neighbours=planned.neighbours,
        method=planned.accountant,
        rho=planned.rho,
        failure_delta=planned.target.delta * FAILURE_SHARE if _has_open_category(card) else Decimal(0),
        rdp=tuple((Decimal(str(order)), round_up(Decimal(loss))) for order, loss in planned.rdp),
    )


def _has_open_category(card: DatasetCard) -> bool:
    """Whether a fit on some choice of columns keeps δ; without its partners a column is open that a relation would explain."""
    return any(column.type == "category" and column.values is None for column in card.learnt.values())
