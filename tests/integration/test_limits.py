"""The limit of a budget is the least of what any document ever stated, from the moment it is registered, and a log says so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.budget import Ledgers
from gateway.catalogue import Datasets
from gateway.db.tables.budget import budget_limit
from gateway.releases.documents import limits_of
from gateway.releases.produce import note_reading, take_up
from gateway.releases.registration import apply_policy, register_dataset
from gateway.telemetry import utc_now
from policies.canonical import canonical_json
from policies.card import DatasetCard
from policies.loader import load_policy

Town = Any
POLICY = """\
apiVersion: ticketgate/v1
kind: ReleasePolicy
metadata: {{name: {name}, version: {version}, owner: privacy-office}}
spec:
  datasets: [{datasets}]
  mode: {mode}
  request: {{roles: [analyst], purposes: [testing], max_rows: 5000}}
  ticket: {{projects: [DATA], statuses: [Approved]}}
  generation: {{generators: [dp-marginal], epsilon: {{max: 3.0}}}}
  budget: {{epsilon: {epsilon}, delta: 1.0e-5}}
  gate:
    - {{metric: utility.marginals.ks.worst, max: 1, use: value}}
"""


def register(town: Town, name: str = "card-transactions", *, group: str | None = None, **budget: Any) -> None:
    """Another version of the sample card."""
    with town.house.database.read() as work:
        document = json.loads(canonical_json(Datasets(work).get("card-transactions", version=1).card))
    document["metadata"]["name"] = name
    document["spec"] |= {"budget": {"delta": "1e-5", **budget}, "budget_group": group}
    card = DatasetCard.model_validate(document)
    register_dataset(town.house, card, source=str(town.folder), source_digest=None, by="operator:test", now=utc_now())


def apply(town: Town, epsilon: float, *, version: int, name: str = "strict", datasets: str, mode: str = "enforce") -> None:
    path = town.folder / f"{name}-{version}.yaml"
    path.write_text(POLICY.format(name=name, version=version, datasets=datasets, epsilon=epsilon, mode=mode), "utf-8")
    apply_policy(town.house, load_policy(path), by="operator:test", now=utc_now())


def limit(town: Town, name: str = "card-transactions") -> str | None:
    with town.house.database.read() as work:
        card = Datasets(work).get(name).card
        found = Ledgers(work).statement(card, limits=limits_of(work, card), now=utc_now()).to_json()["limit"]
    return None if found is None else str(found["epsilon"])


def test_a_lowered_card_stays_lowered_although_nothing_was_released_under_it(town: Town) -> None:
    register(town, epsilon="500")
    assert limit(town) == "10"  # the sample's own, registered first
    register(town, epsilon="4")
    register(town, epsilon="500")
    assert limit(town) == "4"


def test_a_denied_request_is_judged_by_the_lowered_limit(town: Town) -> None:
    register(town, epsilon="0.2")
    register(town, epsilon="500")
    answer = town.ask()
    assert answer.status_code == 403
    assert any(found["rule"].startswith("budget") for found in answer.get_json()["violations"]), answer.text


def test_cards_about_the_same_people_share_the_least_of_their_limits_at_once(town: Town) -> None:
    register(town, "aa", group="people", epsilon="10")
    register(town, "bb", group="people", epsilon="1", windows=[{"epsilon": "0.5", "length": "30d"}])
    assert [limit(town, name) for name in ("aa", "bb")] == ["1", "1"]
    with town.house.database.read() as work:
        card = Datasets(work).get("aa").card
        [window] = Ledgers(work).statement(card, limits=limits_of(work, card), now=utc_now()).windows
    assert str(window.epsilon) == "0.5", "the speed is about these people too"
    apply(town, 0.7, version=1, datasets="bb")
    assert [limit(town, name) for name in ("aa", "bb")] == ["0.7", "0.7"]


def test_a_policy_that_came_before_its_dataset_still_counts(town: Town) -> None:
    apply(town, 2, version=1, datasets="later")
    apply(town, 500, version=2, datasets="later")
    apply(town, 0.1, version=1, name="shadow", datasets="later", mode="audit")
    apply(town, 0.1, version=1, name="another", datasets="elsewhere")
    register(town, "later", epsilon="10")
    assert limit(town, "later") == "2"


@pytest.mark.parametrize("back", [False, True])
def test_a_dataset_that_leaves_its_group_before_its_first_release_takes_limit_and_ledger_along(town: Town, back: bool) -> None:
    register(town, "visits", group="patients", epsilon="1")
    register(town, "visits", group="fresh", epsilon="500")
    if back:
        register(town, "visits", epsilon="500")
    assert limit(town, "visits") == "1"
    with town.house.database.read() as work:
        kin = Ledgers(work).kin(Datasets(work).get("visits").card)
    assert {"patients", "fresh"} <= kin.ledgers


def test_registering_the_same_again_writes_no_second_limit(town: Town) -> None:
    for _ in range(2):
        register(town, epsilon="4")
    with town.house.database.read() as work:
        rows = work.execute(budget_limit.select()).all()
    assert [row.epsilon for row in rows if row.ledger == "card-transactions"] == [rows[0].epsilon, rows[-1].epsilon]
    assert len(rows) == 2


def test_a_second_fit_is_held_to_the_newest_card(town: Town) -> None:
    release_id = town.ask().get_json()["id"]
    taken = take_up(town.house, release_id, now=utc_now())
    assert taken is not None
    note_reading(town.house, taken, now=utc_now())
    register(town, epsilon="1.1")
    assert take_up(town.house, release_id, now=utc_now()) is None, "ε = 1 is spent, and 1.1 is the limit now"
    assert town.release(release_id).failure["code"] == "interrupted"


def test_every_document_says_in_the_log_which_limit_and_windows_hold_from_then_on(town: Town) -> None:
    slow = [{"epsilon": "2", "length": "30d"}]
    register(town, epsilon="4", windows=slow)
    register(town, epsilon="500")
    apply(town, 3, version=1, datasets="card-transactions")
    said = [json.loads(event.payload)["data"] for event in town.events("dataset.registered")]
    assert [found["limit"] for found in said][-2:] == [
        {"epsilon": "4", "delta": "0.00001", "windows": slow},
        {"epsilon": "4", "delta": "0.00001", "windows": []},
    ]
    assert {found["ledger"] for found in said} == {"card-transactions"}
    newest = json.loads(town.events("policy.applied")[-1].payload)["data"]
    assert newest["limits"] == {"card-transactions": {"epsilon": "3", "delta": "0.00001", "windows": []}}
