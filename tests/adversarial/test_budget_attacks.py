"""Ways in which somebody might get more out of a ledger than it allows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.budget import Ledgers, Limit, PrivacyLoss, loss_of
from gateway.db import Database, metadata
from gateway.db.tables.budget import budget_entry, budget_filter, budget_ledger, budget_limit, budget_member
from gateway.errors import BudgetExhausted, InvalidRequest
from policies.card import DatasetCard
from policies.types import PrivacyTarget

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def make_card(epsilon: str = "1.0", *, name: str = "adult", group: str | None = None) -> DatasetCard:
    return DatasetCard.model_validate(
        {
            "apiVersion": "ticketgate/v1",
            "kind": "Dataset",
            "metadata": {"name": name},
            "spec": {
                "source": "a.csv",
                "budget": {"epsilon": Decimal(epsilon), "delta": Decimal("1e-5")},
                "budget_group": group,
                "columns": {"age": {"type": "integer", "bounds": [0, 100]}},
            },
        }
    )


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(f"sqlite:///{tmp_path / 'b.db'}")
    metadata.create_all(found.engine, tables=[budget_ledger, budget_entry, budget_filter, budget_limit, budget_member])
    yield found
    found.dispose()


def spend(database: Database, card: DatasetCard, loss: PrivacyLoss, *, principal: str = "ana") -> str:
    with database.begin() as work:
        entry = Ledgers(work).reserve(card, loss=loss, release_id="r", principal=principal, now=NOW)
        work.commit()
    return entry


def marginal(epsilon: str, card: DatasetCard, delta: str = "1e-6") -> PrivacyLoss:
    return loss_of("dp-marginal", PrivacyTarget(epsilon=Decimal(epsilon), delta=Decimal(delta)), {}, card)


@pytest.mark.parametrize("epsilon", ["1e-7", "1001", "1e400", "1e-400"])
@pytest.mark.parametrize("generator", ["dp-marginal", "dp-ar"])
def test_an_absurd_epsilon_is_refused_before_it_is_accounted(epsilon: str, generator: str) -> None:
    with pytest.raises(InvalidRequest):
        loss_of(generator, PrivacyTarget(epsilon=Decimal(epsilon), delta=Decimal("1e-6")), {}, make_card())


@pytest.mark.parametrize("delta", ["1e-19", "1e-400"])
def test_an_absurd_delta_is_refused(delta: str) -> None:
    with pytest.raises(InvalidRequest):
        loss_of("dp-marginal", PrivacyTarget(epsilon=Decimal(1), delta=Decimal(delta)), {}, make_card())


def test_a_hyperparameter_cannot_make_a_fit_cheaper_than_its_plan() -> None:
    with pytest.raises(InvalidRequest, match="noise_multiplier"):
        loss_of("dp-ar", PrivacyTarget(epsilon=Decimal(1), delta=Decimal("1e-6")), {"noise_multiplier": 99}, make_card())


def test_many_small_requests_cost_what_they_are(database: Database) -> None:
    card = make_card("0.5")
    small = marginal("0.05", card)
    won = 0
    for _ in range(400):
        try:
            spend(database, card, small)
        except BudgetExhausted:
            break
        won += 1
    with database.read() as work:
        spent = Ledgers(work).of(card).facts(stated=Limit(epsilon=Decimal("0.5"), delta=Decimal("1e-5")), request=small, now=NOW)
    assert spent.lifetime_epsilon is not None
    assert spent.lifetime_epsilon <= Decimal("0.5")
    assert 10 <= won < 400


def test_colluding_principals_share_one_ledger(database: Database) -> None:
    card = make_card("1.0")
    spend(database, card, marginal("0.9", card), principal="ana")
    with pytest.raises(BudgetExhausted):
        spend(database, card, marginal("0.9", card), principal="bob")


def test_a_second_name_for_the_same_people_buys_nothing(database: Database) -> None:
    first, second = make_card(name="visits", group="patients"), make_card(name="visits-copy", group="patients")
    spend(database, first, marginal("0.9", first))
    with pytest.raises(BudgetExhausted):
        spend(database, second, marginal("0.9", second))


def test_a_cancelled_release_that_read_data_gets_nothing_back(database: Database) -> None:
    card = make_card("1.0")
    entry = spend(database, card, marginal("0.9", card))
    with database.begin() as work:
        Ledgers(work).settle(entry, spent=None, data_was_read=True, now=NOW)
        work.commit()
    with pytest.raises(BudgetExhausted):
        spend(database, card, marginal("0.9", card))


def test_a_report_that_claims_less_delta_keeps_the_reserved_failure(database: Database) -> None:
    card = make_card("5.0")
    held = PrivacyLoss(
        epsilon=Decimal(1), delta=Decimal("1e-6"), unit="row", neighbours="add-remove", method="m", rho=Decimal("0.0155"),
        failure_delta=Decimal("1e-7"),
    )  # fmt: skip
    told = PrivacyLoss(
        epsilon=Decimal(1), delta=Decimal("1e-6"), unit="row", neighbours="add-remove", method="m", rho=Decimal("0.0155")
    )
    entry = spend(database, card, held)
    with database.begin() as work:
        Ledgers(work).settle(entry, spent=told, now=NOW)
        work.commit()
    with database.read() as work:
        assert Ledgers(work).of(card).losses[0].failure == Decimal("1e-7")
