"""What one person holds, and is about to hold, counts before the next release: by account, at once, and whole."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from gateway.access import Principals, generate_keypair
from gateway.releases.registration import apply_policy
from gateway.telemetry import utc_now
from gateway.tickets import Tickets
from policies.loader import load_policy

Town = Any
POLICY = """\
apiVersion: ticketgate/v1
kind: ReleasePolicy
metadata: {name: lenient, version: 2, owner: privacy-office}
spec:
  datasets: [card-transactions]
  request: {purposes: [testing], max_rows: 5000, attempts_per_ticket: 100}
  ticket: {projects: [DATA], max_uses: 100, assignee_is_requester: false, approver_is_not_requester: false}
  generation: {generators: [dp-marginal], epsilon: {max: 1.0}, delta: {max: 1.0e-5}}
  gate: [{metric: utility.marginals.ks.worst, max: 0.99, use: value}]
  differencing: DIFFERENCING
  review: {approvers: 1, when: [first-release]}
"""


def apply(town: Town, rules: str) -> None:
    path = town.folder / "differencing.yaml"
    path.write_text(POLICY.replace("DIFFERENCING", rules), "utf-8")
    apply_policy(town.house, load_policy(path), by="operator:test", now=utc_now())


def codes(answer: Any) -> list[str]:
    return [violation["code"] for violation in answer.get_json()["violations"]]


@pytest.mark.parametrize(
    ("rules", "first", "second", "code"),
    [
        ("{max_releases: 1}", {}, {}, "releases-above-limit"),
        ("{max_recipients: 1}", {}, {"who": "eve"}, "recipients-above-limit"),
        ("{max_releases_per_recipient: 1}", {}, {}, "recipient-releases-above-limit"),
        ("{max_epsilon_per_recipient: 1.5}", {}, {}, "recipient-epsilon-above-limit"),
        ("{max_columns_per_recipient: 2}", {"columns": ["age", "region"]}, {"columns": ["amount"]}, "recipient-columns-above-limit"),
        ("{never_together: [[age, amount]]}", {"columns": ["age"]}, {"columns": ["amount"]}, "columns-never-together"),
    ],
)  # fmt: skip
def test_two_requests_at_once_are_not_both_the_last(town: Town, rules: str, first: Any, second: Any, code: str) -> None:
    apply(town, rules)
    assert town.ask(**first).status_code == 202
    refused = town.ask(**second)
    assert (refused.status_code, codes(refused)) == (403, [code])


def test_a_second_name_of_one_person_holds_nothing_of_its_own(town: Town) -> None:
    town.keys["ana-too"] = generate_keypair()
    with town.house.database.begin() as work:
        key = town.keys["ana-too"].public
        Principals(work).add("ana-too", roles=["analyst"], key=key, account_id="ana", now=utc_now())
        Tickets(work).add(
            "DATA-102", status="Approved", dataset="card-transactions", assignee="ana", approver="rob", now=utc_now()
        )
        work.commit()
    apply(town, "{max_epsilon_per_recipient: 1.5, max_recipients: 1}")
    assert town.ask().status_code == 202
    refused = town.ask(who="ana-too", ticket="DATA-102")
    assert codes(refused) == ["recipient-epsilon-above-limit"]  # and no second recipient


def test_what_ended_without_a_release_is_held_by_nobody_and_what_was_withdrawn_is_held_for_ever(town: Town) -> None:
    apply(town, "{max_releases_per_recipient: 1}")
    one = town.ask().get_json()["id"]
    assert town.post(f"/v1/release-requests/{one}/cancellation", "ana").status_code == 200
    two = town.ask()
    assert two.status_code == 202
    with town.house.database.begin() as work:
        work.execute(text("UPDATE release SET status = 'withdrawn' WHERE id = :id"), {"id": two.get_json()["id"]})
        work.commit()
    assert codes(town.ask()) == ["recipient-releases-above-limit"]


def test_the_first_release_is_reviewed_until_one_was_let_out(town: Town) -> None:
    apply(town, "{}")
    due = [town.release(town.ask().get_json()["id"]).decision["obligations"]["review"]["because"] for _ in range(2)]
    assert due == [["first-release"], ["first-release"]]  # a request on its way is no release that somebody looked at
    with town.house.database.begin() as work:
        work.execute(text("UPDATE release SET status = 'released'"))
        work.commit()
    assert town.release(town.ask().get_json()["id"]).decision["obligations"]["review"]["because"] == []
