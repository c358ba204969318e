"""An existing database is brought to the present schema without losing anything, on SQLite and on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway.db import Database, upgrade_schema
from gateway.db.schema import migration_config
from gateway.releases import Releases

FIRST = {
    "id": "r1", "principal": "ana", "account_id": "ana", "ticket": "DATA-1", "dataset": "cards", "status": "denied", "stage": "",
    "progress": 0.0, "request": '{"rows":1}', "request_digest": "0", "signed_request": "x.y.z", "decision_id": "d1",
    "decision": '{"permitted":false}', "fence": 0, "requested_at": "2026-01-02 03:04:05", "updated_at": "2026-01-02 03:04:05",
}  # fmt: skip
CARD = """INSERT INTO dataset (name, version, digest, card, source, registered_at, registered_by)
    VALUES (:name, 1, '0', :card, '.', '2026-01-02 03:04:05', 'dana')"""
LEDGER = "INSERT INTO budget_ledger (name, opened_at) VALUES ('cards', '2026-01-02 03:04:05')"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    url = f"sqlite:///{tmp_path / 'old.db'}" if request.param == "sqlite" else str(request.getfixturevalue("postgres"))
    return Database(url)


def of_the_first_edition(database: Database) -> None:
    """A database as the first edition made it, with a release and a ledger in it."""
    command.upgrade(migration_config(database), "0001")
    columns = ", ".join(FIRST)
    values = ", ".join(f":{name}" for name in FIRST)
    with database.begin() as work:
        work.execute(text(f"INSERT INTO release ({columns}) VALUES ({values})"), FIRST)  # noqa: S608 - names of columns
        work.execute(text(LEDGER))
        work.commit()


def test_a_database_of_the_first_edition_is_upgraded_and_keeps_what_it_holds(database: Database) -> None:
    of_the_first_edition(database)
    assert upgrade_schema(database) == ScriptDirectory.from_config(migration_config(database)).get_current_head()
    with database.read() as work:
        release = Releases(work).get("r1")
        assert (release.principal, release.decision, release.decision_facts) == ("ana", {"permitted": False}, None)
        assert [row.facts for row in Releases(work).past(["cards"])] == [None]
    database.dispose()


def test_the_triggers_of_the_first_edition_still_hold_after_the_upgrade(database: Database) -> None:
    of_the_first_edition(database)
    upgrade_schema(database)
    for statement in ("DELETE FROM budget_ledger", "UPDATE budget_ledger SET name = 'planted'"):
        with pytest.raises(DBAPIError, match="append-only"), database.begin() as work:
            work.execute(text(statement))
    database.dispose()


def test_an_upgraded_log_refuses_rows_that_come_with_a_place(database: Database) -> None:
    forged = text(
        "INSERT INTO audit_event (id, kind, at, payload, leaf_hash, leaf_index) "
        "VALUES (:id, 'release.read', :at, '{}', :hash, :place)"
    )
    row = {"id": "0" * 26, "at": "2026-03-01 12:00:00.000000", "hash": bytes(32), "place": 0}
    of_the_first_edition(database)
    upgrade_schema(database)
    with pytest.raises(DBAPIError, match="audit_event takes rows"), database.begin() as work:
        work.execute(forged, row)
    command.downgrade(migration_config(database), "0004")
    with database.begin() as work:
        work.execute(forged, row)
    database.dispose()


def test_what_reviewers_let_out_before_the_upgrade_stays_open(database: Database) -> None:
    of_the_first_edition(database)
    events = {"01A": "release.in-review", "01B": "release.reviewed", "01C": "release.released"}
    columns = "INSERT INTO audit_event (id, kind, at, release, payload, leaf_hash) VALUES (:id, :kind, :at, 'r1', '{}', :hash)"
    with database.begin() as work:
        for identifier, kind in events.items():
            work.execute(text(columns), {"id": identifier, "kind": kind, "at": FIRST["requested_at"], "hash": b"\0" * 32})
        work.execute(
            text("UPDATE release SET status = 'released', released_event_id = '01A', released_at = '2026-01-02 03:04:06'")
        )
        work.commit()
    upgrade_schema(database)
    with database.read() as work:
        release = Releases(work).get("r1")
    assert (release.released_event_id, release.handover_event_id) == ("01A", "01C")
    database.dispose()


def test_registered_datasets_become_members_of_the_ledgers_that_their_cards_name(database: Database) -> None:
    of_the_first_edition(database)
    with database.begin() as work:
        for name, group in (("cards", "null"), ("visits", '"patients"'), ("bills", '"patients"')):
            work.execute(text(CARD), {"name": name, "card": f'{{"spec":{{"budget_group":{group}}}}}'})
        work.commit()
    upgrade_schema(database)
    with database.read() as work:
        pairs = work.execute(text("SELECT ledger, dataset FROM budget_member ORDER BY ledger, dataset")).all()
        assert [tuple(pair) for pair in pairs] == [("cards", "cards"), ("patients", "bills"), ("patients", "visits")]
        assert work.execute(text("SELECT count(*) FROM budget_ledger")).scalar_one() == 2
    with pytest.raises(DBAPIError, match="append-only"), database.begin() as work:
        work.execute(text("DELETE FROM budget_member"))
    database.dispose()


def test_what_ended_before_the_upgrade_loses_its_keys(database: Database) -> None:
    of_the_first_edition(database)
    statuses = {"blocked": 1, "failed": 1, "cancelled": 1, "withdrawn": 1, "released": 2, "evaluating": 2, "expired": 1}
    key = "INSERT INTO data_key (subject, purpose, wrapping_key_id, wrapped, created_at) VALUES (:subject, :purpose, 'k', :raw, :at)"
    columns, values = ", ".join(FIRST), ", ".join(f":{name}" for name in FIRST)
    with database.begin() as work:
        for status, fence in statuses.items():
            row = {**FIRST, "id": status, "status": status, "fence": fence}
            work.execute(text(f"INSERT INTO release ({columns}) VALUES ({values})"), row)  # noqa: S608 - names of columns
            for subject, purpose in ((f"{status}#1", "artifacts"), (f"{status}#2", "artifacts"), (f"proof:{status}", "proof")):
                given = {"subject": subject, "purpose": purpose, "raw": b"wrapped", "at": FIRST["requested_at"]}
                work.execute(text(key), given)
        work.commit()
    upgrade_schema(database)
    with database.read() as work:
        left = set(work.execute(text("SELECT subject FROM data_key WHERE wrapped IS NOT NULL")).scalars())
        dated = work.execute(text("SELECT count(*) FROM data_key WHERE wrapped IS NULL AND destroyed_at IS NULL")).scalar_one()
    proofs = {f"proof:{status}" for status in statuses}
    assert left - proofs == {"released#2", "evaluating#2", "expired#1", "expired#2"}
    assert (proofs <= left, dated) == (True, 0)
    database.dispose()
