"""What access keeps in the database, the same on SQLite and PostgreSQL, also when many ask at once."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from gateway.access import (
    Downloads,
    FirstUse,
    GatewayKeys,
    Lifetime,
    PassphraseSealing,
    Principals,
    ReleaseTokens,
    Repeated,
    ReplayGuard,
    Revocations,
    TokenSubject,
    generate_keypair,
)
from gateway.access.revocations import stop_issuing
from gateway.db import Database, create_schema
from gateway.errors import Conflict, TokenRefused

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
ISSUER = "https://gate.example"
POSTGRES = os.environ.get("TICKETGATE_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")
SEALING = PassphraseSealing(b"correct horse battery", work_factor=2)


def postgres_engine():
    return create_engine(POSTGRES.replace("postgresql://", "postgresql+psycopg://", 1), isolation_level="AUTOCOMMIT")


TABLES = ("download", "release_token", "download_count", "revocation", "used_jti", "gateway_key", "principal_key", "principal")


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Database]:
    admin, name = postgres_engine(), f"access_{secrets.token_hex(6)}"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    made = Database(POSTGRES.rsplit("/", 1)[0] + f"/{name}")
    create_schema(made)
    yield made
    made.dispose()
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def database(request, tmp_path) -> Iterator[Database]:
    if request.param == "postgresql":
        made = request.getfixturevalue("postgresql")
        with made.begin() as work:
            work.execute(text(f"TRUNCATE {', '.join(TABLES)}"))
            work.commit()
        yield made
        return
    made = Database(f"sqlite:///{tmp_path / 'access.db'}")
    create_schema(made)
    yield made
    made.dispose()


@pytest.fixture
def key(database):
    made = generate_keypair()
    with database.begin() as work:
        Principals(work).add("ana", roles=["analyst"], key=made.public, now=NOW)
        GatewayKeys(work, SEALING).ensure(NOW)
        work.commit()
    return made


def subject(key, release="r-1"):
    return TokenSubject(
        release=release,
        principal="ana",
        ticket="DATA-1",
        dataset="adult",
        policy_digest="a" * 64,
        manifest_digest="b" * 64,
        artifacts=("data.csv",),
        key_thumbprint=key.thumbprint,
    )


def issue(database, key, max_downloads=1):
    with database.begin() as work:
        signer = GatewayKeys(work, SEALING).signer("token")
        lifetime = Lifetime(
            policy_ttl=timedelta(minutes=15), release_expires_at=None, ticket_valid_until=None, key_retires_at=signer.retires_at
        )
        token = ReleaseTokens(work, issuer=ISSUER).issue(
            subject(key), lifetime=lifetime, max_downloads=max_downloads, signer=signer, now=NOW
        )
        work.commit()
    return token


def check(work, token, now=NOW):
    keys = GatewayKeys(work, SEALING)
    return ReleaseTokens(work, issuer=ISSUER).check(token.token, release="r-1", artifact="data.csv", keys=keys, now=now)


def begin(database, token, *, has_range=False, length=1000, now=NOW):
    with database.begin() as work:
        facts = Downloads(work).begin(
            check(work, token, now), artifact="data.csv", counts=True, has_range=has_range, length=length, size=1000, now=now
        )
        work.commit()
    return facts


# One use -------------------------------------------------------------------------------------------------------------


def claim(guard, jti, digest="d" * 64, request_id="r-1", issuer="ana"):
    return guard.claim(issuer, jti, digest=digest, request_id=request_id, expires_at=NOW + timedelta(minutes=5), now=NOW)


def test_the_first_use_wins_and_the_same_bytes_find_their_request(database):
    with database.begin() as work:
        guard = ReplayGuard(work)
        assert claim(guard, "j" * 20) == FirstUse()
        again = claim(guard, "j" * 20, request_id="r-2")
        assert again == Repeated(same_digest=True, request_id="r-1")
        assert again.earlier_request() == "r-1"
        other = claim(guard, "j" * 20, digest="e" * 64)
        with pytest.raises(Conflict):
            other.earlier_request()
        assert claim(guard, "j" * 20, issuer="bob") == FirstUse(), "identifiers are per issuer"


def test_an_identifier_of_a_message_without_a_request_is_a_conflict(database):
    with database.begin() as work:
        claim(ReplayGuard(work), "j" * 20, request_id=None)
        with pytest.raises(Conflict):
            claim(ReplayGuard(work), "j" * 20).earlier_request()


def test_what_is_rolled_back_was_not_used(database):
    with database.begin() as work:
        claim(ReplayGuard(work), "j" * 20)
    with database.begin() as work:
        assert claim(ReplayGuard(work), "j" * 20) == FirstUse()


def test_identifiers_are_remembered_past_expiry_and_then_forgotten(database):
    with database.begin() as work:
        guard = ReplayGuard(work)
        claim(guard, "j" * 20)
        assert guard.forget(NOW + timedelta(hours=24)) == 0
        assert isinstance(claim(guard, "j" * 20), Repeated)
        assert guard.forget(NOW + timedelta(hours=25)) == 1
        assert claim(guard, "j" * 20) == FirstUse()


def test_eight_processes_with_fifty_equal_identifiers_have_fifty_winners(database):
    command = [sys.executable, str(Path(__file__).with_name("access_claimant.py")), database.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    wins = [int(word) for word in done.stdout.split()]
    assert (len(wins), sum(wins)) == (8, 50)


def test_a_revocation_finds_a_token_whose_issue_is_not_committed_yet(database, key):
    found = []

    def revoke():
        with database.begin() as work:
            stop_issuing(work)
            found.append(Revocations(work).add("ticket", "DATA-1", by="carl", now=NOW))
            work.commit()

    with database.begin() as work:
        signer = GatewayKeys(work, SEALING).signer("token")
        lifetime = Lifetime(
            policy_ttl=timedelta(minutes=15), release_expires_at=None, ticket_valid_until=None, key_retires_at=signer.retires_at
        )
        later = NOW + timedelta(seconds=1)
        token = ReleaseTokens(work, issuer=ISSUER).issue(
            subject(key), lifetime=lifetime, max_downloads=1, signer=signer, now=later
        )
        revoker = threading.Thread(target=revoke)
        revoker.start()
        revoker.join(timeout=0.3)
        assert found == [], "it waits for the issue"
        work.commit()
    revoker.join(timeout=60)
    assert found[0].token_ids == (token.jti,)
    with database.read() as work, pytest.raises(TokenRefused):
        check(work, token, NOW + timedelta(seconds=2))


# Downloads -----------------------------------------------------------------------------------------------------------


def race(calls):
    """Run calls side by side; their results, or the errors they raised."""
    barrier, results = threading.Barrier(len(calls)), [None] * len(calls)

    def run(index):
        barrier.wait()
        try:
            results[index] = calls[index]()
        except TokenRefused as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return results


def test_of_many_last_downloads_one_wins(database, key):
    token = issue(database, key, max_downloads=3)
    begin(database, token)
    begin(database, token)
    results = race([lambda: begin(database, token)] * 6)
    assert sum(not isinstance(result, TokenRefused) for result in results) == 1


def test_parallel_first_ranges_are_one_download(database, key):
    token = issue(database, key)
    results = race([lambda: begin(database, token, has_range=True, length=250)] * 4)
    assert len({result.id for result in results}) == 1
    assert sum(result.is_new for result in results) == 1


def test_two_tokens_share_the_downloads_of_a_release(database, key):
    first, second = issue(database, key), issue(database, key)
    results = race([lambda: begin(database, first), lambda: begin(database, second)])
    assert sum(not isinstance(result, TokenRefused) for result in results) == 1
    with pytest.raises(Conflict):
        issue(database, key)


def test_ranges_continue_a_download_but_not_for_ever(database, key):
    token = issue(database, key)
    first = begin(database, token, has_range=True, length=400)
    assert (first.is_new, first.downloads_left, first.is_last) == (True, 0, True)
    for _ in range(4):
        assert begin(database, token, has_range=True, length=400).id == first.id
    with pytest.raises(TokenRefused):  # a sixth time 400 of 1000 bytes is more than twice the file
        begin(database, token, has_range=True, length=400)
    assert begin(database, token, has_range=True, length=0).id == first.id, "what fits still continues"


def test_a_whole_fetch_is_a_new_download(database, key):
    token = issue(database, key, max_downloads=2)
    first, second = begin(database, token), begin(database, token)
    assert second.is_new
    assert first.id != second.id
    assert begin(database, token, has_range=True, length=10).id == second.id, "ranges continue the latest one"
    with pytest.raises(TokenRefused):
        begin(database, token)


def test_revocation_bites_in_the_middle_of_a_ranged_download(database, key):
    token = issue(database, key)
    begin(database, token, has_range=True, length=10)
    with database.begin() as work:
        Revocations(work).add("dataset", "adult", by="carl", now=NOW + timedelta(seconds=1))
        work.commit()
    with pytest.raises(TokenRefused):
        begin(database, token, has_range=True, length=10, now=NOW + timedelta(seconds=2))


# Keys ----------------------------------------------------------------------------------------------------------------


def test_many_processes_that_start_at_once_make_one_set_of_keys(database):
    def start():
        with database.begin() as work:
            events = GatewayKeys(work, SEALING).ensure(NOW)
            work.commit()
        return events

    race([start] * 6)
    with database.read() as work:
        keys = GatewayKeys(work, SEALING).list()
    assert sorted((key.purpose, key.state) for key in keys) == [
        (purpose, state) for purpose in ("log", "manifest", "token") for state in ("active", "next")
    ]


def test_rotation_by_two_at_once_leaves_one_active_key(database, key):
    def rotate():
        with database.begin() as work:
            GatewayKeys(work, SEALING).rotate(NOW, "token")
            work.commit()

    race([rotate] * 4)
    with database.read() as work:
        states = [key.state for key in GatewayKeys(work, SEALING).list() if key.purpose == "token"]
    assert sorted(states) == ["active", "next", "retired", "retired", "retired", "retired"]


def test_a_key_is_registered_once(database, key):
    with database.begin() as work, pytest.raises(Conflict):
        Principals(work).add("bob", roles=["analyst"], key=key.public, now=NOW)
