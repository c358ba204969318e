"""The privacy ledger: the same promises on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError

from gateway.budget import Ledgers, Limit, PrivacyLoss, Raises, Signature, Window, install_guards, loss_of
from gateway.db import Database, metadata
from gateway.db.tables.budget import budget_entry, budget_filter, budget_ledger, budget_limit, budget_member
from gateway.errors import BudgetExhausted, Conflict, InvalidRequest, NotAuthorised, NotFound
from generator.zcdp import epsilon_of_rho
from policies.card import DatasetCard
from policies.types import PrivacySpent, PrivacyTarget

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SIGNED = Signature(key="thumbprint", message="a.b.c", digest="0" * 64)
POSTGRES = "postgresql+psycopg://postgres@127.0.0.1:5432"


TABLES = [budget_ledger, budget_entry, budget_filter, budget_limit, budget_member]


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Database]:
    name = f"ledger_{uuid4().hex[:12]}"
    admin = create_engine(f"{POSTGRES}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    found = Database(f"{POSTGRES}/{name}")
    yield found
    found.dispose()
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    is_sqlite = request.param == "sqlite"
    found = Database(f"sqlite:///{tmp_path / 'ledger.db'}") if is_sqlite else request.getfixturevalue("postgresql")
    metadata.create_all(found.engine, tables=TABLES)
    yield found
    metadata.drop_all(found.engine, tables=TABLES)


def make_card(name: str = "adult", *, epsilon: str | None = "10.0", delta: str = "1e-5", **spec: Any) -> DatasetCard:
    budget = None if epsilon is None else {"epsilon": Decimal(epsilon), "delta": Decimal(delta)}
    return DatasetCard.model_validate(
        {
            "apiVersion": "ticketgate/v1",
            "kind": "Dataset",
            "metadata": {"name": name},
            "spec": {"source": "a.csv", "budget": budget, "columns": {"age": {"type": "integer", "bounds": [0, 100]}}, **spec},
        }
    )


def rho(value: str, *, delta: str = "1e-6") -> PrivacyLoss:
    epsilon = Decimal(f"{epsilon_of_rho(float(value), float(delta)) * 1.000001:.9f}")
    return PrivacyLoss(
        epsilon=epsilon, delta=Decimal(delta), unit="row", neighbours="add-remove", method="zCDP", rho=Decimal(value)
    )


def pure(epsilon: str, delta: str = "0") -> PrivacyLoss:
    return PrivacyLoss(epsilon=Decimal(epsilon), delta=Decimal(delta), unit="row", neighbours="add-remove", method="pure")


def reserve(
    database: Database,
    card: DatasetCard,
    loss: PrivacyLoss,
    *,
    release: str = "rel",
    limits: tuple[Limit, ...] = (),
    now: datetime = NOW,
) -> str:
    with database.begin() as work:
        found = Ledgers(work).reserve(card, limits=limits, loss=loss, release_id=release, principal="ana", now=now)
        work.commit()
    return found


def settle(database: Database, entry: str, **facts: Any) -> Any:
    with database.begin() as work:
        found = Ledgers(work).settle(entry, now=NOW, **{"spent": None, **facts})
        work.commit()
    return found


def statement(database: Database, card: DatasetCard, *, limits: tuple[Limit, ...] = ()) -> dict[str, Any]:
    with database.read() as work:
        return Ledgers(work).statement(card, limits=limits, now=NOW).to_json()


def facts(
    database: Database, card: DatasetCard, loss: PrivacyLoss, *, limits: tuple[Limit, ...] = (), now: datetime = NOW
) -> Any:
    with database.begin() as work:
        return Ledgers(work).facts(card, limits=limits, loss=loss, now=now)


def test_an_untouched_ledger_shows_its_limit_and_nothing_else(database: Database) -> None:
    assert statement(database, make_card()) == {
        "limit": {"epsilon": "10", "delta": "0.00001"},
        "spent": {"epsilon": "0", "delta": "0"},
        "reserved": {"epsilon": "0", "delta": "0"},
        "remaining": {"epsilon": "10", "delta": "0.00001"},
        "lifetime": {"epsilon": "0", "delta": "0"},
        "windows": [],
        "entries": [],
    }


def test_a_reserve_is_held_and_then_becomes_spent(database: Database) -> None:
    card = make_card()
    loss = loss_of("dp-marginal", PrivacyTarget(epsilon=Decimal("1.0"), delta=Decimal("1e-5")), {}, card)
    entry = reserve(database, card, loss)
    held = statement(database, card)
    assert (held["spent"]["epsilon"], Decimal(held["reserved"]["epsilon"])) == (
        "0",
        pytest.approx(Decimal(1), abs=Decimal("0.002")),
    )
    settled = settle(database, entry, spent=loss)
    assert not settled.is_overrun
    after = statement(database, card)
    assert after["spent"] == held["reserved"]
    assert after["reserved"]["epsilon"] == "0"
    assert Decimal(9) < Decimal(after["remaining"]["epsilon"]) < Decimal(10)
    assert [entry["kind"] for entry in after["entries"]] == ["reserve", "settle"]
    assert after["entries"][0]["dp"] == {"scope": "mechanism-only"}
    assert (after["entries"][1]["settles"], after["entries"][1]["outcome"]) == (entry, "spent")


def test_an_unread_reserve_is_released_and_a_read_one_never(database: Database) -> None:
    card = make_card()
    first, second = reserve(database, card, rho("0.1")), reserve(database, card, rho("0.1"))
    settle(database, first, data_was_read=False)
    settle(database, second, spent=None, data_was_read=True)
    found = statement(database, card)
    assert found["reserved"]["epsilon"] == "0"
    assert Decimal(found["spent"]["epsilon"]) > 0
    assert [entry["outcome"] for entry in found["entries"]] == ["pending", "pending", "unread", "spent"]


def test_a_release_that_spent_less_is_charged_what_it_spent(database: Database) -> None:
    card = make_card()
    settle(database, reserve(database, card, rho("0.5")), spent=rho("0.2"))
    less = statement(database, card)["spent"]["epsilon"]
    other = make_card("other")
    settle(database, reserve(database, other, rho("0.5")), spent=None)
    assert Decimal(less) < Decimal(statement(database, other)["spent"]["epsilon"])


@pytest.mark.parametrize("spent", [rho("0.6"), PrivacyLoss.none(), pure("1.1")])
def test_a_release_that_spent_more_than_held_is_charged_in_full_and_says_so(database: Database, spent: PrivacyLoss) -> None:
    card = make_card()
    settled = settle(database, reserve(database, card, rho("0.5")), spent=spent)
    assert settled.is_overrun
    assert statement(database, card)["entries"][-1]["outcome"] == "overrun"


def test_a_generators_report_can_be_settled_as_it_is(database: Database) -> None:
    card = make_card()
    report = PrivacySpent(
        epsilon=Decimal("0.9"), delta=Decimal("1e-6"), unit="row", neighbours="add-remove", accountant="RDP", noise_source="os",
        rdp=((2.0, 0.05), (8.0, 0.25), (64.0, 2.0)),
    )  # fmt: skip
    settled = settle(database, reserve(database, card, PrivacyLoss.of(report)), spent=report)
    assert not settled.is_overrun


def test_a_settlement_is_final(database: Database) -> None:
    entry = reserve(database, make_card(), rho("0.1"))
    settle(database, entry, spent=rho("0.1"))
    with pytest.raises(Conflict, match="settled already"):
        settle(database, entry, data_was_read=False)
    with pytest.raises(NotFound):
        settle(database, "unknown")
    with pytest.raises(Conflict, match="spent nothing"):
        settle(database, reserve(database, make_card(), rho("0.1")), spent=rho("0.1"), data_was_read=False)


def test_open_reserves_are_those_that_nobody_settled(database: Database) -> None:
    card = make_card()
    first, second, third = (reserve(database, card, rho("0.01"), release=name) for name in ("a", "b", "c"))
    settle(database, second, spent=None)
    with database.read() as work:
        assert [entry.entry_id for entry in Ledgers(work).open_reserves()] == [first, third]
        assert [charge.is_settled for charge in Ledgers(work).charges_of_release("b")] == [True]


def test_the_limit_refuses_with_what_is_left_and_writes_nothing(database: Database) -> None:
    card = make_card(epsilon="1.0")
    reserve(database, card, rho("0.01"))
    with pytest.raises(BudgetExhausted) as refused:
        reserve(database, card, rho("0.03"))
    assert refused.value.unlock
    assert "ask for ε of at most" in refused.value.unlock[0]
    assert len(statement(database, card)["entries"]) == 1


def test_what_is_said_to_remain_can_be_had_and_no_more(database: Database) -> None:
    card = make_card(epsilon="3.0")
    reserve(database, card, loss_of("dp-marginal", PrivacyTarget(epsilon=Decimal("1.0"), delta=Decimal("1e-5")), {}, card))
    left = Decimal(statement(database, card)["remaining"]["epsilon"])
    more = loss_of("dp-marginal", PrivacyTarget(epsilon=left + Decimal("0.001"), delta=Decimal("1e-5")), {}, card)
    assert not facts(database, card, more).affords
    exactly = loss_of("dp-marginal", PrivacyTarget(epsilon=left, delta=Decimal("1e-5")), {}, card)
    assert facts(database, card, exactly).affords
    reserve(database, card, exactly)
    assert Decimal(statement(database, card)["remaining"]["epsilon"]) < Decimal("0.05")


@pytest.mark.parametrize("generator", ["dp-marginal", "dp-ar"])
def test_one_release_may_take_the_whole_limit(database: Database, generator: str) -> None:
    card = make_card(epsilon="3.0")
    loss = loss_of(generator, PrivacyTarget(epsilon=Decimal("3.0"), delta=Decimal("1e-5")), {}, card)
    settle(database, reserve(database, card, loss), spent=loss)
    found = statement(database, card)
    assert Decimal(found["remaining"]["epsilon"]) == 0
    assert Decimal(found["spent"]["epsilon"]) <= 3
    with pytest.raises(BudgetExhausted):
        reserve(database, card, rho("0.000001"))


def test_a_delta_above_the_limits_is_not_afforded(database: Database) -> None:
    assert not facts(database, make_card(), rho("0.001", delta="1e-4")).affords


def test_a_release_without_epsilon_is_a_flagged_entry_that_costs_no_number(database: Database) -> None:
    card = make_card(epsilon="1.0")
    settle(database, reserve(database, card, PrivacyLoss.none()), spent=PrivacyLoss.none())
    found = statement(database, card)
    assert [(entry["is_dp"], entry["epsilon"], entry["outcome"]) for entry in found["entries"]] == [
        (False, None, "pending"),
        (False, None, "spent"),
    ]
    assert found["spent"] == {"epsilon": "0", "delta": "0"}


def test_without_any_limit_everything_is_afforded_and_recorded(database: Database) -> None:
    card = make_card(epsilon=None)
    found = facts(database, card, rho("50"))
    assert (found.affords, found.limit_epsilon, found.remaining_epsilon) == (True, None, None)
    reserve(database, card, rho("50"))
    shown = statement(database, card)
    assert (shown["limit"], shown["remaining"]) == (None, None)
    assert len(shown["entries"]) == 1


def test_the_limit_is_the_least_of_card_and_policies(database: Database) -> None:
    limits = (Limit(epsilon=Decimal("2.0"), delta=Decimal("1e-6"), source="strict"), Limit(epsilon=Decimal(30), source="loose"))
    found = facts(database, make_card(), rho("0.001"), limits=limits)
    assert (found.limit_epsilon, found.limit_delta) == (Decimal("2.0"), Decimal("1e-6"))


def test_a_document_lowers_the_limit_and_no_document_lifts_it_again(database: Database) -> None:
    card, limits = make_card(), (Limit(epsilon=Decimal("2.0"), delta=Decimal("1e-5"), source="strict"),)
    reserve(database, card, rho("0.001"), limits=limits)
    assert statement(database, card)["limit"]["epsilon"] == "2.0".rstrip("0").rstrip(".")
    assert statement(database, make_card(epsilon="99"))["limit"]["epsilon"] == "2"
    assert statement(database, make_card(epsilon="1.5"))["limit"]["epsilon"] == "1.5"


def test_a_lowered_limit_can_be_noted_without_a_release(database: Database) -> None:
    card = make_card()
    with database.begin() as work:
        Ledgers(work).note_limits(card, limits=(Limit(epsilon=Decimal("1.0"), source="p"),), by="olga", now=NOW)
        work.commit()
    assert statement(database, card)["limit"]["epsilon"] == "1"


def test_a_raise_takes_two_people_and_a_reason(database: Database) -> None:
    card = make_card(epsilon="1.0")
    reserve(database, card, rho("0.014"))
    with pytest.raises(InvalidRequest, match="reason"), database.begin() as work:
        Raises(work).propose(card, epsilon=Decimal(3), reason="why not", by="dana", signature=SIGNED, now=NOW)
    with pytest.raises(InvalidRequest, match="states more"), database.begin() as work:
        Raises(work).propose(card, epsilon=Decimal("0.5"), reason="a good reason", by="dana", signature=SIGNED, now=NOW)
    with database.begin() as work:
        proposal = Raises(work).propose(
            card, epsilon=Decimal(3), reason="the yearly review agreed", by="dana", signature=SIGNED, now=NOW
        )
        work.commit()
    assert statement(database, card)["limit"]["epsilon"] == "1"
    with pytest.raises(NotAuthorised), database.begin() as work:
        Raises(work).approve(card, proposal.proposal_id, by="dana", signature=SIGNED, now=NOW)
    with database.begin() as work:
        Raises(work).approve(card, proposal.proposal_id, by="rita", signature=SIGNED, now=NOW)
        work.commit()
    assert statement(database, card)["limit"]["epsilon"] == "3"
    with pytest.raises(Conflict), database.begin() as work:
        Raises(work).approve(card, proposal.proposal_id, by="rita", signature=SIGNED, now=NOW)
    reserve(database, card, rho("0.05"))
    assert statement(database, make_card(epsilon="0.5"))["limit"]["epsilon"] == "0.5"
    with database.read() as work:
        assert [found.is_approved for found in Raises(work).list(card)] == [True]


def test_a_raise_is_void_when_the_limit_changed_since(database: Database) -> None:
    card = make_card(epsilon="2.0")
    with database.begin() as work:
        proposal = Raises(work).propose(
            card, epsilon=Decimal(9), reason="the yearly review agreed", by="dana", signature=SIGNED, now=NOW
        )
        work.commit()
    with pytest.raises(Conflict, match="propose anew"), database.begin() as work:
        Raises(work).approve(make_card(epsilon="1.0"), proposal.proposal_id, by="rita", signature=SIGNED, now=NOW)
    with pytest.raises(NotFound), database.begin() as work:
        Raises(work).approve(make_card("another"), proposal.proposal_id, by="rita", signature=SIGNED, now=NOW)


def test_a_window_slows_and_never_restores(database: Database) -> None:
    card = make_card(epsilon="3.0")
    limits = (Limit(source="slow", windows=(Window(epsilon=Decimal("1.2"), length=timedelta(days=30)),)),)
    one = loss_of("dp-marginal", PrivacyTarget(epsilon=Decimal("1.0"), delta=Decimal("1e-5")), {}, card)
    reserve(database, card, one, limits=limits)
    closed = facts(database, card, one, limits=limits)
    assert (closed.affords, closed.window_closed_until) == (True, NOW + timedelta(days=30))
    assert (closed.lifetime_epsilon, closed.window_epsilon) == (one.epsilon, Decimal("1.2"))
    with pytest.raises(BudgetExhausted) as refused:
        reserve(database, card, one, limits=limits)
    assert any("again after 2026-03-31" in hint for hint in refused.value.unlock)
    times = [NOW + timedelta(days=31 * month) for month in range(1, 20)]
    won = 0
    for moment in times:
        found = facts(database, card, one, limits=limits, now=moment)
        if found.affords and found.window_closed_until is None:
            reserve(database, card, one, limits=limits, now=moment)
            won += 1
    assert 2 <= won < len(times)  # the lifetime limit ends it, however long one waits
    assert not facts(database, card, one, limits=limits, now=NOW + timedelta(days=99_999)).affords


def test_datasets_about_the_same_people_share_a_ledger(database: Database) -> None:
    first, second = (
        make_card("visits", epsilon="1.0", budget_group="patients"),
        make_card("bills", epsilon="1.0", budget_group="patients"),
    )
    reserve(database, first, rho("0.018"))
    assert not facts(database, second, rho("0.018")).affords
    assert facts(database, make_card("other", epsilon="1.0"), rho("0.018")).affords


def test_changing_the_group_does_not_leave_the_history_behind(database: Database) -> None:
    reserve(database, make_card("visits", epsilon="1.0"), rho("0.018"))
    moved = make_card("visits", epsilon="1.0", budget_group="fresh")
    assert not facts(database, moved, rho("0.018")).affords
    assert len(statement(database, moved)["entries"]) == 1
    sibling = make_card("bills", epsilon="1.0", budget_group="fresh")
    reserve(database, moved, rho("0.0001"))
    assert not facts(database, sibling, rho("0.018")).affords


def test_moving_the_group_lifts_no_limit(database: Database) -> None:
    reserve(database, make_card("visits", epsilon="1.0"), rho("0.018"))
    moved = make_card("visits", epsilon="500", budget_group="fresh")
    assert statement(database, moved)["limit"]["epsilon"] == "1"
    assert not facts(database, moved, rho("0.018")).affords
    with pytest.raises(BudgetExhausted):
        reserve(database, moved, rho("0.018"))
    reserve(database, moved, rho("0.0001"))
    assert statement(database, make_card("bills", epsilon="500", budget_group="fresh"))["limit"]["epsilon"] == "1"
    back = make_card("visits", epsilon="500")
    assert statement(database, back)["limit"]["epsilon"] == "1"


def test_a_moved_ledger_keeps_the_filter_that_its_limit_was_bound_to(database: Database) -> None:
    """The first release takes the whole limit, so the ledger is bound to plain sums; it may not change its mind by a move."""
    card = make_card("visits", epsilon="3.0")
    whole = loss_of("dp-marginal", PrivacyTarget(epsilon=Decimal("3.0"), delta=Decimal("1e-5")), {}, card)
    settle(database, reserve(database, card, whole), spent=pure("0.5"))
    for where in (card, make_card("visits", epsilon="3.0", budget_group="fresh")):
        with database.read() as work:
            assert Ledgers(work).statement(where, now=NOW).mode == "basic"


def test_a_raise_holds_in_every_ledger_of_the_history(database: Database) -> None:
    reserve(database, make_card("visits", epsilon="1.0"), rho("0.0001"))
    moved = make_card("visits", epsilon="5.0", budget_group="fresh")
    reserve(database, moved, rho("0.0001"))
    with database.begin() as work:
        raises = Raises(work)
        proposal = raises.propose(
            moved, epsilon=Decimal(3), reason="the yearly review agreed", by="dana", signature=SIGNED, now=NOW
        )
        raises.approve(moved, proposal.proposal_id, by="rita", signature=SIGNED, now=NOW)
        work.commit()
    sibling = make_card("bills", epsilon="5.0", budget_group="fresh")
    assert [statement(database, card)["limit"]["epsilon"] for card in (moved, sibling)] == ["3", "3"]
    assert (
        statement(database, make_card("visits", epsilon="4.0"))["limit"]["epsilon"] == "3"
    )  # less than it was made against, and more than it gave
    assert statement(database, make_card("visits", epsilon="2.0"))["limit"]["epsilon"] == "2"


def test_a_rolled_back_reserve_never_happened(database: Database) -> None:
    card = make_card()
    with database.begin() as work:
        Ledgers(work).reserve(card, loss=rho("0.1"), release_id="r", principal="ana", now=NOW)
    assert statement(database, card)["entries"] == []


@pytest.mark.parametrize("table", ["budget_entry", "budget_ledger", "budget_filter", "budget_limit", "budget_member"])
@pytest.mark.parametrize("verb", ["update", "delete"])
def test_guards_refuse_to_change_the_ledger(database: Database, table: str, verb: str) -> None:
    card = make_card()
    settle(database, reserve(database, card, rho("0.1")), spent=rho("0.05"))
    with database.begin() as work:
        Ledgers(work).note_limits(card, by="dana", now=NOW)
        install_guards(work.connection)
        install_guards(work.connection)
        work.commit()
    rows = metadata.tables[table]
    column = {"budget_ledger": "name", "budget_filter": "mode", "budget_limit": "reason", "budget_member": "dataset"}.get(
        table, "method"
    )
    forbidden = rows.delete() if verb == "delete" else rows.update().values({column: "0"})
    with database.begin() as work, pytest.raises(IntegrityError, match="append-only"):
        work.execute(forbidden)
    settle(database, reserve(database, card, rho("0.1")), spent=rho("0.1"))
    assert len(statement(database, card)["entries"]) == 4
