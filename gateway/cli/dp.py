"""Configurations of differential privacy, before anything is trained."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any, cast

import click

from gateway.cli.output import Refused, emit, json_option
from gateway.errors import EXIT_BAD_INPUT
from generator.privacy import ConfigReport, Quality, recommend, validate_config

__all__ = ["dp"]


class Exact(click.ParamType[Decimal]):
    """A decimal number without rounding."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        """Read a number."""
        try:
            return Decimal(value)
        except InvalidOperation:
            self.fail(f"'{value}' is not a number", param, ctx)


@click.group()
def dp() -> None:
    """Differential privacy: check a configuration, or have one recommended."""


@dp.command()
@click.option("--generator", required=True, help="Name of the generator.")
@click.option("--epsilon", type=Exact(), help="Target ε; not for a generator without any guarantee.")
@click.option("--delta", type=Exact(), help="Target δ; default min(1e-6, 1/(10 rows)).")
@click.option("--rows", type=int, help="How many privacy units the table has.")
@click.option("--batch-size", type=int, help="Expected units in a step (DP-SGD).")
@click.option("--sampling-rate", type=float, help="Probability with which a unit takes part in a step (DP-SGD).")
@click.option("--epochs", type=Exact(), help="Passes over the table (DP-SGD).")
@click.option("--steps", type=int, help="Optimiser steps, instead of epochs (DP-SGD).")
@click.option("--noise-multiplier", type=float, help="Noise to check instead of solving for it (DP-SGD).")
@click.option("--hyperparameters", help="Further hyper-parameters, as a JSON object.")
@json_option
def validate(
    *, generator: str, epsilon: Decimal | None, delta: Decimal | None, rows: int | None, epochs: Decimal | None,
    noise_multiplier: float | None, hyperparameters: str | None, as_json: bool, **stated: Any,
) -> None:  # fmt: skip
    """Check a configuration with the trainer's own accountant; exit code 4 when it is not valid."""
    values = {**_object(hyperparameters), **{name: value for name, value in stated.items() if value is not None}}
    report = validate_config(
        generator=generator, epsilon=epsilon, delta=delta, rows=rows, epochs=epochs, noise_multiplier=noise_multiplier,
        hyperparameters=values,
    )  # fmt: skip
    emit(report.to_json(), _text(report), as_json=as_json)
    if not report.is_valid:
        raise Refused("", EXIT_BAD_INPUT)


@dp.command("recommend")
@click.option("--quality", type=click.Choice(["privacy", "balanced", "quality"]), default="balanced", show_default=True)
@click.option("--rows", type=click.IntRange(min=1), help="How many privacy units the table has.")
@click.option("--generator", default="dp-marginal", show_default=True)
@json_option
def recommend_command(*, quality: str, rows: int | None, generator: str, as_json: bool) -> None:
    """Recommend a valid configuration by the wanted quality."""
    try:
        found = recommend(desired_quality=cast("Quality", quality), rows=rows, generator=generator)
    except ValueError as error:
        raise Refused(str(error), EXIT_BAD_INPUT) from None
    values = ", ".join(f"{name} = {value}" for name, value in found["hyperparameters"].items()) or "defaults"
    text = f"{generator}: ε = {found['epsilon']}, δ = {found['delta']} ({found['expected_privacy_level']}); {values}"
    emit(found, text, as_json=as_json)


def _object(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refused("--hyperparameters is a JSON object", EXIT_BAD_INPUT)
    return found


def _text(report: ConfigReport) -> str:
    verdict = "valid" if report.is_valid else ("not valid" if report.is_feasible else "infeasible")
    lines = [f"{report.generator}: {verdict}; expected privacy {report.expected_privacy_level}"]
    if report.epsilon is not None:
        lines.append(f"  target ε = {report.epsilon}, δ = {report.delta}; accountant tells ε = {report.epsilon_achieved}")
    if report.steps is not None:
        lines.append(
            f"  {report.steps} steps at sampling rate {report.sampling_rate:.5f}, noise multiplier {report.noise_multiplier}"
        )
    lines += [f"  error: {error}" for error in report.errors]
    lines += [f"  warning: {warning}" for warning in report.warnings]
    if report.errors and report.recommended_config:
        lines.append(f"  recommended: {json.dumps(dict(report.recommended_config), ensure_ascii=False)}")
    return "\n".join(lines)
