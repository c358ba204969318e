from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.canonical import digest
from policies.decide import decide, select_policy, shadow_policies
from policies.gate import gate
from policies.gate_rule import GateRule
from policies.metrics import MetricResult
from policies.ticket_rules import recheck_ticket
from policies.types import BudgetFacts, HistoryFacts


def changed(policy, **sections):
    """A policy with other rules: `changed(policy, ticket={"max_uses": 1})`."""
    document = policy.model_dump(mode="python", by_alias=True)
    for section, parts in sections.items():
        document["spec"][section] = {**(document["spec"][section] or {}), **parts} if isinstance(parts, dict) else parts
    return type(policy).model_validate(document)


def codes(decision):
    json.dumps(decision.to_json(), allow_nan=False)
    return {found.code for found in decision.violations}


def test_a_sound_request_is_permitted(facts):
    decision = decide(**facts)
    assert decision.violations == ()
    assert decision.permitted
    assert not decision.would_deny
    assert (decision.policy, decision.version, decision.policy_digest) == ("analytics", 3, digest(facts["policy"]))
    document = json.loads(json.dumps(decision.to_json()))
    assert document["obligations"]["token_ttl"] == "15m"
    assert all(entry["holds"] for entry in document["reasons"])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"principal": "eve"}, "principal-mismatch"),
        ({"purpose": "advertising"}, "purpose-not-allowed"),
        ({"rows": 100_001}, "rows-above-limit"),
        ({"rows": 0}, "rows-above-limit"),
        ({"columns": ("age", "shoe_size")}, "columns-unknown"),
        ({"columns": ()}, "columns-unknown"),
        ({"columns": ("age", "customer_id")}, "columns-identify"),
        ({"generator": "dp-tvae"}, "generator-not-allowed"),
        ({"generator": "magic"}, "generator-unknown"),
        ({"generator": "cart", "epsilon": None, "delta": None}, "non-dp-not-allowed"),
        ({"generator": "cart"}, "epsilon-without-dp"),
        ({"generator": "cart", "epsilon": None}, "epsilon-without-dp"),
        ({"epsilon": None}, "epsilon-missing"),
        ({"delta": None}, "epsilon-missing"),
        ({"epsilon": Decimal("3.0000001")}, "epsilon-above-limit"),
        ({"epsilon": Decimal(0)}, "epsilon-above-limit"),
        ({"epsilon": Decimal(-1)}, "epsilon-above-limit"),
        ({"epsilon": Decimal("NaN")}, "epsilon-above-limit"),
        ({"epsilon": Decimal("Infinity")}, "epsilon-above-limit"),
        ({"delta": Decimal("0.00000101")}, "delta-above-limit"),
        ({"delta": Decimal(0)}, "delta-above-limit"),
        ({"delta": Decimal("NaN")}, "delta-above-limit"),
        ({"delta": Decimal(1) / 30000}, "delta-too-large-for-rows"),
        ({"dataset": "other"}, "dataset-unknown"),
        ({"policy": "another"}, "policy-mismatch"),
        ({"ticket": "DATA-7"}, "ticket-mismatch"),
    ],
)
def test_what_may_not_be_asked(facts, change, code):
    facts["request"] = replace(facts["request"], **change)
    decision = decide(**facts)
    assert code in codes(decision)
    assert not decision.permitted
    assert decision.unlock
    found = next(v for v in decision.violations if v.code == code)
    assert found.rule
    assert found.message != "satisfied"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"is_disabled": True}, "principal-disabled"),
        ({"roles": frozenset({"security"})}, "role-not-allowed"),
        ({"roles": frozenset()}, "role-not-allowed"),
        ({"account_id": "acc-other"}, "ticket-assignee"),
        ({"account_id": "ACC-ANA"}, "ticket-assignee"),
        ({"account_id": ""}, "ticket-assignee"),
        ({"account_id": "acc-rob"}, "ticket-approver-is-requester"),
        ({"account_id": " ACC-ROB "}, "ticket-approver-is-requester"),
    ],
)
def test_who_may_not_ask(facts, change, code):
    facts["principal"] = replace(facts["principal"], **change)
    assert code in codes(decide(**facts))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"key": "DATA-102"}, "ticket-mismatch"),
        ({"project": "PLAY"}, "ticket-project"),
        ({"type": "Bug"}, "ticket-type"),
        ({"status": "Open"}, "ticket-status"),
        ({"status": "approved"}, "ticket-status"),
        ({"dataset": None}, "ticket-dataset"),
        ({"dataset": "other"}, "ticket-dataset"),
        ({"assignee": None}, "ticket-assignee"),
        ({"approver": None}, "ticket-approver-unknown"),
        ({"approver": "  "}, "ticket-approver-unknown"),
        ({"approver": "acc-ana"}, "ticket-approver-is-requester"),
        ({"approver": "Acc-Ana"}, "ticket-approver-is-requester"),
        ({"approved_at": None}, "ticket-not-approved"),
        ({"uses": 5}, "ticket-used-up"),
        ({"attempts": 3}, "ticket-attempts-used-up"),
    ],
)
def test_what_a_ticket_must_say(facts, change, code):
    facts["ticket"] = replace(facts["ticket"], **change)
    assert codes(decide(**facts)) == {code}


def test_an_approval_ages(facts):
    now, ticket = facts["now"], facts["ticket"]
    for age, found in (
        (timedelta(days=30), set()),
        (timedelta(days=30, seconds=1), {"ticket-approval-expired"}),
        (-timedelta(seconds=60), set()),
        (-timedelta(seconds=61), {"ticket-approved-in-future"}),
    ):
        facts["ticket"] = replace(ticket, approved_at=now - age, changed_at=now - age)
        assert codes(decide(**facts)) == found


def test_a_change_after_the_approval_voids_it(facts):
    ticket = facts["ticket"]
    facts["ticket"] = replace(ticket, changed_at=ticket.approved_at + timedelta(milliseconds=1))
    assert codes(decide(**facts)) == {"ticket-changed-since-approval"}
    facts["ticket"] = replace(ticket, changed_at=None)
    assert codes(decide(**facts)) == set()
    facts["ticket"] = replace(ticket, changed_at=facts["now"])
    facts["policy"] = changed(facts["policy"], ticket={"unchanged_since_approval": False})
    assert codes(decide(**facts)) == set()


def test_rules_that_are_switched_off_do_not_speak(facts):
    off = {
        "assignee_is_requester": False,
        "approver_is_not_requester": False,
        "names_dataset": False,
        "projects": None,
        "types": None,
    }
    facts["policy"] = changed(facts["policy"], ticket=off)
    facts["ticket"] = replace(facts["ticket"], assignee=None, approver="acc-ana", dataset=None, project="X", type="Y")
    assert decide(**facts).permitted


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        ("not-found", "ticket-not-found"),
        ("unreachable", "ticket-source-unavailable"),
        ("refused", "ticket-source-refused"),
        ("malformed", "ticket-unreadable"),
        ("stale", "ticket-stale"),
        ("who knows", "ticket-source-unavailable"),
        (None, "ticket-source-unavailable"),
    ],
)
def test_no_ticket_no_release(facts, problem, code):
    facts |= {"ticket": None, "ticket_problem": problem}
    assert codes(decide(**facts)) == {code}


def test_a_problem_with_the_ticket_denies_even_beside_a_ticket(facts):
    assert codes(decide(**facts | {"ticket_problem": "stale"})) == {"ticket-stale"}


def test_no_policy_no_release(facts):
    facts |= {"policy": None, "candidates": ()}
    decision = decide(**facts)
    assert codes(decision) == {"policy-none"}
    assert decision.to_json()["policy"] is None
    assert decision.mode is None
    assert decision.obligations is None
    facts["candidates"] = ("a", "b")
    decision = decide(**facts)
    assert codes(decision) == {"policy-ambiguous"}
    assert "a, b" in decision.violations[0].message
    facts["request"] = replace(facts["request"], policy="c")
    assert codes(decide(**facts)) == {"policy-unknown"}
    assert codes(decide(**facts | {"candidates": ()})) == {"policy-unknown"}


def test_no_dataset_no_release(facts):
    assert codes(decide(**facts | {"card": None})) == {"dataset-unknown"}


def test_a_policy_of_another_dataset_does_not_speak(facts):
    facts["policy"] = changed(facts["policy"], datasets=["other"])
    assert codes(decide(**facts)) == {"policy-mismatch"}


def test_a_policy_without_epsilon_refuses_a_private_generator(facts):
    lacking = changed(facts["policy"], generation={"generators": ["cart"], "epsilon": None})
    assert "epsilon-missing" in codes(decide(**facts | {"policy": lacking}))


def test_a_generator_without_guarantee_needs_leave(facts):
    facts["policy"] = changed(
        facts["policy"], generation={"generators": ["cart"], "allow_non_dp": True}, review={"when": ["non-dp"]}
    )
    facts["request"] = replace(facts["request"], generator="cart", epsilon=None, delta=None)
    decision = decide(**facts)
    assert decision.permitted
    assert decision.obligations.review.because == ("non-dp",)


def test_rows_that_are_private_do_not_bound_delta(facts, card):
    private = card.model_copy(update={"spec": card.spec.model_copy(update={"public_rows": None})})
    decision = decide(**facts | {"card": private})
    assert decision.permitted
    assert "delta-too-large-for-rows" not in {found.code for found in decision.reasons}


def test_the_budget_decides(facts):
    spent = BudgetFacts(affords=False, limit_epsilon=Decimal(1), limit_delta=Decimal("1e-5"), remaining_epsilon=Decimal("0.3"))
    decision = decide(**facts | {"budget": spent})
    assert codes(decision) == {"budget-exhausted"}
    assert decision.violations[0].required == "0.3"
    closed = replace(facts["budget"], window_closed_until=facts["now"] + timedelta(days=1))
    assert codes(decide(**facts | {"budget": closed})) == {"budget-window-closed"}
    opened = replace(facts["budget"], window_closed_until=facts["now"])
    assert decide(**facts | {"budget": opened}).permitted


HISTORY = HistoryFacts(
    releases_of_dataset=3,
    releases_to_principal=2,
    epsilon_to_principal=Decimal(2),
    columns_to_principal=frozenset({"age"}),
    recipients=frozenset({"ana", "bob"}),
)


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ({"max_releases": 4}, None),
        ({"max_releases": 3}, "releases-above-limit"),
        ({"max_recipients": 2}, None),
        ({"max_recipients": 1}, "recipients-above-limit"),
        ({"max_releases_per_recipient": 3}, None),
        ({"max_releases_per_recipient": 2}, "recipient-releases-above-limit"),
        ({"max_epsilon_per_recipient": "3"}, None),
        ({"max_epsilon_per_recipient": "2.9"}, "recipient-epsilon-above-limit"),
        ({"max_columns_per_recipient": 2}, None),
        ({"max_columns_per_recipient": 1}, "recipient-columns-above-limit"),
        ({"never_together": [["age", "amount"]]}, None),
        ({"never_together": [["age", "amount"], ["age", "region"]]}, "columns-never-together"),
    ],
)
def test_earlier_releases_count(facts, rules, code):
    facts["policy"] = changed(facts["policy"], differencing=rules)
    facts["history"] = HISTORY
    facts["request"] = replace(facts["request"], columns=("region",))
    assert codes(decide(**facts)) == ({code} if code else set())


@pytest.mark.parametrize("epsilon", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_no_number_gets_past_a_sum(facts, epsilon):
    facts["policy"] = changed(
        facts["policy"], differencing={"max_epsilon_per_recipient": "5"}, generation={"epsilon": {"max": 3, "advised_min": 1}}
    )
    facts["request"] = replace(facts["request"], epsilon=Decimal(epsilon))
    assert codes(decide(**facts)) == {"epsilon-above-limit", "recipient-epsilon-above-limit"}


def test_a_release_of_everything_shows_every_learnt_column(facts):
    facts["policy"] = changed(facts["policy"], differencing={"never_together": [["age", "region", "amount"]]})
    assert codes(decide(**facts)) == {"columns-never-together"}


def test_a_shadow_neither_permits_nor_denies(facts):
    facts["policy"] = changed(facts["policy"], mode="audit")
    decision = decide(**facts)
    assert not decision.permitted
    assert not decision.would_deny
    facts["request"] = replace(facts["request"], rows=10**9)
    decision = decide(**facts)
    assert (decision.permitted, decision.would_deny, decision.mode) == (False, True, "audit")


def test_choosing_a_policy(policy):
    other = policy.model_copy(update={"metadata": policy.metadata.model_copy(update={"name": "second"})})
    shadow = changed(other, mode="audit")
    foreign = changed(policy, datasets=["other"])
    assert select_policy([policy, shadow, foreign], dataset="card-transactions", named=None) == (policy, ("analytics",))
    assert select_policy([], dataset="card-transactions", named=None) == (None, ())
    assert select_policy([policy, other], dataset="card-transactions", named=None) == (None, ("analytics", "second"))
    assert select_policy([policy, other], dataset="card-transactions", named="second") == (other, ("analytics", "second"))
    assert select_policy([policy, shadow], dataset="card-transactions", named="second") == (None, ("analytics",))
    assert shadow_policies([policy, shadow, changed(shadow, datasets=["other"])], dataset="card-transactions") == (shadow,)


def verdict(value):
    rule = GateRule.model_validate({"metric": "utility.x", "max": "0.1", "severity": "warn"})
    return gate({"utility.x": MetricResult(value=value, direction="lower", method="t")}, [rule])


def test_when_people_look(facts, policy):
    duty = decide(**facts).obligations.review
    assert (duty.approvers, duty.because, duty.on_warn) == (1, (), True)
    assert duty.is_due(verdict(0.5))
    assert not duty.is_due(verdict(0.05))
    first = decide(**facts | {"history": HistoryFacts()}).obligations.review
    assert first.because == ("first-release",)
    assert first.is_due(verdict(0.05))
    always = decide(**facts | {"policy": changed(policy, review={"when": ["always"]})}).obligations.review
    assert always.is_due(verdict(0.05))
    nobody = decide(**facts | {"policy": changed(policy, review={"when": ["always"], "approvers": 0})}).obligations.review
    assert not nobody.is_due(verdict(0.5))


def test_a_token_needs_the_ticket_as_it_was_but_not_its_counts(facts):
    ticket, policy = replace(facts["ticket"], uses=99, attempts=99), facts["policy"]
    arguments = {
        "named": "DATA-101",
        "dataset": "card-transactions",
        "principal": facts["principal"],
        "policy": policy,
        "now": facts["now"],
    }
    assert all(found.holds for found in recheck_ticket(ticket, **arguments))
    closed = replace(ticket, status="Closed")
    assert [found.code for found in recheck_ticket(closed, **arguments) if not found.holds] == ["ticket-status"]


def test_the_same_facts_give_the_same_decision(facts):
    assert decide(**facts) == decide(**facts)


@given(epsilon=st.decimals(min_value="0.01", max_value="3", places=4), rows=st.integers(1, 100_000), less=st.integers(0, 99_999))
def test_asking_for_less_never_turns_a_permit_into_a_denial(epsilon, rows, less):
    facts = _facts()
    facts["request"] = replace(facts["request"], epsilon=epsilon, rows=rows)
    assert decide(**facts).permitted
    facts["request"] = replace(facts["request"], epsilon=epsilon / 2, rows=max(1, rows - less))
    assert decide(**facts).permitted


@given(
    st.fixed_dictionaries(
        {
            "status": st.sampled_from(["Approved", "Open"]),
            "assignee": st.sampled_from(["acc-ana", "acc-eve", None]),
            "approver": st.sampled_from(["acc-rob", "acc-ana", None]),
            "dataset": st.sampled_from(["card-transactions", "other", None]),
            "uses": st.integers(0, 8),
        }
    )
)
def test_permits_are_exactly_the_tickets_that_keep_every_rule(change):
    facts = _facts()
    facts["ticket"] = replace(facts["ticket"], **change)
    sound = {"status": "Approved", "assignee": "acc-ana", "approver": "acc-rob", "dataset": "card-transactions"}
    expected = all(change[name] == value for name, value in sound.items()) and change["uses"] < 5
    assert decide(**facts).permitted == expected


def _facts():
    return dict(_KEPT)


_KEPT: dict[str, object] = {}


@pytest.fixture(autouse=True)
def _keep(facts):
    _KEPT.clear()
    _KEPT.update(facts)


def test_fewer_rows_than_the_gate_can_judge_are_denied_before_anything_is_fitted(facts):
    """A blocking rule on singling out needs 100 synthetic rows; a rule that only warns needs none."""
    singling = {"metric": "privacy.singling_out.*", "max": "0.05"}

    def asked(rows, *rules):
        gate = tuple(GateRule.model_validate(rule) for rule in rules)
        policy = facts["policy"].model_copy(update={"spec": facts["policy"].spec.model_copy(update={"gate": gate})})
        return decide(**{**facts, "policy": policy, "request": replace(facts["request"], rows=rows)})

    few = asked(99, singling)
    assert [found.code for found in few.violations] == ["rows-below-least"]
    assert (few.violations[0].required, few.unlock) == (100, ("ask for at least 100 rows",))
    assert asked(100, singling).permitted
    assert asked(99, {**singling, "severity": "warn"}).permitted
    assert asked(99, {"metric": "privacy.linkability", "max": "0.05"}).permitted
