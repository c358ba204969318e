"""Noise, far values, ties and spellings: what must not hide a copied row from the distances and the matches."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from evaluator.inputs import Inputs, check_inputs
from evaluator.privacy import PrivacyOptions
from evaluator.privacy.copies import COPIES
from evaluator.privacy.membership import MEMBERSHIP
from evaluator.privacy.neighbours import fine_columns, neighbourhood
from evaluator.privacy.projections import STRATA, isolation

N = 2_400
RATE = "privacy.membership_inference.tpr_at_fpr_1pct"
FLAGS = ("season", "holiday", "weekday", "working", "weather")
MEASURES = ("warmth", "damp", "wind", "casual", "registered")
UNKNOWN = 9_999_999_999.0


def hours(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Counts by the hour: five small codes and five measures that go together."""
    base = rng.normal(size=(N, 2))
    flags = {name: rng.integers(0, 4, N) for name in FLAGS}
    return flags | {name: np.round(base @ rng.normal(size=2) + rng.normal(size=N), 2) for name in MEASURES}


def amounts(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Five amounts with a heavy tail, three of each of which are not known."""
    level = rng.normal(size=N)
    table = {f"amount{k}": np.round(np.exp(8 + level / 2 + rng.normal(size=N)), 2) for k in range(5)}
    for column in table.values():
        column[rng.integers(0, N, 3)] = UNKNOWN
    return table | {"age": rng.integers(18, 90, N), "region": rng.choice(list("abcdefgh"), N)}


def inputs_of(make_card, train, holdout, synthetic, **columns: dict[str, object]) -> Inputs:
    kinds = {
        name: {"type": "category"} if values.dtype.kind in "US" else {"type": "integer" if values.dtype.kind == "i" else "number"}
        for name, values in train.items()
    }
    return check_inputs(
        train=pa.table(train), holdout=pa.table(holdout), synthetic=pa.table(synthetic), card=make_card(kinds | columns), seed=0
    )


def test_near_copies_are_found_though_every_number_and_flag_moved(make_card) -> None:
    rng = np.random.default_rng(1)
    shapes = np.random.default_rng(2)
    train, holdout, fresh = (hours(rng) for _ in range(3))
    leaked = {name: values.copy() for name, values in fresh.items()}
    victims = np.arange(N // 10)
    for name in FLAGS:  # whole steps, so that among all columns a stranger is as near
        leaked[name][victims] = (train[name][victims] + shapes.choice([1, 2, 3], len(victims))) % 4
    for name in MEASURES:
        leaked[name][victims] = np.round(train[name][victims] + shapes.uniform(-0.05, 0.05, len(victims)), 2)
    found, clean = (
        MEMBERSHIP.run(inputs_of(make_card, train, holdout, synthetic), PrivacyOptions())[RATE] for synthetic in (leaked, fresh)
    )
    attacks = found.detail["attacks"]
    assert attacks["fine_columns"]["p_value"] < 1e-6
    assert attacks["nearest_neighbour"]["p_value"] > 1e-3
    assert found.p_value < 1e-5
    assert clean.p_value > 1e-3


def test_one_far_value_does_not_blind_the_distances(make_card) -> None:
    """All of train with 1 % noise on every amount and other ages: found with codes for "unknown" as without."""
    rng = np.random.default_rng(3)
    train, holdout, fresh = (amounts(rng) for _ in range(3))
    noisy = {
        name: values * (1 + rng.uniform(-0.01, 0.01, N)) if name.startswith("amount") else values
        for name, values in train.items()
    } | {"age": fresh["age"]}
    found, clean = (
        MEMBERSHIP.run(inputs_of(make_card, train, holdout, synthetic), PrivacyOptions())[RATE] for synthetic in (noisy, fresh)
    )
    assert found.p_value < 1e-9
    assert found.value > 0.05
    assert clean.p_value > 1e-3


def test_among_equally_near_people_members_are_not_found_first(make_card) -> None:
    rng = np.random.default_rng(4)
    train, holdout, fresh = ({"a": rng.choice(list("xy"), N), "b": rng.choice(list("xy"), N)} for _ in range(3))
    found = neighbourhood(inputs_of(make_card, train, holdout, fresh), PrivacyOptions())
    assert found.real.distance.max() == 0.0
    nearest = np.unique(found.real.index[:, 0])  # four kinds of rows: two each suffice, as nobody is his own neighbour
    assert 0 < np.count_nonzero(nearest < N) < len(nearest)


def test_finely_graded_columns_are_looked_at_alone_where_they_place_a_row(make_card) -> None:
    rng = np.random.default_rng(5)
    tables = [hours(rng) for _ in range(3)]
    assert fine_columns(inputs_of(make_card, *tables)) == tuple(range(len(FLAGS), len(FLAGS) + len(MEASURES)))
    few = [{name: table[name] for name in (*FLAGS, *MEASURES[:2])} for table in tables]
    assert fine_columns(inputs_of(make_card, *few)) == ()
    only = [{name: table[name] for name in MEASURES} for table in tables]
    assert fine_columns(inputs_of(make_card, *only)) == ()


@pytest.mark.parametrize("spelt", ["{0}  {1}.", "{0}\u00a0{1}", " {0}, {1}", '"{0} {1}"', "{0} {1}\u200b"])
def test_a_text_spelt_otherwise_is_a_copy(make_card, spelt: str) -> None:
    rng = np.random.default_rng(6)
    tables = [{"note": np.array([f"Word{k} Deed{j}" for k, j in rng.integers(0, 10**6, (400, 2))])} for _ in range(3)]
    train, holdout, synthetic = tables
    other = np.array([spelt.format(*text.upper().split()) for text in train["note"][:40]])
    leaked = {"note": np.concatenate([other, synthetic["note"][40:]])}
    inputs = inputs_of(make_card, train, holdout, leaked, note={"type": "text"})
    assert COPIES.run(inputs, PrivacyOptions())["privacy.copies.identical_share"].value == pytest.approx(0.1)


def test_signs_that_carry_meaning_stay(make_card) -> None:
    sides = [
        {"blood": np.array(["A+", "A-", "<=50K", ">50K"])},
        {"blood": np.array(["B+", "C+"])},
        {"blood": np.array(["A", "50K"])},
    ]
    inputs = inputs_of(make_card, *sides)
    assert COPIES.run(inputs, PrivacyOptions())["privacy.copies.identical_share"].value == 0.0


def test_strata_of_crowdedness_leave_room_for_the_size_of_a_unit(make_people, make_card) -> None:
    inputs = check_inputs(
        train=make_people(600, 1), holdout=make_people(600, 2), synthetic=make_people(600, 3), card=make_card(), seed=0
    )
    assert 0 <= isolation(inputs).stratum.min() <= isolation(inputs).stratum.max() < STRATA
