"""A table with one row an hour: every slot is filled once, and days stay as alike as they were."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from generator.fields import make_fields
from generator.marginal.measure import Lens
from generator.registry import create, load
from generator.slots import Candidates, Pace, hour_place, is_even, seats
from generator.source import Rows, Source
from generator.zcdp import Account
from policies.types import PrivacyTarget

DAYS = 364
COLUMNS = {
    "on": {"type": "date", "bounds": ["2023-01-01", "2023-12-30"], "missing": False},
    "hr": {"type": "integer", "bounds": [0, 23], "missing": False},
    "free": {"type": "boolean", "missing": False},
    "cnt": {"type": "integer", "bounds": [0, 1000], "missing": False},
}


@pytest.fixture
def card(card_of):
    return card_of(COLUMNS, time_index="on", targets=["cnt"])


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    day, hour = np.divmod(np.arange(DAYS * 24), 24)
    free = (day % 7) >= 5
    level = 1 + 0.6 * np.sin(day / 40) + np.repeat(rng.normal(0, 0.1, DAYS), 24)
    mean = np.where(free, np.exp(-((hour - 14) ** 2) / 30), np.exp(-((hour - 8) ** 2) / 4) + np.exp(-((hour - 18) ** 2) / 6))
    cnt = np.clip(np.round(400 * level * mean * rng.lognormal(0, 0.2, day.size)), 0, 1000).astype(np.int64)
    return pa.table({"on": pa.array(np.datetime64("2023-01-01") + day), "hr": hour, "free": free, "cnt": cnt})


def series(table):
    frame = table.to_pandas(date_as_object=False)
    at = frame["on"] + pd.to_timedelta(frame["hr"], unit="h")
    grid = pd.date_range("2023-01-01", "2023-12-30 23:00", freq="h")
    return frame["cnt"].groupby(at).sum().reindex(grid, fill_value=0).to_numpy(float), at.value_counts()


def autocorrelation(values, lag):
    values = values - values.mean()
    return float((values[lag:] * values[:-lag]).sum() / (values**2).sum())


def test_every_slot_is_filled_and_the_volume_keeps_its_rhythm(card, table, tmp_path):
    """At ε = 20 the noise of both autocorrelations is about 0.01; 0.13 leaves room for what a model of pairs cannot say.

    Over eight fits lag 168 was off by -0.06 ± 0.011. A seat that nobody was drawn for takes a row of another hour: some slots hold
    two rows, and seldom one holds three.
    """
    target = PrivacyTarget(epsilon=Decimal(20), delta=Decimal("1e-6"))
    fitted = create("dp-marginal").fit(table, card=card, target=target, rng=np.random.default_rng(0))
    made = pa.Table.from_batches(list(fitted.sample(table.num_rows, rng=np.random.default_rng(1))))
    volume, slots = series(made)
    assert slots.max() <= 4
    assert len(slots) > 0.97 * DAYS * 24
    for lag in (24, 168):
        assert autocorrelation(volume, lag) == pytest.approx(autocorrelation(series(table)[0], lag), abs=0.13)
    again = load(tmp_path, digest=fitted.save(tmp_path))
    assert pa.Table.from_batches(list(again.sample(table.num_rows, rng=np.random.default_rng(1)))).equals(made)
    assert fitted.spent.epsilon <= 20
    assert "rhythm of the volume" in {m.name for m in fitted.spent.mechanisms}


def candidates(rng, many=20_000):
    season = np.arange(28) % 7
    bins, weekday, hour = rng.integers(0, 2, many), rng.integers(0, 7, many), rng.integers(0, 24, many)
    return Candidates(bins, weekday, hour, rng.integers(0, 100, many), season, np.arange(28) // 14)


@pytest.mark.parametrize("rows", [672, 700, 100, 0, 1344])
@pytest.mark.parametrize("pace", [None, Pace(0, np.linspace(0, 1, 100), 0.8, 0.8)])
def test_slots_hold_equally_many_rows_and_rows_keep_hour_weekday_and_bin(rows, pace):
    drawn = candidates(np.random.default_rng(0))
    who, days = seats(rows, drawn, pace, np.random.default_rng(1))
    assert len(who) == len(set(who.tolist())) == rows
    counts = np.bincount(days * 24 + drawn.hour[who], minlength=672)
    assert counts.max() - counts.min() <= 1
    assert (drawn.season[days] == drawn.weekday[who]).all()
    assert (drawn.of_day[days] == drawn.bins[who]).all()


def test_slots_that_nobody_was_drawn_for_are_filled_all_the_same():
    rng = np.random.default_rng(0)
    drawn = candidates(rng, many=900)
    who, days = seats(672, drawn, None, rng)
    assert len(set(who.tolist())) == 672
    assert np.bincount(days, minlength=28).max() <= 26


def test_the_hour_is_known_from_the_card(card_of):
    def place(**columns):
        card = card_of({"on": COLUMNS["on"], **columns}, time_index="on")
        return hour_place(make_fields(card, {}), "on")

    assert place(hr=COLUMNS["hr"]) == 2
    assert place(hr={"type": "category", "values": [str(h) for h in range(24)], "missing": False}) == 2
    assert place(age={"type": "integer", "bounds": [1, 24], "missing": False}) is None


def test_uneven_hours_are_no_slots():
    assert is_even(np.ones(100) / 100, np.ones(24) / 24)
    assert not is_even(np.ones(100) / 100, np.arange(24) / 276)
    assert not is_even(np.arange(100) / 4950, np.ones(24) / 24)


def test_no_row_moves_the_autocovariances_by_more_than_is_charged(card, table):
    """Rows of extreme volume are added where it hurts most: beside extreme rows, and into a slot that is taken."""
    high = table.set_column(3, "cnt", pa.array(np.full(table.num_rows, 1000)))
    values = np.ones(1001)
    values[:500] = 0.0

    def exact(rows):
        fields = make_fields(card, {}, cells=2000)
        account = Account(PrivacyTarget(epsilon=Decimal(1), delta=Decimal("1e-6")), unit="row")
        lens = Lens(
            Source(Rows(rows, card=card), card=card, fields=fields), names=list("abcde"), account=account, rows_per_unit=1
        )
        found = lens.measure_lags(day=0, hour=2, volume=4, values=values, days=DAYS, rho=account.total / 2)
        return found * 256**2, account

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("generator.marginal.measure.discrete_gaussian", lambda _, size: np.zeros(size, np.int64))
        whole, account = exact(high)
        charged = account.spent().mechanisms[0].parameters["sensitivity"]
        for without in (0, 168, 4000):
            less = pa.concat_tables([high.slice(0, without), high.slice(without + 1)])
            moved = np.sqrt(((whole - exact(less)[0]) ** 2).sum())
            assert 0 < moved <= charged
            assert moved > charged / 4 or without == 0
        early = high.slice(0, 2000)
        late = pa.concat_tables([early, high.slice(high.num_rows - 1)])
        assert np.sqrt(((exact(late)[0] - exact(early)[0]) ** 2).sum()) <= charged
    assert Fraction(account.spent().mechanisms[0].parameters["variance"]) > 0


@pytest.mark.parametrize(("rounds", "picks", "epsilon"), [(1, 1, 1), (1, 3, 10), (2, 2, 10)])
def test_choosing_kinds_of_days_is_within_what_choices_may_cost(card, table, rounds, picks, epsilon):
    target = PrivacyTarget(epsilon=Decimal(epsilon), delta=Decimal("1e-6"))
    fitted = create("dp-marginal", {"rounds": rounds, "picks": picks}).fit(
        table, card=card, target=target, rng=np.random.default_rng(0)
    )
    choices = [m for m in fitted.spent.mechanisms if m.name.startswith("choice")]
    assert {"choice of a kind of day"} <= {m.name for m in choices}
    assert sum(m.share for m in choices) <= 0.08
    assert fitted.spent.epsilon <= epsilon
