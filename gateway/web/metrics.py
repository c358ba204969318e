"""What `/metrics` shows: calls and bytes as this process counts them, and how the gateway stands by its database.

Invariants:
    - No label names a person, a ticket, a release or an address: routes are templates, and a path that is no route is `other`.
    - The database is asked at most every few seconds, however many scrapers there are; if it does not answer, what the process
      counted is shown all the same, and `ticketgate_database_up` is 0.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Final

from flask import Flask, Response, g, request
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.errors import TicketgateError
from gateway.releases import House
from gateway.releases.counts import Counts, budgets_left, counts_of
from gateway.telemetry import utc_now

__all__ = ["DOWNLOADS", "DOWNLOAD_BYTES", "add_metrics", "exposition"]

CALLS = Counter("ticketgate_http_calls", "Calls by route, status and problem code.", ["route", "method", "status", "code"])
SECONDS = Histogram(
    "ticketgate_http_seconds", "Seconds until the head of the answer, by route.", ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)  # fmt: skip
DOWNLOADS = Counter("ticketgate_downloads", "Transfers that have ended, by how.", ["outcome"])
DOWNLOAD_BYTES = Counter("ticketgate_download_bytes", "Bytes of artifacts that were sent.")
STALE_SECONDS: Final = 5.0
PROBLEM: Final = "application/problem+json"


def add_metrics(app: Flask) -> None:
    """Count the calls of an application."""

    def begin() -> None:
        g.began_at = time.perf_counter()

    def end(response: Response) -> Response:
        route = "other" if request.url_rule is None else request.url_rule.rule
        code = str((response.get_json(silent=True) or {}).get("code", "")) if response.mimetype == PROBLEM else ""
        method = request.method if request.url_rule is not None else "other"
        CALLS.labels(route=route, method=method, status=str(response.status_code), code=code).inc()
        SECONDS.labels(route=route).observe(time.perf_counter() - g.get("began_at", time.perf_counter()))
        return response

    app.before_request(begin)
    app.after_request(end)


def exposition(standing: Standing | None) -> bytes:
    """Everything in Prometheus text format; of all processes of one server when they share a folder for it.

    Args:
        standing: How the gateway stands; None where the process may not look.
    """
    parts = [generate_latest(_counted())]
    if standing is not None:
        registry = CollectorRegistry()
        registry.register(standing)
        parts.append(generate_latest(registry))
    return b"".join(parts)


def _counted() -> CollectorRegistry:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


class Standing:
    """How the gateway stands, as a collector."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._lock = Lock()
        self._looked_at = float("-inf")
        self._seen: tuple[Counts, dict[str, tuple[float, float]]] | None = None

    def _look(self) -> tuple[Counts, dict[str, tuple[float, float]]] | None:
        with self._lock:
            if time.monotonic() - self._looked_at > STALE_SECONDS:
                self._looked_at = time.monotonic()
                now = utc_now()
                try:
                    with self._house.database.read() as work:
                        left = budgets_left(work, now=now) if self._house.settings.metrics_budgets else {}
                        self._seen = (counts_of(work, now=now), left)
                except TicketgateError:
                    self._seen = None
            return self._seen

    def describe(self) -> list[Metric]:
        """Nothing is promised before it was looked at."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All families."""
        seen = self._look()
        yield GaugeMetricFamily("ticketgate_database_up", "Whether the database answered.", value=float(seen is not None))
        if seen is None:
            return
        counts, left = seen
        yield _family("ticketgate_releases", "Releases by where they stand.", "status", counts.releases)
        yield _family("ticketgate_judged_last_day", "Releases the gate judged, by what came of them.", "status", counts.judged)
        yield from _durations(counts)
        jobs = GaugeMetricFamily("ticketgate_jobs", "Small jobs by kind and status.", labels=["kind", "status"])
        for labels, number in sorted(counts.jobs.items()):
            jobs.add_metric(labels, number)
        yield jobs
        yield CounterMetricFamily("ticketgate_log_leaves", "Leaves of the log.", value=counts.leaves)
        yield GaugeMetricFamily("ticketgate_log_lag_leaves", "Events that are no leaves yet.", value=counts.waiting)
        yield GaugeMetricFamily("ticketgate_log_lag_seconds", "Age of the oldest of them.", value=counts.waiting_seconds)
        yield GaugeMetricFamily("ticketgate_workers", "Workers that live.", value=counts.workers)
        if self._house.settings.metrics_budgets:
            remaining = {name: figures[0] for name, figures in left.items()}
            limits = {name: figures[1] for name, figures in left.items()}
            yield _family("ticketgate_budget_remaining_epsilon", "ε that is left.", "dataset", remaining)
            yield _family("ticketgate_budget_limit_epsilon", "The limit of ε.", "dataset", limits)


def _durations(counts: Counts) -> Iterator[Metric]:
    ended = {status: count for status, (_, count) in counts.seconds.items()}
    totals = {status: total for status, (total, _) in counts.seconds.items()}
    yield _family("ticketgate_ended_last_day", "Releases asked for in the last day that have ended.", "status", ended)
    yield _family("ticketgate_release_seconds_last_day", "Seconds from request to end, summed up.", "status", totals)


def _family(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in sorted(values.items()):
        family.add_metric([value], number)
    return family
