"""What the domains that a card leaves open cost: parts of δ and ρ that add up to what a ledger is charged."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from gateway.budget.loss import PrivacyLoss
from gateway.budget.planning import loss_of
from generator.base import BadTable
from generator.domains import even_parts
from generator.registry import create
from generator.relations import kept_delta
from generator.zcdp import rho_of_target
from policies.types import PrivacySpent, PrivacyTarget

TARGET = PrivacyTarget(epsilon=Decimal(3), delta=Decimal("7e-6"))


@pytest.fixture(scope="module")
def opened():
    """Three open categories, two open numbers and a closed column."""
    rng = np.random.default_rng(8)
    words = np.array(["red", "green", "blue", "grey"])
    columns = {name: {"type": "category"} for name in ("a", "b", "c")}
    columns |= {"n": {"type": "integer"}, "x": {"type": "number"}, "flag": {"type": "boolean", "missing": False}}
    table = {name: words[rng.integers(0, 4, 3000)] for name in ("a", "b", "c")}
    table |= {"n": rng.integers(0, 90, 3000), "x": rng.random(3000), "flag": rng.random(3000) < 0.5}
    return columns, pa.table(table)


@pytest.fixture(scope="module")
def spent(opened, card_of):
    columns, table = opened
    return create("dp-marginal").fit(table, card=card_of(columns), target=TARGET, rng=np.random.default_rng(0)).spent


def test_parts_of_failure_add_up_to_what_was_kept(spent):
    parts = [Decimal(m.parameters["failure_delta"]) for m in spent.mechanisms if "failure_delta" in m.parameters]
    assert len(parts) == 3
    assert sum(parts) == TARGET.delta / 10


def test_the_ledger_is_charged_the_same_failure_as_the_fit_reports(opened, spent, card_of):
    reserved = loss_of("dp-marginal", TARGET, {}, card_of(opened[0]))
    settled = PrivacyLoss.of(spent)
    assert settled.failure_delta == reserved.failure_delta == kept_delta(card_of(opened[0]), TARGET)
    assert settled.rho <= reserved.rho


def test_the_parts_of_rho_add_up(spent):
    whole = rho_of_target(TARGET.epsilon, TARGET.delta - TARGET.delta / 10)
    assert sum(m.share for m in spent.mechanisms) * float(whole) == pytest.approx(float(spent.rho), abs=1e-9)
    assert spent.epsilon <= TARGET.epsilon


def test_the_failure_survives_the_document(spent):
    assert PrivacyLoss.of(PrivacySpent.from_json(spent.to_json())).failure_delta == Decimal("7e-7")


def test_no_failure_without_an_open_category(opened, card_of):
    closed = {name: column for name, column in opened[0].items() if column["type"] != "category"}
    fitted = create("dp-marginal").fit(opened[1], card=card_of(closed), target=TARGET, rng=np.random.default_rng(0))
    assert PrivacyLoss.of(fitted.spent).failure_delta == 0


@pytest.mark.parametrize("count", [0, 1, 3, 7, 49])
@pytest.mark.parametrize("whole", ["1e-7", "2e-7", "0.1"])
def test_even_parts_sum_to_the_whole(count, whole):
    parts = even_parts(Decimal(whole), count)
    assert sum(parts) == (Decimal(whole) if count else 0)
    assert all(part > 0 for part in parts)
    assert len(parts) == count


def test_open_domains_of_batches_that_pass_by_once_are_refused(opened, card_of):
    with pytest.raises(BadTable, match="open"):
        create("dp-marginal").fit(
            iter(opened[1].to_batches()), card=card_of(opened[0]), target=TARGET, rng=np.random.default_rng(0)
        )


def test_nothing_is_spent_on_domains_that_relations_explain(opened, card_of):
    """Listed combinations tell the values of their columns, and a copied column has the domain of its source."""
    listed = {"columns": ["a", "b"], "relation": "combinations", "allowed": [["red", "green"], ["blue", "grey"]]}
    same = {"columns": ["d", "c"], "relation": "=="}
    closed = {"type": "category", "values": ["red", "green", "blue", "grey"]}
    columns = {"a": {"type": "category"}, "b": {"type": "category"}, "c": {"type": "category"}, "d": closed}
    card = card_of(columns, constraints=[listed, same])
    table = opened[1].append_column("d", opened[1]["c"])
    assert kept_delta(card, TARGET) == 0
    spent = create("dp-marginal").fit(table, card=card, target=TARGET, rng=np.random.default_rng(0)).spent
    assert not {m.name for m in spent.mechanisms} & {"bounds", "category values above a threshold"}
    assert PrivacyLoss.of(spent).failure_delta == 0
    assert kept_delta(card_of(columns, constraints=[same]), TARGET) == TARGET.delta / 10


def test_a_ledger_reserves_for_a_request_of_one_of_two_equal_columns(card_of):
    card = card_of(
        {"c": {"type": "category"}, "d": {"type": "category", "values": ["x", "y"]}},
        constraints=[{"columns": ["d", "c"], "relation": "=="}],
    )
    assert loss_of("dp-marginal", TARGET, {}, card).failure_delta == kept_delta(card_of({"c": {"type": "category"}}), TARGET) > 0


def test_rare_values_go_to_no_real_value_where_a_value_is_called_other(card_of):
    """At ε = 5 the noise of 5,000 rows' counts is below 20: 300 rows off would be 15 standard deviations."""
    values = ["failure"] * 1400 + ["other"] * 700 + ["success"] * 700 + ["unknown"] * 700 + [f"one-off {i}" for i in range(1500)]
    card = card_of({"outcome": {"type": "category", "missing": False}})
    target = PrivacyTarget(epsilon=Decimal(5), delta=Decimal("1e-6"))
    fitted = create("dp-marginal").fit(pa.table({"outcome": values}), card=card, target=target, rng=np.random.default_rng(0))
    drawn = pa.Table.from_batches(list(fitted.sample(5000, rng=np.random.default_rng(0))))["outcome"].to_pylist()
    assert set(drawn) == {"failure", "other", "success", "unknown"}
    assert abs(drawn.count("unknown") - 700) < 300
    assert abs(drawn.count("other") - 2200) < 300
