"""The filter: what it admits keeps the limit by dp-accounting's own arithmetic, whatever the order of requests."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from dp_accounting.rdp import compute_epsilon
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.budget.curve import ORDERS
from gateway.budget.loss import PrivacyLoss
from gateway.budget.planning import loss_of
from gateway.budget.privacy_filter import PrivacyFilter, composed_epsilon, filter_for, total_curve
from policies.card import DatasetCard
from policies.types import PrivacyTarget

DELTA = Decimal("1e-5")
CARD = DatasetCard.model_validate(
    {
        "apiVersion": "ticketgate/v1",
        "kind": "Dataset",
        "metadata": {"name": "adult"},
        "spec": {"source": "a.csv", "columns": {"age": {"type": "integer", "bounds": [0, 100]}}},
    }
)


def loss(**facts: Any) -> PrivacyLoss:
    return PrivacyLoss(
        **{"epsilon": Decimal(1), "delta": Decimal("1e-6"), "unit": "row", "neighbours": "add-remove", "method": "m", **facts}
    )


rho_losses = st.decimals(min_value="0.00001", max_value="0.5", places=6).map(lambda rho: loss(rho=rho, epsilon=Decimal(100)))
pure_losses = st.decimals(min_value="0.001", max_value="0.9", places=4).map(
    lambda epsilon: loss(epsilon=epsilon, delta=Decimal(0))
)
curve_losses = st.lists(st.floats(0.0001, 0.3), min_size=4, max_size=4).map(
    lambda parts: loss(
        epsilon=Decimal(100),
        rdp=tuple((Decimal(order), Decimal(str(sum(parts[: place + 1])))) for place, order in enumerate((2, 6, 24, 2048))),
    )
)


@given(
    requests=st.lists(st.one_of(rho_losses, pure_losses, curve_losses), min_size=1, max_size=40),
    limit=st.sampled_from(["0.5", "1", "3", "10"]),
)
@settings(max_examples=150, deadline=None)
def test_whatever_was_admitted_keeps_the_limit(requests: list[PrivacyLoss], limit: str) -> None:
    epsilon = Decimal(limit)
    judge = filter_for(epsilon=epsilon, delta=DELTA, losses=(), request=requests[0])
    admitted: list[PrivacyLoss] = []
    for request in requests:
        if judge.admits([*admitted, request]):
            admitted.append(request)
    if judge.order is None:
        assert sum(one.epsilon or 0 for one in admitted) <= epsilon
        return
    curve = total_curve(admitted)
    known = [(float(order), float(value)) for order, value in zip(ORDERS, curve.values, strict=True) if value is not None]
    theirs, _ = compute_epsilon([order for order, _ in known], [value for _, value in known], float(DELTA))
    assert theirs <= float(epsilon) + 1e-9
    told = composed_epsilon(admitted, DELTA)
    assert told is not None
    assert told <= epsilon + Decimal("0.000001")


@given(requests=st.lists(rho_losses, min_size=2, max_size=8), data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_order_of_releases_does_not_matter(requests: list[PrivacyLoss], data: st.DataObject) -> None:
    judge = PrivacyFilter(epsilon=Decimal(3), delta=DELTA, mode="renyi", order=Decimal(8))
    shuffled = data.draw(st.permutations(requests))
    assert judge.admits(requests) == judge.admits(shuffled)


def test_three_tenths_are_three_tenths() -> None:
    judge = PrivacyFilter(epsilon=Decimal("0.3"), delta=DELTA, mode="basic", order=None)
    tenth = loss(epsilon=Decimal("0.1"), delta=Decimal(0))
    assert judge.admits([tenth] * 3)  # 0.1 + 0.1 + 0.1 > 0.3 in binary floats
    assert not judge.admits([*[tenth] * 3, loss(epsilon=Decimal("1e-15"), delta=Decimal(0))])


@pytest.mark.parametrize("epsilon", ["1e-30", "0.000000000000000001"])
def test_dust_adds_up(epsilon: str) -> None:
    judge = PrivacyFilter(epsilon=Decimal(1), delta=DELTA, mode="basic", order=None)
    full = loss(epsilon=Decimal(1), delta=Decimal(0))
    assert judge.admits([full])
    dust = loss(epsilon=Decimal(epsilon), delta=Decimal(0))
    assert not judge.admits([full, dust])  # 1.0 + 1e-18 == 1.0 in binary floats
    assert not judge.admits([dust, full])


def test_dust_is_charged_in_a_curve_too() -> None:
    dust = loss(rho=Decimal("1e-40"))
    assert total_curve([dust]).at(Decimal(8)) == Decimal("1e-12")


def test_the_mode_is_basic_only_for_a_first_release_that_fits_no_other_way() -> None:
    whole = loss_of("dp-ar", PrivacyTarget(epsilon=Decimal(3), delta=DELTA), {}, CARD)
    small = loss_of("dp-marginal", PrivacyTarget(epsilon=Decimal(1), delta=DELTA), {}, CARD)
    assert filter_for(epsilon=Decimal(3), delta=DELTA, losses=(), request=whole).mode == "basic"
    assert filter_for(epsilon=Decimal(3), delta=DELTA, losses=(), request=small).mode == "renyi"
    assert filter_for(epsilon=Decimal(3), delta=DELTA, losses=(small,), request=whole).mode == "renyi"


def test_advanced_composition_lets_more_through_than_sums() -> None:
    one = loss_of("dp-marginal", PrivacyTarget(epsilon=Decimal(1), delta=Decimal("1e-6")), {}, CARD)
    judge = filter_for(epsilon=Decimal(10), delta=DELTA, losses=(), request=one)
    assert judge.admits([one] * 40)
    assert not judge.admits([one] * 200)


def test_failures_of_curves_add_up() -> None:
    shaky = loss(rho=Decimal("0.0001"), failure_delta=Decimal("4e-7"))
    judge = filter_for(epsilon=Decimal(10), delta=DELTA, losses=(), request=shaky)
    assert judge.admits([shaky] * 2)
    assert not judge.admits([shaky] * 3)  # a tenth of 1e-5 is kept for them


def test_a_plain_pair_fails_with_its_whole_delta() -> None:
    plain = loss(epsilon=Decimal("0.1"), delta=Decimal("6e-7"))
    judge = PrivacyFilter(epsilon=Decimal(10), delta=DELTA, mode="renyi", order=Decimal(4))
    assert judge.admits([plain])
    assert not judge.admits([plain, plain])


def test_once_replacement_is_guarded_additions_count_as_pairs() -> None:
    added = loss(rho=Decimal("0.1"))
    replaced = loss(rho=Decimal("0.1"), neighbours="replace")
    assert total_curve([added, replaced]).at(Decimal(8)) == Decimal("4.0")
    assert total_curve([added, added]).at(Decimal(8)) == Decimal("1.6")
    curve = loss(rdp=((Decimal(2048), Decimal("0.1")),), epsilon=Decimal(9))
    assert total_curve([curve, replaced]).at(Decimal(8)) == Decimal("1.1")
    basic = PrivacyFilter(epsilon=Decimal(3), delta=DELTA, mode="basic", order=None)
    assert basic.admits([added, loss(epsilon=Decimal(1), neighbours="replace", delta=Decimal("1e-6"))])
    assert not basic.admits([added, loss(epsilon=Decimal("1.1"), neighbours="replace", delta=Decimal("1e-6"))])


def test_no_order_no_admission() -> None:
    short = loss(rdp=((Decimal(2), Decimal("0.001")),), epsilon=Decimal(9))
    judge = PrivacyFilter(epsilon=Decimal(3), delta=DELTA, mode="renyi", order=Decimal(8))
    assert not judge.admits([short])
    assert judge.remaining([short]) == 0


def test_a_spent_filter_leaves_nothing() -> None:
    judge = PrivacyFilter(epsilon=Decimal(1), delta=DELTA, mode="renyi", order=Decimal(30))
    assert judge.remaining([loss(rho=Decimal(5))]) == 0
    assert composed_epsilon([loss(epsilon=Decimal(1), delta=Decimal("1e-4"))], DELTA) is None
