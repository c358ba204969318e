"""The two accountants of DP-SGD against one another, against Opacus, and against closed forms."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from decimal import Decimal

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from generator.errors import GeneratorError
from generator.plans import plan
from generator.sgd.accounting import Schedule, accountant_of, enough_noise, epsilon_of, rdp_of, solve_noise_multiplier
from policies.types import PrivacyTarget

DELTA = Decimal("1e-5")
SCHEDULES = [(0.02, 400, 1.0), (0.05, 450, 4.5), (0.2, 20, 1.5)]


def opacus_epsilon(rate: float, steps: int, noise: float) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # opacus warns about its own imports
        from opacus.accountants import PRVAccountant

        accountant = PRVAccountant()
        accountant.history = [(noise, rate, steps)]
        return float(accountant.get_epsilon(delta=float(DELTA), eps_error=0.002))


@pytest.mark.slow  # importing opacus takes seconds
@pytest.mark.parametrize(("rate", "steps", "noise"), SCHEDULES)
def test_epsilon_is_that_of_opacus_prv_accountant(rate: float, steps: int, noise: float) -> None:
    plain = Schedule(sampling_rate=rate, steps=steps, is_plain=True)
    ours = float(epsilon_of(plain, noise_multiplier=noise, delta=DELTA))
    assert ours == pytest.approx(opacus_epsilon(rate, steps, noise), rel=0.01)
    by_curve = float(epsilon_of(replace(plain, is_plain=False), noise_multiplier=noise, delta=DELTA))
    assert 1.03 * ours < by_curve < 1.35 * ours


def test_a_single_full_step_costs_what_the_gaussian_mechanism_costs() -> None:
    """Balle and Wang 2018: the exact δ(ε) of the Gaussian mechanism."""
    sigma = 4.0
    exact = brentq(
        lambda e: norm.cdf(0.5 / sigma - e * sigma) - math.exp(e) * norm.cdf(-0.5 / sigma - e * sigma) - float(DELTA), 0.01, 10
    )
    found = float(epsilon_of(Schedule(sampling_rate=1.0, steps=1, is_plain=True), noise_multiplier=sigma, delta=DELTA))
    assert exact <= found <= 1.002 * exact


def test_counts_cost_the_same_whether_planned_or_noised() -> None:
    sigmas = (60.0,) * 20
    planned = Schedule(sampling_rate=0.05, steps=450, rho=20 / (2 * 60.0**2), is_plain=True)
    before = epsilon_of(planned, noise_multiplier=4.5, delta=DELTA)
    after = epsilon_of(replace(planned, sigmas=sigmas), noise_multiplier=4.5, delta=DELTA)
    assert float(after) == pytest.approx(float(before), rel=0.002)
    without = epsilon_of(replace(planned, rho=0.0), noise_multiplier=4.5, delta=DELTA)
    assert after > without


def test_noise_is_raised_where_counts_cost_more_than_planned_and_refused_where_none_is_enough() -> None:
    planned = Schedule(sampling_rate=0.05, steps=100, rho=0.002, is_plain=True)
    noise = solve_noise_multiplier(planned, epsilon=Decimal(1), delta=DELTA)
    assert noise is not None
    dearer = replace(planned, rho=0.00205)
    assert epsilon_of(dearer, noise_multiplier=noise, delta=DELTA) > 1
    enough = enough_noise(dearer, least=noise, epsilon=Decimal(1), delta=DELTA)
    assert noise < enough < 1.02 * noise
    assert epsilon_of(dearer, noise_multiplier=enough, delta=DELTA) <= 1
    with pytest.raises(GeneratorError, match="more than was planned"):
        enough_noise(replace(planned, rho=0.2), least=noise, epsilon=Decimal(1), delta=DELTA)


def test_units_and_open_domains_are_accounted_by_the_curve_alone() -> None:
    target = PrivacyTarget(epsilon=Decimal(1), delta=DELTA)
    plain = plan(generator="dp-ar", target=target, public_rows=20_000)
    for facts in ({"unit": "customer"}, {"has_open": True}):
        curved = plan(generator="dp-ar", target=target, public_rows=20_000, **facts)  # type: ignore[arg-type]
        assert curved.schedule is not None
        assert not curved.schedule.is_plain
        assert "RDP of" in accountant_of(curved.schedule)
        assert curved.noise_multiplier is not None
        assert plain.noise_multiplier is not None
        assert curved.noise_multiplier > plain.noise_multiplier
        # what is reserved without knowing better is no less than what will be spent
        assert all(less <= more for (_, less), (_, more) in zip(curved.rdp, plain.rdp, strict=True))


def test_very_small_delta_and_very_large_noise_fall_back_to_the_curve() -> None:
    plain = Schedule(sampling_rate=0.05, steps=10, rho=1e-9, is_plain=True, sigmas=(22_360.0,))
    curve = rdp_of(plain, noise_multiplier=5.0)
    assert curve
    for delta in (Decimal("1e-12"), DELTA):
        assert epsilon_of(plain, noise_multiplier=5.0, delta=delta) == epsilon_of(
            replace(plain, is_plain=False), noise_multiplier=5.0, delta=delta
        )
