"""What a refused analyst is told to do: each sentence names what would pass, or whom to ask."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from policies.decide import decide
from policies.types import HistoryFacts


def with_rules(policy, **sections):
    document = policy.model_dump(mode="python", by_alias=True)
    for section, value in sections.items():
        document["spec"][section] = {**document["spec"][section], **value}
    return type(policy).model_validate(document)


def refused(facts, *, history=None, policy=None, budget=None, **request):
    changed = {
        **facts,
        "policy": policy or facts["policy"],
        "history": history or facts["history"],
        "request": replace(facts["request"], **request),
        "budget": replace(facts["budget"], **(budget or {})),
    }
    return decide(**changed)


def test_the_owner_is_named(facts, policy):
    owner = policy.metadata.owner
    assert owner is not None
    assert owner in refused(facts, purpose="shopping").unlock[0]
    nobody = policy.model_copy(update={"metadata": policy.metadata.model_copy(update={"owner": None})})
    assert f"the owner of the policy {policy.name}" in refused(facts, policy=nobody, purpose="shopping").unlock[0]


def test_what_a_person_already_holds_is_taken_off_what_may_be_asked_for(facts, policy):
    held = HistoryFacts(releases_of_dataset=1, releases_to_principal=1, epsilon_to_principal=Decimal("2.5"))
    told = refused(facts, history=held, policy=with_rules(policy, differencing={"max_epsilon_per_recipient": Decimal(3)}))
    assert [reason.code for reason in told.violations] == ["recipient-epsilon-above-limit"]
    assert "ask for epsilon of at most 0.5: your earlier releases count 2.5" in told.unlock[0]
    spent = replace(held, epsilon_to_principal=Decimal(3))
    told = refused(facts, history=spent, policy=with_rules(policy, differencing={"max_epsilon_per_recipient": Decimal(3)}))
    assert told.unlock[0].startswith("ask ")
    assert "epsilon" not in told.unlock[0]


def test_columns_that_are_kept_apart_are_named_less_those_that_one_holds(facts, policy):
    apart = with_rules(policy, differencing={"never_together": (("region", "amount"),)})
    first = refused(facts, policy=apart, columns=("region", "amount", "age"))
    assert first.unlock == ("name the columns that you need, without region or without amount",)
    assert first.violations[0].observed == ["amount", "region"]
    second = refused(facts, policy=apart, columns=("amount",), history=HistoryFacts(columns_to_principal=frozenset({"region"})))
    assert second.unlock == ("name the columns that you need, without amount",)


@pytest.mark.parametrize(("epsilon", "words"), [("1", "try again after"), ("5", "ask for epsilon of at most 2")])
def test_a_closed_window_says_when_or_how_little(facts, policy, epsilon, words):
    until = facts["now"] + timedelta(days=3)
    wide = with_rules(policy, generation={"epsilon": {"max": Decimal(9)}})
    told = refused(
        facts, policy=wide, epsilon=Decimal(epsilon), budget={"window_closed_until": until, "window_epsilon": Decimal(2)}
    )
    assert [reason.code for reason in told.violations] == ["budget-window-closed"]
    assert words in told.unlock[0]


def test_an_exhausted_budget_says_how_little_or_whom_to_ask(facts):
    left = refused(facts, budget={"affords": False, "remaining_epsilon": Decimal("0.25")})
    assert left.unlock[0].startswith("ask for epsilon of at most 0.25, or ask the steward")
    none = refused(facts, budget={"affords": False, "remaining_epsilon": Decimal(0)})
    assert none.unlock[0].startswith("ask the steward")


def test_generators_that_would_do_are_named(facts, policy):
    told = refused(facts, generator="cart", epsilon=None, delta=None)
    assert all("dp-marginal" in step for step in told.unlock)


def test_every_violation_says_a_way_out(facts):
    told = refused(facts, purpose="x", rows=0, format="csv", generator="nothing", columns=("planted",), budget={"affords": False})
    assert len(told.violations) >= 5
    assert all(reason.unlock for reason in told.violations)
