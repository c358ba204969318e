"""Privacy configurations over HTTP: whatever comes in, the answer names what is wrong and nothing breaks."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.web.api_dp import RecommendQuery, ValidateBody


@pytest.mark.parametrize(
    "wrong",
    [
        {"epsilon": "abc"}, {"epsilon": -1}, {"epsilon": 0}, {"epsilon": "NaN"}, {"epsilon": float("nan")}, {"epsilon": float("inf")},
        {"delta": 1}, {"delta": 0}, {"rows": 0}, {"rows": True}, {"rows": "5"}, {"rows": 10**13}, {"epochs": 0}, {"epochs": "NaN"},
        {"noise_multiplier": float("nan")}, {"noise_multiplier": -1}, {"generator": None}, {"generator": "x" * 65}, {"planted": 1},
        {"hyperparameters": [1]},
    ],
)  # fmt: skip
def test_what_is_no_configuration_is_refused_by_its_shape(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ValidateBody.model_validate({"generator": "dp-ctgan", "epsilon": "1", **wrong})


def test_numbers_are_exact_and_queries_are_text() -> None:
    assert str(ValidateBody.model_validate({"generator": "dp-ctgan", "epsilon": "0.1"}).epsilon) == "0.1"
    assert RecommendQuery.model_validate({"rows": "100"}).rows == 100
    with pytest.raises(ValidationError):
        RecommendQuery.model_validate({"rows": str(10**13)})
