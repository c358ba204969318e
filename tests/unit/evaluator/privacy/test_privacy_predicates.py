"""Exactness of what was made fast: predicates in machine words, moments under random labels, limits, the plan."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

import evaluator.privacy.predicates as module
from evaluator.distances import Encoding, nearest
from evaluator.privacy import FAMILIES, PrivacyOptions, plan_of
from evaluator.privacy.neighbours import pool_of
from evaluator.privacy.predicates import drawn, satisfied_by_one
from evaluator.privacy.split import shuffled_moments
from evaluator.strata import excess_by_stratum


def one_by_one(predicates, seeds, table, unit):
    """The definition: go through the columns of every predicate, and look who is left."""
    answers = []
    for seed, uses, upward in zip(predicates.seeds, predicates.uses, predicates.upward, strict=True):
        holds = np.ones(table.rows, dtype=bool)
        for position in np.flatnonzero(uses):
            column, value = table.columns[position], seeds.columns[position][seed]
            if not table.is_number[position] or value < 0:
                holds &= column == value
            elif upward[position]:
                holds &= column >= value
            else:
                holds &= (column <= value) & (column >= 0)
        answers.append(len(np.unique(unit[holds])) == 1)
    return np.array(answers)


@pytest.mark.parametrize("per_unit", [1, 4])
@pytest.mark.parametrize("columns", [2, 4, 7])
def test_predicates_isolate_whom_the_definition_isolates(fresh, monkeypatch, per_unit: int, columns: int) -> None:
    monkeypatch.setattr(module, "STRETCH", 300)  # 300 rows are no whole number of words
    monkeypatch.setattr(module, "CONDITIONS", 7)
    encoding = Encoding.of(fresh)
    table = encoding.train.take(np.arange(1000))
    unit = np.arange(table.rows) // per_unit
    predicates = drawn(encoding.synthetic, columns, 200, np.random.default_rng(1))
    expected = one_by_one(predicates, encoding.synthetic, table, unit)
    given = None if per_unit == 1 else unit
    for workers in (1, 3):
        assert np.array_equal(satisfied_by_one(predicates, encoding.synthetic, table, given, workers), expected)
    assert 0 < expected.sum() < 200


def test_moments_under_random_labels_are_those_of_all_labellings() -> None:
    one, two = np.array([0, 1, 1, 2, 5, 3, 3, 4]), np.array([1, 0, 2, 4, 5, 0, 5, 3])
    shares = []
    for members in combinations(range(6), 4):
        side = np.isin(np.arange(6), members)
        shares.append((side[one] == side[two]).mean())
    assert shuffled_moments(one, two, 4, 6) == pytest.approx((np.mean(shares), np.std(shares)))


def test_moments_of_two_units_do_not_divide_by_nothing() -> None:
    assert shuffled_moments(np.array([0, 1]), np.array([1, 0]), 1, 2) == pytest.approx((0.0, 0.0))


def test_a_part_that_is_asked_for_twice_is_answered_twice(fresh) -> None:
    encoding = Encoding.of(fresh)
    queries = encoding.holdout.take(np.arange(50))
    first, second = nearest(queries, encoding.synthetic, k=[1, 3], parts=[(0, 1), (1, 0)])
    assert first.index.shape == (50, 1)
    assert np.array_equal(first.index[:, 0], second.index[:, 0])
    assert (second.distance[:, 1:] < 1).any()


def test_the_detection_limit_is_found_nine_times_in_ten() -> None:
    """Planted: two strata of 4,000 people a side, one where a row in ten reappears by chance. Fixed seed, wide margin."""
    rng = np.random.default_rng(3)
    member = np.arange(16_000) % 2 == 0
    stratum = (np.arange(16_000) >= 8_000).astype(np.int64)
    by_chance = rng.random(16_000) < np.where(stratum == 0, 0.1, 0.0005)
    limit = excess_by_stratum(by_chance, member, stratum, confidence=0.95, top_weight=512).detectable
    found = 0
    for _ in range(60):
        leaked = rng.choice(np.flatnonzero(member), round(limit * 8_000), replace=False)
        hit = by_chance.copy()
        hit[leaked] = True
        found += excess_by_stratum(hit, member, stratum, confidence=0.95, top_weight=512).p_value < 0.001
    assert 0.0005 < limit < 0.01
    assert found >= 48


def test_the_plan_has_a_sentence_for_every_family(fresh) -> None:
    plan = plan_of(fresh, PrivacyOptions())
    assert set(plan) == {family.name for family in FAMILIES}
    assert "2,500 people a side (all there are on the smaller side)" in plan["privacy.membership_inference"]


@pytest.mark.parametrize(("half_width", "most"), list(product([0.0025, 0.005], [None, 1000])))
def test_people_follow_from_the_interval_asked_for(fresh, half_width: float, most: int | None) -> None:
    options = PrivacyOptions(half_width=half_width, max_queries=most)
    needed = {0.0025: 12_170, 0.005: 3_043}[half_width]
    assert options.people == (needed if most is None else 1000)
    assert pool_of(fresh, options).units == 2 * min(2500, options.people)
