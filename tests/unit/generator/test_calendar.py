"""Which calendar parts of a datetime are learnt is what the card says; what no part names is drawn evenly."""

from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError

from generator.fields import make_fields
from generator.registry import create, load
from policies.types import PrivacyTarget

ROWS = 20_000


def field_of(card_of, parts, bounds=("2024-01-01", "2024-12-31")):
    return make_fields(card_of({"at": {"type": "datetime", "bounds": list(bounds), "parts": parts, "missing": False}}), {})[0]


@pytest.fixture(scope="module")
def busy():
    """Ten o'clock on Fridays of summer, at the 30th minute: every part has a peak."""
    rng = np.random.default_rng(0)
    days = pd.date_range("2024-01-01", "2024-12-31")
    weights = (1 + 9 * (days.weekday == 4)) * (1 + 4 * days.month.isin([6, 7, 8]))
    day = rng.choice(len(days), ROWS, p=weights / weights.sum())
    peak = rng.random(ROWS) < 0.6
    hour = np.where(peak, 10, rng.integers(0, 24, ROWS))
    minute = np.where(peak, 30, rng.integers(0, 60, ROWS))
    start = datetime(2024, 1, 1)  # noqa: DTZ001
    moments = [start + timedelta(days=int(d), hours=int(h), minutes=int(m)) for d, h, m in zip(day, hour, minute, strict=True)]
    return pa.table({"at": pa.array(moments, pa.timestamp("us")), "note": pa.array(["x"] * ROWS)})


def drawn(card_of, busy, parts):
    """At ε = 50 and 20,000 rows shares are exact to 0.01 by many standard deviations of their noise."""
    columns = {
        "at": {"type": "datetime", "bounds": ["2024-01-01", "2024-12-31"], "missing": False},
        "note": {"type": "category", "values": ["x", "y"], "missing": False},
    }
    if parts is not None:
        columns["at"]["parts"] = parts
    target = PrivacyTarget(epsilon=Decimal(50), delta=Decimal("1e-6"))
    fitted = create("dp-marginal").fit(busy, card=card_of(columns), target=target, rng=np.random.default_rng(0))
    return fitted, pa.Table.from_batches(list(fitted.sample(ROWS, rng=np.random.default_rng(1))))["at"].to_pandas()


TRUE = {"hour": 0.6 + 0.4 / 24, "minute": 0.6 + 0.4 / 60, "friday": 10 / 16, "summer": 460 / 734}
EVEN = {"hour": 1 / 24, "minute": 1 / 60, "friday": 1 / 7, "summer": 92 / 366}


@pytest.mark.parametrize(
    ("parts", "learnt"),
    [
        (None, {"hour", "friday", "summer"}),
        (["trend", "weekday", "hour"], {"hour", "friday", "summer"}),
        (["trend", "month", "weekday", "hour", "minute"], {"hour", "minute", "friday", "summer"}),
        (["trend", "weekday"], {"friday", "summer"}),
        (["trend"], {"summer"}),
        (["month"], {"summer"}),
        (["month", "weekday"], {"friday", "summer"}),
        (["weekday"], {"friday"}),
        (["hour"], {"hour"}),
        (["year"], set()),
        (["day"], {"friday", "summer"}),
        (["holiday(DE)", "hour"], {"friday", "summer", "hour"}),
    ],
)
def test_parts_that_are_named_are_learnt_and_no_others(card_of, busy, parts, learnt):
    at = drawn(card_of, busy, parts)[1]
    shares = {
        "hour": (at.dt.hour == 10).mean(),
        "minute": (at.dt.minute == 30).mean(),
        "friday": (at.dt.weekday == 4).mean(),
        "summer": at.dt.month.isin([6, 7, 8]).mean(),
    }
    for part, share in shares.items():
        assert share == pytest.approx(TRUE[part] if part in learnt else EVEN[part], abs=0.04), part
    assert at.min() >= pd.Timestamp("2024-01-01")
    assert at.max() < pd.Timestamp("2025-01-01")


def test_a_saved_model_keeps_its_parts(card_of, busy, tmp_path):
    fitted, at = drawn(card_of, busy, ["month", "weekday"])
    again = load(tmp_path, digest=fitted.save(tmp_path))
    table = pa.Table.from_batches(list(again.sample(ROWS, rng=np.random.default_rng(1))))
    assert table["at"].to_pandas().equals(at)


def test_a_part_that_nobody_knows_is_refused(card_of):
    with pytest.raises(ValidationError, match="parts"):
        field_of(card_of, ["fortnight"])


@pytest.mark.parametrize(
    "parts", [["month"], ["month", "weekday"], ["week"], ["trend"], ["year", "month"], ["weekday"], ["hour"]]
)
@pytest.mark.parametrize("bounds", [("2023-03-15", "2024-12-31"), ("2024-02-28", "2024-03-01"), ("1990-01-01", "2024-12-31")])
def test_codes_come_back_as_moments_with_the_same_codes(card_of, parts, bounds):
    field = field_of(card_of, parts, bounds)
    rng = np.random.default_rng(0)
    span = (field.high - field.low).total_seconds()
    moments = pa.array([field.low + timedelta(seconds=float(s)) for s in rng.random(500) * span], pa.timestamp("us"))
    codes = field.encode({"at": moments})
    back = field.decode(codes, rng)["at"]
    assert [c.tolist() for c in field.encode({"at": back})] == [c.tolist() for c in codes]
    first, last = field.spans()
    assert len(first) == len(last) == field.variables[0].size
    assert (first <= last).all()
