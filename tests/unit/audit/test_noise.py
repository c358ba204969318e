"""Unauthenticated noise: one event per address and window, bounded memory, nothing lost when the log does not take it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gateway.audit import Log, Noise
from gateway.audit.noise import network_of
from gateway.errors import NotRecorded

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def aggregated(world) -> list:
    with world.database.read() as work:
        return Log(work).search(kind="calls.aggregated")


def test_a_flood_is_one_event_per_address_and_window(world):
    noise = Noise()
    for number in range(1000):
        at = NOW + timedelta(milliseconds=10 * number)
        noise.note("throttled", address="192.0.2.1", at=at)
        noise.note("malformed", address=f"2001:db8::{number:x}", at=at)
    noise.note("throttled", address="192.0.2.1", at=NOW + MINUTE)
    assert noise.flush(world.database, at=NOW + timedelta(seconds=59)) == 0
    assert noise.flush(world.database, at=NOW + MINUTE) == 2
    four, six = aggregated(world)
    assert four.data["counts"] == {"throttled": 1000}
    assert six.data["counts"] == {"malformed": 1000}
    assert four.data["window_at"] == "2026-03-01T12:00:00.000000Z"
    assert four.data["last_at"] == "2026-03-01T12:00:09.990000Z"
    assert "192.0.2.1" not in four.payload
    assert four.data["address"].startswith("hmac-sha256:")
    with world.database.read() as work:
        assert four.data["address"] == Log(work).pseudonym_of("192.0.2.1", scope="addresses/2026-03-01")
    assert noise.flush(world.database, at=NOW + MINUTE, everything=True) == 1
    assert noise.flush(world.database, at=NOW + 2 * MINUTE) == 0


def test_memory_is_bounded(world):
    noise = Noise(capacity=3)
    for number in range(100):
        noise.note("throttled", address=f"192.0.2.{number}", at=NOW)
    assert noise.flush(world.database, at=NOW + MINUTE) == 4
    many = [entry for entry in aggregated(world) if entry.data["address"] is None]
    assert [entry.data["counts"] for entry in many] == [{"throttled": 97}]


def test_what_could_not_be_written_stays_counted(world, monkeypatch):
    noise = Noise()
    noise.note("throttled", address="192.0.2.1", at=NOW)

    def fail(*_: object, **__: object) -> None:
        noise.note("throttled", address="192.0.2.1", at=NOW - timedelta(seconds=0))
        raise NotRecorded("disk full")

    monkeypatch.setattr(Log, "append", fail)
    with pytest.raises(NotRecorded):
        noise.flush(world.database, at=NOW + MINUTE)
    monkeypatch.undo()
    assert aggregated(world) == []
    assert noise.flush(world.database, at=NOW + MINUTE) == 1
    assert aggregated(world)[0].data["counts"] == {"throttled": 2}


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("", "unknown"),
        ("evil\nname", "unknown"),
        ("192.0.2.1:80", "unknown"),
    ],
)
def test_who_counts_as_one(address: str, network: str):
    assert network_of(address) == network


@pytest.mark.parametrize("prefix", ["::ffff:", "64:ff9b::"])
def test_an_ipv4_address_in_ipv6_is_itself(world, prefix: str):
    """A socket that listens on both families shows every IPv4 caller so: they are not one sender."""
    noise = Noise()
    for address in ("192.0.2.1", f"{prefix}192.0.2.1", f"{prefix}198.51.100.7"):
        noise.note("throttled", address=address, at=NOW)
    assert network_of(f"{prefix}192.0.2.1") == "192.0.2.1"
    assert noise.flush(world.database, at=NOW + MINUTE) == 2
    assert sorted(entry.data["counts"]["throttled"] for entry in aggregated(world)) == [1, 2]


def test_what_counts_as_one_sender():
    assert network_of("fe80::1%eth0") == network_of("fe80::2") == "fe80::/64"
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1.2.3.4") == "2001:db8::/64"
    assert network_of(None) == network_of("") == network_of("unix:") == "unknown"
