"""Configurations: what is called valid keeps its target, what is called infeasible cannot."""

from __future__ import annotations

import math
import random
from decimal import Decimal
from typing import Any

import pytest

from generator.plans import plan
from generator.privacy import privacy_level, recommend, validate_config
from generator.sgd.accounting import epsilon_of
from policies.types import GENERATORS, PrivacyTarget

DP_SGD = ("dp-ctgan", "dp-tvae", "dp-ar")


def random_config(choice: random.Random) -> dict[str, Any]:
    rows = int(10 ** choice.uniform(2.5, 6))
    config: dict[str, Any] = {
        "generator": choice.choice(DP_SGD),
        "epsilon": Decimal(f"{10 ** choice.uniform(-1.5, 1.3):.4f}"),
        "delta": Decimal(choice.choice(["1e-5", "1e-6", "1e-7", "0.01"])),
        "rows": choice.choice([rows, None]),
        "noise_multiplier": choice.choice([None, None, round(10 ** choice.uniform(-0.6, 1.5), 3)]),
    }
    values: dict[str, Any] = {"histogram_share": choice.choice([0.01, 0.1, 0.5])}
    if config["rows"] is None:
        values["sampling_rate"] = round(10 ** choice.uniform(-3, -0.5), 5)
    else:
        values["batch_size"] = choice.randint(8, 4096)
    if choice.random() < 0.5:
        config["epochs"] = Decimal(f"{10 ** choice.uniform(-0.5, 1.5):.2f}")
    else:
        values["steps"] = int(10 ** choice.uniform(0, 3.5))
    return {**config, "hyperparameters": values}


@pytest.mark.parametrize("block", [0, *(pytest.param(block, marks=pytest.mark.slow) for block in range(1, 25))])
def test_valid_trains_within_its_target_and_infeasible_cannot(block: int) -> None:
    """200 random configurations in all: 25 blocks of 8."""
    choice = random.Random(block)
    for _ in range(8):
        config = random_config(choice)
        report = validate_config(**config)
        values = {**config["hyperparameters"], **({} if report.steps is None else {"steps": report.steps})}
        target = PrivacyTarget(epsilon=config["epsilon"], delta=config["delta"])
        if report.is_valid:
            trained = plan(generator=config["generator"], target=target, hyperparameters=values, public_rows=config["rows"])
            assert trained.schedule is not None
            noise = config["noise_multiplier"] or trained.noise_multiplier
            achieved = epsilon_of(trained.schedule, noise_multiplier=noise, delta=target.delta)
            assert achieved <= target.epsilon
            assert report.epsilon_achieved == achieved
        elif not report.is_feasible:
            trained = plan(generator=config["generator"], target=target, hyperparameters=values, public_rows=config["rows"])
            assert trained.schedule is not None
            noise = config["noise_multiplier"]
            assert noise is not None
            assert epsilon_of(trained.schedule, noise_multiplier=noise, delta=target.delta) > target.epsilon
        else:
            assert report.errors
        assert report.to_json()["is_valid"] is report.is_valid


def test_no_noise_keeps_a_target_that_the_histograms_alone_exceed(monkeypatch: pytest.MonkeyPatch) -> None:
    from generator import plans
    from generator.sgd.accounting import Schedule

    monkeypatch.setattr(plans, "schedule_of", lambda *_args, **_facts: Schedule(sampling_rate=0.01, steps=10, rho=2.0))
    report = validate_config(generator="dp-ar", epsilon=Decimal(1), delta=Decimal("1e-6"))
    assert (report.is_valid, report.is_feasible) == (False, False)
    assert "no amount of noise" in report.errors[0]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"generator": "nope", "epsilon": Decimal(1)}, "there is no generator"),
        ({"generator": "dp-ar", "epsilon": None}, "is needed"),
        ({"generator": "dp-ar", "epsilon": Decimal("NaN")}, "lies between"),
        ({"generator": "dp-ar", "epsilon": Decimal("1e9")}, "lies between"),
        ({"generator": "dp-ar", "epsilon": Decimal(1), "delta": Decimal(1)}, "δ lies between"),
        ({"generator": "dp-marginal", "epsilon": Decimal(1), "delta": Decimal("1e-3"), "rows": 1000}, "not below 1/1000"),
        ({"generator": "dp-marginal", "epsilon": Decimal(1), "rows": 0}, "between 1 and"),
        ({"generator": "dp-ar", "epsilon": Decimal(1), "rows": 10**23}, "between 1 and"),
        ({"generator": "ctgan", "epsilon": Decimal(1)}, "takes no ε"),
        ({"generator": "dp-ar", "epsilon": Decimal(1), "hyperparameters": {"stepz": 1}}, "stepz"),
        ({"generator": "dp-ar", "epsilon": Decimal(1), "hyperparameters": {"steps": 0}}, "steps"),
        ({"generator": "dp-ar", "epsilon": Decimal(1), "hyperparameters": {"steps": 5}, "epochs": Decimal(1)}, "not both"),
        ({"generator": "dp-ar", "epsilon": Decimal(1), "epochs": Decimal(-1)}, "positive"),
        ({"generator": "dp-ar", "epsilon": Decimal(1), "epochs": Decimal("NaN")}, "positive"),
        ({"generator": "dp-ar", "epsilon": Decimal(1), "epochs": Decimal("sNaN")}, "positive"),
        ({"generator": "dp-ar", "epsilon": Decimal(1), "epochs": Decimal("Infinity")}, "positive"),
        ({"generator": "dp-ar", "epsilon": Decimal(1), "rows": 2000, "epochs": Decimal("1e30")}, "more than 1000000 steps"),
        ({"generator": "dp-ar", "epsilon": Decimal("sNaN")}, "lies between"),
        ({"generator": "dp-ar", "epsilon": Decimal(1), "delta": Decimal("NaN")}, "δ lies between"),
        ({"generator": "dp-ar", "epsilon": Decimal(1), "noise_multiplier": math.nan}, "noise multiplier"),
        ({"generator": "dp-ar", "epsilon": Decimal(1), "hyperparameters": {"sampling_rate": math.nan}}, "sampling_rate"),
        ({"generator": "dp-ar", "epsilon": Decimal(1), "hyperparameters": {"batch_size": "lots"}}, "batch_size"),
        ({"generator": "dp-ar", "epsilon": Decimal(1), "noise_multiplier": 0.0001}, "noise multiplier"),
    ],
)
def test_each_error_says_what_is_wrong(config: dict[str, Any], words: str) -> None:
    report = validate_config(**config)
    assert not report.is_valid
    assert any(words in error for error in report.errors), report.errors


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"generator": "cart", "epsilon": None}, "no privacy guarantee"),
        ({"generator": "dp-marginal", "epsilon": Decimal(15), "rows": 5000}, "promises a person little"),
        ({"generator": "dp-marginal", "epsilon": Decimal(1), "rows": 200}, "rows are few"),
        ({"generator": "dp-marginal", "epsilon": Decimal(1), "epochs": Decimal(3)}, "no epochs"),
        (
            {"generator": "dp-ar", "epsilon": Decimal(1), "rows": 2000, "hyperparameters": {"batch_size": 5000}},
            "more than the 2000",
        ),
        ({"generator": "dp-marginal", "epsilon": Decimal(1), "noise_multiplier": 3.0}, "ignored"),
        ({"generator": "dp-ar", "epsilon": Decimal(1), "rows": 2000, "hyperparameters": {"batch_size": 10}}, "drowns them"),
        (
            {"generator": "dp-ar", "epsilon": Decimal("0.05"), "rows": 2000, "hyperparameters": {"batch_size": 70}},
            "expect little",
        ),
        (
            {"generator": "dp-ar", "epsilon": Decimal(1), "rows": 2000, "hyperparameters": {"batch_size": 2000, "steps": 300}},
            "passes over",
        ),
    ],
)
def test_each_warning_is_given_and_does_not_forbid(config: dict[str, Any], words: str) -> None:
    report = validate_config(**config)
    assert report.is_valid, report.errors
    assert any(words in warning for warning in report.warnings), report.warnings


@pytest.mark.parametrize("generator", list(GENERATORS))
@pytest.mark.parametrize("rows", [None, 26_049])
def test_what_is_recommended_is_valid(generator: str, rows: int | None) -> None:
    for quality in ("privacy", "balanced", "quality"):
        found = recommend(desired_quality=quality, rows=rows, generator=generator)  # type: ignore[arg-type]
        epsilon = None if found["epsilon"] is None else Decimal(found["epsilon"])
        delta = None if found["delta"] is None else Decimal(found["delta"])
        report = validate_config(
            generator=generator, epsilon=epsilon, delta=delta, rows=rows, hyperparameters=found["hyperparameters"]
        )
        assert report.is_valid, report.errors


def test_an_unknown_wish_is_refused() -> None:
    for wish in (
        {"desired_quality": "best"},
        {"desired_quality": "quality", "generator": "x"},
        {"desired_quality": "quality", "rows": 0},
    ):
        with pytest.raises(ValueError, match=r"quality|generator|row"):
            recommend(**wish)  # type: ignore[arg-type]


def test_levels_in_words() -> None:
    assert [privacy_level(Decimal(epsilon)) for epsilon in ("0.5", "1", "2", "10", "20", "21")] == [
        "strong",
        "strong",
        "good",
        "moderate",
        "weak",
        "minimal",
    ]
    assert privacy_level(None) == "none"
