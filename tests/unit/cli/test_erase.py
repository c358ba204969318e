"""Erasing a person: the log names them no more, and somebody who is still active is not erased by mistake."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.access import write_keypair
from gateway.cli.main import main
from gateway.cli.setup import initialise
from gateway.settings import Settings

Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    monkeypatch.setenv("TICKETGATE_HOME", str(tmp_path / "home"))
    initialise(Settings())

    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as left:
            main(list(words))
        told = capsys.readouterr()
        return int(left.value.code or 0), told.out + told.err

    return run


def test_a_person_is_erased_once_disabled(call: Call, tmp_path: Path) -> None:
    write_keypair(tmp_path / "ana.pem")
    assert call("principal", "add", "ana.lee", "--role", "analyst", "--key", str(tmp_path / "ana.pub.pem"))[0] == 0
    code, told = call("principal", "erase", "ana.lee")
    assert (code, "ana.lee is not disabled" in told) == (3, True)
    assert call("principal", "disable", "ana.lee")[0] == 0
    assert call("principal", "erase", "ana.lee") == (0, "The log names ana.lee no more.\n")
    assert json.loads(call("principal", "erase", "ana.lee", "--json")[1]) == {"erased": False}
