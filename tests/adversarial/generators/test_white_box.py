"""What no black-box attack sees: noise of the wrong size, and looks that nobody paid for."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest

from generator.fields import make_fields
from generator.marginal import measure
from generator.marginal.measure import Lens
from generator.registry import create
from generator.source import Rows, Source
from generator.zcdp import Account
from policies.types import PrivacyTarget

CELLS = 4000


@pytest.fixture
def card(card_of):
    values = [str(i) for i in range(CELLS)]
    return card_of(
        {"code": {"type": "category", "values": values, "missing": False}, "flag": {"type": "boolean", "missing": False}}
    )


@pytest.fixture
def table():
    codes = np.arange(3 * CELLS) % CELLS
    return pa.table({"code": [str(c) for c in codes], "flag": (codes % 2 == 0).tolist()})


def variance_ratio(table, card):
    """Variance of the noise that was added, over the variance that was recorded; 8,000 draws."""
    account = Account(PrivacyTarget(epsilon=Decimal(1), delta=Decimal("1e-6")), unit="row")
    fields = make_fields(card, {})
    lens = Lens(
        Source(Rows(table, card=card), card=card, fields=fields), names=["code", "flag"], account=account, rows_per_unit=1
    )
    found = lens.measure_cells([(0, np.arange(CELLS)), (0, np.arange(CELLS))], rho=[account.total / 4] * 2)
    recorded = Fraction(account.spent().mechanisms[0].parameters["variance"])
    noise = np.concatenate([one.counts - 3 for one in found])
    return float((noise**2).mean()) / float(recorded)


def is_honest(ratio):
    """Within 4.5 standard deviations of 1: an honest generator fails with probability below 1e-5."""
    return abs(ratio - 1) < 4.5 * (2 / (2 * CELLS)) ** 0.5


def test_the_recorded_noise_was_added(table, card):
    assert is_honest(variance_ratio(table, card))


def test_halved_noise_is_caught(table, card, monkeypatch):
    honest = measure.discrete_gaussian
    monkeypatch.setattr(measure, "discrete_gaussian", lambda variance, size: honest(variance, size) // 2)
    assert not is_honest(variance_ratio(table, card))


class Trace:
    """Which variables are read off chunks, and which columns had been charged until then."""

    def __init__(self, monkeypatch):
        self.unpaid: list[tuple[str, ...]] = []
        self.account: Account | None = None
        trace, init, chunks = self, Lens.__init__, Source.chunks

        def watch(lens, source, *, names, account, rows_per_unit):
            source.names, source.account = names, account
            init(lens, source, names=names, account=account, rows_per_unit=rows_per_unit)

        class Chunk(list):
            def __getitem__(self, place):
                paid = {column for _, columns in self.account.trace for column in columns}
                if self.names[place] not in paid:
                    trace.unpaid.append(self.names[place])
                return super().__getitem__(place)

        def watched(source):
            for chunk in chunks(source):
                seen = Chunk(chunk)
                seen.names, seen.account = source.names, source.account
                yield seen

        monkeypatch.setattr(Lens, "__init__", watch)
        monkeypatch.setattr(Source, "chunks", watched)


@pytest.fixture
def wide(card_of):
    rng = np.random.default_rng(2)
    columns = {f"c{i}": rng.integers(0, 4, 2000) for i in range(5)}
    columns["c1"] = columns["c0"]
    return card_of({name: {"type": "integer", "bounds": [0, 3]} for name in columns}), pa.table(columns)


@pytest.mark.parametrize("name", ["dp-marginal", "dp-aim"])
def test_every_look_was_charged_before(wide, fit, monkeypatch, name):
    trace = Trace(monkeypatch)
    fit(wide[1], wide[0], name=name, epsilon="3")
    assert trace.unpaid == []


def test_an_unpaid_look_is_caught(wide, fit, monkeypatch):
    trace = Trace(monkeypatch)
    honest = Lens.measure_cells

    def peek(lens, maps, *, rho):
        next(iter(lens._source.chunks()))[2].max()
        return honest(lens, maps, rho=rho)

    monkeypatch.setattr(Lens, "measure_cells", peek)
    fit(wide[1], wide[0], epsilon="3")
    assert trace.unpaid == ["c2"]


def test_the_account_refuses_what_it_cannot_afford(wide, monkeypatch):
    account = Account(PrivacyTarget(epsilon=Decimal(1), delta=Decimal("1e-6")), unit="row")
    account.gaussian("all of it", columns=("a",), rho=account.total, sensitivity=1)
    with pytest.raises(Exception, match="exceed"):
        account.gaussian("more", columns=("a",), rho=account.total, sensitivity=1)


def test_different_targets_give_different_noise(wide):
    spent = [
        create("dp-marginal")
        .fit(wide[1], card=wide[0], target=PrivacyTarget(epsilon=Decimal(e), delta=Decimal("1e-6")), rng=np.random.default_rng(0))
        .spent
        for e in ("0.5", "5")
    ]
    assert [s.epsilon <= Decimal(e) for s, e in zip(spent, ("0.5", "5"), strict=True)] == [True, True]
    variances = [Fraction(s.mechanisms[0].parameters["variance"]) for s in spent]
    assert variances[0] > 20 * variances[1]
