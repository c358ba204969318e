"""A read trace of what happens before codes are made: domains that a card leaves open, and units.

Every touch of a column's values, or of whose row it is, is held against what the account was charged for until then. The
codes of a table are traced in `test_white_box`. Each kind of unpaid look is planted and must be seen.
"""

import numpy as np
import pyarrow as pa
import pytest

from generator import domains, source, units
from generator.source import Rows
from generator.zcdp import Account

ROWS = 1500


class Batch:
    """A batch that reports which column is read."""

    def __init__(self, raw, look):
        self.raw, self.schema, self.num_rows, self._look = raw, raw.schema, raw.num_rows, look

    def column(self, place):
        self._look(self.schema.field(place).name if isinstance(place, int) else place)
        return self.raw.column(place)


class Owners(np.ndarray):
    """Whose row each row is; any arithmetic with it is a look."""

    def __array_finalize__(self, parent):
        self.look = getattr(parent, "look", None)

    def __array_function__(self, function, types, args, kwargs):
        self.look()
        return super().__array_function__(function, types, args, kwargs)

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        self.look()
        plain = [i.view(np.ndarray) if isinstance(i, Owners) else i for i in inputs]
        return getattr(ufunc, method)(*plain, **kwargs)

    def __getitem__(self, item):
        self.look()
        return self.view(np.ndarray)[item]


class Trace:
    """Looks at raw columns and at owners, and which of them nobody had paid for."""

    def __init__(self, monkeypatch):
        self.looks: list[str] = []
        self.unpaid: list[str] = []
        self.account: Account | None = None
        trace = self
        opened, read, init, conform = Account.__init__, Rows.batches, Rows.__init__, source.conform

        def open_account(account, *args, **kwargs):
            opened(account, *args, **kwargs)
            trace.account = account

        def watch(rows, train, *, card):
            init(rows, train, card=card)
            if rows.units is not None:
                rows.units = rows.units.view(Owners)
                rows.units.look = lambda: trace.look(card.spec.privacy_unit)

        monkeypatch.setattr(Account, "__init__", open_account)
        monkeypatch.setattr(Rows, "__init__", watch)
        monkeypatch.setattr(Rows, "batches", lambda rows: (Batch(batch, trace.look) for batch in read(rows)))
        monkeypatch.setattr(source, "conform", lambda batch, columns: conform(getattr(batch, "raw", batch), columns))

    def look(self, column):
        self.looks.append(column)
        paid = {name for _, columns in self.account.trace for name in columns}
        if column not in paid:
            self.unpaid.append(column)


@pytest.fixture
def shop(card_of):
    """A table with a unit, a time index and three open domains."""
    rng = np.random.default_rng(4)
    seconds = 1_704_067_200 + rng.integers(0, 86_400 * 90, ROWS)
    table = pa.table({
        "customer": [f"c{i}" for i in rng.integers(0, 400, ROWS)],
        "at": pa.array(seconds * 1_000_000, pa.timestamp("us")),
        "item": np.array(["tea", "milk", "salt"])[rng.integers(0, 3, ROWS)],
        "price": rng.random(ROWS),
        "closed": rng.integers(0, 4, ROWS),
    })  # fmt: skip
    columns = {
        "customer": {"type": "id", "role": "identifier"}, "at": {"type": "datetime"}, "item": {"type": "category"},
        "price": {"type": "number"}, "closed": {"type": "integer", "bounds": [0, 3]},
    }  # fmt: skip
    return card_of(columns, privacy_unit="customer", max_rows_per_unit=5, time_index="at"), table


@pytest.mark.parametrize("name", ["dp-marginal", "dp-aim"])
def test_every_look_before_coding_was_charged(shop, fit, monkeypatch, name):
    trace = Trace(monkeypatch)
    fit(shop[1], shop[0], name=name, epsilon="3")
    assert trace.unpaid == []
    assert {"customer", "at", "item", "price"} <= set(trace.looks), "the trace sees nothing"


def test_an_unpaid_look_of_the_domains_is_caught(shop, fit, monkeypatch):
    honest = domains._values

    def peek(rows, name, *rest):
        for batch in rows.batches():
            domains.conform(batch, {"closed": shop[0].columns["closed"]})
        return honest(rows, name, *rest)

    monkeypatch.setattr(domains, "_values", peek)
    trace = Trace(monkeypatch)
    fit(shop[1], shop[0], epsilon="3")
    assert set(trace.unpaid) == {"closed"}


def test_a_look_before_its_charge_is_caught(shop, fit, monkeypatch):
    honest = domains._bounds

    def peek(rows, name, column, *rest):
        domains._histogram(rows, name, column, np.array([0.0, 1.0]))
        return honest(rows, name, column, *rest)

    monkeypatch.setattr(domains, "_bounds", peek)
    trace = Trace(monkeypatch)
    fit(shop[1], shop[0], epsilon="3")
    assert set(trace.unpaid) == {"at", "price"}


def test_an_unpaid_look_of_the_units_is_caught(shop, fit, monkeypatch):
    from generator.marginal import family

    def peek(rows, **parts):
        int(rows.units.max())
        return units.learn_units(rows, **parts)

    monkeypatch.setattr(family, "learn_units", peek)
    trace = Trace(monkeypatch)
    fit(shop[1], shop[0], epsilon="3")
    assert trace.unpaid == ["customer"]


def test_values_outside_the_domains_are_counted_when_paid_for(shop, fit, monkeypatch):
    trace = Trace(monkeypatch)
    spent = fit(shop[1], shop[0], epsilon="3", outside_share=0.05).spent
    assert trace.unpaid == []
    assert [m.parameters["columns"] for m in spent.mechanisms if m.name == "values outside the domain"] == [("closed",)]


def test_counting_them_for_free_is_caught(shop, fit, monkeypatch):
    honest = Account.gaussian

    def free(account, name, **parts):
        before = list(account._entries)
        variance = honest(account, name, **parts)
        if name == "values outside the domain":
            account._entries = before
        return variance

    monkeypatch.setattr(Account, "gaussian", free)
    trace = Trace(monkeypatch)
    fit(shop[1], shop[0], epsilon="3", outside_share=0.05)
    assert trace.unpaid == ["closed"]
