"""Configurations before any training: is this one sound, what will it cost, and which one would be better.

Pure: dp-accounting and arithmetic, no torch and no data; the web process may import it.

Invariants:
    - A configuration called valid trains to ε ≤ target by the trainer's own accountant; one called infeasible cannot.
    - Every error says what to change. What is recommended is itself valid.
    - Rows are what the caller states; no table is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from generator.errors import GeneratorError
from generator.plans import EPSILON_RANGE, LEAST_DELTA, Plan, plan, sgd_parameters
from generator.sgd.accounting import epsilon_of
from generator.sgd.parameters import SgdParameters
from generator.zcdp import default_delta
from policies.types import GENERATORS, PrivacyTarget

__all__ = [
    "MOST_ROWS",
    "ConfigReport",
    "Plan",
    "Quality",
    "default_delta",
    "plan",
    "privacy_level",
    "recommend",
    "validate_config",
]

Quality = Literal["privacy", "balanced", "quality"]
EPSILON_OF: Mapping[Quality, Decimal] = {"privacy": Decimal(1), "balanced": Decimal(3), "quality": Decimal(10)}
LEVELS = ((Decimal(1), "strong"), (Decimal(3), "good"), (Decimal(10), "moderate"), (Decimal(20), "weak"))
MOST_ROWS = 10**12
MOST_STEPS = 1_000_000
ROWS_WORDS = f"a table has between 1 and {MOST_ROWS} rows"
FEW_ROWS = 1000
LEAST_NOISE = 0.2
SMALL_BATCH = 64
MUCH_NOISE = 0.05
"""Noise of the averaged gradient over the clipping norm above which a network hardly learns."""
MANY_EPOCHS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReport:
    """What there is to say about a configuration.

    Attributes:
        is_valid: Whether it may be trained: it keeps its target and breaks no rule.
        is_feasible: Whether any noise (or the stated noise) keeps the target.
        errors, warnings: Sentences for people.
        recommended_config: A valid configuration for the same generator, rows and ε; empty when nothing can be recommended.
        expected_privacy_level: strong (ε ≤ 1), good (≤ 3), moderate (≤ 10), weak (≤ 20), minimal, or none.
        epsilon_achieved: What the accountant tells of this plan.
    """

    generator: str
    is_valid: bool
    is_feasible: bool
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    recommended_config: Mapping[str, Any]
    expected_privacy_level: str
    epsilon: Decimal | None
    delta: Decimal | None
    epsilon_achieved: Decimal | None
    accountant: str
    sampling_rate: float | None = None
    steps: int | None = None
    noise_multiplier: float | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON-safe form; decimals as strings."""
        return {
            "generator": self.generator,
            "is_valid": self.is_valid,
            "is_feasible": self.is_feasible,
            "errors": list(self.errors),
            "warnings": list(self.warnings),
            "recommended_config": dict(self.recommended_config),
            "expected_privacy_level": self.expected_privacy_level,
            "epsilon": _text(self.epsilon),
            "delta": _text(self.delta),
            "epsilon_achieved": _text(self.epsilon_achieved),
            "accountant": self.accountant,
            "sampling_rate": self.sampling_rate,
            "steps": self.steps,
            "noise_multiplier": self.noise_multiplier,
        }


@dataclass(slots=True)
class _Findings:
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    is_feasible: bool = True


def privacy_level(epsilon: Decimal | None) -> str:
    """ε in a word."""
    if epsilon is None:
        return "none"
    return next((word for most, word in LEVELS if epsilon <= most), "minimal")


def validate_config(
    *,
    generator: str,
    epsilon: Decimal | None,
    delta: Decimal | None = None,
    rows: int | None = None,
    epochs: Decimal | None = None,
    noise_multiplier: float | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
) -> ConfigReport:
    """Check a configuration.

    Args:
        generator: A name of the catalogue.
        epsilon: Target; None for a generator without any guarantee.
        delta: Target; None for the default.
        rows: How many privacy units the table has, as far as known.
        epochs: Expected passes over the table instead of `steps` (DP-SGD; needs rows or a sampling rate).
        noise_multiplier: Stated noise, to be checked instead of solved for (DP-SGD).
        hyperparameters: Of the generator, e.g. `batch_size`, `steps`, `sampling_rate`, `clip`.
    """
    found = _Findings()
    values = dict(hyperparameters or {})
    if generator not in GENERATORS:
        found.errors.append(f"there is no generator '{generator}'; there are {', '.join(GENERATORS)}")
        return _report(generator, found, None, None)
    if rows is not None and not 1 <= rows <= MOST_ROWS:
        found.errors.append(ROWS_WORDS)
        return _report(generator, found, None, None)
    if not GENERATORS[generator].is_dp:
        found.warnings.append(f"'{generator}' gives no privacy guarantee; the policy must allow that")
        if epsilon is not None:
            found.errors.append(f"'{generator}' takes no ε: it would be a promise that nothing keeps")
        return _report(generator, found, None, None)
    target = _target(found, epsilon, default_delta(rows) if delta is None else delta, rows)
    if target is None:
        return _report(generator, found, None, None, rows=rows)
    batch = values.get("batch_size")
    if rows is not None and isinstance(batch, int) and batch > rows:
        found.warnings.append(f"a batch of {batch} is more than the {rows} rows: every row takes part in every step")
    planned = _planned(found, generator, target, _with_epochs(found, generator, values, epochs, rows), rows)
    if planned is not None:
        _judge(found, planned, rows, noise_multiplier)
    return _report(generator, found, target, planned, rows=rows, stated=noise_multiplier)


def recommend(
    *, desired_quality: Quality, rows: int | None = None, generator: str = "dp-marginal", epsilon: Decimal | None = None
) -> dict[str, Any]:
    """A valid configuration.

    Args:
        desired_quality: `privacy` (ε = 1), `balanced` (ε = 3) or `quality` (ε = 10).
        rows: How many privacy units the table has, as far as known.
        generator: A name of the catalogue.
        epsilon: Instead of the one that the quality stands for.

    Raises:
        ValueError: the quality or the generator is unknown, or rows is not positive.
    """
    if desired_quality not in EPSILON_OF:
        raise ValueError(f"a quality is one of {', '.join(EPSILON_OF)}, not '{desired_quality}'")
    if generator not in GENERATORS:
        raise ValueError(f"there is no generator '{generator}'; there are {', '.join(GENERATORS)}")
    if rows is not None and not 1 <= rows <= MOST_ROWS:
        raise ValueError(ROWS_WORDS)
    if not GENERATORS[generator].is_dp:
        return {"generator": generator, "epsilon": None, "delta": None, "hyperparameters": {}, "expected_privacy_level": "none"}
    target = PrivacyTarget(epsilon=epsilon or EPSILON_OF[desired_quality], delta=default_delta(rows))
    values = _recommended_values(generator, rows)
    planned = plan(generator=generator, target=target, hyperparameters=values, public_rows=rows)
    return {
        "generator": generator,
        "epsilon": _text(target.epsilon),
        "delta": _text(target.delta),
        "hyperparameters": values,
        "noise_multiplier": planned.noise_multiplier,
        "expected_privacy_level": privacy_level(target.epsilon),
    }


def _target(found: _Findings, epsilon: Decimal | None, delta: Decimal, rows: int | None) -> PrivacyTarget | None:
    low, high = EPSILON_RANGE
    if epsilon is None:
        found.errors.append("a target ε is needed")
    elif not (epsilon.is_finite() and low <= epsilon <= high):
        found.errors.append(f"ε lies between {low} and {high}, not {epsilon}")
    if not (delta.is_finite() and LEAST_DELTA <= delta < 1):
        found.errors.append(f"δ lies between {LEAST_DELTA} and 1, not {delta}")
    elif rows is not None and delta * rows >= 1:
        found.errors.append(
            f"δ = {delta} is not below 1/{rows}: it would allow to publish one row as it is; ask for {default_delta(rows)}"
        )
    if found.errors or epsilon is None:
        return None
    if epsilon > LEVELS[2][0]:
        found.warnings.append(f"ε = {epsilon} promises a person little: odds about them may change by a factor of e^{epsilon}")
    return PrivacyTarget(epsilon=epsilon, delta=delta)


def _with_epochs(
    found: _Findings, generator: str, values: dict[str, Any], epochs: Decimal | None, rows: int | None
) -> dict[str, Any]:
    if epochs is None:
        return values
    try:
        parameters = sgd_parameters(generator, values)
    except GeneratorError:
        return values  # said when the plan is made
    if parameters is None:
        found.warnings.append(f"'{generator}' has no epochs: it reads the table a few times, whatever is stated")
    elif "steps" in values:
        found.errors.append("state epochs or steps, not both")
    elif not epochs.is_finite() or epochs <= 0:
        found.errors.append("epochs is a positive number")
    elif epochs > MOST_STEPS * Decimal(parameters.rate(rows)):
        found.errors.append(f"{epochs} passes over the table are more than {MOST_STEPS} steps; ask for fewer epochs")
    else:
        return {**values, "steps": math.ceil(float(epochs) / parameters.rate(rows))}
    return values


def _planned(found: _Findings, generator: str, target: PrivacyTarget, values: Mapping[str, Any], rows: int | None) -> Plan | None:
    try:
        planned = plan(generator=generator, target=target, hyperparameters=values, public_rows=rows)
    except (GeneratorError, ValueError) as error:
        found.errors.append(str(error))
        return None
    if planned.problem is not None:
        found.is_feasible = False
        found.errors.append(planned.problem)
    return planned


def _judge(found: _Findings, planned: Plan, rows: int | None, stated: float | None) -> None:
    if rows is not None and rows < FEW_ROWS:
        found.warnings.append(f"{rows} rows are few: expect one-way counts to survive and little else")
    schedule, target = planned.schedule, planned.target
    if schedule is None or target is None:
        if stated is not None:
            found.warnings.append("this generator chooses its noise itself; the stated noise multiplier is ignored")
        return
    if stated is not None:
        _judge_stated_noise(found, planned, stated)
    noise = stated or planned.noise_multiplier or 0.0
    if rows is None:
        return
    batch = schedule.sampling_rate * rows
    if batch < SMALL_BATCH:
        found.warnings.append(
            f"about {batch:.0f} rows take part in a step; below {SMALL_BATCH} the noise drowns them: raise batch_size"
        )
    if noise / batch > MUCH_NOISE:
        found.warnings.append("the noise is large against the batch: expect little to be learnt; raise ε, the batch or the rows")
    if schedule.steps * schedule.sampling_rate > MANY_EPOCHS:
        found.warnings.append(f"more than {MANY_EPOCHS} passes over the table: fewer steps with less noise learn more")


def _judge_stated_noise(found: _Findings, planned: Plan, stated: float) -> None:
    schedule, target = planned.schedule, planned.target
    assert schedule is not None  # noqa: S101 - asked by the caller
    assert target is not None  # noqa: S101
    if not (math.isfinite(stated) and stated >= LEAST_NOISE):
        found.errors.append(f"a noise multiplier is a number of at least {LEAST_NOISE}")
        return
    if planned.noise_multiplier is not None and stated >= planned.noise_multiplier:
        return
    achieved = epsilon_of(schedule, noise_multiplier=stated, delta=target.delta)
    if achieved > target.epsilon:
        found.is_feasible = False
        found.errors.append(
            f"a noise multiplier of {stated} spends ε = {achieved} in {schedule.steps} steps; "
            f"ε = {target.epsilon} needs {planned.noise_multiplier}"
        )


def _report(
    generator: str, found: _Findings, target: PrivacyTarget | None, planned: Plan | None, *,
    rows: int | None = None, stated: float | None = None,
) -> ConfigReport:  # fmt: skip
    schedule = None if planned is None else planned.schedule
    noise = None if planned is None or schedule is None else (stated or planned.noise_multiplier)
    achieved = None if planned is None else planned.epsilon
    if schedule is not None and target is not None and noise is not None and math.isfinite(noise) and noise >= LEAST_NOISE:
        achieved = epsilon_of(schedule, noise_multiplier=noise, delta=target.delta)
    better: Mapping[str, Any] = {}
    if generator in GENERATORS and GENERATORS[generator].is_dp:
        better = recommend(
            desired_quality="balanced", rows=rows, generator=generator, epsilon=None if target is None else target.epsilon
        )
    return ConfigReport(
        generator=generator,
        is_valid=not found.errors,
        is_feasible=found.is_feasible,
        errors=tuple(found.errors),
        warnings=tuple(found.warnings),
        recommended_config=better,
        expected_privacy_level=privacy_level(None if target is None else target.epsilon),
        epsilon=None if target is None else target.epsilon,
        delta=None if target is None else target.delta,
        epsilon_achieved=achieved if achieved is None or achieved.is_finite() else None,
        accountant="none" if planned is None else planned.accountant,
        sampling_rate=None if schedule is None else schedule.sampling_rate,
        steps=None if schedule is None else schedule.steps,
        noise_multiplier=noise,
    )


def _recommended_values(generator: str, rows: int | None) -> dict[str, Any]:
    """Defaults, but a batch of at least a fiftieth of a small table, so that the noise does not drown it."""
    parameters = sgd_parameters(generator, {})
    if not isinstance(parameters, SgdParameters):
        return {}
    if rows is None:
        return {"sampling_rate": parameters.rate(None), "steps": parameters.steps}
    return {"batch_size": min(rows, max(SMALL_BATCH, parameters.batch_size)), "steps": parameters.steps}


def _text(number: Decimal | None) -> str | None:
    return None if number is None else format(number, "f")
