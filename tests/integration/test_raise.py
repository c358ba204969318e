"""A limit is raised by two signatures of two people, and by nothing less; windows slow and say so."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from gateway.access import Principals, generate_keypair, write_keypair
from gateway.budget import Ledgers
from gateway.catalogue import Datasets
from gateway.cli.budget import budget
from gateway.db.tables.budget import budget_limit
from gateway.errors import Conflict, InvalidRequest, NotAuthenticated, NotAuthorised, TicketgateError
from gateway.releases.raising import approve_raise, propose_raise, sign_act
from gateway.releases.registration import apply_policy
from gateway.telemetry import utc_now
from policies.loader import load_policy

Town = Any
WHY = "the yearly review agreed to it"
PROPOSAL = {"act": "propose", "dataset": "card-transactions", "epsilon": Decimal(40), "reason": WHY}


def signed(town: Town, who: str, act: dict[str, Any], **changes: Any) -> str:
    arguments = {"principal": who, "audience": town.house.issuer, "private_key": town.keys[who], "now": utc_now(), **changes}
    return sign_act(act=act, **arguments)


def limit_of(town: Town) -> Decimal | None:
    with town.house.database.read() as work:
        card = Datasets(work).get("card-transactions").card
        found = Ledgers(work).statement(card, now=utc_now()).limit
    return None if found is None else found.epsilon


def approval(proposal: Any, **changes: Any) -> dict[str, Any]:
    figures = {"epsilon": proposal.epsilon, "delta": proposal.delta, "reason": proposal.reason}
    return {"act": "approve", "dataset": "card-transactions", "proposal": proposal.proposal_id, **figures, **changes}


def test_two_signatures_raise_and_both_stand_in_ledger_and_log(town: Town) -> None:
    before = limit_of(town)
    proposal = propose_raise(town.house, signed(town, "dana", PROPOSAL), now=utc_now())
    assert limit_of(town) == before
    approve_raise(town.house, signed(town, "rob", approval(proposal)), now=utc_now())
    assert limit_of(town) == Decimal(40)
    with town.house.database.read() as work:
        rows = work.execute(select(budget_limit).where(budget_limit.c.kind != "document")).mappings().all()
    assert [row["key"] for row in rows] == [town.keys["dana"].thumbprint, town.keys["rob"].thumbprint]
    leaves = [json.loads(town.events(kind)[0].payload)["data"] for kind in ("budget.raise-proposed", "budget.raised")]
    assert [leaf["key"] for leaf in leaves] == [row["key"] for row in rows]
    assert all(len(leaf["signed_digest"]) == 64 and leaf["reason"] == WHY for leaf in leaves)


def test_nobody_is_both(town: Town) -> None:
    twin = generate_keypair()
    with town.house.database.begin() as work:
        Principals(work).add("dana-too", roles=["reviewer"], key=twin.public, account_id="dana", now=utc_now())
        work.commit()
    proposal = propose_raise(town.house, signed(town, "dana", PROPOSAL), now=utc_now())
    for who, key in (("dana", town.keys["dana"]), ("dana-too", twin)):
        now = utc_now()
        raw = sign_act(principal=who, audience=town.house.issuer, act=approval(proposal), private_key=key, now=now)
        with pytest.raises(NotAuthorised, match="second person"):
            approve_raise(town.house, raw, now=utc_now())
    assert limit_of(town) != Decimal(40)


@pytest.mark.parametrize(
    ("who", "act", "changes", "error"),
    [
        ("dana", PROPOSAL, {"private_key": generate_keypair()}, NotAuthenticated),
        ("dana", PROPOSAL, {"principal": "rob"}, NotAuthenticated),
        ("dana", PROPOSAL, {"audience": "https://elsewhere.example"}, NotAuthenticated),
        ("ana", PROPOSAL, {}, NotAuthorised),
        ("dana", {**PROPOSAL, "act": "approve", "proposal": 1}, {}, InvalidRequest),
        ("dana", {**PROPOSAL, "epsilon": Decimal(-1)}, {}, InvalidRequest),
        ("dana", {**PROPOSAL, "reason": "why not"}, {}, InvalidRequest),
        ("dana", {**PROPOSAL, "planted": True}, {}, InvalidRequest),
    ],
)
def test_a_proposal_is_signed_by_who_may_and_says_what_it_is(
    town: Town, who: str, act: dict[str, Any], changes: dict[str, Any], error: type[TicketgateError]
) -> None:
    with pytest.raises(error):
        propose_raise(town.house, signed(town, who, act, **changes), now=utc_now())
    assert town.events("budget.raise-proposed") == []


def test_a_signature_is_good_once_and_for_what_was_proposed(town: Town) -> None:
    raw = signed(town, "dana", PROPOSAL)
    proposal = propose_raise(town.house, raw, now=utc_now())
    with pytest.raises(NotAuthenticated):
        propose_raise(town.house, raw, now=utc_now())
    for planted in ({"epsilon": Decimal(39)}, {"reason": "another reason than the first"}, {"delta": Decimal("0.5")}):
        with pytest.raises(InvalidRequest, match="not what was proposed"):
            approve_raise(town.house, signed(town, "rob", approval(proposal, **planted)), now=utc_now())
    approve_raise(town.house, signed(town, "rob", approval(proposal)), now=utc_now())
    with pytest.raises(Conflict):
        approve_raise(town.house, signed(town, "carl", approval(proposal)), now=utc_now())
    with pytest.raises(IntegrityError), town.house.database.begin() as work:
        work.execute(text("UPDATE budget_limit SET epsilon = '999'"))


def test_the_commands_ask_for_keys_and_say_what_comes_next(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKETGATE_HOME", str(town.house.settings.home))
    with town.house.database.begin() as work:
        for name in ("sue", "ron"):
            key = write_keypair(tmp_path / f"{name}.pem")
            Principals(work).add(name, roles=["steward"], key=key.public, now=utc_now())
        work.commit()

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(budget, ["raise", "card-transactions", *arguments])

    assert run("--epsilon", "40", "--reason", WHY, "--as", "sue").exit_code == 2
    said = run("--epsilon", "40", "--reason", WHY, "--as", "sue", "--key", str(tmp_path / "sue.pem"))
    assert "--approve 2 --as NAME --key FILE" in said.output  # the first row is the documents' own limit
    shown = CliRunner().invoke(budget, ["show", "card-transactions"])
    assert "proposal 2 waits for a second person" in shown.output
    assert "lifetime" in shown.output
    assert isinstance(run("--approve", "2", "--as", "ron", "--key", str(tmp_path / "sue.pem")).exception, NotAuthenticated)
    assert "is ε = 40" in run("--approve", "2", "--as", "ron", "--key", str(tmp_path / "ron.pem")).output
    assert limit_of(town) == Decimal(40)


def test_a_window_of_a_policy_slows_and_a_refusal_says_until_when(town: Town) -> None:
    raw = town.folder / "window.yaml"
    document = """\
apiVersion: ticketgate/v1
kind: ReleasePolicy
metadata: {name: lenient, version: 2}
spec:
  datasets: [card-transactions]
  request: {purposes: [testing], max_rows: 5000, attempts_per_ticket: 100}
  ticket: {projects: [DATA], max_uses: 100}
  generation: {generators: [dp-marginal], epsilon: {max: 1.0}, delta: {max: 1.0e-5}}
  budget: {epsilon: 5.0, delta: 1.0e-5, windows: [{epsilon: 1.2, length: 30d}]}
  gate: [{metric: utility.marginals.ks.worst, max: 0.99, use: value}]
"""
    raw.write_text(document, "utf-8")
    apply_policy(town.house, load_policy(raw), by="operator:test", now=utc_now())
    assert town.ask().status_code == 202
    refused = town.ask()
    problem = refused.get_json()
    assert (refused.status_code, problem["code"]) == (403, "budget-window-closed")
    assert [violation["rule"] for violation in problem["violations"]] == ["budget.windows"]
    assert "try again after" in problem["unlock"][0]
    shown = town.get("/v1/datasets/card-transactions/budget", "dana").get_json()
    window = shown["windows"][0]
    assert (window["epsilon"], window["length"], window["spent"]) == ("1.2", "30d", shown["lifetime"]["epsilon"])
    assert 0 < Decimal(window["spent"]) <= 1
