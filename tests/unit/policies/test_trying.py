from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from policies.cases import coverage, junit, run_cases
from policies.decide import decide
from policies.explain import explain, explain_verdict
from policies.gate import gate
from policies.loader import DocumentInvalid, load_cases, parse
from policies.metrics import MetricResult
from policies.records import Record, record_from_json, record_to_json
from policies.schema_json import FILES, json_schema, schema_text, write_schemas
from policies.simulate import CHANGES, replay, simulate

REPOSITORY = Path(__file__).parents[3]
AUC = "privacy.membership_inference.auc"
KS = "utility.marginals.ks.worst"

CASES = """
apiVersion: ticketgate/v1
kind: PolicyCases
metadata: {name: rows}
spec:
  policy: p.yaml
  cases:
    - {name: sound, expect: {decision: permit, verdict: pass, review: false}}
    - {name: wrong decision, expect: {decision: deny}}
    - {name: wrong verdict, metrics: {privacy.membership_inference.auc: 0.9}, expect: {decision: permit, verdict: pass, codes: [beyond-line]}}
    - {name: wrong codes, request: {rows: 0}, expect: {decision: deny, codes: [ticket-status]}}
    - {name: wrong review, history: {releases: 0}, expect: {decision: permit, verdict: pass, review: false}}
    - {name: put off, skip: not yet, expect: {decision: permit}}
"""


def test_rows_pass_fail_and_are_skipped(policy):
    results = run_cases(load_cases(CASES), policy)
    assert [(r.outcome, r.message) for r in results] == [
        ("pass", ""),
        ("fail", "decision is permit, not deny"),
        ("fail", "verdict is refuse, not pass"),
        ("fail", "codes not given: ticket-status; codes not expected: rows-above-limit"),
        ("fail", "review is due, not not due"),
        ("skip", "not yet"),
    ]
    json.dumps([result.to_json() for result in results])
    tree = ET.fromstring(junit(results, name="p"))  # noqa: S314 - our own output
    assert (tree.get("tests"), tree.get("failures"), tree.get("skipped")) == ("6", "4", "1")
    assert len(tree.findall("testcase/failure")) == 4
    tried = coverage(policy, results)
    assert tried.rules[f"gate {AUC}"] == (True, True)
    assert "ticket.statuses" in tried.untried
    assert tried.rules["request.max_rows"] == (True, True)
    json.dumps(tried.to_json())


def test_two_rows_have_two_names():
    with pytest.raises(DocumentInvalid, match="two rows are named 'sound'"):
        load_cases(CASES.replace("wrong decision", "sound"))


def sound_record(facts, **changes):
    record = Record(
        request=facts["request"],
        ticket=facts["ticket"],
        ticket_problem=None,
        principal=facts["principal"],
        budget=facts["budget"],
        history=facts["history"],
        card=facts["card"],
        now=facts["now"],
        metrics={
            AUC: MetricResult(value=0.5, interval=(0.48, 0.52), p_value=0.5, n=5000, direction="lower", method="t"),
            KS: MetricResult(value=0.1, direction="lower", method="t"),
        },
        outcome="released",
    )
    return replace(record, **changes)


def test_a_record_is_read_back_exactly(facts):
    full = sound_record(
        facts,
        request=replace(facts["request"], columns=("age",), hyperparameters={"epochs": 3}, seed=7, policy="analytics"),
        ticket=replace(facts["ticket"], extra={"source": "jira"}),
        history=replace(
            facts["history"], columns_to_principal=frozenset({"age", "amount"}), epsilon_to_principal=Decimal("0.10")
        ),
        budget=replace(facts["budget"], window_closed_until=facts["now"]),
    )
    for record in (full, sound_record(facts, ticket=None, ticket_problem="stale", card=None, metrics=None, outcome="denied")):
        assert record_from_json(json.loads(json.dumps(record_to_json(record)))) == record


def test_a_record_can_be_kept_without_its_card(facts):
    record = sound_record(facts)
    document = record_to_json(record, with_card=False)
    assert document["card"] is None
    assert record_from_json(document, card=facts["card"]) == record


@pytest.mark.parametrize("broken", [{}, {"request": {}}, {"request": {"epsilon": "much"}}])
def test_an_unreadable_record_is_said_to_be(facts, broken):
    with pytest.raises(ValueError, match="cannot be read"):
        record_from_json({**(record_to_json(sound_record(facts)) if broken else {}), **broken})


def tightened(policy, **sections):
    document = policy.model_dump(mode="python", by_alias=True)
    for section, value in sections.items():
        document["spec"][section] = {**document["spec"][section], **value} if isinstance(value, dict) else value
    return type(policy).model_validate(document)


def test_what_a_candidate_would_have_done(facts, policy):
    released = sound_record(facts)
    big = sound_record(facts, request=replace(facts["request"], request_id="r2", rows=9000))
    leaky = sound_record(
        facts,
        request=replace(facts["request"], request_id="r3"),
        metrics={AUC: MetricResult(value=0.6, interval=(0.58, 0.62), direction="lower", method="t"), KS: released.metrics[KS]},
        outcome="blocked",
    )
    denied = sound_record(facts, request=replace(facts["request"], request_id="r4", rows=200_000), metrics=None, outcome="denied")
    foreign = sound_record(facts, request=replace(facts["request"], dataset="other"))
    history = [released, big, leaky, denied, foreign]

    same = simulate(history, policy)
    assert (same.replayed, same.skipped, *(getattr(same, name) for name in CHANGES)) == (4, 1, (), (), (), ())

    strict = simulate(history, tightened(policy, request={"max_rows": 6000}))
    assert [(e.request_id, e.would_be, e.rules) for e in strict.newly_denied] == [
        ("r2", "denied", ("request.max_rows: rows-above-limit",))
    ]
    assert strict.by_rule == {"request.max_rows: rows-above-limit": 1}

    loose = simulate(history, tightened(policy, request={"max_rows": 10**6}, gate=[{"metric": AUC, "max": "0.7"}]))
    assert [(e.request_id, e.would_be) for e in loose.newly_released] == [("r3", "released")]
    assert [(e.request_id, e.would_be) for e in loose.newly_permitted] == [("r4", "fitted")]
    assert (loose.newly_denied, loose.newly_blocked) == ((), ())

    new_rule = simulate(history, tightened(policy, gate=[{"metric": "privacy.linkability", "max": "0.05"}]))
    assert set(new_rule.by_rule) == {"gate privacy.linkability: metric-missing"}
    json.dumps(new_rule.to_json())


def test_a_candidate_of_another_name_is_the_policy_that_was_meant(facts, policy):
    named = sound_record(facts, request=replace(facts["request"], policy="of-then"))
    assert replay(named, policy).would_be == "released"


def test_a_history_is_replayed_in_one_go(facts, policy):
    records = [sound_record(facts, request=replace(facts["request"], request_id=f"r{i}", rows=1 + i * 110)) for i in range(1000)]
    result = simulate(records, policy)
    assert result.replayed == 1000
    assert result.by_rule == {"request.max_rows: rows-above-limit": 90}
    assert len(result.newly_denied) == 90


def test_an_explanation_says_what_is_wrong_first_and_how_to_unlock_it(facts, policy):
    facts["request"] = replace(facts["request"], rows=200_000)
    facts["ticket"] = replace(facts["ticket"], approved_at=facts["now"] - timedelta(days=60))
    text = explain(decide(**facts).to_json())
    lines = text.splitlines()
    assert lines[0].startswith("decision: denied by policy analytics version 3")
    assert lines[1].startswith("  FAIL  ticket.approval_max_age")
    assert "[ticket-approval-expired]" in lines[1]
    assert "seen: 200000; required: 100000" in text
    assert "to unlock: 1. ask the ticket's approver to approve it again" in text
    assert "          2. ask for at most 100000 rows" in text
    assert "then: tokens" not in text


def test_an_explanation_of_a_permit_says_what_follows(facts, policy):
    advised = tightened(policy, generation={"epsilon": {"max": 3, "advised_min": 2}})
    verdict = gate(
        {
            AUC: MetricResult(value=0.54, interval=(0.5, 0.58), n=100, direction="lower", method="t"),
            KS: MetricResult(value=0.3, direction="lower", method="t"),
        },
        advised.spec.gate,
    )
    text = explain(decide(**facts | {"policy": advised}).to_json(), verdict.to_json())
    assert "decision: permitted" in text
    assert "advice: epsilon 1.0 is allowed; below 2 such tables are seldom useful" in text
    assert "review: 1 of reviewer on a warning of the gate" in text
    assert "gate: refused by 1 of 2 rules\n  open  " in text
    assert explain_verdict({"passed": True, "rules": []}) == "gate: passed"
    quiet = tightened(policy, review={"approvers": 0})
    assert "review:" not in explain(decide(**facts | {"policy": quiet}).to_json())


def test_an_explanation_of_a_shadow_and_of_nothing(facts, policy):
    shadow = tightened(policy, mode="audit")
    assert "watched (would have been permitted)" in explain(decide(**facts | {"policy": shadow}).to_json())
    facts["request"] = replace(facts["request"], rows=0, columns=tuple("x" * 30 + str(i) for i in range(9)))
    assert "watched (would have been denied)" in explain(decide(**facts | {"policy": shadow}).to_json())
    assert "without a policy" in explain(decide(**facts | {"policy": None}).to_json())
    assert explain(None) == "nothing was decided"


@pytest.mark.parametrize("name", FILES)
def test_schemas_are_current(name):
    kept = REPOSITORY / "docs" / "reference" / "schemas" / name
    assert kept.read_text() == schema_text(FILES[name]), "run: python -m policies.schema_json docs/reference/schemas"


@pytest.mark.parametrize("name", FILES)
def test_every_key_has_a_description(name):
    schema = json_schema(FILES[name])
    jsonschema.Draft202012Validator.check_schema(schema)
    silent = [
        f"{where}.{key}"
        for where, part in {**schema["$defs"], "": schema}.items()
        for key, entry in part.get("properties", {}).items()
        if "description" not in entry and "$ref" not in entry
    ]
    assert silent == []


def test_the_schema_accepts_what_the_loader_accepts(tmp_path):
    assert [path.name for path in write_schemas(tmp_path / "new")] == list(FILES)
    checks = {
        "release-policy.schema.json": sorted((REPOSITORY / "policies" / "library").glob("*.yaml")),
        "policy-cases.schema.json": sorted((REPOSITORY / "policies" / "library" / "cases").glob("*.yaml")),
    }
    for name, paths in checks.items():
        validator = jsonschema.Draft202012Validator(json_schema(FILES[name]))
        for path in paths:
            plain = json.loads(json.dumps(parse(path).data, default=float))
            assert [error.message for error in validator.iter_errors(plain)] == []
            plain["spec"]["unheard_of"] = 1
            assert not validator.is_valid(plain)
