import math
from decimal import Decimal
from fractions import Fraction

import pytest

from generator.base import GeneratorError
from generator.zcdp import Account, default_delta, epsilon_of_rho, rho_of_target
from policies.types import PrivacyTarget


@pytest.mark.parametrize("epsilon", ["0.01", "0.1", "1", "3", "10"])
@pytest.mark.parametrize("delta", ["1e-5", "1e-6", "1e-9"])
def test_spending_everything_stays_within_the_target(epsilon, delta):
    target = PrivacyTarget(epsilon=Decimal(epsilon), delta=Decimal(delta))
    account = Account(target, unit="row")
    for _ in range(7):
        account.gaussian("counts", columns=("a",), rho=account.total / 14, sensitivity=1)
        account.selection("choice", columns=("a",), rho=account.total / 14)
    spent = account.spent()
    assert spent.epsilon <= target.epsilon
    assert spent.epsilon > target.epsilon * Decimal("0.98")
    assert sum(m.share for m in spent.mechanisms) <= 1
    assert epsilon_of_rho(float(spent.rho), float(delta)) <= float(epsilon)


def test_the_conversion_is_tighter_than_the_textbook_bound_and_not_below_the_gaussian():
    rho, delta = 0.05, 1e-6
    textbook = rho + 2 * math.sqrt(rho * math.log(1 / delta))
    assert 0.8 * textbook < epsilon_of_rho(rho, delta) < textbook


def test_rho_grows_with_the_target():
    values = [rho_of_target(Decimal(e), Decimal("1e-6")) for e in ("0.5", "1", "2")]
    assert values == sorted(values)
    assert epsilon_of_rho(0.0, 1e-6) == 0.0


def test_sensitivity_scales_the_variance():
    account = Account(PrivacyTarget(epsilon=Decimal(1), delta=Decimal("1e-6")), unit="customer")
    one = account.gaussian("a", columns=("a",), rho=account.total / 10, sensitivity=1)
    ten = account.gaussian("a", columns=("a",), rho=account.total / 10, sensitivity=10)
    assert ten >= one * 99


def test_an_account_cannot_be_overdrawn():
    account = Account(PrivacyTarget(epsilon=Decimal(1), delta=Decimal("1e-6")), unit="row")
    account.gaussian("a", columns=("a",), rho=account.total, sensitivity=1)
    with pytest.raises(GeneratorError, match="exceed the privacy target"):
        account.selection("b", columns=("a",), rho=Fraction(1, 1000))


def test_failure_probability_is_part_of_delta():
    account = Account(PrivacyTarget(epsilon=Decimal(1), delta=Decimal("1e-6")), unit="row", approximate_delta=Decimal("1e-7"))
    account.failure(Decimal("1e-7"))
    with pytest.raises(GeneratorError, match="more δ"):
        account.failure(Decimal("1e-9"))
    with pytest.raises(GeneratorError, match="less than"):
        Account(PrivacyTarget(epsilon=Decimal(1), delta=Decimal("1e-6")), unit="row", approximate_delta=Decimal("1e-6"))


@pytest.mark.parametrize(("rows", "delta"), [(None, "1e-6"), (1000, "1e-6"), (48_842, "1e-6"), (10**7, "1e-8")])
def test_default_delta(rows, delta):
    assert default_delta(rows) == Decimal(delta)
