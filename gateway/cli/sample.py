"""The sample table of the demo: card transactions that this project makes itself, from a seed, with no person behind them.

Customers live in regions and pay merchants over one year with a weekly, daily and yearly rhythm. A few planted customers are
outliers: very high spending in a region where hardly anybody lives. They are who a careless generator betrays.

Invariants:
    - Equal seeds give equal tables. No row is anybody's.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["CARD", "make_transactions", "write_sample"]

REGIONS = ("north", "south", "east", "west", "coast", "hills", "islands")
REGION_SHARES = (0.30, 0.24, 0.20, 0.14, 0.08, 0.037, 0.003)
SEGMENTS = ("student", "household", "retired", "business")
MERCHANTS = ("grocery", "fuel", "restaurant", "travel", "clothing", "electronics", "health", "home", "leisure", "jeweller")
CHANNELS = ("chip", "contactless", "online")
MERCHANT_SHARES = np.array([
    [0.34, 0.06, 0.22, 0.04, 0.14, 0.08, 0.03, 0.03, 0.06, 0.00],
    [0.36, 0.14, 0.10, 0.03, 0.10, 0.06, 0.06, 0.10, 0.05, 0.00],
    [0.38, 0.08, 0.09, 0.07, 0.06, 0.03, 0.16, 0.08, 0.05, 0.00],
    [0.10, 0.22, 0.20, 0.20, 0.04, 0.14, 0.02, 0.06, 0.02, 0.00],
])  # fmt: skip
TYPICAL = np.array([28, 48, 34, 260, 62, 180, 40, 95, 30, 900])
WEEKDAY = np.array([0.95, 0.92, 0.97, 1.02, 1.28, 1.42, 0.78])
MONTH = np.array([0.86, 0.84, 0.94, 0.97, 1.0, 1.03, 1.12, 1.05, 0.96, 0.98, 1.08, 1.38])
HOUR = np.array([1, 1, 1, 1, 1, 2, 5, 12, 18, 20, 24, 30, 38, 32, 26, 26, 30, 40, 44, 34, 22, 14, 8, 3])
YEAR = 2025
OUTLIERS = 14

CARD = """\
apiVersion: ticketgate/v1
kind: Dataset
metadata:
  name: card-transactions
  steward: dana
  classification: confidential
  frameworks: [GDPR]
  description: Card transactions of one year, made by this project from a seed. No row is anybody's.
spec:
  source: transactions.parquet
  privacy_unit: customer_id
  max_rows_per_unit: 4
  holdout: {fraction: 0.4}
  time_index: booked_at
  targets: [channel]
  protected: [region]
  budget: {epsilon: 10.0, delta: 1.0e-5}
  columns:
    customer_id: {type: id, role: identifier}
    region:
      {type: category, role: quasi-identifier, missing: false, per_unit: true,
       values: [north, south, east, west, coast, hills, islands]}
    age: {type: integer, role: quasi-identifier, missing: false, per_unit: true, bounds: [18, 95]}
    segment:
      {type: category, role: quasi-identifier, missing: false, per_unit: true, values: [student, household, retired, business]}
    merchant:
      {type: category, missing: false,
       values: [grocery, fuel, restaurant, travel, clothing, electronics, health, home, leisure, jeweller]}
    channel: {type: category, missing: false, values: [chip, contactless, online]}
    amount: {type: number, role: sensitive, missing: false, bounds: [0, 10000], decimals: 2}
    booked_at:
      {type: datetime, missing: false, bounds: [2025-01-01, 2025-12-31], parts: [trend, month, weekday, hour]}
"""


def make_transactions(*, customers: int, rng: np.random.Generator) -> pa.Table:
    """Make the table.

    Args:
        customers: How many customers; each has between 1 and 4 transactions, 2 on average.
        rng: Drives everything.

    Returns:
        A table in the types of `CARD`, in order of time.
    """
    shares = np.array(REGION_SHARES) / sum(REGION_SHARES)
    region = rng.choice(len(REGIONS), size=customers, p=shares)
    segment = rng.choice(len(SEGMENTS), size=customers, p=[0.18, 0.46, 0.22, 0.14])
    age = np.clip(rng.normal(np.array([22, 43, 71, 46])[segment], np.array([3, 9, 6, 10])[segment]), 18, 95).astype(int)
    wealth = rng.lognormal(0.0, 0.35, customers) * np.array([1.08, 1.0, 0.97, 1.02, 1.12, 0.9, 1.0])[region]
    rows = 1 + rng.binomial(3, 0.3, customers)
    who = np.repeat(np.arange(customers), rows)
    merchant = _choose(MERCHANT_SHARES[segment[who]], rng)
    amount = TYPICAL[merchant] * wealth[who] * rng.lognormal(0.0, 0.55, len(who))
    planted = rng.choice(customers, size=OUTLIERS, replace=False)
    is_planted = np.isin(who, planted)
    region[planted] = REGIONS.index("islands")
    merchant[is_planted] = MERCHANTS.index("jeweller")
    amount[is_planted] = rng.uniform(5500, 9800, is_planted.sum())
    online = np.clip(0.62 - age[who] / 160 + np.isin(merchant, [4, 5, 3]) * 0.25, 0.05, 0.9)
    tap = (1 - online) * np.clip(1.0 - amount / 160, 0.06, 0.85)
    channel = _choose(np.c_[1 - online - tap, tap, online], rng)
    booked = _moments(len(who), rng)
    order = np.argsort(booked, kind="stable")
    names = np.array([f"C{number:06d}" for number in rng.permutation(customers * 7)[:customers]])
    return pa.table(
        {
            "customer_id": pa.array(names[who][order]),
            "region": pa.array(np.array(REGIONS)[region[who]][order]),
            "age": pa.array(age[who][order].astype(np.int64)),
            "segment": pa.array(np.array(SEGMENTS)[segment[who]][order]),
            "merchant": pa.array(np.array(MERCHANTS)[merchant][order]),
            "channel": pa.array(np.array(CHANNELS)[channel][order]),
            "amount": pa.array(np.clip(np.round(amount, 2), 0.5, 10000.0)[order]),
            "booked_at": pa.array(booked[order].astype("datetime64[us]"), pa.timestamp("us")),
        }
    )


def write_sample(folder: Path, *, customers: int, rng: np.random.Generator) -> Path:
    """Write `transactions.parquet` and `card.yaml`; returns the card's path."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(make_transactions(customers=customers, rng=rng), folder / "transactions.parquet")
    card = folder / "card.yaml"
    card.write_text(CARD, "utf-8")
    return card


def _choose(probabilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    cumulative = np.cumsum(probabilities / probabilities.sum(axis=1, keepdims=True), axis=1)
    return np.asarray((rng.random(len(probabilities))[:, None] > cumulative[:, :-1]).sum(axis=1))


def _moments(count: int, rng: np.random.Generator) -> np.ndarray:
    days = np.arange(np.datetime64(f"{YEAR}-01-01"), np.datetime64(f"{YEAR + 1}-01-01"))
    months = days.astype("datetime64[M]").astype(int) % 12
    first = datetime(YEAR, 1, 1).weekday()  # noqa: DTZ001 - a calendar fact, no moment
    weights = MONTH[months] * WEEKDAY[(np.arange(len(days)) + first) % 7]
    day = rng.choice(len(days), size=count, p=weights / weights.sum())
    hour = rng.choice(24, size=count, p=HOUR / HOUR.sum())
    seconds = hour * 3600 + rng.integers(0, 3600, count)
    return np.asarray(days[day].astype("datetime64[s]") + seconds.astype("timedelta64[s]"))
