"""One fit of `pate-gan`, canaries in its table by independent coins, and an attacker who knows all but the coins and the noise.

The attacker knows the card, all other rows, the canaries, which shard each is in, the generated rows that were voted on, and
the noisy votes of every round. A canary flips some votes of its own teacher, and the attacker knows which; so it takes the
least-squares estimate of the coins, and guesses every one of them (bound: Steinke et al. 2023).

Each bound holds with confidence 1 - 1e-7; two honest fits are accused with probability below 1e-6.
"""

import numpy as np
import pyarrow as pa
import pytest

from generator.audit import one_run_lower_bound
from generator.pate import family, teachers
from generator.pate.teachers import Teachers, count_votes
from generator.sgd.prepare import encode
from generator.zcdp import Account

COLUMNS, VALUES, KNOWN, CANARIES, TEACHERS = 8, 6, 600, 120, 480
DELTA, CONFIDENCE = 1e-9, 1 - 1e-7
SMALL = {"teachers": TEACHERS, "rounds": 2, "root_queries": 16, "student_steps": 20, "generator_width": 16, "device": "cpu"}
OF_KNOWN = np.arange(KNOWN) % TEACHERS
OF_CANARY = np.arange(CANARIES)


def table_of(codes):
    return pa.table({f"c{place}": [f"v{code}" for code in codes[:, place]] for place in range(COLUMNS)})


@pytest.fixture
def card(card_of):
    values = [f"v{code}" for code in range(VALUES)]
    columns = {f"c{place}": {"type": "category", "values": values, "missing": False} for place in range(COLUMNS)}
    return card_of(columns, targets=["c0"])


class Attacker:
    """Hears the noisy votes; it believes in the stated noise, or in another of variance `believed`."""

    def __init__(self, monkeypatch, known, canaries, coins, *, believed):
        self.gram, self.score = np.zeros((CANARIES, CANARIES)), np.zeros(CANARIES)
        measured = []
        measure, vote = family.measure, Teachers.vote

        def seen_measure(*args, **facts):
            found = measure(*args, **facts)
            measured.append(found[0])
            return found

        def seen_vote(school, ballot, **facts):
            votes, variance = vote(school, ballot, **facts)
            of_known, of_canary = (encode(table, measured[0]).codes for table in (known, canaries))
            ordered = np.argsort(OF_KNOWN, kind="stable")
            alone = count_votes(school._view, of_known[ordered], OF_KNOWN[ordered], TEACHERS, ballot)
            flips = np.stack([
                self._with(school, ballot, of_known, of_canary[place : place + 1], OF_CANARY[place]) for place in range(CANARIES)
            ])  # fmt: skip
            self.gram += flips @ flips.T / (believed or variance)
            self.score += flips @ (votes - alone) / (believed or variance)
            return votes, variance

        def public_shards(_count, size):
            found = np.concatenate([OF_KNOWN, OF_CANARY[coins]])
            assert size == found.size
            return found

        monkeypatch.setattr(family, "measure", seen_measure)
        monkeypatch.setattr(Teachers, "vote", seen_vote)
        monkeypatch.setattr(teachers, "uniform_below", public_shards)

    @staticmethod
    def _with(school, ballot, of_known, canary, shard):
        """How the votes of one teacher change by a canary."""
        mates = of_known[shard == OF_KNOWN]
        before, after = (
            count_votes(school._view, codes, np.zeros(len(codes), np.int64), 1, ballot)
            for codes in (mates, np.concatenate([mates, canary]))
        )
        return (after - before).astype(float)

    def certainty(self):
        """How certainly each canary was in: the posterior mean of its coin, less one half."""
        return np.linalg.solve(self.gram + 4 * np.eye(CANARIES), self.score - self.gram @ np.full(CANARIES, 0.5))


def lower_bound(monkeypatch, card, fit, epsilon, *, believed=None):
    choice = np.random.default_rng(31)
    known, canaries = (choice.integers(0, VALUES, (rows, COLUMNS)) for rows in (KNOWN, CANARIES))
    coins = choice.random(CANARIES) < 0.5
    attacker = Attacker(monkeypatch, table_of(known), table_of(canaries), coins, believed=believed)
    train = table_of(np.concatenate([known, canaries[coins]]))
    fit(train, card, name="pate-gan", epsilon=str(epsilon), delta=str(DELTA), **SMALL)
    correct = int(((attacker.certainty() > 0) == coins).sum())
    print(f"pate-gan claimed {epsilon}: {correct} of {CANARIES} coins guessed right")
    return one_run_lower_bound(correct, CANARIES, canaries=CANARIES, delta=DELTA, confidence=CONFIDENCE)


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [1, 3])
def test_the_bound_stays_below_the_claim(monkeypatch, card, fit, epsilon):
    assert lower_bound(monkeypatch, card, fit, epsilon) <= epsilon


@pytest.mark.slow
def test_without_noise_the_bound_exceeds_the_claim(monkeypatch, card, fit):
    monkeypatch.setattr(teachers, "discrete_gaussian", lambda _, size: np.zeros(size, np.int64))
    assert lower_bound(monkeypatch, card, fit, 1, believed=0.01) > 1


@pytest.fixture
def ledger(monkeypatch):
    """What was paid for and which votes of private rows were counted, in order."""
    found, pay, count = [], Account.gaussian, teachers.count_votes

    def paid(account, name, **facts):
        found.append(name)
        return pay(account, name, **facts)

    def counted(*args):
        found.append("counted")
        return count(*args)

    monkeypatch.setattr(Account, "gaussian", paid)
    monkeypatch.setattr(teachers, "count_votes", counted)
    return found


def is_paid_before_counted(ledger):
    votes = [entry for entry in ledger if entry in {"votes of teachers", "counted"}]
    return votes == ["votes of teachers", "counted"] * (len(votes) // 2) and len(votes) > 0


@pytest.fixture
def some_rows():
    return table_of(np.random.default_rng(7).integers(0, VALUES, (KNOWN, COLUMNS)))


def test_votes_are_paid_for_before_they_are_counted(ledger, card, fit, some_rows):
    fit(some_rows, card, name="pate-gan", epsilon="1", **SMALL)
    assert is_paid_before_counted(ledger)


def test_a_second_count_for_one_payment_is_caught(ledger, card, fit, some_rows, monkeypatch):
    honest = Teachers.vote

    def twice(school, ballot, **facts):
        teachers.count_votes(school._view, school._codes, school._shards, school.count, ballot)
        return honest(school, ballot, **facts)

    monkeypatch.setattr(Teachers, "vote", twice)
    fit(some_rows, card, name="pate-gan", epsilon="1", **SMALL)
    assert not is_paid_before_counted(ledger)
