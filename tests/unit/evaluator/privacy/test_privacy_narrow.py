"""Honest releases of few columns and of few rows: nothing that sampling explains may refuse them, and leaks still do."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from evaluator.inputs import check_inputs
from evaluator.privacy import FAMILIES, PrivacyOptions
from evaluator.statistics import largest_share
from policies.gate import gate
from policies.presets import PRESETS

RARE = "privacy.rare_values.excess_share"
MANY = "privacy.singling_out.multivariate"
EXPOSED = "privacy.membership_inference.exposed.tpr_at_fpr_10pct"


def run(inputs, *names: str):
    results = {}
    for family in FAMILIES:
        if not names or family.name in names:
            results |= family.run(inputs, PrivacyOptions())
    return results


def blocking(results, preset: str) -> list[str]:
    rules = [rule for rule in PRESETS[preset] if rule.metric.startswith("privacy.")]
    return [f"{rule.metric}: {rule.code}" for rule in gate(results, rules).blocking]


@pytest.fixture(scope="module")
def released(make_people, make_card):
    """T 6,000, H 4,000 and so many fresh rows, of some columns."""
    train, holdout = make_people(6000, 1), make_people(4000, 2)

    def make(columns: list[str], rows: int, *, copied: int = 0):
        synthetic = pa.concat_tables([train.slice(0, copied), make_people(4000, 3).slice(0, rows - copied)])
        return check_inputs(train=train, holdout=holdout, synthetic=synthetic, card=make_card(), seed=4, columns=columns)

    return make


@pytest.mark.parametrize(
    ("columns", "rows"), [(["ill"], 4000), (["region", "job", "ill"], 200), (["age", "region", "visits"], 2000)]
)
def test_fresh_rows_of_few_columns_pass(released, columns: list[str], rows: int) -> None:
    """Fixed draws: the tests at 0.001 refuse fewer than one in a hundred, and these are none of them."""
    results = run(released(columns, rows))
    assert blocking(results, "standard") == blocking(results, "exploratory") == []


def test_a_small_release_of_all_columns_passes(released) -> None:
    results = run(released(["age", "region", "job", "spend", "visits", "ill", "joined"], 100))
    assert blocking(results, "standard") == []
    assert results[MANY].n >= 2000


def test_a_small_release_that_is_copied_is_refused(released) -> None:
    results = run(released(["age", "region", "job", "spend", "visits", "ill", "joined"], 200, copied=200))
    found = blocking(results, "standard")
    assert "privacy.copies.excess_share: p-below-line" in found
    assert f"{MANY}: beyond-line" in found


def one_sided(card, seed: int):
    """A column in which train alone holds one odd value, and synthetic repeats it."""
    rng = np.random.default_rng(seed)
    sides = [pa.table({"v": np.r_[rng.integers(0, 20, n), extra], "w": rng.integers(0, 20, n + 1)})
             for n, extra in ((2000, 999), (1000, 3), (1000, 999))]  # fmt: skip
    types = {"v": {"type": "integer"}, "w": {"type": "integer"}}
    return check_inputs(train=sides[0], holdout=sides[1], synthetic=sides[2], card=card(types), seed=0)


def test_one_persons_odd_value_is_no_ground_for_a_refusal(make_card) -> None:
    result = run(one_sided(make_card, 0), "privacy.rare_values")[RARE]
    assert result.status == "not_applicable"
    assert result.detail["owners"] == 1


def test_ties_in_isolation_leave_the_exposed_tenth_measurable(released) -> None:
    result = run(released(["ill"], 1000), "privacy.membership_inference")[EXPOSED]
    assert result.status == "ok"
    assert result.n == pytest.approx(0.1 * 8000, abs=1)


def test_most_people_alike_do_not_make_linkability_a_coin_flip(make_card) -> None:
    """Nine rows in ten are equal: halves link for nearly everybody, members or not."""
    rng = np.random.default_rng(3)
    types = {name: {"type": "integer"} for name in ("a", "b")}

    def made(n: int) -> pa.Table:
        odd = rng.random((2, n)) < 0.05
        return pa.table({name: np.where(odd[k], rng.integers(1, 30, n), 0) for k, name in enumerate(types)})

    inputs = check_inputs(train=made(8000), holdout=made(4000), synthetic=made(4000), card=make_card(types), seed=0)
    result = run(inputs, "privacy.linkability")["privacy.linkability"]
    assert result.detail["control"] > 0.8
    assert result.interval[1] < 0.05
    assert result.value == pytest.approx(result.detail["attack"] - result.detail["control"])


def test_the_line_of_copies_is_held_against_a_share_of_everybody(released) -> None:
    """Of three columns few rows are one person's alone: an interval among those few says nothing to within one in a hundred."""
    result = run(released(["age", "region", "visits"], 2000), "privacy.copies")["privacy.copies.excess_share"]
    lone = result.detail["lone_share"]
    assert 0.05 < lone < 0.5
    assert result.value == pytest.approx(result.detail["excess_among_lone"] * lone)
    assert result.interval[1] < 0.01


def test_fewer_rows_than_predicates_need_are_inconclusive(released) -> None:
    result = run(released(["age", "region", "job", "spend"], 99), "privacy.singling_out")[MANY]
    assert (result.status, result.detail["needed"]) == ("inconclusive", 100)


def test_the_largest_share_takes_ties_by_lot_and_exactly_so_many() -> None:
    values = np.r_[np.zeros(1000), np.ones(3)]
    chosen = np.array([largest_share(values, 0.1, np.random.default_rng(seed)) for seed in range(200)])
    assert (chosen.sum(axis=1) == 100).all()
    assert chosen[:, -3:].all()
    drawn = chosen[:, :1000].sum(axis=0)  # each goes in with chance 97/1000: 19.4 of 200, below 60 by nine standard deviations
    assert 0 < drawn.max() < 60
    assert (drawn[:500].sum() / drawn.sum()) == pytest.approx(0.5, abs=0.05)
