"""Hyper-parameters are refused before anything is reserved: by name, for every generator, without loading model code."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from gateway.budget.planning import loss_of
from gateway.errors import InvalidRequest
from generator.hyperparameters import MODELS, checked
from generator.registry import FAMILIES, create
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


@pytest.mark.parametrize("name", ["dp-marginal", "dp-aim"])
@pytest.mark.parametrize(
    ("values", "named"),
    [
        (
            {"one_way_share": 0.9, "more_one_way_share": 0.9},
            "one_way_share, more_one_way_share, pace_share, choice_share together",
        ),
        ({"choice_share": 0.8}, "choice_share together"),
        ({"unit_share": 0.5, "time_share": 0.45}, "domain_share, unit_share, time_share, outside_share together"),
        ({"one_way_share": 0.0001}, "'one_way_share'"),
        ({"domain_share": 0.0004}, "'domain_share'"),
    ],
)
def test_shares_that_leave_nothing_are_refused_when_the_loss_is_planned(name: str, values: dict[str, float], named: str) -> None:
    with pytest.raises(InvalidRequest, match=named) as refused:
        loss_of(name, PrivacyTarget(epsilon=Decimal(1), delta=Decimal("1e-6")), values, CARD)
    assert refused.value.slug == "bad-configuration"


@pytest.mark.parametrize(
    "values",
    [
        {"one_way_share": 0.5, "more_one_way_share": 0.3},
        {"domain_share": 0.3, "unit_share": 0.3, "time_share": 0.39},
        {"one_way_share": 0.001, "more_one_way_share": 0.001, "choice_share": 0.001, "pace_share": 0.001},
    ],
)
@pytest.mark.parametrize("name", ["dp-marginal", "dp-aim"])
def test_shares_that_are_allowed_can_be_fitted(card_of, name, values):
    card = card_of(
        {"who": {"type": "id", "role": "identifier"}, "at": {"type": "date"}, "kind": {"type": "category"}},
        privacy_unit="who", max_rows_per_unit=2, time_index="at",
    )  # fmt: skip
    rows = np.arange(1200)
    table = pa.table({
        "who": [f"u{i // 2}" for i in rows], "at": pa.array(np.datetime64("2024-01-01") + rows % 200), "kind": [f"k{i % 3}" for i in rows],
    })  # fmt: skip
    target = PrivacyTarget(epsilon=Decimal(1), delta=Decimal("1e-6"))
    fitted = create(name, values).fit(table, card=card, target=target, rng=np.random.default_rng(0))
    assert fitted.spent.epsilon <= target.epsilon


def test_checking_loads_no_model_code():
    script = (
        "import sys; from generator.hyperparameters import checked; checked('ctgan', {'epochs': 3}); checked('dp-aim', {});"
        "print([m for m in ('torch', 'ctgan', 'generator.marginal.family', 'generator.trees.family') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
