"""Hyper-parameters are refused before anything is reserved: by name, for every generator, without loading model code."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

import pytest

from gateway.budget.planning import loss_of
from gateway.errors import InvalidRequest
from generator.hyperparameters import MODELS, checked
from generator.registry import FAMILIES
from policies.card import DatasetCard
from policies.types import GENERATORS, PrivacyTarget

CARD = DatasetCard.model_validate(
    {
        "apiVersion": "ticketgate/v1",
        "kind": "Dataset",
        "metadata": {"name": "small"},
        "spec": {"source": "a.csv", "public_rows": 40_000, "columns": {"age": {"type": "integer", "bounds": [0, 100]}}},
    }
)


def test_every_generator_of_the_catalogue_has_a_model_and_a_family():
    assert set(MODELS) == set(GENERATORS) == set(FAMILIES)


@pytest.mark.parametrize("name", list(GENERATORS))
def test_defaults_are_allowed(name: str) -> None:
    assert checked(name, {}).model_dump()


@pytest.mark.parametrize("name", list(GENERATORS))
def test_an_unknown_one_is_refused_by_name_when_the_loss_is_planned(name: str) -> None:
    target = PrivacyTarget(epsilon=Decimal(1), delta=Decimal("1e-6")) if GENERATORS[name].is_dp else None
    with pytest.raises(InvalidRequest, match="'frobnicate' is not a hyper-parameter") as refused:
        loss_of(name, target, {"frobnicate": 3}, CARD)
    assert refused.value.slug == "bad-configuration"


def test_checking_loads_no_model_code():
    script = (
        "import sys; from generator.hyperparameters import checked; checked('ctgan', {'epochs': 3}); checked('dp-aim', {});"
        "print([m for m in ('torch', 'ctgan', 'generator.marginal.family', 'generator.trees.family') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
