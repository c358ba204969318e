"""A person is planted by a coin; a right guess of the coin is bounded by e^ε / (1 + e^ε).

Each test guesses 40 coins at ε = 1. An honest generator exceeds the cut with probability at most 1e-4 (binomial tail);
the cuts on the statistics were fixed beforehand.
"""

import numpy as np
import pyarrow as pa
import pytest

from generator.audit import most_correct
from generator.registry import create

pytestmark = pytest.mark.slow
GUESSES = 40
EPSILON = 1.0
CUT = most_correct(GUESSES, epsilon=EPSILON, alarm=1e-4)
OPEN_WAGE = {
    "town": {"type": "category", "values": ["oslo", "rome", "kiel", "atlantis"], "missing": False},
    "wage": {"type": "number", "missing": False},
}
OPEN_TOWN = {"town": {"type": "category", "missing": False}, "wage": {"type": "number", "bounds": [0, 200], "missing": False}}
CLOSED = {"town": OPEN_WAGE["town"], "wage": OPEN_TOWN["wage"]}


def right_guesses(crowd, with_person, person, statistic):
    coins = np.random.default_rng(11).random(GUESSES) < 0.5
    return sum(statistic(with_person(crowd, **person) if coin else with_person(crowd)) == coin for coin in coins)


def rows_of(fitted, rows=40_000):
    return pa.Table.from_batches(list(fitted.sample(rows, rng=np.random.default_rng(3))))


@pytest.fixture
def sees_atlantis(card_of, fit):
    return lambda table: "atlantis" in rows_of(fit(table, card_of(CLOSED)))["town"].unique().to_pylist()


@pytest.fixture
def sees_extreme(card_of, fit):
    return lambda table: fit(table, card_of(OPEN_WAGE)).domains["wage"][1] > 10_000


@pytest.fixture
def sees_value(card_of, fit):
    return lambda table: "atlantis" in fit(table, card_of(OPEN_TOWN)).domains["town"]


RARE = {"town": "atlantis", "wage": 50.0}
RICH = {"town": "rome", "wage": 9e6}


def test_the_coin_of_a_rare_person_stays_hidden(crowd, with_person, sees_atlantis):
    assert right_guesses(crowd, with_person, RARE, sees_atlantis) <= CUT


def test_the_coin_of_an_extreme_person_stays_hidden(crowd, with_person, sees_extreme):
    assert right_guesses(crowd, with_person, RICH, sees_extreme) <= CUT


def test_the_coin_of_a_unique_value_stays_hidden(crowd, with_person, sees_value):
    assert right_guesses(crowd, with_person, RARE, sees_value) <= CUT


@pytest.mark.usefixtures("no_noise")
def test_a_generator_without_noise_is_caught(crowd, with_person, sees_atlantis):
    assert right_guesses(crowd, with_person, RARE, sees_atlantis) > CUT


@pytest.mark.usefixtures("raw_scaler")
def test_a_scaler_fitted_on_raw_data_is_caught(crowd, with_person, sees_extreme):
    assert right_guesses(crowd, with_person, RICH, sees_extreme) > CUT


@pytest.mark.usefixtures("raw_categories")
def test_a_category_list_read_off_the_data_is_caught(crowd, with_person, sees_value):
    assert right_guesses(crowd, with_person, RARE, sees_value) > CUT


def test_a_generator_that_copies_rows_is_caught(crowd, with_person, card_of):
    def sees(table):
        fitted = create("cart").fit(table, card=card_of(CLOSED), target=None, rng=np.random.default_rng(0))
        return "atlantis" in rows_of(fitted)["town"].unique().to_pylist()

    assert right_guesses(crowd, with_person, RARE, sees) > CUT
