"""Two requests at once cannot both be the last use of a ticket, although they are about two datasets and thus two ledgers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.catalogue import Datasets
from gateway.releases import Releases
from gateway.releases.registration import apply_policy, register_dataset
from gateway.telemetry import utc_now
from policies.canonical import canonical_json
from policies.card import DatasetCard
from policies.loader import load_policy

POLICY = """\
apiVersion: ticketgate/v1
kind: ReleasePolicy
metadata: {name: lenient, version: 2, owner: privacy-office}
spec:
  datasets: [card-transactions, twin]
  request: {roles: [analyst], purposes: [testing], max_rows: 5000, formats: [csv], attempts_per_ticket: 1}
  ticket: {projects: [DATA], statuses: [Approved], names_dataset: false, max_uses: 1}
  generation: {generators: [dp-marginal], epsilon: {max: 3.0}}
  gate:
    - {metric: utility.marginals.ks.worst, max: 1, use: value}
"""
PATIENCE = 3.0


@pytest.mark.services
def test_one_use_is_not_given_to_two_datasets(
    postgres: str, tmp_path: Path, found_town: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request waits after its count until the other has counted too: that never happens, because the other one waits."""
    town = found_town(tmp_path, database=postgres)
    with town.house.database.read() as work:
        document = json.loads(canonical_json(Datasets(work).get("card-transactions").card))
    document["metadata"]["name"] = "twin"
    card = DatasetCard.model_validate(document)
    register_dataset(town.house, card, source=str(tmp_path), source_digest=None, by="operator:test", now=utc_now())
    (tmp_path / "both.yaml").write_text(POLICY, "utf-8")
    apply_policy(town.house, load_policy(tmp_path / "both.yaml"), by="operator:test", now=utc_now())
    both = threading.Barrier(2)
    count = Releases.count

    def slow_count(self: Releases, **only: Any) -> int:
        found = count(self, **only)
        if "ticket" in only and not both.broken:
            try:
                both.wait(PATIENCE)
            except threading.BrokenBarrierError:
                return found
        return found

    monkeypatch.setattr(Releases, "count", slow_count)
    answers: list[int] = []
    requests = [town.signed(dataset=name) for name in ("card-transactions", "twin")]
    threads = [threading.Thread(target=lambda raw=raw: answers.append(town.ask(raw).status_code)) for raw in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    town.house.enqueue.close()
    town.house.database.dispose()
    assert sorted(answers) == [202, 403]
