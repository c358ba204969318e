"""The ledger as a steward reads it at the terminal."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from gateway.budget import Ledgers, PrivacyLoss
from gateway.cli.budget import draw
from gateway.db import Database, metadata
from gateway.db.tables.budget import budget_entry, budget_filter, budget_ledger, budget_limit, budget_member
from policies.card import DatasetCard

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def make_card(budget: dict[str, Decimal] | None) -> DatasetCard:
    return DatasetCard.model_validate(
        {
            "apiVersion": "ticketgate/v1",
            "kind": "Dataset",
            "metadata": {"name": "adult"},
            "spec": {"source": "a.csv", "budget": budget, "columns": {"age": {"type": "integer", "bounds": [0, 100]}}},
        }
    )


def drawn(tmp_path: Path, card: DatasetCard, losses: list[PrivacyLoss]) -> str:
    database = Database(f"sqlite:///{tmp_path / 'b.db'}")
    metadata.create_all(database.engine, tables=[budget_ledger, budget_entry, budget_filter, budget_limit, budget_member])
    with database.begin() as work:
        for place, loss in enumerate(losses):
            entry = Ledgers(work).reserve(card, loss=loss, release_id=f"rel-{place}", principal="ana", now=NOW)
            if place == 0:
                Ledgers(work).settle(entry, spent=None, now=NOW)
        text = draw(Ledgers(work).statement(card, now=NOW))
    database.dispose()
    return text


def test_releases_stand_one_below_the_other_with_the_lifetime_beside(tmp_path: Path) -> None:
    loss = PrivacyLoss(
        epsilon=Decimal(1), delta=Decimal("1e-6"), unit="row", neighbours="add-remove", method="zCDP", rho=Decimal("0.0155")
    )
    text = drawn(tmp_path, make_card({"epsilon": Decimal(10), "delta": Decimal("1e-5")}), [loss, loss, PrivacyLoss.none()])
    assert "limit     ████████████████████████████████████████ 10.0000" in text
    assert "renyi filter" in text
    lines = [line for line in text.splitlines() if "rel-" in line]
    assert ["2026-03-01 12:30" in line for line in lines] == [True] * 3
    assert ("spent" in lines[0], "pending" in lines[1], "no bound" in lines[2]) == (True, True, True)
    assert "1 release(s) without any guarantee" in text


def test_a_ledger_without_limit_says_so(tmp_path: Path) -> None:
    text = drawn(tmp_path, make_card(None), [])
    assert "no limit is stated" in text
    assert "no release yet" in text
