"""Metrics with noise: paid for before they are published, shown to the requester, written down; a spent budget refuses them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from gateway.budget import Ledgers
from gateway.releases import Status
from gateway.releases.registration import apply_policy
from gateway.telemetry import utc_now
from policies.loader import load_policy

Town = Any
NOISE = Decimal("0.5")


def with_noise(town: Town, *, limit: str, version: int = 2, noise: str | None = str(NOISE)) -> None:
    """The town's policy with noisy metrics and a limit of all releases together."""
    from tests.integration.conftest import POLICY

    line = "{metrics: banded}" if noise is None else f"{{metrics: banded, noisy_epsilon: {noise}}}"
    text = POLICY.format(version=version, metric="utility.marginals.ks.worst", line="1", review="{approvers: 0}")
    text = text.replace("disclosure: {metrics: banded}", f"disclosure: {line}")
    text = text.replace("  generation:", f"  budget: {{epsilon: {limit}, delta: 1.0e-5}}\n  generation:")
    path = town.folder / f"noisy-{version}.yaml"
    path.write_text(text, "utf-8")
    apply_policy(town.house, load_policy(path), by="operator:test", now=utc_now())


def losses(town: Town, release_id: str) -> list[tuple[str, Decimal | None]]:
    with town.house.database.read() as work:
        (charge,) = Ledgers(work).charges_of_release(release_id)
    return [(entry.kind, entry.loss.epsilon) for entry in (charge.reserve, charge.settlement) if entry is not None]


def test_noisy_metrics_are_charged_with_the_release_and_shown(town: Town) -> None:
    with_noise(town, limit="9")
    release = town.produced()
    assert release.status is Status.RELEASED, release.verdict
    assert losses(town, release.id) == [("reserve", Decimal("1.5")), ("settle", Decimal("1.5"))]
    town.sequence()
    shown = town.get(f"/v1/releases/{release.id}/report-card", "ana").get_json()["noisy_metrics"]
    assert (shown["epsilon"], shown["neighbours"]) == ("0.5", "add-remove")
    assert sum(Decimal(metric["epsilon"]) for metric in shown["metrics"].values()) <= NOISE
    assert "train.units" in shown["metrics"]
    assert len(shown["metrics"]) > 3
    manifest = town.get(f"/v1/releases/{release.id}/manifest", "ana").get_json()
    assert manifest["dp"]["noisy_metrics"] == {"epsilon": "0.5", "delta": "0", "in": "report-card.json"}
    for kind in ("budget.reserved", "budget.settled"):
        (event,) = town.events(kind)
        assert event.data["noisy_epsilon"] == "0.5"
    assert release.decision["obligations"]["noisy_epsilon"] == "0.5"


def test_a_budget_that_affords_the_table_and_not_the_noise_refuses(town: Town) -> None:
    """1.0 for the table and 0.5 for the noise against a limit of 1.2: denied at the door, nothing reserved, nothing read."""
    with_noise(town, limit="1.2")
    answer = town.ask()
    assert answer.status_code == 403
    body = answer.get_json()
    assert [found["code"] for found in body["violations"]] == ["budget-exhausted"]
    least = Decimal(body["violations"][0]["required"])
    assert Decimal(0) < least < Decimal("0.75"), "what is left for a generator, the noise being paid for"
    assert town.events("budget.reserved") == []
    with_noise(town, limit="1.2", version=3, noise=None)
    assert town.ask().status_code == 202


def test_beside_no_guarantee_no_noise_is_sold(town: Town) -> None:
    with_noise(town, limit="9")
    release = town.produced(generator={"name": "cart"})
    assert losses(town, release.id) == [("reserve", None), ("settle", None)]
    assert release.decision["obligations"]["noisy_epsilon"] is None
