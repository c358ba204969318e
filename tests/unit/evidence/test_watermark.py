"""A marked release says whose it was; marking moves hardly a value, and nothing that the gate reads."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv
from scipy.stats import ks_2samp

from evaluator.report_card import ReportCard
from gateway.evidence.watermark import Agreement, agreement, bearing, mark
from gateway.jobs.marking import moved_too_far, with_mark
from policies.loader import load_card
from policies.metrics import MetricResult

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
LINE = 1e-9
CARD = load_card("""
apiVersion: ticketgate/v1
kind: Dataset
metadata: {name: bookings}
spec:
  source: bookings.csv
  targets: [score]
  constraints: [{columns: [opened, closed], relation: "<="}]
  columns:
    age: {type: integer, bounds: [18, 100]}
    amount: {type: number, bounds: [0, 20000], decimals: 2}
    income: {type: integer, bounds: [0, 500000]}
    free: {type: number, bounds: [0, 1]}
    account: {type: integer, bounds: [0, 9000000000000000000]}
    score: {type: integer, bounds: [0, 100000]}
    opened: {type: integer, bounds: [0, 100000]}
    closed: {type: integer, bounds: [0, 100000]}
    region: {type: category, values: [north, south]}
""")
MARKS = {"amount": 2, "income": 0}


def table(rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    amount = np.where(rng.random(rows) < 0.3, 0.0, np.round(rng.gamma(2, 150, rows), 2)).clip(0, 20000)
    income = np.where(rng.random(rows) < 0.2, 24000, rng.normal(30000, 9000, rows).round().clip(0, 500000)).astype(int)
    return pa.table(
        {
            "age": pa.array(rng.integers(18, 101, rows)),
            "amount": pa.array(amount, mask=rng.random(rows) < 0.05),
            "income": pa.array(income),
            "region": pa.array(rng.choice(["north", "south"], rows)),
        }
    )


def test_only_columns_with_room_for_a_mark_bear_one() -> None:
    assert bearing(CARD) == MARKS


def test_numbers_too_large_for_a_double_keep_every_digit() -> None:
    accounts = pa.table({"account": pa.array([9007199254740993, 1234567890123456789, None], pa.int64())})
    assert mark(accounts, card=CARD, key=KEY).equals(accounts)


def test_marking_moves_a_value_by_one_step_at_most_and_leaves_the_rest() -> None:
    plain = table(4000, 1)
    marked = mark(plain, card=CARD, key=KEY)
    assert marked.schema == plain.schema
    for name in ("age", "region"):
        assert marked.column(name).equals(plain.column(name))
    for name, decimals in MARKS.items():
        before, after = (item.column(name).to_pandas() for item in (plain, marked))
        assert (before.isna() == after.isna()).all()
        moved = ((after - before).abs() * 10**decimals).round(6)
        assert moved.max() == 1
        assert 0.05 < (moved > 0).mean() < 0.3
        assert after.min() >= 0
        assert ks_2samp(before.dropna(), after.dropna(), method="asymp").statistic < 0.002
    assert (marked.column("amount").to_pandas() == 0).sum() == (plain.column("amount").to_pandas() == 0).sum()
    assert (marked.column("income").to_pandas() == 24000).sum() == (plain.column("income").to_pandas() == 24000).sum()


def test_no_mark_leaves_the_bounds() -> None:
    at_the_edges = pa.table({"amount": pa.array([0.0, 0.01, 19999.99, 20000.0]), "income": pa.array([0, 1, 499999, 500000])})
    for seed in range(30):
        marked = mark(at_the_edges, card=CARD, key=bytes([seed]) * 32).to_pandas()
        assert marked["amount"].between(0, 20000).all()
        assert marked["income"].between(0, 500000).all()


@pytest.mark.parametrize("change", ["whole", "csv", "a tenth of the rows", "one column", "shuffled"])
def test_a_marked_file_is_told_from_others(change: str) -> None:
    """False alarms: each comparison with probability < 1e-9 by the binomial tail."""
    leak = mark(table(4000, 2), card=CARD, key=KEY)
    frame = leak.to_pandas()
    if change == "csv":
        leak = csv.read_csv(io.BytesIO(frame.to_csv(index=False).encode()))
    elif change != "whole":
        made = {
            "a tenth of the rows": frame.head(400),
            "one column": frame[["amount"]],
            "shuffled": frame.sample(frac=1, random_state=1),
        }
        leak = pa.Table.from_pandas(made[change], preserve_index=False)
    assert agreement(leak, marks=MARKS, key=KEY).chance < LINE
    assert agreement(leak, marks=MARKS, key=OTHER_KEY).chance > LINE
    assert agreement(table(4000, 2), marks=MARKS, key=KEY).chance > LINE
    assert agreement(mark(table(4000, 3), card=CARD, key=OTHER_KEY), marks=MARKS, key=KEY).chance > LINE


def test_agreement_counts_as_a_coin_does() -> None:
    assert Agreement(agree=0, of=0).chance == 1.0
    assert Agreement(agree=10, of=10).chance == pytest.approx(2**-10)
    assert Agreement(agree=5, of=10).chance == pytest.approx(0.623046875)


def card_of(value: float, width: float | None = 0.02) -> ReportCard:
    interval = None if width is None else (value - width / 2, value + width / 2)
    found = MetricResult(value=value, direction="lower", method="test", n=9, interval=interval)
    return ReportCard(
        dataset="bookings", rows={"train": 9, "holdout": 9, "synthetic": 9}, seed=1, versions={}, metrics={"a.b": found}
    )


@pytest.mark.parametrize(("after", "is_marked"), [(0.11, True), (0.13, False)])
def test_a_mark_that_would_move_a_gated_metric_beyond_its_interval_is_not_made(after: float, is_marked: bool) -> None:
    plain = table(500, 4)
    judged = iter([card_of(after), card_of(0.1)])
    made = with_mark(
        plain, card=CARD, key=KEY, report=card_of(0.1), gated={"a.b"}, judge=lambda released: (released, next(judged))
    )
    assert bool(made.marks) is is_marked
    assert made.table.equals(plain) is not is_marked
    assert bool(made.report.notes) is not is_marked
    assert made.report.metrics["a.b"].value == (after if is_marked else 0.1)


def test_a_table_that_can_bear_no_mark_says_so() -> None:
    plain = table(50, 5).select(["age", "region"])
    made = with_mark(plain, card=CARD, key=KEY, report=card_of(0.1), gated=set(), judge=lambda _: pytest.fail("nothing to judge"))
    assert made.marks == {}
    assert "no column can bear" in made.report.notes[0]


def test_a_metric_without_an_interval_may_not_move_and_none_may_vanish() -> None:
    before, after = (card_of(value, None).metrics["a.b"] for value in (0.1, 0.1001))
    assert moved_too_far(before, after)
    assert not moved_too_far(before, before)
    assert moved_too_far(before, None)
    assert moved_too_far(before, MetricResult(value=None, direction="lower", method="test", status="inconclusive"))
