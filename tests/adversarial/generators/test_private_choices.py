"""Every private choice is charged once, noised for its sensitivity, and nothing but what was charged is counted.

Each read of a true count needs a credit of its own: a measurement gives one for exactly its columns, a choice one for each
candidate within its columns. Broken generators are planted: a choice that is not charged, one noised for a single row, a
count that nobody paid for, held or tallied.
"""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest

from generator import source
from generator.fields import make_fields
from generator.marginal import measure
from generator.marginal.measure import UNIT, Lens
from generator.source import Source
from generator.tally import Tally
from generator.zcdp import Account
from policies.types import PrivacyTarget

NAMES = ("dp-marginal", "dp-aim")
PER_UNIT = 3


class Counts(dict):
    """True counts of groups; every read of one is reported."""

    def __init__(self, read):
        super().__init__()
        self.read = read

    def __getitem__(self, group):
        self.read(group)
        return super().__getitem__(group)


class Trace:
    """What was read and chosen, held against what the account was charged for."""

    def __init__(self, monkeypatch):
        self.faults: list[str] = []
        self.choices = self.reads = self.counted = 0
        self.account: Account | None = None
        self.names: tuple[str, ...] = ()
        self.used: dict[tuple[int, tuple[int, ...]], int] = {}
        self.expected = 0
        trace, opened, init, wanted, chosen, counts, cells = (
            self, Account.__init__, Lens.__init__, Lens.choose, measure.choose, Tally.counts, Lens._cells,
        )  # fmt: skip

        def open_account(account, *args, **kwargs):
            opened(account, *args, **kwargs)
            trace.account = account

        def open_lens(lens, *args, **kwargs):
            init(lens, *args, **kwargs)
            trace.names, lens._known = lens._names, Counts(trace.read)

        def choose_group(lens, candidates, **parts):
            trace.expected = max(parts["weight"].get(group, 1) for group in candidates) * UNIT * lens._per_unit
            return wanted(lens, candidates, **parts)

        def choose(scores, *, epsilon, sensitivity):
            trace.choose(len(scores), epsilon, sensitivity)
            return chosen(scores, epsilon=epsilon, sensitivity=sensitivity)

        def count_cells(lens, sizes):
            for variable in sizes:
                trace.count((variable,))
            return cells(lens, sizes)

        def tally_counts(tally, group, maps):
            trace.count(group)
            return counts(tally, group, maps)

        monkeypatch.setattr(Account, "__init__", open_account)
        monkeypatch.setattr(Lens, "__init__", open_lens)
        monkeypatch.setattr(Lens, "choose", choose_group)
        monkeypatch.setattr(Lens, "_cells", count_cells)
        monkeypatch.setattr(Tally, "counts", tally_counts)
        monkeypatch.setattr(measure, "choose", choose)

    def choose(self, candidates, epsilon, sensitivity):
        """One charge more than choices before this one, of this very ε, and noise for a whole unit."""
        charged = [parameters for _, parameters, _ in self.account._entries if "choice" in parameters]
        self.choices += 1
        if len(charged) != self.choices:
            self.faults.append("a choice was not charged once")
        elif charged[-1]["choice"] != "exponential mechanism" or Fraction(charged[-1]["epsilon"]) != epsilon:
            self.faults.append("a choice was charged as another")
        elif charged[-1]["candidates"] != candidates:
            self.faults.append("a choice was recorded among other candidates")
        if sensitivity != self.expected:
            self.faults.append("a choice was noised for another sensitivity")

    def read(self, group):
        """Use up a credit for a group's true counts."""
        self.reads += 1
        columns = [self.names[v] for v in group]
        for place, (_, parameters, _) in reversed(list(enumerate(self.account._entries))):
            fits = (
                set(columns) <= set(parameters["columns"]) if "choice" in parameters else tuple(columns) == parameters["columns"]
            )
            if fits and not self.used.get((place, group)):
                self.used[place, group] = 1
                return
        self.faults.append(f"nobody paid for {columns}")

    def count(self, group):
        """A group that is counted was charged by then, by itself or as a candidate."""
        self.counted += 1
        columns = [self.names[v] for v in group]
        for _, parameters, _ in self.account._entries:
            if tuple(columns) == parameters["columns"] or ("choice" in parameters and set(columns) <= set(parameters["columns"])):
                return
        self.faults.append(f"counted unpaid: {columns}")


@pytest.fixture
def crew(card_of):
    """A table whose units own several rows, with a target."""
    rng = np.random.default_rng(2)
    columns = {f"c{i}": rng.integers(0, 4, 2400) for i in range(5)}
    columns["c1"] = columns["c0"]
    stated = {name: {"type": "integer", "bounds": [0, 3], "missing": False} for name in columns}
    stated["who"] = {"type": "id", "role": "identifier", "missing": False}
    table = pa.table(columns | {"who": [f"u{i // PER_UNIT}" for i in range(2400)]})
    return card_of(stated, privacy_unit="who", max_rows_per_unit=PER_UNIT, targets=["c4"]), table


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("held", [1 << 30, 2000])
def test_choices_are_charged_and_noised_and_counts_paid_for(crew, fit, monkeypatch, name, held):
    monkeypatch.setattr(source, "HELD_BYTES", held)
    trace = Trace(monkeypatch)
    fit(crew[1], crew[0], name=name, epsilon="6")
    assert trace.faults == []
    assert min(trace.choices, trace.reads, trace.counted) > 0, "the trace sees nothing"


@pytest.mark.parametrize("name", NAMES)
def test_a_choice_that_nobody_pays_for_is_caught(crew, fit, monkeypatch, name):
    trace = Trace(monkeypatch)
    honest = Account.selection

    def free(account, *args, **kwargs):
        before = list(account._entries)
        epsilon = honest(account, *args, **kwargs)
        account._entries = before
        return epsilon

    monkeypatch.setattr(Account, "selection", free)
    fit(crew[1], crew[0], name=name, epsilon="6")
    assert "a choice was not charged once" in trace.faults


@pytest.mark.parametrize("name", NAMES)
def test_a_choice_noised_for_one_row_is_caught(crew, fit, monkeypatch, name):
    trace = Trace(monkeypatch)
    traced = measure.choose
    monkeypatch.setattr(measure, "choose", lambda scores, **told: traced(scores, **told | {"sensitivity": 1}))
    fit(crew[1], crew[0], name=name, epsilon="6")
    assert "a choice was noised for another sensitivity" in trace.faults


@pytest.mark.parametrize("held", [1 << 30, 2000])
def test_a_pair_that_nobody_pays_for_is_caught_though_its_columns_were_read(crew, fit, monkeypatch, held):
    monkeypatch.setattr(source, "HELD_BYTES", held)
    trace = Trace(monkeypatch)
    honest = Lens.measure

    def peek(lens, groups, *, rho, name):
        lens.prepare([(2, 3)])
        lens._known[(2, 3)].max()
        lens._known[(2, 3)].min()
        return honest(lens, groups, rho=rho, name=name)

    monkeypatch.setattr(Lens, "measure", peek)
    fit(crew[1], crew[0], epsilon="6")
    assert any("'c2', 'c3'" in fault for fault in trace.faults)


def test_a_tally_that_tells_more_than_was_paid_for_is_caught(crew, fit, monkeypatch):
    monkeypatch.setattr(source, "HELD_BYTES", 2000)
    trace = Trace(monkeypatch)
    honest = Lens.measure_cells

    def peek(lens, maps, *, rho):
        found = honest(lens, maps, rho=rho)
        lens._source.tally.counts((0, 1), {v: np.arange(4) for v in (0, 1)})
        return found

    monkeypatch.setattr(Lens, "measure_cells", peek)
    fit(crew[1], crew[0], epsilon="6")
    assert "counted unpaid: ['c0', 'c1']" in trace.faults


@pytest.mark.parametrize("weight", [1, 3])
def test_one_unit_moves_a_score_by_no_more_than_the_choice_is_noised_for(card_of, monkeypatch, weight):
    """Neighbours differ by one unit of m equal rows, which moves the distance to a prediction as far as any unit can."""
    card = card_of({name: {"type": "integer", "bounds": [0, 1], "missing": False} for name in ("a", "b")})
    seen = []
    monkeypatch.setattr(measure, "choose", lambda scores, **told: seen.append((scores, told["sensitivity"])) or 0)
    for rows in (20, 20 + PER_UNIT):
        table = pa.table({"a": [0] * rows, "b": [0] * rows})
        account = Account(PrivacyTarget(epsilon=Decimal(1), delta=Decimal("1e-6")), unit="row")
        fields = make_fields(card, {})
        coded = Source(source.Rows(table, card=card), card=card, fields=fields)
        lens = Lens(coded, names=["a", "b"], account=account, rows_per_unit=PER_UNIT)
        lens.use_bins([np.arange(2)] * 2, [2, 2])
        lens.choose(
            {(0, 1): np.array([[7.3, 0.2], [0.1, 0.4]]), (): np.zeros(0)}, penalty={(0, 1): 1.7, (): 0.0}, weight={(0, 1): weight},
            rho=account.total / 9, name="choice of a pair",
        )  # fmt: skip
    (before, sensitivity), (after, _) = seen
    assert int(np.abs(after - before).max()) == sensitivity == weight * UNIT * PER_UNIT
