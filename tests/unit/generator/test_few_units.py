"""Few units and much noise: how many rows a unit has is always a distribution that rows can be drawn from."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from generator import units
from generator.registry import create
from policies.types import PrivacyTarget

UNITS, MOST = 30, 5
NOISE = {
    "all in the cell of rows without a key": lambda cells: np.where(np.arange(cells) == 0, 500, -100),
    "less than nothing": lambda cells: np.full(cells, -100),
    "one class": lambda cells: np.where(np.arange(cells) == 3, 500, -100),
}


def fitted(card_of, *, missing):
    who = {"type": "id", "role": "identifier", "missing": missing}
    card = card_of(
        {"who": who, "a": {"type": "integer", "bounds": [0, 3], "missing": False}}, privacy_unit="who", max_rows_per_unit=MOST
    )
    table = pa.table({"who": [f"u{i}" for i in range(UNITS)], "a": [i % 4 for i in range(UNITS)]})
    target = PrivacyTarget(epsilon=Decimal("0.1"), delta=Decimal("1e-6"))
    return create("dp-marginal").fit(table, card=card, target=target, rng=np.random.default_rng(0))


@pytest.mark.parametrize("missing", [True, False])
@pytest.mark.parametrize("noise", NOISE)
def test_whatever_the_noise_rows_are_drawn(card_of, monkeypatch, missing, noise):
    monkeypatch.setattr(units, "discrete_gaussian", lambda _, size: NOISE[noise](size))
    fit = fitted(card_of, missing=missing)
    assert fit.units.sizes.sum() == pytest.approx(1)
    assert fit.units.sizes.size == MOST + 1
    assert missing or fit.units.sizes[0] == 0
    keys = pa.Table.from_batches(fit.sample(50, rng=np.random.default_rng(0)))["who"]
    assert len(keys) == 50
    assert missing or keys.null_count == 0
    assert np.unique(keys.drop_null().to_numpy(zero_copy_only=False), return_counts=True)[1].max(initial=0) <= MOST
