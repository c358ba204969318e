"""A witness that follows C2SP tlog-witness: asks for consistency, refuses forks, and is never waited for."""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.audit import Checkpoint, HttpWitness, NoteSigner, NoteVerifier, Sequencer, Witnesses, newest_signed, verify_log
from gateway.audit.merkle import verify_consistency
from gateway.audit.note import Signature, SignedNote, cosignatures, cosigned_message
from gateway.audit.witness import http_witnesses, parse_witnesses
from gateway.errors import InvalidRequest

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECRET = Ed25519PrivateKey.from_private_bytes(bytes(32))
KEY = NoteVerifier("witness.example/w1", SECRET.public_key().public_bytes_raw(), kind=4)


class FakeWitness:
    """The server's side of the protocol, from the specification."""

    def __init__(self, log_key: NoteVerifier) -> None:
        self.log_key, self.size, self.root, self.calls = log_key, 0, b"", 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        assert request.url.path == "/add-checkpoint"
        head, _, note = request.content.decode().partition("\n\n")
        first, *lines = head.split("\n")
        old = int(first.removeprefix("old "))
        checkpoint = Checkpoint.verify(note, [self.log_key])
        if old != self.size:
            return httpx.Response(409, text=f"{self.size}\n", headers={"content-type": "text/x.tlog.size"})
        proof = [b64decode(line) for line in lines]
        if old and not verify_consistency(
            old=old, new=checkpoint.size, old_root=self.root, new_root=checkpoint.root, proof=proof
        ):
            return httpx.Response(422)
        self.size, self.root = checkpoint.size, checkpoint.root
        seconds = int(NOW.timestamp())
        value = seconds.to_bytes(8) + SECRET.sign(cosigned_message(SignedNote.parse(note).text, seconds))
        return httpx.Response(200, text=Signature(KEY.name, KEY.key_id, value).to_line())


def witness(answer) -> HttpWitness:
    return HttpWitness("https://witness.example", KEY, httpx.Client(transport=httpx.MockTransport(answer)))


def sequencer(world, answer) -> Sequencer:
    return Sequencer(world.database, signer=world.signer, anchor=world.anchor, witness=witness(answer))


def newest(world) -> str:
    with world.database.read() as work:
        head = newest_signed(work)
    assert head is not None
    assert head.note is not None
    return head.note


def test_checkpoints_are_cosigned(world):
    server = FakeWitness(world.signer.verifier)
    running = sequencer(world, server)
    for start in (0, 3):
        world.append(3, start=start)
        running.run_once(NOW)
        assert cosignatures(newest(world), [KEY]) == {KEY.name: NOW}
    assert server.calls == 2
    assert world.anchor.newest() == newest(world)
    assert verify_log(world.database, keys=world.keys, anchor=world.anchor).ok


def test_after_a_restart_the_witness_says_what_it_remembers(world):
    server = FakeWitness(world.signer.verifier)
    world.append(3)
    sequencer(world, server).run_once(NOW)
    world.append(3, start=3)
    sequencer(world, server).run_once(NOW)
    assert server.calls == 3
    assert cosignatures(newest(world), [KEY]) == {KEY.name: NOW}


def test_a_fork_is_not_cosigned(world):
    server = FakeWitness(world.signer.verifier)
    server.size, server.root = 2, bytes(32)
    world.append(3)
    sequencer(world, server).run_once(NOW)
    assert cosignatures(newest(world), [KEY]) == {}
    assert server.calls == 2


def test_a_smaller_log_than_the_witness_remembers_is_not_cosigned(world):
    server = FakeWitness(world.signer.verifier)
    server.size = 9
    world.append(3)
    sequencer(world, server).run_once(NOW)
    assert cosignatures(newest(world), [KEY]) == {}
    assert server.calls == 1


def silent(_request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectTimeout("no answer")


def nonsense(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, text="<html>hello</html>")


def foreign(request: httpx.Request) -> httpx.Response:
    note = request.content.decode().partition("\n\n")[2]
    other = NoteSigner("witness.example/w1", Ed25519PrivateKey.generate())
    return httpx.Response(200, text=other.sign(SignedNote.parse(note).text).split("\n\n")[1])


def forged(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, text=Signature(KEY.name, KEY.key_id, bytes(72)).to_line())


@pytest.mark.parametrize(
    "answer",
    [silent, nonsense, foreign, forged, lambda _: httpx.Response(500), lambda _: httpx.Response(409, text="no number")],
)
def test_a_bad_witness_holds_nothing_up(world, answer):
    world.append(2)
    assert sequencer(world, answer).run_once(NOW) == 2
    note = newest(world)
    assert len(SignedNote.parse(note).signatures) == 1
    assert verify_log(world.database, keys=world.keys, anchor=world.anchor).ok


def test_a_witness_that_is_away_is_left_alone_for_a_minute(world):
    """Every checkpoint waits for its witnesses: one that times out must not slow down each of them."""
    now, asked = [0.0], []

    def away(request: httpx.Request) -> httpx.Response:
        asked.append(now[0])
        raise httpx.ConnectTimeout("no answer", request=request)

    client = httpx.Client(transport=httpx.MockTransport(away))
    asking = HttpWitness("https://witness.example", KEY, client, clock=lambda: now[0])
    running = Sequencer(world.database, signer=world.signer, anchor=world.anchor, witness=Witnesses([asking, witness(away)]))
    for start in range(4):
        now[0] = 25.0 * start
        world.append(1, start=start)
        running.run_once(NOW)
    assert asked.count(0.0) == 2
    assert asked == [0.0, 0.0, 75.0]


def test_an_endless_answer_is_cut_off(world):
    def endless(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=(b"x" * 1024 for _ in range(10**9)))

    world.append(1)
    assert sequencer(world, endless).run_once(NOW) == 1
    assert len(SignedNote.parse(newest(world)).signatures) == 1


def test_an_answer_that_drips_is_given_up(world):
    ticks = iter(range(10**9))
    drips = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=(b"x" for _ in range(10**9)))))
    world.append(1)
    dripping = HttpWitness("https://witness.example", KEY, drips, clock=lambda: float(next(ticks)))
    assert Sequencer(world.database, signer=world.signer, anchor=world.anchor, witness=dripping).run_once(NOW) == 1
    assert next(ticks) < 20
    assert len(SignedNote.parse(newest(world)).signatures) == 1


def test_a_cosignature_of_a_time_that_no_calendar_has_does_not_count(world):
    def late(request: httpx.Request) -> httpx.Response:
        note, seconds = request.content.decode().partition("\n\n")[2], 2**62
        value = seconds.to_bytes(8) + SECRET.sign(cosigned_message(SignedNote.parse(note).text, seconds))
        return httpx.Response(200, text=Signature(KEY.name, KEY.key_id, value).to_line())

    world.append(1)
    sequencer(world, late).run_once(NOW)
    assert cosignatures(newest(world), [KEY]) == {}


@pytest.mark.parametrize(
    "setting",
    ["x", f"ftp://witness.example {KEY.vkey}", KEY.vkey, "https://witness.example", f"https://witness.example?x=1 {KEY.vkey}",
     f"https://u:p@witness.example {KEY.vkey}", "https://witness.example w+00000000+AAAA", "https://witness.example w+\xe9+\xe9",
     f"https://a.example {KEY.vkey}, https://b.example {KEY.vkey}",
     f"https://witness.example {NoteVerifier('log.example', bytes(32)).vkey}"],
)  # fmt: skip
def test_a_setting_that_names_no_witness_is_refused(setting: str):
    with pytest.raises(InvalidRequest):
        parse_witnesses(setting)


def test_a_setting_of_several_witnesses():
    other = NoteVerifier("witness.example/w2", bytes(32), kind=4)
    wanted = (("https://a.example/w1", KEY), ("http://127.0.0.1:9", other))
    assert parse_witnesses(f" https://a.example/w1/ {KEY.vkey} ,\n http://127.0.0.1:9  {other.vkey},") == wanted
    assert parse_witnesses("") == ()
    assert http_witnesses("") is None
    assert http_witnesses(f"https://a.example {KEY.vkey}") is not None
