"""The `ticketgate policy` commands that need files alone."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

import policies
from gateway.cli.policy import policy as group
from gateway.errors import EXIT_BAD_INPUT, EXIT_USAGE, EXIT_VERIFICATION, Conflict, InvalidRequest, NotFound
from policies.case_facts import facts_of, metrics_of
from policies.case_schema import Case
from policies.loader import load_policy, to_yaml
from policies.records import Record, record_to_json

LIBRARY = Path(policies.__file__).parent / "library"
CUSTOMER = str(LIBRARY / "customer.yaml")
ROWS = str(LIBRARY / "cases" / "customer.yaml")


def run(*arguments, code=0):
    result = CliRunner().invoke(group, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.stdout


def told(*arguments, code=0):
    return json.loads(run(*arguments, "--json", code=code))


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text(Path(CUSTOMER).read_text().replace("max_rows", "max_rowz"))
    return path


@pytest.fixture
def tightened(tmp_path):
    path = tmp_path / "tight.yaml"
    path.write_text(Path(CUSTOMER).read_text().replace("500000", "1000").replace("version: 1", "version: 2"))
    return path


def test_lint(broken, tmp_path):
    assert run("lint", CUSTOMER, LIBRARY / "clinical.yaml") == "2 sound\n"
    said = run("lint", broken, code=EXIT_BAD_INPUT)
    assert f"error: {broken}:1" in said
    assert "spec.request.max_rowz: unknown key" in said
    assert "did you mean max_rows?" in said
    assert told("lint", broken, code=EXIT_BAD_INPUT)["ok"] is False
    warned = tmp_path / "warned.yaml"
    warned.write_text(Path(CUSTOMER).read_text().replace("metrics: banded", "metrics: exact"))
    assert "warning: " in run("lint", warned)
    run("lint", warned, "--strict", code=EXIT_BAD_INPUT)
    run("lint", tmp_path / "none.yaml", code=EXIT_BAD_INPUT)
    run("lint", code=EXIT_USAGE)


def test_test(tightened, broken, tmp_path):
    said = run("test", ROWS, "--coverage", "--junit", tmp_path / "out.xml")
    assert said.endswith("53 passed, 0 failed, 0 skipped\n")
    assert "rules tried both ways: 49 of 49" in said
    assert ET.parse(tmp_path / "out.xml").getroot().get("tests") == "53"  # noqa: S314 - our own output
    document = told("test", ROWS)
    assert (document["ok"], document["passed"]) == (True, 53)
    failed = run("test", ROWS, "--policy", "clinical", code=EXIT_VERIFICATION)
    assert "FAIL" in failed
    assert told("test", ROWS, "--policy", "health", code=EXIT_VERIFICATION)["ok"] is False
    assert told("test", ROWS, "--policy", tightened)["ok"] is True  # rows follow the policy's own limits
    run("test", broken, code=EXIT_BAD_INPUT)


def test_coverage_names_what_no_row_tries(tmp_path):
    few = tmp_path / "few.yaml"
    few.write_text(
        f"apiVersion: ticketgate/v1\nkind: PolicyCases\nmetadata: {{name: few}}\nspec:\n  policy: {CUSTOMER}\n  cases:\n"
        "    - {name: one, request: {rows: 0}, expect: {decision: deny, codes: [rows-above-limit]}}\n"
    )
    said = run("test", few, "--coverage")
    assert "request.max_rows: no row keeps it" in said
    assert "ticket.statuses: no row breaks it" in said
    assert "gate privacy.linkability: no row meets it" in said


def test_explain(tmp_path):
    said = run("explain", "--cases", ROWS, "--row", "approved by who asks")
    assert "[ticket-approver-is-requester]" in said
    assert "to unlock: 1. have somebody else approve the ticket" in said
    run("explain", "--cases", ROWS, "--row", "no such row", code=EXIT_BAD_INPUT)
    run("explain", "--cases", tmp_path / "none.yaml", "--row", "x", code=EXIT_BAD_INPUT)
    kept = tmp_path / "decision.json"
    kept.write_text(json.dumps(told("explain", "--cases", ROWS, "--row", "approved by who asks")))
    assert run("explain", "--decision", kept) == said
    kept.write_text("{}")
    run("explain", "--decision", kept, code=EXIT_BAD_INPUT)
    kept.write_text("[]")
    run("explain", "--decision", kept, code=EXIT_BAD_INPUT)
    run("explain", "--decision", tmp_path / "none.json", code=EXIT_BAD_INPUT)
    run("explain", code=EXIT_USAGE)


def test_diff(tightened):
    said = run("diff", "customer", tightened)
    assert "stricter  request.max_rows: 500000 → 1000" in said
    assert said.endswith("1 stricter, 0 looser, 0 changed\n")
    assert run("diff", CUSTOMER, "customer") == "no rule differs\n"
    assert told("diff", "clinical", "analytics")["looser"] > 10


def test_show(tmp_path):
    written = tmp_path / "shown.yaml"
    written.write_text(run("show", "customer"))
    assert load_policy(written) == load_policy(Path(CUSTOMER))
    document = told("show", CUSTOMER)
    assert document["policy"]["spec"]["expanded_from"] == "standard"
    assert len(document["digest"]) == 64


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_is_written_as_yaml_is_read_back(path):
    for expanded in (True, False):
        policy = load_policy(path, expanded=expanded)
        assert load_policy(to_yaml(policy), expanded=expanded) == policy


def test_show_preset():
    assert "privacy.membership_inference.advantage: max 0.25, use value, block" in run("show-preset", "seed")
    assert len(told("show-preset", "standard")["rules"]) > 10
    run("show-preset", "lenient", code=EXIT_USAGE)


def test_simulate(tightened, broken, tmp_path):
    policy = load_policy(Path(CUSTOMER))
    sound = Case.model_validate({"name": "x", "expect": {"decision": "permit"}})
    facts = {name: value for name, value in facts_of(sound, policy).items() if name not in ("policy", "candidates")}
    record = Record(**facts, metrics=metrics_of(sound, policy), outcome="released")
    history = tmp_path / "past.jsonl"
    history.write_text((json.dumps(record_to_json(record)) + "\n") * 60 + "\n")
    said = run("simulate", tightened, "--history", history)
    assert "newly denied: 60" in said
    assert "… and 10 more" in said
    assert "by rule: 60 of request.max_rows: rows-above-limit" in said
    assert told("simulate", CUSTOMER, "--history", history)["newly_denied"] == []
    assert told("simulate", tightened, "--history", history, "--since", "2026-01-16")["replayed"] == 0
    assert told("simulate", tightened, "--history", history, "--since", "2026-01-15")["replayed"] == 60
    run("simulate", broken, "--history", history, code=EXIT_BAD_INPUT)
    run("simulate", tightened, "--history", tmp_path / "none", code=EXIT_BAD_INPUT)
    history.write_text("{}\n")
    run("simulate", tightened, "--history", history, code=EXIT_BAD_INPUT)


def test_a_policy_is_put_in_force_and_never_edited(house, tightened, broken, monkeypatch, tmp_path):
    monkeypatch.setenv("TICKETGATE_HOME", str(house.settings.home))
    assert run("list") == "There are no policies yet.\n"
    assert run("apply", CUSTOMER).startswith("customer v1 is in force (")
    assert told("apply", CUSTOMER)["version"] == 1
    with pytest.raises(Conflict, match="versions are immutable"):
        CliRunner().invoke(group, ["apply", str(_edited(tmp_path))], catch_exceptions=False)
    assert told("apply", tightened)["version"] == 2
    assert run("list") == "customer v2 (enforce): customer-transactions\n"
    assert told("list")["policies"][0]["applied_by"].startswith("operator:")
    assert "stricter  request.max_rows: 500000 → 1000" in run("diff", "customer@1", "customer@2")
    assert told("show", "customer@1")["policy"]["spec"]["request"]["max_rows"] == 500000
    assert told("show", "customer@2")["digest"] == told("list")["policies"][0]["digest"]
    run("apply", broken, code=EXIT_BAD_INPUT)
    assert told("simulate", tightened, "--since", "2026-01-01")["replayed"] == 0
    assert "0 past requests replayed" in run("simulate", tightened)
    for wrong in (["show", "nothing"], ["explain", "nothing"]):
        with pytest.raises(NotFound):
            CliRunner().invoke(group, wrong, catch_exceptions=False)
    for wrong in (["show", "customer@x"], ["simulate", CUSTOMER, "--since", "soon"]):
        with pytest.raises(InvalidRequest):
            CliRunner().invoke(group, wrong, catch_exceptions=False)


def test_a_policy_that_lint_refuses_is_not_applied(house, monkeypatch, tmp_path):
    monkeypatch.setenv("TICKETGATE_HOME", str(house.settings.home))
    faulty = tmp_path / "faulty.yaml"
    faulty.write_text(Path(CUSTOMER).read_text().replace("utility.seasonality.weekly", "utility.seasonality.weakly"))
    run("apply", faulty, code=EXIT_BAD_INPUT)
    assert told("list")["policies"] == []


def test_a_shadow_is_announced_as_one(house, monkeypatch, tmp_path):
    monkeypatch.setenv("TICKETGATE_HOME", str(house.settings.home))
    shadow = tmp_path / "shadow.yaml"
    shadow.write_text(Path(CUSTOMER).read_text().replace("spec:\n", "spec:\n  mode: audit\n"))
    assert "watching only" in run("apply", shadow)


def _edited(folder):
    path = folder / "edited.yaml"
    path.write_text(Path(CUSTOMER).read_text().replace("500000", "7"))
    return path


def test_what_is_in_force_wins_over_a_ready_policy_of_the_same_name(house, tightened, monkeypatch):
    assert told("show", "customer")["policy"]["spec"]["request"]["max_rows"] == 500000
    monkeypatch.setenv("TICKETGATE_HOME", str(house.settings.home))
    assert told("show", "customer")["policy"]["spec"]["request"]["max_rows"] == 500000
    run("apply", tightened)
    assert told("show", "customer")["policy"]["spec"]["request"]["max_rows"] == 1000
    assert "no rule differs" in run("diff", "customer", tightened)


def test_a_name_that_nothing_has_says_what_there_is(monkeypatch, tmp_path):
    monkeypatch.setenv("TICKETGATE_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(NotFound, match="no file and no ready policy") as error:
        CliRunner().invoke(group, ["show", "custmer"], catch_exceptions=False)
    assert any("customer" in step for step in error.value.unlock)
