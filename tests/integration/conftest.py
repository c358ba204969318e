"""A gateway with people, a ticket, a dataset and a policy, in one process; productions are real and run where the test says."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from gateway.access import Principals, PrivateKey, generate_keypair, sign_request
from gateway.cli.compose import open_house
from gateway.cli.sample import write_sample
from gateway.cli.setup import initialise
from gateway.jobs.conclude import conclude_production
from gateway.jobs.produce import produce
from gateway.jobs.worker import make_sequencer
from gateway.releases import House, Release, Releases
from gateway.releases.registration import apply_policy, register_dataset
from gateway.settings import Settings
from gateway.telemetry import utc_now
from gateway.tickets import Tickets
from gateway.web import create_app
from policies.loader import load_card, load_policy

POLICY = """\
apiVersion: ticketgate/v1
kind: ReleasePolicy
metadata: {{name: lenient, version: {version}, owner: privacy-office}}
spec:
  datasets: [card-transactions]
  request: {{roles: [analyst], purposes: [testing], max_rows: 5000, formats: [parquet, csv], attempts_per_ticket: 100}}
  ticket: {{projects: [DATA], statuses: [Approved], approval_max_age: 30d, max_uses: 100}}
  generation: {{generators: [dp-marginal, cart], epsilon: {{max: 3.0}}, delta: {{max: 1.0e-5}}, allow_non_dp: true}}
  gate:
    - {{metric: {metric}, max: {line}, use: value}}
  review: {review}
  disclosure: {{metrics: banded}}
  access: {{token_ttl: 15m, max_downloads: 2, proof_of_possession: optional, release_expires: 30d}}
"""
RENEW_SECONDS = 240.0  # an access token lives ten minutes, and a module on a busy machine may take longer
ROLES = {
    "ana": "analyst",
    "eve": "analyst",
    "rob": "reviewer",
    "rita": "reviewer",
    "carl": "compliance",
    "sam": "security",
    "dana": "steward",
}


@dataclass
class Town:
    """The gateway and everybody in it."""

    house: House
    keys: dict[str, PrivateKey]
    folder: Path
    client: FlaskClient
    tokens: dict[str, str] = field(default_factory=dict)
    obtained: dict[str, float] = field(default_factory=dict)

    def signed(self, who: str = "ana", **changes: Any) -> str:
        request = {
            "ticket": "DATA-101",
            "dataset": "card-transactions",
            "purpose": "testing",
            "rows": 300,
            "format": "csv",
            "generator": {"name": "dp-marginal", "epsilon": "1.0"},
            **changes,
        }
        return sign_request(principal=who, audience=self.house.issuer, request=request, private_key=self.keys[who], now=utc_now())

    def ask(self, raw: str | None = None, **changes: Any) -> Any:
        body = raw or self.signed(**changes)
        return self.client.post("/v1/release-requests", data=body, content_type="application/jwt")

    def login(self, who: str) -> dict[str, str]:
        from gateway.access import client_assertion

        if who not in self.tokens or time.monotonic() - self.obtained[who] > RENEW_SECONDS:
            self.obtained[who] = time.monotonic()
            assertion = client_assertion(principal=who, audience=self.house.issuer, private_key=self.keys[who], now=utc_now())
            form = {
                "grant_type": "client_credentials",
                "client_assertion": assertion,
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            }
            answer = self.client.post("/oauth/token", data=form)
            assert answer.status_code == 200, answer.text
            self.tokens[who] = answer.get_json()["access_token"]
        return {"Authorization": f"Bearer {self.tokens[who]}"}

    def get(self, path: str, who: str) -> Any:
        return self.client.get(path, headers=self.login(who))

    def post(self, path: str, who: str, **arguments: Any) -> Any:
        return self.client.post(path, headers=self.login(who), **arguments)

    def release(self, release_id: str) -> Release:
        with self.house.database.read() as work:
            return Releases(work).get(release_id)

    def produced(self, **changes: Any) -> Release:
        """A release that went through a real production."""
        answer = self.ask(**changes)
        assert answer.status_code == 202, answer.text
        release_id = answer.get_json()["id"]
        made = produce(self.house, release_id)
        if made is not None:
            conclude_production(self.house, made)
        return self.release(release_id)

    def sequence(self) -> None:
        make_sequencer(self.house).run_once(utc_now())

    def policy(
        self, *, version: int, metric: str = "utility.marginals.ks.worst", line: str = "1", review: str = "{approvers: 0}"
    ) -> None:
        path = self.folder / f"policy-{version}.yaml"
        path.write_text(POLICY.format(version=version, metric=metric, line=line, review=review), "utf-8")
        apply_policy(self.house, load_policy(path), by="operator:test", now=utc_now())

    def events(self, kind: str) -> list[Any]:
        from gateway.audit import Log

        with self.house.database.read() as work:
            return Log(work).search(kind=kind, limit=1000)


def make_town(folder: Path, **settings: Any) -> Town:
    chosen = Settings(home=folder / "home", **settings)
    initialise(chosen)
    house = open_house(chosen, with_queue=True)
    card = load_card(write_sample(folder, customers=1500, rng=np.random.default_rng(3)))
    register_dataset(house, card, source=str(folder), source_digest=None, by="operator:test", now=utc_now())
    keys = {name: generate_keypair() for name in ROLES}
    with house.database.begin() as work:
        for name, role in ROLES.items():
            Principals(work).add(name, roles=[role], key=keys[name].public, now=utc_now())
        Tickets(work).add(
            "DATA-101", status="Approved", dataset="card-transactions", assignee="ana", approver="rob", now=utc_now()
        )
        work.commit()
    town = Town(house=house, keys=keys, folder=folder, client=create_app(house, with_limits=False).test_client())
    town.policy(version=1)
    return town


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """A town that nobody plays in: others are copied from it, which is quicker than founding them."""
    made = make_town(tmp_path_factory.mktemp("template"))
    made.house.database.dispose()
    return made


@pytest.fixture
def town(template: Town, tmp_path: Path) -> Iterator[Town]:
    shutil.copytree(template.folder / "home", tmp_path / "home")
    house = open_house(Settings(home=tmp_path / "home"), with_queue=True)
    yield Town(house=house, keys=template.keys, folder=tmp_path, client=create_app(house, with_limits=False).test_client())
    house.database.dispose()


@pytest.fixture
def found_town() -> Callable[..., Town]:
    """Found a town with settings of its own, e.g. on PostgreSQL."""
    return make_town


@pytest.fixture
def postgres_town(postgres: str, tmp_path: Path) -> Iterator[Town]:
    made = make_town(tmp_path, database=postgres)
    yield made
    made.house.enqueue.close()
    made.house.database.dispose()


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Town, Callable[[], Release]]]:
    """A town in which productions cost a few seconds each: shared by the tests of a module."""
    made = make_town(tmp_path_factory.mktemp("town"))

    def another() -> Release:
        release = made.produced()
        made.sequence()
        return release

    yield made, another
    made.house.database.dispose()
