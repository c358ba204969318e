"""Reading and verifying the log at a terminal: each is a leaf, or it did not happen."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.cli.compose import open_house
from gateway.cli.main import main
from gateway.cli.setup import initialise
from gateway.jobs.worker import make_sequencer
from gateway.settings import Settings
from gateway.telemetry import utc_now


@dataclass
class Terminal:
    """A home with a log of its own."""

    home: Path

    def run(self, *arguments: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        try:
            with redirect_stdout(out), redirect_stderr(err):
                main(["audit", *arguments])
        except SystemExit as end:
            return int(end.code or 0), out.getvalue(), err.getvalue()
        raise AssertionError("main() always leaves by SystemExit")

    def sequence(self) -> None:
        house = open_house(Settings())
        make_sequencer(house).run_once(utc_now())
        house.database.dispose()

    def newest(self) -> tuple[str, dict]:
        """Kind and data of the newest event."""
        with closing(sqlite3.connect(self.home / "ticketgate.db")) as database:
            kind, payload = database.execute("SELECT kind, payload FROM audit_event ORDER BY id DESC LIMIT 1").fetchone()
        return kind, json.loads(payload)["data"]


@pytest.fixture(scope="module")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gateway")
    settings = Settings(home=folder / "home")
    initialise(settings)
    house = open_house(settings)
    make_sequencer(house).run_once(utc_now())
    house.database.dispose()
    return folder / "home"


@pytest.fixture
def terminal(initialised: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    for name in [name for name in os.environ if name.startswith("TICKETGATE_")]:
        monkeypatch.delenv(name)
    shutil.copytree(initialised, tmp_path / "home")
    monkeypatch.setenv("TICKETGATE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Terminal(tmp_path / "home")


def test_a_verification_covers_what_was_before_it_and_is_recorded_after(terminal: Terminal):
    code, out, _ = terminal.run("verify", "--json")
    before = json.loads(out)
    assert (code, before["ok"], before["pending"]) == (0, True, 0)
    kind, data = terminal.newest()
    assert kind == "log.verified"
    assert (data["ok"], data["leaves"], data["findings_count"]) == (True, before["leaves"], 0)
    terminal.sequence()
    assert json.loads(terminal.run("verify", "--json")[1])["leaves"] == before["leaves"] + 1


def test_what_was_found_is_recorded_too(terminal: Terminal):
    with closing(sqlite3.connect(terminal.home / "ticketgate.db")) as database, database:
        database.execute("DROP TRIGGER audit_event_guard_update")
        database.execute("UPDATE audit_event SET kind = 'release.read' WHERE leaf_index = 1")
    code, out, _ = terminal.run("verify", "--json")
    assert code == 6
    assert [(item["kind"], item["index"]) for item in json.loads(out)["findings"]] == [("edited", 1)]
    kind, data = terminal.newest()
    assert (kind, data["ok"], data["findings"]) == ("log.verified", False, [{"kind": "edited", "index": 1}])


@pytest.mark.parametrize("is_tampered", [False, True])
def test_a_verification_that_cannot_be_recorded_says_so(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, is_tampered: bool):
    """Unavailable, 5; but what was found is never hidden behind that: then it is 6."""
    monkeypatch.setattr("gateway.db.work.BUSY_TIMEOUT_MS", 100)
    with closing(sqlite3.connect(terminal.home / "ticketgate.db")) as database:
        if is_tampered:
            database.execute("DROP TRIGGER audit_event_guard_update")
            database.execute("UPDATE audit_event SET kind = 'release.read' WHERE leaf_index = 1")
            database.commit()
        before = terminal.newest()
        database.execute("BEGIN IMMEDIATE")  # somebody holds the one write lock
        code, out, err = terminal.run("verify", "--json")
        database.rollback()
    assert code == (6 if is_tampered else 5)
    assert json.loads(out)["ok"] is not is_tampered
    assert "could not be recorded" in err
    assert terminal.newest() == before


@pytest.mark.parametrize(
    ("arguments", "kind", "facts"),
    [
        (("tail",), "log.read", {"how": "tail"}),
        (("search", "--ticket", "T-1"), "log.read", {"how": "search", "where": {"ticket": "T-1"}}),
        (("prove", "0"), "log.read", {"how": "prove"}),
        (("checkpoint",), "log.read", {"how": "checkpoint"}),
        (("export", "--format", "ocsf"), "log.exported", {"format": "ocsf", "behind": None}),
    ],
)
def test_every_reading_is_a_leaf_or_is_not_answered(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], kind: str, facts: dict
):
    code, out, _ = terminal.run(*arguments)
    assert code == 0
    assert out
    assert terminal.newest() == (kind, facts)
    monkeypatch.setattr("gateway.db.work.BUSY_TIMEOUT_MS", 100)
    with closing(sqlite3.connect(terminal.home / "ticketgate.db")) as database:
        database.execute("BEGIN IMMEDIATE")
        code, out, _ = terminal.run(*arguments)
        database.rollback()
    assert (code, out) == (5, "")


def test_the_name_that_was_searched_for_is_no_plain_text(terminal: Terminal):
    assert terminal.run("search", "--actor", "ana.lyst@example.org")[0] == 0
    kind, data = terminal.newest()
    assert kind == "log.read"
    assert data["where"]["actor"].startswith("hmac-sha256:")
