"""What a fit will cost, before it is run: the plan by which a trainer trains and a ledger reserves.

Pure: dp-accounting and arithmetic, no torch and no data; the web process may import it.

Invariants:
    - Plan and trainer share one accountant: noise is solved here and the trainer reports with the same functions.
    - A plan that is feasible costs at most its target; a plan that is not says why, and no noise can make it so.
    - Nothing here looks at a table: rows are a public number of the card, or absent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from generator.hyperparameters import checked
from generator.sgd.accounting import Schedule, accountant_of, epsilon_of, rdp_of, solve_noise_multiplier
from generator.sgd.parameters import SgdParameters
from generator.zcdp import rho_of_target
from policies.types import GENERATORS, Neighbours, PrivacyTarget

__all__ = ["EPSILON_RANGE", "LEAST_DELTA", "Plan", "plan", "schedule_of", "sgd_parameters"]

EPSILON_RANGE = (Decimal("0.000001"), Decimal(1000))
LEAST_DELTA = Decimal("1e-18")
ZCDP = "zCDP, exact sums, converted by the optimal Rényi order"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a fit will do and cost at most.

    Attributes:
        generator: Its name.
        is_dp: False for a generator without any guarantee; then nothing else is set.
        target: The (ε, δ) not to be exceeded.
        accountant: Which accountant solves and reports.
        unit, neighbours: Whom the guarantee protects, against which change of the table.
        epsilon: What the accountant says of this plan; at most the target's where it is feasible.
        rho: zCDP parameter (marginals, votes).
        schedule, noise_multiplier, rdp: Steps, noise and Rényi curve (DP-SGD).
        problem: Why it is not feasible; None if it is.
    """

    generator: str
    is_dp: bool
    target: PrivacyTarget | None = None
    accountant: str = "none"
    unit: str = "row"
    neighbours: Neighbours | None = None
    epsilon: Decimal | None = None
    rho: Decimal | None = None
    schedule: Schedule | None = None
    noise_multiplier: float | None = None
    rdp: tuple[tuple[float, float], ...] = field(default=(), repr=False)
    problem: str | None = None

    @property
    def is_feasible(self) -> bool:
        """Whether a fit can keep the target."""
        return self.problem is None


def plan(
    *,
    generator: str,
    target: PrivacyTarget | None,
    hyperparameters: Mapping[str, Any] | None = None,
    public_rows: int | None = None,
    unit: str = "row",
    has_open: bool = False,
) -> Plan:
    """Plan a fit.

    Args:
        generator: A name of the catalogue.
        target: The (ε, δ) not to be exceeded; ignored for a generator without any guarantee.
        hyperparameters: Of the generator's family.
        public_rows: How many privacy units the table has, if the card says so.
        unit: `row` or the privacy-unit column.
        has_open: Whether the card leaves domains open; a plan made without knowing it costs no less than the fit will.

    Raises:
        BadHyperparameters: a hyper-parameter is unknown or out of range.
        ValueError: the generator is unknown, or DP and without a target.
    """
    if generator not in GENERATORS:
        raise ValueError(f"there is no generator '{generator}'; there are {', '.join(GENERATORS)}")
    parameters = sgd_parameters(generator, hyperparameters or {})
    if not GENERATORS[generator].is_dp:
        return Plan(generator=generator, is_dp=False, unit=unit)
    if target is None:
        raise ValueError(f"'{generator}' needs an (ε, δ) target")
    if not (EPSILON_RANGE[0] <= target.epsilon <= EPSILON_RANGE[1] and target.delta >= LEAST_DELTA):
        raise ValueError(f"ε lies between {EPSILON_RANGE[0]} and {EPSILON_RANGE[1]}, and δ is at least {LEAST_DELTA}")
    if parameters is None:
        return _zcdp_plan(generator, target, unit)
    schedule = schedule_of(parameters, target=target, public_rows=public_rows, is_plain=unit == "row" and not has_open)
    return _sgd_plan(generator, target, schedule, unit)


def sgd_parameters(generator: str, hyperparameters: Mapping[str, Any]) -> SgdParameters | None:
    """Checked parameters of a DP-SGD generator; None for the other families, whose parameters are checked too.

    Raises:
        BadHyperparameters: one of them is unknown or out of range.
    """
    found = checked(generator, hyperparameters)
    return found if isinstance(found, SgdParameters) else None


def schedule_of(parameters: SgdParameters, *, target: PrivacyTarget, public_rows: int | None, is_plain: bool = False) -> Schedule:
    """The accounted measurements and steps of a DP-SGD fit; the trainer measures for at most this ρ."""
    rho = math.nextafter(float(rho_of_target(target.epsilon, target.delta)) * parameters.histogram_share, math.inf)
    return Schedule(sampling_rate=parameters.rate(public_rows), steps=parameters.steps, rho=rho, is_plain=is_plain)


def _zcdp_plan(generator: str, target: PrivacyTarget, unit: str) -> Plan:
    rho = rho_of_target(target.epsilon, target.delta)
    up = Decimal(float(rho)).quantize(Decimal("1e-12"), rounding="ROUND_UP")
    return Plan(
        generator=generator, is_dp=True, target=target, accountant=ZCDP, unit=unit, neighbours="add-remove",
        epsilon=target.epsilon, rho=up, problem=None if rho > 0 else f"ε = {target.epsilon} is too small for any look at all",
    )  # fmt: skip


def _sgd_plan(generator: str, target: PrivacyTarget, schedule: Schedule, unit: str) -> Plan:
    noise = solve_noise_multiplier(schedule, epsilon=target.epsilon, delta=target.delta)
    facts: dict[str, Any] = {
        "generator": generator, "is_dp": True, "target": target, "accountant": accountant_of(schedule), "unit": unit,
        "neighbours": "add-remove", "schedule": schedule,
    }  # fmt: skip
    if noise is None:
        return Plan(
            **facts, problem=f"no amount of noise keeps ε = {target.epsilon} over {schedule.steps} steps at this sampling rate"
        )
    return Plan(
        **facts,
        noise_multiplier=noise,
        epsilon=epsilon_of(schedule, noise_multiplier=noise, delta=target.delta),
        rdp=rdp_of(schedule, noise_multiplier=noise),
    )
