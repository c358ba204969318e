"""A candidate policy tried on what really happened: decisions from their stored facts, gates from their report cards."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from gateway.access import Principals, generate_keypair
from gateway.cli.policy import policy as policy_commands
from gateway.telemetry import utc_now

Town = Any
POLICY = """\
apiVersion: ticketgate/v1
kind: ReleasePolicy
metadata: {{name: lenient, version: 9, owner: privacy-office}}
spec:
  datasets: [card-transactions]
  request: {{roles: [analyst], purposes: [testing], max_rows: {rows}, attempts_per_ticket: 100}}
  ticket: {{projects: [DATA], statuses: [Approved], max_uses: 100}}
  generation: {{generators: [dp-marginal, cart], epsilon: {{max: 3.0}}, delta: {{max: 1.0e-5}}, allow_non_dp: true}}
  gate: [{{metric: {metric}, max: {line}, use: value}}]
"""
CHANGES = ("newly_denied", "newly_permitted", "newly_blocked", "newly_released")


def candidate(*, rows: int = 5000, line: str = "0.99", metric: str = "utility.marginals.ks.worst") -> str:
    return POLICY.format(rows=rows, metric=metric, line=line)


def changed(answer: dict[str, Any]) -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    return {name: [(row["release_id"], tuple(row["rules"])) for row in answer[name]] for name in CHANGES if answer[name]}


def put(town: Town, release_id: str, **columns: str | None) -> None:
    with town.house.database.begin() as work:
        for name, value in columns.items():
            work.execute(text(f"UPDATE release SET {name} = :value WHERE id = :id"), {"value": value, "id": release_id})  # noqa: S608
        work.commit()


def simulate(town: Town, who: str, policy: object, **body: object) -> Any:
    return town.post("/v1/policies/simulate", who, json={"policy": policy, **body})


@pytest.fixture(scope="module")
def past(released: Any) -> tuple[Town, dict[str, str]]:
    """One release that was really produced and let out, and one request that was denied for its rows."""
    town, another = released
    let_out = another()
    assert let_out.status == "released"
    denied = town.ask(rows=6000)
    assert denied.status_code == 403
    return town, {"released": let_out.id, "denied": denied.get_json()["id"]}


@pytest.fixture
def town(past: tuple[Town, dict[str, str]]) -> Town:
    return past[0]


@pytest.fixture
def ids(past: tuple[Town, dict[str, str]]) -> dict[str, str]:
    return past[1]


def test_decision_and_gate_are_replayed_with_the_rules_that_did_it(town: Town, ids: dict[str, str]) -> None:
    same = simulate(town, "carl", candidate()).get_json()
    assert (same["replayed"], same["unrecorded"], changed(same)) == (2, 0, {})

    stricter = simulate(town, "carl", candidate(rows=200)).get_json()
    assert changed(stricter) == {"newly_denied": [(ids["released"], ("request.max_rows: rows-above-limit",))]}

    looser = simulate(town, "carl", candidate(rows=10_000)).get_json()
    assert changed(looser) == {"newly_permitted": [(ids["denied"], ("request.max_rows: rows-above-limit",))]}

    unreachable = simulate(town, "carl", candidate(line="0.0000001")).get_json()
    metric = "gate utility.marginals.ks.worst: beyond-line"
    assert changed(unreachable) == {"newly_blocked": [(ids["released"], (metric,))]}
    assert unreachable["by_rule"] == {metric: 1}

    later = simulate(town, "carl", candidate(rows=200), since="2100-01-01T00:00:00Z").get_json()
    assert later["replayed"] == 0


def test_a_blocked_release_that_a_candidate_lets_out(town: Town, ids: dict[str, str]) -> None:
    rule = {"metric": "utility.marginals.ks.worst", "code": "beyond-line", "blocks": True}
    kept = json.dumps(dict(town.release(ids["released"]).verdict))
    put(town, ids["released"], verdict=json.dumps({"passed": False, "rules": [rule]}))
    loose = simulate(town, "carl", candidate()).get_json()
    assert changed(loose) == {"newly_released": [(ids["released"], ("gate utility.marginals.ks.worst: beyond-line",))]}
    put(town, ids["released"], verdict=kept)


def test_who_may_not_see_exact_figures_cannot_ask_for_them_line_by_line(town: Town, ids: dict[str, str]) -> None:
    line = candidate(line="0.0000001")
    assert [row[0] for row in changed(simulate(town, "dana", line).get_json())["newly_blocked"]] == [ids["released"]]
    own = simulate(town, "ana", line).get_json()
    assert (own["replayed"], changed(own)) == (2, {})
    assert simulate(town, "eve", line).get_json()["replayed"] == 0
    assert [row[0] for row in changed(simulate(town, "ana", candidate(rows=200)).get_json())["newly_denied"]] == [ids["released"]]


def test_a_second_name_of_the_requester_sees_no_more_than_the_first(town: Town, ids: dict[str, str]) -> None:
    key = generate_keypair()
    with town.house.database.begin() as work:
        Principals(work).add("ana-rev", roles=["reviewer"], key=key.public, account_id="ana", now=utc_now())
        work.commit()
    town.keys["ana-rev"] = key
    line = candidate(line="0.0000001")
    assert changed(simulate(town, "rob", line).get_json())["newly_blocked"], "a reviewer sees what others' gates would do"
    twin = simulate(town, "ana-rev", line).get_json()
    assert (twin["replayed"], changed(twin)) == (2, {})


@pytest.mark.parametrize("shape", [str, dict])
def test_a_candidate_is_linted_and_every_finding_is_told(town: Town, shape: type) -> None:
    raw = candidate(metric="utility.marginalz.ks.worst").replace("max_rows", "max_row")
    if shape is dict:
        import yaml

        raw = json.loads(json.dumps(yaml.safe_load(raw)))
    answer = simulate(town, "carl", raw)
    problem = answer.get_json()
    assert (answer.status_code, problem["code"]) == (422, "policy-invalid")
    found = next(finding for finding in problem["findings"] if finding["path"] == "spec.request.max_row")
    assert (found["suggestion"], found["line"] > 0, found["column"] > 0) == ("max_rows", True, True)

    unknown = simulate(town, "carl", candidate(metric="utility.marginalz.ks.worst")).get_json()
    assert [finding["code"] for finding in unknown["findings"] if finding["severity"] == "error"] == ["unknown-metric"]
    assert simulate(town, "carl", {"kind": "Dataset"}).status_code == 422
    assert simulate(town, "carl", candidate(), since="yesterday").status_code == 422


def test_a_decision_is_explained_and_figures_stay_at_the_level_that_one_may_see(town: Town, ids: dict[str, str]) -> None:
    def explained(who: str, release_id: str) -> Any:
        return town.post("/v1/policies/explain", who, json={"release_id": release_id})

    own, whole = (explained(who, ids["released"]).get_json() for who in ("ana", "carl"))
    assert "gate: passed" in own["text"]
    assert [rule["observed"] for rule in own["verdict"]["rules"]] == [None]
    assert isinstance(whole["verdict"]["rules"][0]["observed"], float)
    assert "is 0." in whole["text"]
    assert "is 0." not in own["text"]
    denied = explained("ana", ids["denied"]).get_json()
    assert "FAIL  request.max_rows" in denied["text"]
    assert "to unlock: 1. ask for at most 5000 rows" in denied["text"]
    assert explained("eve", ids["denied"]).status_code == 404
    events = town.events("policy.explained")
    assert [event.subjects.release for event in events] == [ids["released"], ids["released"], ids["denied"]]


def test_decisions_of_before_the_facts_were_kept_are_counted_and_not_guessed(town: Town, ids: dict[str, str]) -> None:
    kept = json.dumps(dict(town.release(ids["denied"]).decision_facts))
    put(town, ids["denied"], decision_facts=None)
    answer = simulate(town, "carl", candidate(rows=10_000)).get_json()
    put(town, ids["denied"], decision_facts=kept)
    assert (answer["replayed"], answer["unrecorded"], changed(answer)) == (1, 1, {})


def test_the_command_says_the_same(town: Town, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKETGATE_HOME", str(town.house.settings.home))
    file = town.folder / "candidate.yaml"
    file.write_text(candidate(rows=200), "utf-8")
    told = CliRunner().invoke(policy_commands, ["simulate", str(file)])
    assert told.exit_code == 0, told.output
    assert f"  {ids['released']}  released → denied  request.max_rows: rows-above-limit" in told.output
    answer = json.loads(CliRunner().invoke(policy_commands, ["simulate", str(file), "--json"]).output)
    assert changed(answer) == {"newly_denied": [(ids["released"], ("request.max_rows: rows-above-limit",))]}
    events = town.events("policy.simulated")
    assert answer["digest"] in {json.loads(event.payload)["data"].get("candidate") for event in events}
