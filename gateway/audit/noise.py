"""Unauthenticated noise, counted: one event per address and window instead of one per call.

Throttled and malformed calls cost their sender nothing; recorded one by one they would fill the disk. They are counted in
memory and written as `calls.aggregated` when their window has closed. This is the one exception from "recorded before it
is answered": a process that is killed loses the counts of its open window, never anything about a principal.

Invariants:
    - Memory is bounded: beyond `capacity` addresses a window counts the rest together.
    - Addresses enter the log as pseudonyms under a key that all addresses of one day share; IPv6 counts by /64, IPv4 within it
      by its own address.
    - What could not be written stays counted for the next attempt.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Network, ip_address

from gateway.audit.log import Log
from gateway.db.work import Database

__all__ = ["Noise", "network_of"]

MANY = "many"
_WINDOW = timedelta(minutes=1)
TRANSLATED = IPv6Network("64:ff9b::/96")
"""IPv4 addresses behind a translator (RFC 6052)."""


@dataclass(slots=True)
class _Tally:
    first: datetime
    last: datetime
    counts: Counter[str] = field(default_factory=Counter)

    def merge(self, other: _Tally) -> None:
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        self.counts.update(other.counts)


class Noise:
    """The counters of one process; safe to use from several threads."""

    def __init__(self, *, window: timedelta = _WINDOW, capacity: int = 10_000) -> None:
        """Start counting.

        Args:
            window: Length of a window, at least a second.
            capacity: Addresses that are told apart at a time, at least 1.
        """
        self._seconds, self._capacity = int(window.total_seconds()), capacity
        self._tallies: dict[tuple[int, str], _Tally] = {}
        self._lock = threading.Lock()

    def note(self, reason: str, *, address: str, at: datetime) -> None:
        """Count a call.

        Args:
            reason: A slug, such as `throttled` or `malformed`; one of a few that the caller knows.
            address: Where it came from.
            at: When.
        """
        start = int(at.timestamp()) // self._seconds * self._seconds
        with self._lock:
            key = (start, network_of(address))
            if key not in self._tallies and len(self._tallies) >= self._capacity:
                key = (start, MANY)
            self._merge(key, _Tally(at, at, Counter({reason: 1})))

    def flush(self, database: Database, *, at: datetime, everything: bool = False) -> int:
        """Write the closed windows into the log.

        Args:
            database: Where the log is.
            at: The present; windows that ended before it are closed.
            everything: Also write open windows: the process is about to end.

        Returns:
            How many events were written.

        Raises:
            NotRecorded: nothing was written; the counts are kept.
        """
        now = int(at.timestamp())
        with self._lock:
            closed = {key: tally for key, tally in self._tallies.items() if everything or key[0] + self._seconds <= now}
            for key in closed:
                del self._tallies[key]
        if not closed:
            return 0
        written = False
        try:
            with database.begin() as work:
                log = Log(work)
                for (start, network), tally in sorted(closed.items()):
                    self._append(log, datetime.fromtimestamp(start, tz=UTC), network, tally, at)
                work.commit()
            written = True
        finally:
            if not written:
                with self._lock:
                    for key, tally in closed.items():
                        self._merge(key, tally)
        return len(closed)

    def _append(self, log: Log, start: datetime, network: str, tally: _Tally, at: datetime) -> None:
        data = {
            "window_at": start,
            "window_seconds": self._seconds,
            "address": None if network == MANY else log.address_pseudonym(network, day=start),
            "counts": dict(tally.counts),
            "first_at": tally.first,
            "last_at": tally.last,
        }
        log.append("calls.aggregated", at=at, data=data)

    def _merge(self, key: tuple[int, str], tally: _Tally) -> None:
        if key in self._tallies:
            self._tallies[key].merge(tally)
        else:
            self._tallies[key] = tally


def network_of(address: str | None) -> str:
    """What counts as one sender: an IPv4 address (also one that is written in IPv6), the /64 of an IPv6 address, or `unknown`."""
    try:
        parsed = ip_address((address or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    if parsed in TRANSLATED:
        return str(IPv4Address(int(parsed) & 0xFFFF_FFFF))
    return str(parsed.ipv4_mapped or IPv6Network((parsed, 64), strict=False))
