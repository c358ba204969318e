"""Appending in the caller's transaction, pseudonyms, erasure, reading back."""

from __future__ import annotations

import hmac
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256

import pytest
from sqlalchemy import func, select

from gateway.audit import Log, verify_log
from gateway.audit.event import event_id
from gateway.audit.merkle import leaf_hash
from gateway.audit.pseudonyms import PREFIX, Pseudonyms
from gateway.db.tables.audit import audit_event, pseudonym_key

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def rows(world) -> list:
    with world.database.read() as work:
        return work.execute(select(audit_event).order_by(audit_event.c.id)).all()


def test_an_event_is_what_its_payload_says(world):
    with world.database.begin() as work:
        identifier = Log(work).append(
            "budget.reserved",
            at=NOW,
            actor="ana",
            release="r1",
            ticket="T-1",
            dataset="d",
            token="t",
            data={"eps": Decimal("0.1")},
        )
        work.commit()
    (row,) = rows(world)
    document = json.loads(row.payload)
    assert row.leaf_hash == leaf_hash(row.payload.encode())
    assert row.leaf_index is None
    assert (row.id, row.kind, row.at) == (identifier, "budget.reserved", NOW)
    assert document["subjects"] == {"actor": row.actor, "release": "r1", "ticket": "T-1", "dataset": "d", "token": "t"}
    assert document["data"] == {"eps": "0.1"}


def test_without_commit_there_is_no_event_and_no_key(world):
    with world.database.begin() as work:
        Log(work).append("release.requested", at=NOW, actor="ana")
    assert rows(world) == []
    with world.database.read() as work:
        assert work.execute(select(func.count()).select_from(pseudonym_key)).scalar_one() == 0


@pytest.mark.parametrize("kind", ["", "release", "release.vanished", "release.requested "])
def test_unknown_kinds_are_refused(world, kind: str):
    with world.database.begin() as work, pytest.raises(ValueError, match="no kind of event"):
        Log(work).append(kind, at=NOW)


def test_a_naive_time_is_refused(world):
    with world.database.begin() as work, pytest.raises((TypeError, ValueError)):
        Log(work).append("release.requested", at=datetime(2026, 3, 1))  # noqa: DTZ001 - that is the point


def test_events_of_one_moment_keep_their_order_across_logs(world):
    with world.database.begin() as work:
        given = [Log(work).append("release.requested", at=NOW, release=str(number)) for number in range(50)]
        work.commit()
    assert [row.id for row in rows(world)] == given


def test_an_identifier_can_be_made_before_the_event(world):
    reserved = event_id(NOW, 5)
    with world.database.begin() as work:
        assert Log(work).append("release.released", at=NOW, data={"names": reserved}, identifier=reserved) == reserved
        work.commit()
    (row,) = rows(world)
    assert (row.id, json.loads(row.payload)["id"]) == (reserved, reserved)


def test_people_stand_as_pseudonyms_at_any_depth(world):
    data = {
        "approver": "rob",
        "ticket": {"assignee": "ana", "history": [{"reporter": "zoe"}, "plain"]},
        "recipients": ["ana", "rob"],
        "account": {"id": "ana@example.org", "n": 5},
        "steward": None,
        "sub": 17,
        "is_manager": True,
        "voter": False,
    }
    with world.database.begin() as work:
        Log(work).append("release.decided", at=NOW, actor="ana", data=data)
        work.commit()
    (row,) = rows(world)
    for name in ('"ana', '"rob', '"zoe', "example.org"):
        assert name not in row.payload
    found = json.loads(row.payload)["data"]
    assert found["ticket"]["assignee"] == row.actor == found["recipients"][0]
    assert found["approver"] == found["recipients"][1]
    assert found["ticket"]["history"][1] == "plain"
    assert (found["steward"], found["is_manager"], found["voter"]) == (None, True, False)
    assert found["sub"].startswith(PREFIX)
    assert all(value.startswith(PREFIX) for value in found["account"].values())


def test_a_pseudonym_is_an_hmac_under_a_key_of_its_own(world):
    with world.database.begin() as work:
        log = Log(work)
        log.append("release.requested", at=NOW, actor="ana")
        log.append("release.requested", at=NOW, actor="rob")
        keys = {row.principal: row.key for row in work.execute(select(pseudonym_key))}
        assert keys["ana"] != keys["rob"]
        expected = PREFIX + hmac.new(keys["ana"], b"ana", sha256).hexdigest()
        assert log.pseudonym_of("ana") == expected
        assert log.search(actor="ana")[0].subjects.actor == expected
        assert log.pseudonym_of("zoe") is None


def test_a_pseudonym_is_not_hashed_again(world):
    with world.database.begin() as work:
        log = Log(work)
        log.append("release.requested", at=NOW, actor="ana")
        known = log.pseudonym_of("ana")
        log.append("release.decided", at=NOW, data={"requester": known})
        assert log.search(kind="release.decided")[0].data["requester"] == known


@pytest.mark.parametrize("pose", [PREFIX, f"{PREFIX}{'0' * 64}", f"{PREFIX}ana"])
def test_text_that_looks_like_a_pseudonym_is_a_value_like_any_other(world, pose: str):
    """An account of a ticket system may be called anything: it must not stand in the log as it is, nor as somebody else."""
    with world.database.begin() as work:
        log = Log(work)
        log.append("ticket.fetched", at=NOW, actor=pose, data={"ticket": {"assignee": pose, "approver": [pose]}})
        entry = log.search(kind="ticket.fetched")[0]
        expected = log.pseudonym_of(pose)
        assert expected not in (None, pose)
        assert entry.data["ticket"] == {"assignee": expected, "approver": [expected]}
        assert entry.subjects.actor == expected
        assert f'"{pose}"' not in entry.payload


def test_an_erased_key_lies_in_no_file(world, tmp_path):
    """SQLite overwrites what it deletes, and its write-ahead log is emptied; a reader with an older view puts that off."""
    world.append(3, actor="erasable.person@example")
    with world.database.read() as work:
        query = select(pseudonym_key.c.key).where(pseudonym_key.c.principal == "erasable.person@example")
        secret = bytes(work.execute(query).scalar_one())

    def holding() -> list[str]:
        files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        return [name for name, content in files.items() if secret in content or b"erasable.person@example" in content]

    assert holding() != []
    with world.database.read() as reader:
        reader.execute(select(audit_event.c.id)).all()
        with world.database.begin() as work:
            Log(work).erase("erasable.person@example", at=NOW, actor="dpo")
            work.commit()
        assert holding() != []
    world.append(1, start=3)
    assert holding() == []


def test_erasure_leaves_the_leaves_and_forgets_the_person(world):
    world.append(3, actor="ana")
    world.sequencer.run_once(NOW)
    with world.database.begin() as work:
        assert Log(work).erase("ana", at=NOW, actor="dpo")
        assert not Log(work).erase("nobody", at=NOW, actor="dpo")
        work.commit()
    world.sequencer.run_once(NOW)
    with world.database.begin() as work:
        log = Log(work)
        assert log.search(actor="ana") == []
        assert log.pseudonym_of("ana") is None
        erased = log.search(kind="principal.erased")[0]
        assert erased.data["pseudonym"] == log.search(release="rel-0")[0].subjects.actor
        old = log.search(release="rel-1")[0].subjects.actor
        log.append("release.requested", at=NOW, actor="ana", release="again")
        assert log.search(release="again")[0].subjects.actor != old
    assert verify_log(world.database, keys=world.keys, anchor=world.anchor).ok


def test_a_key_made_meanwhile_by_another_counts(world, monkeypatch):
    with world.database.begin() as work:
        pseudonyms = Pseudonyms(work)
        first = pseudonyms.of("ana", at=NOW)
        other = Pseudonyms(work)
        monkeypatch.setattr(other, "_key", lambda _owner: None)  # as if it was not there yet when we looked
        assert other.of("ana", at=NOW) == first


def test_addresses_share_a_key_per_day(world):
    with world.database.begin() as work:
        log = Log(work)
        one = log.address_pseudonym("192.0.2.1", day=NOW)
        assert one == log.address_pseudonym("192.0.2.1", day=NOW + timedelta(hours=2))
        assert one != log.address_pseudonym("192.0.2.2", day=NOW)
        assert one != log.address_pseudonym("192.0.2.1", day=NOW + timedelta(days=1))
        assert one == log.pseudonym_of("192.0.2.1", scope="addresses/2026-03-01")
        owners = set(work.execute(select(pseudonym_key.c.principal)).scalars())
        assert owners == {"addresses/2026-03-01", "addresses/2026-03-02"}


def test_reading(world):
    world.grow(5, 5)
    world.append(1, start=10, kind="release.decided", ticket="T-9", dataset="d", token="t")
    with world.database.read() as work:
        log = Log(work)
        assert [entry.index for entry in log.entries()] == list(range(10))
        assert [entry.index for entry in log.entries(after=3, limit=2)] == [4, 5]
        assert [entry.index for entry in log.entries(kind="release.", since=NOW + timedelta(seconds=8))] == [8, 9]
        (waiting,) = log.search(ticket="T-9", dataset="d", token="t", kind="release.decided")
        assert waiting.index is None
        assert log.get(waiting.id) == waiting
        assert log.get("nothing") is None
        assert [entry.index for entry in log.of_release("rel-4")] == [4]
        assert [entry.index for entry in log.search(until=NOW + timedelta(seconds=2))] == [0, 1]
        assert log.search(newest_first=True, limit=1) == [waiting]
        assert log.search(actor="nobody") == []
        shown = log.get(waiting.id).to_json()
        assert shown["subjects"] == {"release": "rel-10", "ticket": "T-9", "dataset": "d", "token": "t"}
        assert shown["data"] == {"number": 10}


def test_limits_and_bounds_are_checked(world):
    with world.database.read() as work:
        for limit in (0, 10_001):
            with pytest.raises(ValueError, match="limit"):
                Log(work).entries(limit=limit)
        with pytest.raises(TypeError, match="datetimes"):
            Log(work).search(since="yesterday")
        with pytest.raises(TypeError):
            Log(work).search(since=datetime(2026, 3, 1))  # noqa: DTZ001 - that is the point
