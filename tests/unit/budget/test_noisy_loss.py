"""A release and its noisy metrics as one loss: never less than either, never more than their sum."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from gateway.budget.loss import PrivacyLoss

PAIR = PrivacyLoss(epsilon=Decimal(1), delta=Decimal("1e-6"), unit="row", neighbours="add-remove", method="m")
RHO = replace(PAIR, rho=Decimal("0.02"))
CURVE = replace(PAIR, rdp=((Decimal(2), Decimal("0.1")), (Decimal(8), Decimal("0.3")), (Decimal(64), Decimal("0.9"))))
HALF = Decimal("0.5")


@pytest.mark.parametrize("loss", [PAIR, RHO, CURVE], ids=["pair", "rho", "curve"])
def test_noise_adds_to_every_order_and_by_no_more_than_its_epsilon(loss: PrivacyLoss) -> None:
    both = loss.with_pure(HALF)
    assert both.epsilon == Decimal("1.5")
    assert (both.delta, both.neighbours, both.unit) == (loss.delta, loss.neighbours, loss.unit)
    for before, after in zip(loss.curve().values, both.curve().values, strict=True):
        assert (before is None) == (after is None)
        if before is not None and after is not None:
            assert before < after
            assert loss is not CURVE or after <= before + HALF + Decimal("1e-9")
    if loss is RHO:
        assert both.rho == Decimal("0.145")


def test_without_noise_or_without_a_guarantee_nothing_changes() -> None:
    assert RHO.with_pure(None) == RHO
    assert PrivacyLoss.none().with_pure(HALF) == PrivacyLoss.none()


def test_what_is_settled_never_exceeds_what_was_reserved() -> None:
    """The same function makes both, so a fit that kept its plan keeps it with noise: to the last digit."""
    less = replace(CURVE, rdp=tuple((order, loss - Decimal("1e-12")) for order, loss in CURVE.rdp))
    held, used = CURVE.with_pure(HALF).curve().values, less.with_pure(HALF).curve().values
    assert all(most is None or (one is not None and one <= most) for one, most in zip(used, held, strict=True))
