"""Event streams hold few threads, notice who went away, and end for whom a call would be refused. Against a real server."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import waitress

from gateway.access import Principals, Revocations
from gateway.db import Work
from gateway.errors import TooManyRequests
from gateway.telemetry import utc_now
from gateway.web import create_app
from gateway.web.streams import LIFE_SECONDS, STREAMS, Streams

THREADS = 16
PATIENCE = 60.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.web.streams.BEAT_SECONDS", 0.05)


@contextmanager
def served(town: Any) -> Iterator[tuple[int, Streams]]:
    """The gateway on a real waitress, with the threads and settings of `ticketgate serve`."""
    app = create_app(town.house, with_limits=False, threads=THREADS)
    streams = app.extensions[STREAMS]
    server: Any = waitress.create_server(
        app, host="127.0.0.1", port=0, threads=THREADS, channel_request_lookahead=1, asyncore_use_poll=True
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield server.effective_port, streams
    wait_for_none(streams)
    server.task_dispatcher.shutdown(cancel_pending=True, timeout=5)
    server.close()
    thread.join(PATIENCE)


@contextmanager
def opened(port: int, path: str, headers: dict[str, str]) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers=headers)
        with connection.getresponse() as answer:
            yield answer
    finally:
        connection.close()


def wait_for_none(streams: Streams) -> None:
    end = time.monotonic() + LIFE_SECONDS / 2  # a stream's own end would come later
    while len(streams):
        assert time.monotonic() < end, "the places were not given back"
        time.sleep(0.05)


def test_sixteen_streams_of_one_analyst_leave_the_gateway_to_the_others(town: Any) -> None:
    request_id = town.ask().get_json()["id"]
    path, headers = f"/v1/release-requests/{request_id}/events", town.login("ana")
    with served(town) as (port, _), ExitStack() as stack:
        answers = [stack.enter_context(opened(port, path, headers)) for _ in range(THREADS)]
        assert [answer.status for answer in answers] == [200] * 2 + [429] * 14
        refused = json.loads(answers[-1].read())
        assert (refused["code"], refused["unlock"]) == ("too-many-requests", ["ask for the status of the request instead"])
        assert answers[-1].headers["Retry-After"]
        with opened(port, "/healthz", {}) as alive:
            assert alive.status == 200
        first = b"".join(answers[0].readline() for _ in range(5)).decode()
        assert first.startswith("retry: ")
        assert json.loads(first.split("data: ")[1])["status"] == "queued"
        assert answers[0].readline() == b": still here\n", "something is written although nothing changed"


def test_whoever_goes_away_gives_the_thread_back(town: Any) -> None:
    request_id = town.ask().get_json()["id"]
    path, headers = f"/v1/release-requests/{request_id}/events", town.login("ana")
    with served(town) as (port, streams):
        for _ in range(2):
            with opened(port, path, headers) as answer:
                assert answer.status == 200
                answer.readline()
            wait_for_none(streams)


def disable(work: Work, _jti: str) -> None:
    Principals(work).disable("ana", now=utc_now())


def revoke(work: Work, jti: str) -> None:
    Revocations(work).add("token", jti, by="carl", reason="lost", now=utc_now())


@pytest.mark.parametrize("act", [disable, revoke])
def test_a_stream_ends_with_the_right_to_see_it(
    town: Any, act: Callable[[Work, str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.web.streams.BEAT_SECONDS", 0.01)
    request_id = town.ask().get_json()["id"]
    answer = town.client.get(f"/v1/release-requests/{request_id}/events", headers=town.login("ana"))
    told = iter(answer.response)
    assert [next(told)[:5] for _ in range(4)] == [b"retry", b"event", b": sti", b": sti"]
    claims = json.loads(base64.urlsafe_b64decode(town.tokens["ana"].split(".")[1] + "=="))
    with town.house.database.begin() as work:
        act(work, claims["jti"])
        work.commit()
    assert list(told) == []
    answer.close()


def test_all_together_have_a_share_of_the_threads_and_a_lost_place_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("gateway.web.streams.time.monotonic", lambda: clock[0])
    streams = Streams(16)
    closes = [streams.open(name) for name in ("a", "a", "b", "c")]
    for name in ("a", "d"):
        with pytest.raises(TooManyRequests):
            streams.open(name)
    closes[0]()
    closes[0]()
    streams.open("d")
    with pytest.raises(TooManyRequests):
        streams.open("e")
    clock[0] = 3 * LIFE_SECONDS
    assert [streams.open(name) for name in ("e", "e", "f", "f")]
    with pytest.raises(TooManyRequests):
        Streams(3).open("a")
