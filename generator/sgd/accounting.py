"""The accountant of DP-SGD: it says before training how much noise is needed, and after it what was spent, by the same code.

Responsible for Poisson-subsampled Gaussian steps, composed with the zCDP of what was measured before them (histograms). No
torch here: the web process validates configurations with it.

Invariants:
    - One function tells ε, before and after; the noise multiplier is rounded up and the ε told is rounded up.
    - Two accountants bound the same mechanism: Rényi curves always, privacy-loss distributions (`losses`) where all that precedes
      the steps is plain counts. ε is the less of the two. The ledger composes the curve.
    - Neighbours differ by adding or removing one privacy unit.

Sources: Abadi et al. 2016 (DP-SGD); Mironov, Talwar and Zhang 2019 (RDP of the sampled Gaussian, by dp-accounting); Bun and
Steinke 2016 (zCDP is a Rényi line); Canonne, Kamath and Steinke 2020, proposition 12 (conversion, by dp-accounting).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import ROUND_UP, Decimal
from functools import lru_cache

from generator.errors import GeneratorError
from generator.sgd.losses import epsilon_by_losses

__all__ = [
    "ORDERS", "Schedule", "accountant_of", "enough_noise", "epsilon_of", "least_epsilon", "rdp_of", "solve_noise_multiplier",
]  # fmt: skip

BY_CURVE = "RDP of the Poisson-sampled Gaussian and of zCDP histograms (dp-accounting), optimal order"
BY_LOSSES = (
    "PRV: privacy-loss distributions of the Poisson-sampled Gaussian and of histograms (dp-accounting), or their RDP if less"
)
ORDERS: tuple[float, ...] = (
    1.5, 1.75, 2.0, 2.5, 3.0, 3.5, *map(float, range(4, 64)),
    64.0, 72.0, 80.0, 96.0, 112.0, 128.0, 160.0, 192.0, 224.0, 256.0, 320.0, 384.0, 512.0, 768.0, 1024.0, 2048.0,
)  # fmt: skip
LARGEST_NOISE = 1e5
TOLERANCE = 1e-3
MOST_TRIALS = 20
REPORT = Decimal("1e-9")
MOST_EPSILON = 20.0
LEAST_NOISE = 0.4
"""Beyond them losses range so far that composing them takes longer than it is worth; the curve alone tells ε there."""
LEAST_DELTA = 1e-9
"""Below it the rounding of the numerical composition could matter; the curve alone tells ε there."""
SLACK = 1e-9
"""Relative rounding up of what the accountant computes in floats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What one fit does to its data, apart from how much noise its steps carry.

    Attributes:
        sampling_rate: Probability with which a unit takes part in a step, in (0, 1].
        steps: How many steps, at least 0.
        rho: zCDP of everything that is measured before the steps.
        is_plain: Whether that is nothing but counts with discrete Gaussian noise, of each of which a unit changes one cell by
            one; only then can privacy-loss distributions tell ε.
        sigmas: Noise of these counts; empty while it is only planned, when one Gaussian of the same ρ stands for them.
    """

    sampling_rate: float
    steps: int
    rho: float = 0.0
    is_plain: bool = False
    sigmas: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.sampling_rate <= 1:
            raise ValueError(f"a sampling rate lies in (0, 1], not {self.sampling_rate}")
        if self.steps < 0 or not (math.isfinite(self.rho) and self.rho >= 0):
            raise ValueError("steps and rho are at least 0")


def epsilon_of(schedule: Schedule, *, noise_multiplier: float, delta: Decimal) -> Decimal:
    """ε of a schedule at `delta`, rounded up.

    Args:
        schedule: The measurements and the steps.
        noise_multiplier: σ of the summed, clipped gradients over the clipping norm.
        delta: In (0, 1).
    """
    found = _by_curve(schedule, noise_multiplier, float(delta))
    is_in_range = noise_multiplier >= LEAST_NOISE and 0 < found <= MOST_EPSILON and float(delta) >= LEAST_DELTA
    if schedule.is_plain and is_in_range:
        facts = {"sampling_rate": schedule.sampling_rate, "steps": schedule.steps, "rho": schedule.rho, "sigmas": schedule.sigmas}
        found = min(found, epsilon_by_losses(**facts, noise_multiplier=noise_multiplier, delta=float(delta), about=found))
    if not math.isfinite(found):
        return Decimal("Infinity")
    return Decimal(found * (1 + SLACK)).quantize(REPORT, rounding=ROUND_UP)


def _by_curve(schedule: Schedule, noise_multiplier: float, delta: float) -> float:
    from dp_accounting.rdp import compute_epsilon

    curve = rdp_of(schedule, noise_multiplier=noise_multiplier)
    if not any(loss for _, loss in curve):
        return 0.0
    found, _ = compute_epsilon([order for order, _ in curve], [loss for _, loss in curve], delta)
    return float(found)


def accountant_of(schedule: Schedule) -> str:
    """Which accountant tells ε of a schedule, in words."""
    return BY_LOSSES if schedule.is_plain else BY_CURVE


def enough_noise(schedule: Schedule, *, least: float, epsilon: Decimal, delta: Decimal) -> float:
    """The planned noise, or a little more where the counts as they were noised cost a little more than planned.

    Args:
        schedule: All steps, after what was measured.
        least: The planned noise multiplier.
        epsilon: Not to be exceeded.
        delta: In (0, 1).

    Raises:
        GeneratorError: no noise keeps ε.
    """
    noise = least
    for _ in range(MOST_TRIALS):
        if epsilon_of(schedule, noise_multiplier=noise, delta=delta) <= epsilon:
            return noise
        noise = _on_grid(math.log(noise * (1 + TOLERANCE)))
    raise GeneratorError("what was measured before training cost more than was planned")


@lru_cache(maxsize=512)
def solve_noise_multiplier(schedule: Schedule, *, epsilon: Decimal, delta: Decimal) -> float | None:
    """A noise multiplier whose ε, as `epsilon_of` tells it, is at most `epsilon` and within 0.1 % of it; None if there is none.

    Args:
        schedule: The measurements and the steps; at least one step.
        epsilon: Not to be exceeded.
        delta: In (0, 1).
    """
    if schedule.steps < 1:
        raise ValueError("noise is solved for at least one step")
    if least_epsilon(schedule, delta=delta) >= epsilon:
        return None
    goal = math.log(float(epsilon))
    fits: tuple[float, float] | None = None  # (log of the noise, log of its ε) that keeps the target
    fails: tuple[float, float] | None = None
    log_noise = _first_guess(schedule, float(epsilon), float(delta))
    for _ in range(MOST_TRIALS):
        if log_noise > math.log(LARGEST_NOISE):
            return None
        noise = _on_grid(log_noise)
        found = epsilon_of(schedule, noise_multiplier=noise, delta=delta)
        point = (math.log(noise), math.log(max(float(found), 1e-12)) if found.is_finite() else math.inf)
        if found <= epsilon:
            if point[1] >= goal - TOLERANCE or (fails is not None and point[0] - fails[0] < TOLERANCE):
                return noise
            fits = point
        else:
            fails = point
        log_noise = _next_guess(fits, fails, goal)
    return None if fits is None else _on_grid(fits[0])


def _first_guess(schedule: Schedule, epsilon: float, delta: float) -> float:
    """The noise that the central limit would ask for (a GDP approximation), a little more of it."""
    gaussian = math.sqrt(2 * math.log(1.25 / delta)) / epsilon if epsilon < 1 else math.sqrt(2 * math.log(1 / delta)) / epsilon
    return math.log(max(0.4, schedule.sampling_rate * math.sqrt(schedule.steps) * gaussian * 0.9))


def _next_guess(fits: tuple[float, float] | None, fails: tuple[float, float] | None, goal: float) -> float:
    """Regula falsi between a noise that fits and one that fails, aimed just below the goal; a step outwards until both exist."""
    if fits is None and fails is not None:
        return fails[0] + min(1.0, max(0.05, (fails[1] - goal) * 1.05)) if math.isfinite(fails[1]) else fails[0] + 1.0
    if fails is None and fits is not None:
        return fits[0] - min(0.5, max(0.01, (goal - fits[1]) * 0.7))
    assert fits is not None  # noqa: S101 - one of the three cases holds
    assert fails is not None  # noqa: S101
    if not math.isfinite(fails[1]):
        return (fits[0] + fails[0]) / 2
    share = (goal - TOLERANCE / 2 - fits[1]) / (fails[1] - fits[1])
    return fits[0] + min(0.95, max(0.05, share)) * (fails[0] - fits[0])


def _on_grid(log_noise: float) -> float:
    """Noise multipliers have six significant digits, rounded up."""
    noise = math.exp(log_noise)
    unit = 10.0 ** (math.floor(math.log10(noise)) - 5)
    return round(math.ceil(noise / unit - 1e-6) * unit, 12)


def least_epsilon(schedule: Schedule, *, delta: Decimal) -> Decimal:
    """What is measured before the steps costs, whatever noise they carry: no target below it is feasible."""
    before = replace(schedule, steps=0)
    return epsilon_of(before, noise_multiplier=1.0, delta=delta)


def rdp_of(schedule: Schedule, *, noise_multiplier: float) -> tuple[tuple[float, float], ...]:
    """The Rényi curve of a schedule as (order, loss) pairs; orders where the accountant does not converge are left out."""
    steps = _steps_curve(schedule.sampling_rate, schedule.steps, noise_multiplier)
    return tuple((order, (loss + schedule.rho * order) * (1 + SLACK)) for order, loss in steps)


@lru_cache(maxsize=4096)
def _steps_curve(sampling_rate: float, steps: int, noise_multiplier: float) -> tuple[tuple[float, float], ...]:
    import dp_accounting as dp
    from dp_accounting import rdp

    if steps == 0:
        return tuple((order, 0.0) for order in ORDERS)
    accountant = rdp.RdpAccountant(orders=list(ORDERS))
    step = dp.PoissonSampledDpEvent(sampling_rate, dp.GaussianDpEvent(noise_multiplier))
    with _quiet():
        accountant.compose(dp.SelfComposedDpEvent(step, steps))
    found = zip(accountant.orders, accountant.rdp, strict=True)
    return tuple((float(order), float(loss)) for order, loss in found if math.isfinite(loss) and loss >= 0)


@contextmanager
def _quiet() -> Iterator[None]:
    """The accountant warns about every order that it leaves out; we leave it out too, and say nothing."""
    log = logging.getLogger("absl")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
