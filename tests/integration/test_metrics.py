"""`/metrics`: parses as Prometheus text, counts what happened, names nobody, and costs the database little."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.db import Database
from gateway.releases import Release
from gateway.web import create_app

ROOT = Path(__file__).resolve().parents[2]
Released = tuple[Any, Callable[[], Release]]


def scraped(client: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def value(found: Any, name: str, **labels: str) -> float:
    return float(found.get((name, tuple(sorted(labels.items()))), 0))


def test_calls_are_counted_by_route_status_and_code(town: Any) -> None:
    labels = {"route": "/v1/release-requests", "method": "POST", "status": "403", "code": "denied"}
    before = value(scraped(town.client), "ticketgate_http_calls_total", **labels)
    assert town.ask(purpose="marketing").status_code == 403
    assert town.client.get("/nothing/here/at-all-4711").status_code == 404
    after = scraped(create_app(town.house, with_limits=False).test_client())  # a fresh one has looked at no database yet
    assert value(after, "ticketgate_http_calls_total", **labels) == before + 1
    assert value(after, "ticketgate_releases", status="denied") == 1
    assert value(after, "ticketgate_log_lag_leaves") > 0
    assert value(after, "ticketgate_database_up") == 1
    assert not any("4711" in str(key) for key in after)
    assert not any(name == "ticketgate_budget_remaining_epsilon" for name, _ in after)


def test_every_alert_asks_for_numbers_that_are_there(town: Any) -> None:
    from policies.loader import parse

    assert town.ask(purpose="marketing").status_code == 403
    settings = town.house.settings.model_copy(update={"metrics_budgets": True})
    text = create_app(replace(town.house, settings=settings), with_limits=False).test_client().get("/metrics").text
    shown = set(re.findall(r"^# TYPE (ticketgate_\w+)", text, re.MULTILINE))
    (group,) = parse(ROOT / "deploy" / "alerts.yaml").data["groups"]
    assert len(group["rules"]) >= 8
    for rule in group["rules"]:
        named = set(re.findall(r"ticketgate_\w+", rule["expr"]))
        assert named, rule["alert"]
        assert {name.removesuffix("_total").removesuffix("_bucket") for name in named} <= {
            n.removesuffix("_total") for n in shown
        }
        assert {"summary", "runbook"} <= set(rule["annotations"])
    page = (ROOT / "docs" / "how-to" / "watch.md").read_text("utf-8")
    assert {name for name in shown if not name.endswith("_created") and f"`{name}" not in page} == set()


def test_nobody_is_named(town: Any) -> None:
    assert town.ask(purpose="marketing").status_code == 403
    text = town.client.get("/metrics").text
    ours = "\n".join(line for line in text.splitlines() if line.startswith("ticketgate_"))
    for word in ("ana", "rob", "DATA-101", "card-transactions", "127.0.0.1", *[key.thumbprint for key in town.keys.values()]):
        assert not re.search(rf'"[^"]*\b{re.escape(word)}\b[^"]*"', ours), word


def test_budgets_are_shown_where_the_operator_says_so(town: Any) -> None:
    settings = town.house.settings.model_copy(update={"metrics_budgets": True})
    client = create_app(replace(town.house, settings=settings), with_limits=False).test_client()
    found = scraped(client)
    assert value(found, "ticketgate_budget_limit_epsilon", dataset="card-transactions") > 0
    assert value(found, "ticketgate_budget_remaining_epsilon", dataset="card-transactions") > 0


def test_a_database_that_does_not_answer_is_one_of_the_numbers(town: Any) -> None:
    away = replace(town.house, database=Database("sqlite:////nowhere/at/all.db"))
    found = scraped(create_app(away, with_limits=False).test_client())
    assert value(found, "ticketgate_database_up") == 0
    assert any(name == "ticketgate_http_calls_total" for name, _ in found)


@pytest.mark.slow
def test_a_release_and_its_download_are_counted(released: Released) -> None:
    town, another = released
    before = scraped(create_app(town.house, with_limits=False).test_client())
    release = another()
    headers = {"Authorization": f"Bearer {town.post(f'/v1/releases/{release.id}/tokens', 'ana').get_json()['token']}"}
    sent = len(town.client.get(f"/v1/releases/{release.id}/artifacts/data.csv", headers=headers).data)
    after = scraped(create_app(town.house, with_limits=False).test_client())

    def grown(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert grown("ticketgate_releases", status="released") == 1
    assert grown("ticketgate_judged_last_day", status="released") == 1
    assert grown("ticketgate_ended_last_day", status="released") == 1
    assert grown("ticketgate_release_seconds_last_day", status="released") > 0
    assert grown("ticketgate_downloads_total", outcome="complete") == 1
    assert grown("ticketgate_download_bytes_total") == sent
    assert grown("ticketgate_log_leaves_total") > 5
