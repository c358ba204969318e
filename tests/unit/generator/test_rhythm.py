from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator import rhythm
from generator.fields import make_fields
from generator.rhythm import GRAIN, bounded_counts, clean_days, learn_rhythm, unit_length
from generator.source import Rows
from generator.zcdp import Account
from policies.types import PrivacyTarget

DAYS = 364


def norm(units, cells, length):
    """How far the counts move when each unit in turn is taken away."""
    whole = bounded_counts(units, cells, size=12, length=length)
    moved = [whole - bounded_counts(units[units != u], cells[units != u], size=12, length=length) for u in np.unique(units)]
    return max(int((m.astype(object) ** 2).sum()) for m in moved)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 11)), min_size=1, max_size=300), st.integers(1, 12))
def test_no_unit_moves_the_counts_by_more_than_is_charged(rows, length):
    units, cells = np.array(rows).T
    assert norm(units, cells, length) <= (GRAIN * length) ** 2


def test_unbounded_counts_would_be_caught():
    units, cells = np.zeros(100, np.int64), np.arange(100) % 12
    free = np.bincount(cells, minlength=12) * GRAIN
    assert (free**2).sum() > (GRAIN * 10) ** 2
    assert norm(units, cells, 10) <= (GRAIN * 10) ** 2


def test_the_length_is_the_root_of_m():
    assert [unit_length(m) for m in (1, 2, 4, 5, 100, 101)] == [1, 2, 2, 3, 10, 11]


def test_days_without_noise_stay_what_they_are():
    truth = np.random.default_rng(0).poisson(500, DAYS).astype(float)
    clean = clean_days(truth, sigma=1e-3, weekday=np.arange(DAYS) % 7, rows=truth.sum())
    np.testing.assert_allclose(clean, truth, atol=0.01)


def test_noise_is_replaced_by_the_season():
    """The seed is fixed; the cleaned series is at least twice as near to the truth as the noisy one."""
    rng = np.random.default_rng(1)
    days = np.arange(DAYS)
    truth = 100 * (1 + 0.5 * np.sin(days / 58)) * np.array([1, 1.1, 0.9, 1, 1.3, 1.5, 0.2])[days % 7]
    noisy = truth + rng.normal(0, 60, DAYS)
    clean = clean_days(noisy, sigma=60, weekday=days % 7, rows=truth.sum())
    assert np.square(clean - truth).mean() < np.square(noisy - truth).mean() / 4
    assert (clean >= 0).all()


@pytest.fixture
def shop(card_of):
    card = card_of(
        {
            "who": {"type": "id", "role": "identifier"},
            "at": {"type": "datetime", "bounds": ["2024-01-01", "2024-12-29"], "missing": True},
        },
        privacy_unit="who", max_rows_per_unit=5, time_index="at",
    )  # fmt: skip
    rng = np.random.default_rng(3)
    rows = 60_000
    weights = np.array([1, 1, 1, 1, 2, 3, 0.2])[np.arange(DAYS) % 7]
    day = rng.choice(DAYS, rows, p=weights / weights.sum())
    hour = rng.choice(24, rows, p=np.array([0] * 8 + [1] * 12 + [0] * 4) / 12)
    at = [datetime(2024, 1, 1) + timedelta(days=int(d), hours=int(h)) for d, h in zip(day, hour, strict=True)]  # noqa: DTZ001
    who = rng.integers(0, 20_000, rows)
    missing = rng.random(rows)
    return card, pa.table(
        {
            "who": pa.array([f"c{w}" for w in who], mask=missing > 0.9),
            "at": pa.array(at, pa.timestamp("us"), mask=missing < 0.1),
        }
    )


def learn(card, table, account):
    rows, field = Rows(table, card=card), make_fields(card, {})[0]
    return learn_rhythm(
        rows, card=card, account=account, rho=account.total / 2, field=field, unit_rows=float(rows.unit_rows.sum())
    )


def test_a_rhythm_is_learnt_and_paid_for(shop):
    """ε = 10 and 60,000 rows: the weekday shares are within 0.02, some 40 standard deviations of their noise."""
    account = Account(PrivacyTarget(epsilon=Decimal(10), delta=Decimal("1e-6")), unit="who")
    found = learn(*shop, account)
    week = found.days[:DAYS].reshape(-1, 7).sum(axis=0)
    np.testing.assert_allclose(week / week.sum(), np.array([1, 1, 1, 1, 2, 3, 0.2]) / 9.2, atol=0.02)
    assert found.week[:, 8:20].sum() + found.days[DAYS] > 0.97
    assert found.week[0, 0] == pytest.approx(found.days[DAYS], abs=0.01)
    assert 0.05 < found.days[DAYS] < 0.15
    assert {m.name for m in account.spent().mechanisms} == {f"rows by {name}" for name in rhythm.SHARES}
    assert all(m.parameters["sensitivity"] == GRAIN * 3 for m in account.spent().mechanisms)
    assert account.total / 2 >= account.total - account.left > account.total * Fraction(48, 100)


def test_the_recorded_noise_was_added(shop, monkeypatch):
    """Noise is drawn once for rows with a unit at the recorded variance, once for the others at that of a single row."""
    drawn = []
    honest = rhythm.discrete_gaussian
    monkeypatch.setattr(rhythm, "discrete_gaussian", lambda variance, size: drawn.append(variance) or honest(variance, size))
    account = Account(PrivacyTarget(epsilon=Decimal(1), delta=Decimal("1e-6")), unit="who")
    learn(*shop, account)
    recorded = [Fraction(m.parameters["variance"]) for m in account.spent().mechanisms]
    assert all(with_unit >= said for with_unit, said in zip(drawn[::2], recorded, strict=True))
    assert all(alone * (GRAIN * 3) ** 2 >= said for alone, said in zip(drawn[1::2], recorded, strict=True))


def test_every_look_is_charged_before_rows_are_read(shop, monkeypatch):
    account = Account(PrivacyTarget(epsilon=Decimal(1), delta=Decimal("1e-6")), unit="who")
    paid = []
    honest = Rows.batches
    monkeypatch.setattr(Rows, "batches", lambda rows: paid.append(len(account.trace)) or honest(rows))
    learn(*shop, account)
    assert paid == [len(rhythm.SHARES)]
    assert {columns for _, columns in account.trace} == {("who", "at")}


def test_an_empty_table_has_even_shares(shop):
    account = Account(PrivacyTarget(epsilon=Decimal(1), delta=Decimal("1e-6")), unit="who")
    card, table = shop
    found = learn(card, table.slice(0, 0), account)
    assert np.isfinite(found.days).all()
    assert found.days.sum() == pytest.approx(1)
    assert found.week.sum() == pytest.approx(1)
