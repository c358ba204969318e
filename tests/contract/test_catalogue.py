"""Cards and policies by version: the same promises on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError

from gateway.catalogue import Datasets, Policies, install_guards
from gateway.db import Database, create_schema
from gateway.errors import Conflict, InvalidRequest, NotFound, VerificationFailed
from policies.canonical import digest
from policies.card import DatasetCard
from policies.schema import ReleasePolicy

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
LATER = datetime(2026, 3, 2, tzinfo=UTC)
POSTGRES = "postgresql+psycopg://postgres@127.0.0.1:5432"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        found = Database(f"sqlite:///{tmp_path / 'catalogue.db'}")
        create_schema(found)
        yield found
        found.dispose()
        return
    name = f"catalogue_{uuid4().hex[:12]}"
    admin = create_engine(f"{POSTGRES}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    found = Database(f"{POSTGRES}/{name}")
    create_schema(found)
    yield found
    found.dispose()
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


def make_card(name: str = "adult", *, high: int = 100) -> DatasetCard:
    return DatasetCard.model_validate(
        {
            "apiVersion": "ticketgate/v1",
            "kind": "Dataset",
            "metadata": {"name": name},
            "spec": {
                "source": "adult.csv",
                "budget": {"epsilon": Decimal("10.0"), "delta": Decimal("1e-5")},
                "columns": {"zeta": {"type": "integer", "bounds": [0, high]}, "age": {"type": "number", "bounds": [0, 1]}},
            },
        }
    )


def make_policy(
    version: int = 1, *, name: str = "open", most: str = "3.0", datasets: tuple[str, ...] = ("adult",)
) -> ReleasePolicy:
    return ReleasePolicy.model_validate(
        {
            "apiVersion": "ticketgate/v1",
            "kind": "ReleasePolicy",
            "metadata": {"name": name, "version": version, "owner": "office"},
            "spec": {
                "datasets": list(datasets),
                "request": {"roles": ["analyst"], "purposes": ["testing"], "max_rows": 1000, "formats": ["csv"]},
                "ticket": {"projects": ["DATA"], "statuses": ["Approved"]},
                "generation": {"generators": ["dp-marginal"], "epsilon": {"max": Decimal(most)}},
                "gate": [{"metric": "privacy.membership_inference.auc", "max": Decimal("0.55")}],
            },
        }
    )


def register(database: Database, card: DatasetCard, *, source: str = "/data/adult.csv", source_digest: str | None = None):
    with database.begin() as work:
        found = Datasets(work).register(card, digest=digest(card), source=source, source_digest=source_digest, by="dana", now=NOW)
        work.commit()
    return found


def apply(database: Database, policy: ReleasePolicy):
    with database.begin() as work:
        found = Policies(work).apply(policy, digest=digest(policy), by="olga", now=NOW)
        work.commit()
    return found


def test_a_card_comes_back_as_it_was_registered(database: Database) -> None:
    card = make_card()
    first = register(database, card, source_digest="ab" * 32)
    with database.read() as work:
        found = Datasets(work).get("adult")
    assert found == first
    assert found.card == card
    assert list(found.card.columns) == ["zeta", "age"]  # the order of columns means something
    assert (found.version, found.registered_at, found.registered_by, found.source) == (1, NOW, "dana", "/data/adult.csv")


def test_the_same_card_is_the_same_version_and_another_is_the_next(database: Database) -> None:
    assert register(database, make_card()).version == 1
    assert register(database, make_card()).version == 1
    assert register(database, make_card(high=90)).version == 2
    assert register(database, make_card(high=90), source_digest="cd" * 32).version == 3
    with database.read() as work:
        assert Datasets(work).get("adult", 1).card == make_card()
        assert [found.version for found in Datasets(work).versions("adult")] == [1, 2, 3]
        assert Datasets(work).get("adult").version == 3


def test_datasets_are_listed_by_name_in_their_newest_version(database: Database) -> None:
    for card in (make_card("zoo"), make_card("adult"), make_card("adult", high=80)):
        register(database, card)
    with database.read() as work:
        assert [(found.name, found.version) for found in Datasets(work).list()] == [("adult", 2), ("zoo", 1)]


def test_an_unknown_dataset_or_version_is_not_found(database: Database) -> None:
    register(database, make_card())
    with database.read() as work:
        with pytest.raises(NotFound, match="'nope'"):
            Datasets(work).get("nope")
        with pytest.raises(NotFound, match="version 7"):
            Datasets(work).get("adult", 7)


def test_a_digest_that_is_not_the_cards_is_refused(database: Database) -> None:
    with database.begin() as work, pytest.raises(InvalidRequest):
        Datasets(work).register(make_card(), digest="0" * 64, source="x", by="dana", now=NOW)


def test_an_altered_card_is_found_when_it_is_read(database: Database) -> None:
    register(database, make_card())
    with database.begin() as work:
        work.execute(text("UPDATE dataset SET card = replace(card, '\"100\"', '\"999\"')"))
        work.commit()
    with database.read() as work, pytest.raises(VerificationFailed):
        Datasets(work).get("adult")


def test_a_policy_version_is_immutable(database: Database) -> None:
    first = apply(database, make_policy(1))
    assert apply(database, make_policy(1)) == first
    with pytest.raises(Conflict) as refused:
        apply(database, make_policy(1, most="2.0"))
    assert refused.value.slug == "version-conflict"
    assert refused.value.unlock == ("apply it as version 2",)
    assert apply(database, make_policy(2, most="2.0")).version == 2
    with database.read() as work:
        assert Policies(work).get("open", 1).policy == make_policy(1)


def test_a_version_that_was_passed_over_cannot_be_filled_in(database: Database) -> None:
    apply(database, make_policy(5))
    with pytest.raises(Conflict, match="passed over"):
        apply(database, make_policy(3, most="1.0"))


def test_only_current_policies_cover_a_dataset(database: Database) -> None:
    apply(database, make_policy(1))
    apply(database, make_policy(1, name="other", most="2.5"))
    apply(database, make_policy(2, datasets=("elsewhere",)))
    with database.read() as work:
        assert [found.name for found in Policies(work).for_dataset("adult")] == ["other"]
        assert [(found.name, found.version) for found in Policies(work).for_dataset("elsewhere")] == [("open", 2)]
        assert [found.name for found in Policies(work).list()] == ["open", "other"]
        with pytest.raises(NotFound):
            Policies(work).get("open", 9)


@pytest.mark.parametrize(
    "statement", ["UPDATE dataset SET source = 'x'", "DELETE FROM dataset", "UPDATE policy SET version = 9", "DELETE FROM policy"]
)
def test_guards_refuse_to_change_the_catalogue(database: Database, statement: str) -> None:
    register(database, make_card())
    apply(database, make_policy())
    with database.begin() as work:
        install_guards(work.connection)
        install_guards(work.connection)
        work.commit()
    with database.begin() as work, pytest.raises(IntegrityError, match="append-only"):
        work.execute(text(statement))
    assert register(database, make_card(high=70)).version == 2
