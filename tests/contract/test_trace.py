"""Trace answers every question from indexes, with a number of queries that depends neither on the log nor on what is found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from gateway.db import Database, Work
from gateway.errors import NotFound
from gateway.releases import Releases
from gateway.releases.trace import LIMIT, QUESTIONS, story, trace
from tests.bench.trace import ARTIFACTS, DATASETS, PRINCIPALS, STORY, TICKETS, build, digest

LEAVES = 3000
ASKED = {
    "ticket": ("DATA-3", TICKETS),
    "release": ("rel-7", 1),
    "principal": ("person-2", PRINCIPALS),
    "dataset": ("dataset-1", DATASETS),
    "token": ("tok-7", 1),
}
DIGESTS = [digest("data.csv", 7), digest("manifest", 7).upper(), digest("card", 7), digest("request", 7)]


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    if request.param == "sqlite":
        made = Database(f"sqlite:///{Path(tmp_path_factory.mktemp('trace')) / 'trace.db'}")
        assert build(made, LEAVES) == LEAVES // len(STORY) * 6 // 10
        yield made
        made.dispose()
    else:
        from tests.bench.audit_commits import fresh_database

        with fresh_database() as url:
            made = Database(url)
            build(made, LEAVES)
            yield made
            made.dispose()


@contextmanager
def statements(work: Work) -> Iterator[list[tuple[str, Any]]]:
    """What is executed meanwhile."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    event.listen(work.connection, "before_cursor_execute", note)
    yield seen
    event.remove(work.connection, "before_cursor_execute", note)


@pytest.mark.parametrize("by", ASKED)
def test_a_question_finds_its_releases_with_their_stories(database: Database, by: str) -> None:
    value, count = ASKED[by]
    with database.read() as work:
        answer = trace(work, by=by, value=value)
        assert (len(answer["releases"]), answer["total"], answer["next"]) == (count, count, None)
        for found in answer["releases"]:
            assert [entry["kind"] for entry in found["events"]] == list(STORY)
            assert [item["name"] for item in found["artifacts"]] == list(ARTIFACTS)
            assert [charge["settlement"]["settles"] for charge in found["charges"]] == [f"res-{found['release_id'][4:]}"]
            assert [token["jti"] for token in found["tokens"]] == [f"tok-{found['release_id'][4:]}"]
            assert len(found["downloads"]) == 2
            assert found == story(work, Releases(work).get(found["release_id"]))
        assert trace(work, by=by, value="nothing")["releases"] == []


@pytest.mark.parametrize("value", DIGESTS)
def test_any_digest_of_a_release_finds_it(database: Database, value: str) -> None:
    with database.read() as work:
        assert [found["release_id"] for found in trace(work, by="sha256", value=value)["releases"]] == ["rel-7"]
        assert trace(work, by="sha256", value=digest("nothing"))["total"] == 0


def test_pages_miss_nothing_and_repeat_nothing(database: Database) -> None:
    seen: list[str] = []
    after = None
    with database.read() as work:
        while True:
            answer = trace(work, by="dataset", value="dataset-0", after=after, limit=7)
            seen += [found["release_id"] for found in answer["releases"]]
            assert answer["total"] == DATASETS
            after = answer["next"]
            if after is None:
                break
            assert after == seen[-1]
        assert seen == [f"rel-{number}" for number in range(DATASETS)]
        assert trace(work, by="dataset", value="dataset-0", limit=DATASETS)["next"] is None
        with pytest.raises(NotFound):
            trace(work, by="dataset", value="dataset-0", after="nothing")
    assert DATASETS <= LIMIT


def test_the_number_of_queries_does_not_grow_with_what_is_found(database: Database) -> None:
    counts = set()
    with database.read() as work:
        for by in ("release", "ticket", "principal", "dataset"):
            with statements(work) as seen:
                trace(work, by=by, value=ASKED[by][0])
            counts.add(len(seen))
    assert counts == {7}


READS_ALL = "SELECT id FROM release WHERE signed_request = ?"


@pytest.mark.parametrize("by", QUESTIONS)
def test_no_table_is_read_from_end_to_end(database: Database, by: str) -> None:
    value = DIGESTS[0] if by == "sha256" else ASKED[by][0]
    explain, scan, mark = ("EXPLAIN QUERY PLAN", "SCAN", "?") if database.is_sqlite else ("EXPLAIN", "Seq Scan", "%s")
    with database.read() as work:
        with statements(work) as seen:
            trace(work, by=by, value=value)
        if not database.is_sqlite:  # so small a table is rightly read whole, unless that is made dear
            work.connection.exec_driver_sql("SET enable_seqscan = off")
        for statement, parameters in [*seen, (READS_ALL.replace("?", mark), ("x",))]:
            plan = work.connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
            scans = [line for line in ((row.detail if database.is_sqlite else row[0]) for row in plan) if scan in line]
            assert bool(scans) is ("signed_request = " in statement), statement  # the last one shows that a scan would be seen
