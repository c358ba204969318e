"""One fit, a thousand canaries, each in the table by an independent coin (Steinke et al. 2023).

The hundred most and the hundred least probable canaries are guessed; the bound holds with confidence 0.9999, so an honest
generator is accused with probability at most 1e-4.
"""

import numpy as np
import pyarrow as pa
import pytest

from generator.audit import one_run_lower_bound

CANARIES, GUESSES, DELTA = 1000, 100, 1e-9
VALUES = [f"v{i:04d}" for i in range(CANARIES + 200)]


def lower_bound(fit, card_of, *, name, epsilon):
    rng = np.random.default_rng(17)
    coins = rng.random(CANARIES) < 0.5
    others = rng.integers(CANARIES, len(VALUES), 4000)
    codes = np.concatenate([np.flatnonzero(coins), others])
    table = pa.table({"code": [VALUES[c] for c in codes], "flag": (codes % 2 == 0).tolist()})
    card = card_of(
        {"code": {"type": "category", "values": VALUES, "missing": False}, "flag": {"type": "boolean", "missing": False}}
    )
    fitted = fit(table, card, name=name, epsilon=str(epsilon), delta=str(DELTA))
    score = fitted.bins[0].cells[:CANARIES]
    order = np.lexsort((rng.random(CANARIES), score))
    correct = int(coins[order[-GUESSES:]].sum() + (~coins[order[:GUESSES]]).sum())
    return one_run_lower_bound(correct, 2 * GUESSES, canaries=CANARIES, delta=DELTA, confidence=0.9999)


@pytest.mark.parametrize("name", ["dp-marginal", "dp-aim"])
@pytest.mark.parametrize("epsilon", [0.5, 1, 3])
def test_the_bound_stays_below_the_claim(fit, card_of, name, epsilon):
    assert lower_bound(fit, card_of, name=name, epsilon=epsilon) <= epsilon


@pytest.mark.usefixtures("no_noise")
@pytest.mark.parametrize("epsilon", [0.5, 1, 3])
def test_without_noise_the_bound_exceeds_the_claim(fit, card_of, epsilon):
    assert lower_bound(fit, card_of, name="dp-marginal", epsilon=epsilon) > epsilon
