"""A witness in a process of its own, over HTTP, asked as the worker asks it: what it sees, and what it cannot see."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text
from structlog.testing import capture_logs

from gateway.audit import Log, NoteVerifier, verify_log
from gateway.audit.note import cosignatures
from gateway.cli.compose import open_house
from gateway.cli.main import root
from gateway.cli.setup import initialise
from gateway.jobs.worker import make_sequencer
from gateway.releases import House
from gateway.releases.origin import anchor_of, log_keys
from gateway.settings import Settings

SERVER = Path(__file__).parents[1] / "services/witness_server.py"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@dataclass
class Witness:
    """A witness process; its memory outlives it."""

    folder: Path
    name: str
    logs: list[NoteVerifier]
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    setting: str = ""
    vkey: str = ""

    def start(self) -> None:
        seed = self.name.encode().ljust(32, b".").hex()
        logs = [part for key in self.logs for part in ("--log", key.vkey)]
        command = [
            sys.executable,
            str(SERVER),
            "--state",
            str(self.folder / f"{self.name}.json"),
            "--name",
            self.name,
            "--seed",
            seed,
        ]
        process = subprocess.Popen([*command, *logs], stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        assert process.stdout is not None
        port, self.vkey = process.stdout.readline().split()
        self.setting = f"http://127.0.0.1:{port} {self.vkey}"

    def stop(self) -> None:
        process = self.processes.pop()
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()

    @property
    def key(self) -> NoteVerifier:
        return NoteVerifier.from_vkey(self.vkey)


def copied(house: House, home: Path, **settings: str) -> House:
    """The same gateway again: its database, keys and published checkpoints as they are now, somewhere else."""
    if not home.exists():
        house.database.scrub()
        shutil.copytree(house.settings.home, home)
    return open_house(Settings(home=home, **settings))


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a gateway that nobody has used: others are copied from it, which is quicker than founding them."""
    settings = Settings(home=tmp_path_factory.mktemp("founded") / "home")
    initialise(settings)
    return settings.home


@pytest.fixture
def gate(founded: Path, tmp_path: Path) -> Iterator[House]:
    shutil.copytree(founded, tmp_path / "home")
    house = open_house(Settings(home=tmp_path / "home"))
    yield house
    house.database.dispose()


@pytest.fixture
def witness(gate: House, tmp_path: Path) -> Iterator[Witness]:
    made = Witness(tmp_path, "witness.example-w1", list(log_keys(gate)))
    made.start()
    yield made
    while made.processes:
        made.stop()


def act(house: House, number: int, *, what: str = "r") -> None:
    with house.database.begin() as work:
        for place in range(number):
            Log(work).append("release.requested", at=NOW + timedelta(seconds=place), release=f"{what}-{place}")
        work.commit()


def cosigned(house: House, *keys: NoteVerifier) -> set[str]:
    note = anchor_of(house.settings).newest()
    assert note is not None
    return set(cosignatures(note, keys))


def kinds(house: House, *demanded: NoteVerifier) -> set[str]:
    found = verify_log(house.database, keys=log_keys(house), anchor=anchor_of(house.settings), demanded=demanded)
    return {item.kind.value for item in found.findings}


def sequenced(house: House) -> list[dict[str, object]]:
    """One turn of the worker's sequencer; what it said."""
    with capture_logs() as lines:
        make_sequencer(house).run_once(NOW)
    return [dict(line) for line in lines if "witness" in line]


@pytest.mark.slow
def test_checkpoints_are_cosigned_across_restarts_of_both(gate: House, witness: Witness, tmp_path: Path) -> None:
    for _ in range(2):
        house = copied(gate, gate.settings.home, witnesses=witness.setting)
        act(house, 3)
        assert sequenced(house) == []
        assert cosigned(house, witness.key) == {"witness.example-w1"}
        assert kinds(house, witness.key) == set()
        house.database.dispose()
        witness.stop()
        witness.start()


@pytest.mark.slow
def test_several_witnesses_and_one_that_is_away(gate: House, witness: Witness, tmp_path: Path) -> None:
    other = Witness(tmp_path, "witness.example-w2", list(log_keys(gate)))
    other.start()
    house = copied(gate, gate.settings.home, witnesses=f"{witness.setting}, {other.setting}")
    act(house, 3)
    assert sequenced(house) == []
    assert cosigned(house, witness.key, other.key) == {"witness.example-w1", "witness.example-w2"}
    other.stop()
    act(house, 2)
    (line,) = sequenced(house)
    assert (line["event"], line["witness"]) == ("a witness does not answer", "witness.example-w2")
    assert cosigned(house, witness.key, other.key) == {"witness.example-w1"}
    assert kinds(house) == set()
    assert kinds(house, witness.key) == set()
    assert kinds(house, other.key) == {"not-cosigned"}
    house.database.dispose()


@pytest.mark.slow
def test_a_stranger_log_is_not_cosigned(gate: House, tmp_path: Path) -> None:
    stranger = Witness(tmp_path, "witness.example-w3", [])
    stranger.start()
    house = copied(gate, gate.settings.home, witnesses=stranger.setting)
    (line,) = sequenced(house)
    assert (line["status"], line["why"]) == (404, "it does not know this log")
    assert cosigned(house, stranger.key) == set()
    house.database.dispose()
    stranger.stop()


def forked(gate: House, witness: Witness, tmp_path: Path, *, ours: int, theirs: int) -> tuple[House, House]:
    """Two histories of one gateway with the same keys: `ours` goes on first, cosigned; `theirs` has its own anchor."""
    house = copied(gate, gate.settings.home, witnesses=witness.setting)
    act(house, 3)
    assert sequenced(house) == []
    other = copied(house, tmp_path / "other", witnesses=witness.setting)
    act(house, ours)
    assert sequenced(house) == []
    act(other, theirs, what="other")
    return house, other


@pytest.mark.parametrize(
    ("ours", "theirs", "status"),
    [
        pytest.param(5, 2, 409, marks=pytest.mark.slow),
        pytest.param(5, 5, 409, marks=pytest.mark.slow),
        (2, 9, 422),
    ],
)
def test_a_fork_and_a_backup_that_was_restored_are_refused(
    gate: House, witness: Witness, tmp_path: Path, ours: int, theirs: int, status: int
) -> None:
    """Database, key and anchor are in one hand: nothing at the gateway can tell, and the witness does."""
    house, other = forked(gate, witness, tmp_path, ours=ours, theirs=theirs)
    (line,) = sequenced(other)
    assert (line["event"], line["log_level"], line["status"]) == ("a witness refused the checkpoint", "error", status)
    assert "fork" in str(line["why"])
    assert kinds(other) == set(), "by itself it is a perfect log"
    assert kinds(other, witness.key) == {"not-cosigned"}
    assert kinds(house, witness.key) == set()
    for each in (house, other):
        each.database.dispose()


@pytest.mark.slow
def test_a_cosignature_cannot_be_moved_or_changed(gate: House, witness: Witness, tmp_path: Path) -> None:
    house, other = forked(gate, witness, tmp_path, ours=2, theirs=2)
    sequenced(other)
    theirs, ours = (anchor_of(each.settings).newest() for each in (other, house))
    assert theirs is not None
    assert ours is not None
    moved = theirs + ours.splitlines(keepends=True)[-1]
    path = other.settings.home / "checkpoints.log"
    path.write_text("".join([*path.read_text().splitlines(keepends=True)[:-1], json.dumps(moved) + "\n"]))
    with other.database.begin() as work:
        work.execute(text("DROP TRIGGER checkpoint_guard_update"))
        work.execute(text("UPDATE checkpoint SET note = :note WHERE note = :old"), {"note": moved, "old": theirs})
        work.commit()
    assert cosigned(other, witness.key) == set()
    assert kinds(other, witness.key) == {"bad-signature", "not-cosigned"}
    for each in (house, other):
        each.database.dispose()


def test_what_a_witness_cannot_see(gate: House, witness: Witness, tmp_path: Path) -> None:
    """It sees no events: one that was forged before it became a leaf, or never written, is cosigned like any other."""
    house = copied(gate, gate.settings.home, witnesses=witness.setting)
    act(house, 3)
    with house.database.begin() as work:  # within the second before the sequencer
        work.execute(text("DROP TRIGGER audit_event_guard_delete"))
        assert work.execute(text("DELETE FROM audit_event WHERE release = 'r-1'")).rowcount == 1
        work.commit()
    act(house, 1, what="never happened")
    assert sequenced(house) == []
    assert cosigned(house, witness.key) == {"witness.example-w1"}
    assert kinds(house, witness.key) == set()
    house.database.dispose()


def test_the_command_tells_and_demands(gate: House, witness: Witness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    house = copied(gate, gate.settings.home, witnesses=witness.setting)
    sequenced(house)
    house.database.dispose()
    for name, value in {"HOME": str(gate.settings.home), "WITNESSES": witness.setting}.items():
        monkeypatch.setenv(f"TICKETGATE_{name}", value)
    keys = str(gate.settings.home / "trusted-keys.json")

    def run(*arguments: str) -> tuple[int, dict[str, object]]:
        done = CliRunner().invoke(root, ["audit", *arguments, "--json"])
        return done.exit_code, json.loads(done.stdout)

    code, told = run("verify", "--keys", keys, "--witness", witness.vkey)
    assert (code, told["ok"], told["findings"]) == (0, True, [])
    (seen,) = told["witnesses"]  # type: ignore[misc]
    assert (seen["name"], seen["size"]) == ("witness.example-w1", told["signed_size"])
    code, told = run("checkpoint")
    assert told["verifier_keys"] == [key.vkey for key in log_keys(gate)]
    stranger = NoteVerifier("witness.example-w9", bytes(32), kind=4)
    code, told = run("verify", "--keys", keys, "--witness", stranger.vkey)
    assert (code, [item["kind"] for item in told["findings"]]) == (6, ["not-cosigned"])  # type: ignore[attr-defined]
