"""Fixtures that several rooms share: a house in a temporary folder, PostgreSQL databases, the folder of real tables."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.releases import House
from gateway.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
POSTGRES = os.environ.get("TICKETGATE_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432")


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("TICKETGATE_") and name not in ("TICKETGATE_CI", "TICKETGATE_TEST_POSTGRES"):
            monkeypatch.delenv(name)


@pytest.fixture
def shared() -> Path:
    if not SHARED.exists():
        pytest.skip(f"the real tables and vectors are not beside the checkout ({SHARED})")
    return SHARED


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    from gateway.cli.compose import open_house
    from gateway.cli.setup import initialise

    settings = Settings(home=tmp_path / "home")
    initialise(settings)
    rooms = open_house(settings, with_queue=True)
    yield rooms
    rooms.database.dispose()


def postgres_is_up() -> bool:
    host, _, port = POSTGRES.rpartition("@")[2].partition(":")
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, int(port.partition("/")[0] or 5432))) == 0


@pytest.fixture
def postgres() -> Iterator[str]:
    """URL of a fresh PostgreSQL database."""
    if not postgres_is_up():
        pytest.skip("PostgreSQL does not answer on 127.0.0.1:5432")
    import psycopg

    name = f"ticketgate_{uuid4().hex[:12]}"
    with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield f"{POSTGRES}/{name}"
    with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
