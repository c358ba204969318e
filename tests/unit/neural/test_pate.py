"""The parts of `pate-gan`: what is looked at, how teachers vote, what the student makes of it."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray

from generator import registry
from generator.base import FittedGenerator
from generator.pate import teachers as teaching
from generator.pate.pairs import PairView, _groups, _orthonormal, _waves
from generator.pate.student import Student
from generator.pate.teachers import Ballot, Teachers, count_votes
from generator.zcdp import Account
from policies.card import DatasetCard
from policies.types import PrivacyTarget

Integers = NDArray[np.int64]
ONES = (np.full(8, 0.125), np.array([0.4, 0.3, 0.3]), np.array([0.7, 0.3]))
TARGET = PrivacyTarget(epsilon=Decimal(3), delta=Decimal("1e-6"))


@pytest.fixture
def view() -> PairView:
    scores = (_orthonormal(_waves(ONES[0], None), ONES[0]), *(_orthonormal(_groups(ones), ones) for ones in ONES[1:]))
    return PairView(scores, frozenset({2}))


def rows_of(count: int, seed: int, *, together: float = 0.0) -> Integers:
    """Independent columns, but for a part of rows in which the last follows the first."""
    choice = np.random.default_rng(seed)
    found = np.stack([choice.choice(ones.size, count, p=ones) for ones in ONES], axis=1)
    is_bound = choice.random(count) < together
    found[is_bound, 2] = found[is_bound, 0] < 3
    return found


def ballot_of(view: PairView, queries: int = 64) -> Ballot:
    return Ballot.of(view, view.rows(rows_of(queries, 1)), view.rows(rows_of(2000, 2)), (1.0, 4.0))


def test_scores_are_bounded_multiples_with_mean_0_and_variance_1(view: PairView) -> None:
    for table, ones in zip(view.scores, ONES, strict=True):
        assert np.array_equal(table * 16, np.round(table * 16))
        assert np.abs(table).max() <= 16
        assert np.abs(ones @ table).max() < 0.05
        assert np.abs(ones @ table**2 - 1).max() < 0.1


def test_missing_values_of_an_ordered_column_have_a_score_of_their_own() -> None:
    ones = np.array([0.2, 0.2, 0.2, 0.2, 0.2])
    assert _orthonormal(_waves(ones, 4), ones).shape == (5, 4)
    assert _orthonormal(_waves(np.array([0.5, 0.5]), 1), np.array([0.5, 0.5])).shape == (2, 1)


def test_rare_values_share_a_score_and_a_constant_has_none() -> None:
    rare = np.array([0.9, *[0.1 / 50] * 50])
    assert _groups(rare).shape[1] == 5
    assert _orthonormal(_groups(np.array([1.0])), np.array([1.0])).shape == (1, 0)


def test_likeness_is_the_sum_over_pairs_of_columns(view: PairView) -> None:
    left, right = view.rows(rows_of(20, 3)), view.rows(rows_of(30, 4))
    parts = [left[:, a:b] @ right[:, a:b].T for a, b in view.ends]
    without, with_goal = view.likeness(left, right)
    assert np.array_equal(without, parts[0] * parts[1])
    assert np.array_equal(with_goal, parts[2] * (parts[0] + parts[1]))


def test_one_unit_changes_each_count_by_at_most_one_and_no_other_teacher(view: PairView, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever its rows stand: sums are exact, so a shifted block of the computation rounds nothing differently."""
    monkeypatch.setattr(teaching, "CHUNK", 7)
    codes, shards, ballot = rows_of(300, 5), np.sort(np.random.default_rng(6).integers(0, 40, 300)), ballot_of(view)
    whole = count_votes(view, codes, shards, 40, ballot)
    for shard in range(0, 40, 3):
        kept = shards != shard
        kept[np.flatnonzero(~kept)[1:]] = True  # one unit of the shard, of one row
        changed = whole - count_votes(view, codes[kept], shards[kept], 40, ballot)
        own = [count_votes(view, codes[k & (shards == shard)], shards[k & (shards == shard)], 40, ballot) for k in (True, kept)]
        assert np.abs(changed).max() <= 1
        assert np.array_equal(changed, own[0] - own[1])


def test_rounding_would_let_a_row_reach_other_teachers(view: PairView) -> None:
    """The planted fault: scores that are no multiples give sums that depend on the order of addition."""
    crooked = PairView(tuple(table / 3 for table in view.scores), view.goals)
    rows = crooked.rows(rows_of(400, 8))
    forwards, backwards = ((rows @ rows[:50].T)[::step].cumsum(axis=0)[-1] for step in (1, -1))
    assert not np.array_equal(forwards, backwards)
    exact = view.rows(rows_of(400, 8))
    forwards, backwards = ((exact @ exact[:50].T)[::step].cumsum(axis=0)[-1] for step in (1, -1))
    assert np.array_equal(forwards, backwards)


def test_a_unit_is_in_one_shard_and_votes_are_charged_at_the_root_of_their_number(view: PairView) -> None:
    owners = np.repeat(np.arange(60), 3)
    account = Account(TARGET, unit="who")
    teachers = Teachers(view, rows_of(180, 9), owners, count=20, columns=("a", "b", "c"))
    teachers.vote(ballot_of(view), account=account, rho=Fraction(1, 100))
    facts = account.spent().mechanisms[0].parameters
    assert (facts["sensitivity"], facts["teachers"]) == (8, 20)
    assert Fraction(64) / (2 * Fraction(str(facts["variance"]))) <= Fraction(1, 100)
    where = {tuple(row): shard for row, shard in zip(teachers._codes.tolist(), teachers._shards.tolist(), strict=True)}
    assert len(where) > 20
    with pytest.raises(ValueError, match="square"):
        teachers.vote(ballot_of(view, 63), account=account, rho=Fraction(1, 100))


def test_rows_of_a_unit_share_a_shard(view: PairView) -> None:
    codes = np.stack([np.arange(8).repeat(3), *[np.zeros(24, np.int64)] * 2], axis=1)
    teachers = Teachers(view, codes, np.arange(8).repeat(3), count=4, columns=("a", "b", "c"))
    for unit in range(8):
        assert len(set(teachers._shards[teachers._codes[:, 0] == unit].tolist())) == 1


def test_the_student_learns_pair_means_from_votes_alone(view: PairView) -> None:
    real, generated, student = rows_of(20_000, 10, together=0.6), rows_of(20_000, 11), Student(view)
    truth = view.rows(real).T @ view.rows(real) / len(real) * view.by_pair((1.0, 1.0))
    shards = np.arange(20_000) // 10
    for seed in range(2):
        ballot = Ballot.of(view, view.rows(rows_of(144, 20 + seed)), view.rows(rows_of(2000, 2)), (1.0, 4.0))
        votes, expected = (count_votes(view, codes, shards, 2000, ballot).astype(float) for codes in (real, generated))
        now = np.zeros_like(truth)
        student.hear(ballot, votes, expected=expected, variance=1.0, teachers=2000, rows=20_000, now=now)
    found = student.pair_means().numpy()
    assert np.abs(truth).max() > 0.3
    assert np.abs(found - truth).max() < 0.3 * np.abs(truth).max()


def test_pair_means_of_a_generator_are_those_of_its_rows(view: PairView) -> None:
    chances = [torch.from_numpy(ones).repeat(5, 1) for ones in ONES]
    assert float((view.pair_means(chances) * torch.from_numpy(view.by_pair((1.0, 1.0)))).abs().max()) < 0.01


def fit(**values: object) -> tuple[FittedGenerator, pa.Table]:
    """Two columns of which the second says what the first is, nine times out of ten; and one that has nothing to do with them."""
    choice = np.random.default_rng(12)
    first = choice.integers(0, 2, 6000)
    second = np.where(choice.random(6000) < 0.9, first, 1 - first)
    columns = {"goal": first, "clue": second, "noise": choice.integers(0, 2, 6000)}
    table = pa.table({name: [f"v{code}" for code in codes] for name, codes in columns.items()})
    spec = {"type": "category", "values": ["v0", "v1"], "missing": False}
    card = DatasetCard.model_validate(
        {"apiVersion": "ticketgate/v1", "kind": "Dataset", "metadata": {"name": "t"},
         "spec": {"source": "t.csv", "targets": ["goal"], "columns": dict.fromkeys(columns, spec)}}
    )  # fmt: skip
    made = registry.create(
        "pate-gan", {"device": "cpu", "generator_width": 32, "root_queries": 12, "student_steps": 120, **values}
    )
    fitted = made.fit(table, card=card, target=TARGET, rng=np.random.default_rng(0))
    return fitted, pa.Table.from_batches(list(fitted.sample(4000, rng=np.random.default_rng(1))))


def agreement(table: pa.Table, left: str, right: str) -> float:
    return float(np.mean([a == b for a, b in zip(table[left].to_pylist(), table[right].to_pylist(), strict=True)]))


def test_the_relation_to_the_target_survives_at_an_epsilon_of_three() -> None:
    fitted, found = fit()
    assert agreement(found, "goal", "clue") > 0.7
    assert abs(agreement(found, "goal", "noise") - 0.5) < 0.15
    votes = [m.parameters for m in fitted.spent.mechanisms if m.name == "votes of teachers"]
    assert len(votes) == 3
    assert 600 < int(str(votes[0]["teachers"])) < 900  # one for each eight rows, by a noisy count


def test_the_number_of_teachers_can_be_set() -> None:
    fitted, _ = fit(teachers=50, student_steps=5, rounds=1)
    assert {m.parameters["teachers"] for m in fitted.spent.mechanisms if m.name == "votes of teachers"} == {50}


@pytest.mark.parametrize(("rows", "columns"), [(50, ("constant",)), (50, ("pair",)), (12, ("pair", "share"))])
def test_tables_with_next_to_nothing_to_learn_are_fitted(rows: int, columns: tuple[str, ...]) -> None:
    described = {
        "constant": {"type": "category", "values": ["a"], "missing": False},
        "pair": {"type": "category", "values": ["a", "b"], "missing": False},
        "share": {"type": "number", "bounds": [0, 1]},
    }
    table = pa.table({"constant": ["a"] * rows, "pair": ["a", "b"] * (rows // 2), "share": np.linspace(0, 1, rows)})
    card = DatasetCard.model_validate(
        {"apiVersion": "ticketgate/v1", "kind": "Dataset", "metadata": {"name": "t"},
         "spec": {"source": "t.csv", "targets": list(columns), "columns": {name: described[name] for name in columns}}}
    )  # fmt: skip
    target = PrivacyTarget(epsilon=Decimal("0.1"), delta=Decimal("1e-6"))
    made = registry.create("pate-gan", {"device": "cpu", "generator_width": 8, "root_queries": 4, "student_steps": 2})
    fitted = made.fit(table.select(columns), card=card, target=target, rng=np.random.default_rng(0))
    assert sum(batch.num_rows for batch in fitted.sample(30, rng=np.random.default_rng(1))) == 30
