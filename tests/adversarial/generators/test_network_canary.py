"""A person of a value that nobody else has, planted by a coin, against networks; and a conditional sampler that nobody paid for.

64 coins at ε = 1: an honest generator exceeds the cut with probability at most 1e-7 (binomial tail), and the statistic was
fixed beforehand: is the value among the conditions that are drawn, or among the rows.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from generator.audit import most_correct

pytestmark = pytest.mark.slow
GUESSES, EPSILON = 64, 1.0
CUT = most_correct(GUESSES, epsilon=EPSILON, alarm=1e-7)
SMALL = {
    "steps": 2, "sampling_rate": 0.1, "device": "cpu", "generator_width": 16, "discriminator_width": 16, "noise_width": 8,
}  # fmt: skip
CARD = {
    "town": {"type": "category", "values": ["oslo", "rome", "kiel", "atlantis"], "missing": False},
    "wage": {"type": "number", "bounds": [0, 200], "missing": False},
}
RARE = {"town": "atlantis", "wage": 50.0}


@dataclass
class UnpaidConditions:
    """A broken generator: `dp-ctgan`, sampled under conditions whose log-frequencies were read off the raw rows."""

    fitted: object
    table: pa.Table

    def writes(self, town, *, rows, rng):
        """Whether this town is among so many rows."""
        counts = {entry["values"]: entry["counts"] for entry in self.table["town"].value_counts().to_pylist()}
        weights = np.log1p(np.array([*counts.values()], float))
        if town not in rng.choice([*counts], rows, p=weights / weights.sum()):
            return False
        return next(iter(self.fitted.sample(1, rng=rng, where={"town": town})))["town"][0].as_py() == town


def right_guesses(crowd, with_person, statistic):
    coins = np.random.default_rng(29).random(GUESSES) < 0.5
    return sum(statistic(with_person(crowd, **RARE) if coin else with_person(crowd)) == coin for coin in coins)


@pytest.fixture
def fit_gan(card_of, fit):
    return lambda table: fit(table, card_of(CARD), name="dp-ctgan", epsilon=str(EPSILON), **SMALL)


def test_the_cut_can_be_exceeded():
    assert CUT < GUESSES


def test_the_coin_of_a_rare_person_stays_hidden_from_a_network(crowd, with_person, fit_gan):
    def sees(table):
        drawn = next(iter(fit_gan(table).sample(5000, rng=np.random.default_rng(3))))
        return "atlantis" in drawn["town"].unique().to_pylist()

    assert right_guesses(crowd, with_person, sees) <= CUT


def test_an_unpaid_conditional_sampler_is_caught(crowd, with_person, fit_gan):
    def sees(table):
        return UnpaidConditions(fit_gan(table), table).writes("atlantis", rows=500, rng=np.random.default_rng(3))

    assert right_guesses(crowd, with_person, sees) > CUT
