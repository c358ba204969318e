"""Rényi curves in exact decimals, against dp-accounting."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from dp_accounting.rdp import compute_epsilon
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.budget.curve import ORDERS, Curve, conversion_constant, round_down, round_up
from gateway.budget.loss import PrivacyLoss
from policies.types import Mechanism, PrivacySpent

rhos = st.decimals(min_value="0.000001", max_value="20", places=9)
deltas = st.sampled_from([Decimal("1e-5"), Decimal("1e-6"), Decimal("1e-9"), Decimal("0.01")])


@given(rho=rhos, delta=deltas)
@settings(max_examples=100, deadline=None)
def test_epsilon_is_that_of_dp_accounting_rounded_up(rho: Decimal, delta: Decimal) -> None:
    orders = [float(order) for order in ORDERS]
    theirs, _ = compute_epsilon(orders, [float(rho) * order for order in orders], float(delta))
    ours = Curve.of_rho(rho).epsilon(delta)
    assert ours is not None
    # dp-accounting says 0 by a bound through total variation where ρ is tiny; ours then stays above it
    assert float(ours) >= theirs - 1e-9
    if theirs > 0:
        assert float(ours) == pytest.approx(theirs, abs=2e-6)


@given(first=rhos, second=rhos)
@settings(deadline=None)
def test_lines_add_exactly(first: Decimal, second: Decimal) -> None:
    together = Curve.of_rho(first).plus(Curve.of_rho(second))
    assert together == Curve.of_rho(first + second)


def test_points_answer_with_their_next_higher_order() -> None:
    curve = Curve.of_points([(Decimal(2), Decimal("0.5")), (Decimal(8), Decimal("0.75"))])
    assert curve.at(Decimal("1.1")) == Decimal("0.5")
    assert curve.at(Decimal(2)) == Decimal("0.5")
    assert curve.at(Decimal("2.1")) == Decimal("0.75")
    assert curve.at(Decimal("8.1")) is None
    assert curve.plus(Curve.zero()).at(Decimal(9)) is None


def test_a_curve_that_falls_is_read_as_its_least_bound() -> None:
    curve = Curve.of_points([(Decimal(2), Decimal("0.9")), (Decimal(8), Decimal("0.3"))])
    assert curve.at(Decimal(2)) == Decimal("0.3")  # a Rényi loss grows with its order, so 0.3 bounds order 2 too


@pytest.mark.parametrize("bad", [Decimal("NaN"), Decimal("Infinity"), Decimal("-0.1")])
def test_nonsense_is_no_curve(bad: Decimal) -> None:
    with pytest.raises(ValueError, match="finite"):
        Curve.of_rho(bad)
    with pytest.raises((ValueError, ArithmeticError)):
        Curve.of_points([(Decimal(2), bad)])
    with pytest.raises((ValueError, ArithmeticError)):
        Curve.of_points([(bad, Decimal(1))])


def test_empty_or_short_curves_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one point"):
        Curve.of_points([])
    with pytest.raises(ValueError, match="one value for each order"):
        Curve((Decimal(0),))


def test_the_constant_is_rounded_up() -> None:
    exact = np.log1p(-1 / 8.0) - np.log(1e-5 * 8.0) / 7
    assert float(conversion_constant(Decimal(8), Decimal("1e-5"))) == pytest.approx(exact, abs=1e-11)
    assert round_up(Decimal("0.0000000000011")) == Decimal("0.000000000002")
    assert round_down(Decimal("0.0000000000019")) == Decimal("0.000000000001")


def test_a_pair_costs_at_least_as_much_as_exact_group_privacy_of_two() -> None:
    rho = Decimal("0.1")
    pairs = Curve.of_rho(rho).for_pairs()
    for order in (Decimal(2), Decimal(16), Decimal(512)):
        found = pairs.at(order)
        assert found is not None
        assert found >= 4 * rho * order  # 3·R(2α) = 6ρα


def test_below_order_two_a_pair_is_charged_what_it_costs_at_two() -> None:
    curve = Curve.of_points([(Decimal("2.2"), Decimal("0.1")), (Decimal(4), Decimal(1)), (Decimal(8), Decimal(2))])
    pairs = curve.for_pairs()
    below = [pairs.at(order) for order in ORDERS if order < 2]
    assert below == [Decimal(3)] * 9  # 3·R(4); 3·R(2.2) = 0.3 at order 1.1 is proven by nobody
    assert pairs.at(Decimal(2)) == Decimal(3)
    assert pairs.at(Decimal("2.1")) == Decimal(6)


def test_a_loss_must_make_sense() -> None:
    good = {"epsilon": Decimal(1), "delta": Decimal("1e-6"), "unit": "row", "neighbours": "add-remove", "method": "m"}
    PrivacyLoss(**good)
    for change in (
        {"epsilon": None},
        {"epsilon": Decimal("NaN")},
        {"epsilon": Decimal(-1)},
        {"delta": Decimal(1)},
        {"neighbours": None},
        {"failure_delta": Decimal("1e-5")},
    ):
        with pytest.raises(ValueError, match=r"ε|δ|neighbours"):
            PrivacyLoss(**{**good, **change})
    with pytest.raises(ValueError, match="no curve"):
        PrivacyLoss(epsilon=None, delta=None, unit="row", neighbours=None, method="none", rho=Decimal(1))
    with pytest.raises(ValueError, match="no curve"):
        PrivacyLoss.none().curve()


def test_a_loss_survives_its_row() -> None:
    spent = PrivacySpent(
        epsilon=Decimal("0.1"), delta=Decimal("1e-6"), unit="customer_id", neighbours="add-remove", accountant="PLD",
        noise_source="os", rdp=((1.5, 0.1), (2.0, 1 / 3)),
        mechanisms=(Mechanism(name="domain", parameters={"failure_delta": "1e-7"}, share=0.1),),
    )  # fmt: skip
    loss = PrivacyLoss.of(spent)
    assert loss.failure == Decimal("1e-7")
    assert PrivacyLoss.from_row(loss.to_row()) == loss
    assert loss.rdp[1][1] >= Decimal(1) / 3
    assert PrivacyLoss.of(PrivacySpent.none()).is_dp is False
