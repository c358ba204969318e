"""Zero-concentrated differential privacy: from (ε, δ) to ρ and back, and the account of one fit.

Responsible for the one accountant of the marginal family: it says how much noise a look needs before the look and sums
what was spent after it, by the same code.

Invariants:
    - Sums of ρ are exact fractions; what is reported is rounded up, what is allowed is rounded down: achieved ≤ target.
    - A look at the data without an entry here is a bug of the first rank: every mechanism is charged before its counts are read.
    - An account that cannot afford a mechanism raises; it never spends more than its target.
Sources: Bun and Steinke 2016 (zCDP); Canonne, Kamath and Steinke 2020, proposition 12 (conversion); Cesar and Rogers 2021
(exponential mechanism: ε²/8).
"""

from __future__ import annotations

import math
from decimal import ROUND_UP, Decimal
from fractions import Fraction

from generator.errors import GeneratorError
from generator.noise import NOISE_SOURCE, samplable_variance
from policies.types import Mechanism, PrivacySpent, PrivacyTarget

__all__ = ["Account", "default_delta", "epsilon_of_rho", "rho_of_target"]

GRID = Decimal("1e-9")


def default_delta(public_rows: int | None) -> Decimal:
    """δ where none is asked for: 1e-6, or 1 / (10 * public rows) where that is less."""
    most = Decimal("1e-6")
    return most if public_rows is None else min(most, Decimal(1) / (10 * public_rows))


def epsilon_of_rho(rho: float, delta: float) -> float:
    """The least ε such that ρ-zCDP implies (ε, δ)-DP by the optimal Rényi order.

    Args:
        rho: zCDP parameter, at least 0.
        delta: In (0, 1).
    """
    if rho <= 0:
        return 0.0

    def bound(alpha: float) -> float:
        return alpha * rho + (math.log(1 / delta) + (alpha - 1) * math.log1p(-1 / alpha) - math.log(alpha)) / (alpha - 1)

    low, high = math.log(1e-6), math.log(math.sqrt(math.log(1 / delta) / rho) * 20 + 20)
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(70):  # golden section over log(α - 1): the bound is unimodal there
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if bound(1 + math.exp(left)) < bound(1 + math.exp(right)):
            high = right
        else:
            low = left
    return max(0.0, bound(1 + math.exp((low + high) / 2)))


def rho_of_target(epsilon: Decimal, delta: Decimal) -> Fraction:
    """The largest ρ (rounded down) whose ε at `delta`, rounded up to the reporting grid, does not exceed `epsilon`."""
    low, high = 0.0, max(1.0, 2 * float(epsilon))
    for _ in range(60):
        middle = (low + high) / 2
        if _reported(middle, float(delta)) <= epsilon:
            low = middle
        else:
            high = middle
    return Fraction(max(low * (1 - 1e-6), low - 1e-11))


def _reported(rho: float, delta: float) -> Decimal:
    safe = epsilon_of_rho(rho, delta) * (1 + 1e-12)
    return Decimal(safe).quantize(GRID, rounding=ROUND_UP)


class Account:
    """The privacy account of one fit: what may be spent, what was, and by which mechanism on which columns.

    Args:
        target: The (ε, δ) not to be exceeded.
        unit: `row` or the privacy-unit column.
        approximate_delta: Part of δ kept for mechanisms that fail with a small probability (domain selection by threshold).
    """

    def __init__(self, target: PrivacyTarget, *, unit: str, approximate_delta: Decimal = Decimal(0)) -> None:
        if approximate_delta >= target.delta:
            raise GeneratorError("the δ kept for domain selection must be less than the δ of the target")
        self._target = target
        self._unit = unit
        self._kept_delta = approximate_delta
        self._failure = Fraction(0)
        self._total = rho_of_target(target.epsilon, target.delta - approximate_delta)
        self._entries: list[tuple[str, dict[str, object], Fraction]] = []
        self._spent = Fraction(0)

    @property
    def total(self) -> Fraction:
        """ρ of the target."""
        return self._total

    @property
    def left(self) -> Fraction:
        """ρ not yet spent."""
        return self._total - self._spent

    @property
    def trace(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Which mechanism read which columns, in order."""
        return tuple((name, tuple(parameters["columns"])) for name, parameters, _ in self._entries)  # type: ignore[arg-type]

    def gaussian(
        self, name: str, *, columns: tuple[str, ...], rho: Fraction, sensitivity: int, failure: Decimal | None = None,
        **parameters: object,
    ) -> Fraction:  # fmt: skip
        """Charge counts with discrete Gaussian noise; returns the variance that the noise must have.

        Args:
            name: What is measured.
            columns: Which columns are read.
            rho: At most how much to spend.
            sensitivity: L2 sensitivity of the counts to one privacy unit.
            failure: The δ with which what is made of these counts may break its promise; recorded as `failure_delta`.
            **parameters: Further facts for the record.
        """
        if failure is not None:
            self.failure(failure)
            parameters = {**parameters, "failure_delta": format(failure, "f")}
        variance = samplable_variance(Fraction(sensitivity**2) / (2 * rho))
        self._charge(
            name, Fraction(sensitivity**2) / (2 * variance),
            columns=columns, noise="discrete gaussian", variance=str(variance), sensitivity=sensitivity, **parameters,
        )  # fmt: skip
        return variance

    def selection(self, name: str, *, columns: tuple[str, ...], rho: Fraction, **parameters: object) -> Fraction:
        """Charge one exponential mechanism; returns its pure ε."""
        epsilon = Fraction(math.isqrt(int(8 * rho * (1 << 80))), 1 << 40)
        if epsilon == 0:
            raise GeneratorError("the budget is too small for a private choice")
        self._charge(name, epsilon**2 / 8, columns=columns, choice="exponential mechanism", epsilon=str(epsilon), **parameters)
        return epsilon

    def failure(self, delta: Decimal) -> None:
        """Charge the δ of a mechanism that breaks its promise with at most this probability."""
        self._failure += Fraction(delta)
        if self._failure > Fraction(self._kept_delta):
            raise GeneratorError("more δ was asked for than was kept for domain selection")

    def _charge(self, name: str, rho: Fraction, **parameters: object) -> None:
        if rho > self.left:
            raise GeneratorError(f"the mechanism '{name}' would exceed the privacy target")
        self._entries.append((name, parameters, rho))
        self._spent += rho

    def spent(self) -> PrivacySpent:
        """What was spent until now, rounded up, never above the target."""
        rho = self._total - self.left
        delta = self._target.delta - self._kept_delta
        up = float(rho)
        up = up if Fraction(up) >= rho else math.nextafter(up, math.inf)
        return PrivacySpent(
            epsilon=_reported(min(up, float(self._total)), float(delta)),
            delta=self._target.delta,
            unit=self._unit,
            neighbours="add-remove",
            accountant="zCDP, exact sums, converted by the optimal Rényi order",
            mechanisms=tuple(
                Mechanism(name=name, parameters=parameters, share=float(part / self._total))
                for name, parameters, part in self._entries
            ),
            noise_source=NOISE_SOURCE,
            rho=Decimal(up).quantize(Decimal("1e-12"), rounding=ROUND_UP) if rho else Decimal(0),
        )
