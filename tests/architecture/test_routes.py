"""Every route declares its access and is audited, or stands on the published list of unaudited paths."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask
from flask_openapi3 import OpenAPI

from gateway.audit.kinds import KINDS
from gateway.errors import STATUS, TicketgateError
from gateway.releases import House
from gateway.web import create_app
from gateway.web.guard import UNAUDITED, WITHIN, declaration_of
from gateway.web.problems import CODES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def app(house: House) -> OpenAPI:
    return create_app(house, with_limits=False)


def problems_of(app: Flask) -> list[str]:
    found = []
    for rule in app.url_map.iter_rules():
        if rule.endpoint == "static":
            continue
        declared = declaration_of(app.view_functions[rule.endpoint])
        if declared is None:
            found.append(f"{rule.rule} declares no access")
        elif declared.audit is None and rule.rule not in UNAUDITED:
            found.append(f"{rule.rule} is neither audited nor on the list")
        elif declared.audit not in (None, WITHIN) and declared.audit not in KINDS:
            found.append(f"{rule.rule} names an unknown kind of event")
    return found


def test_every_route_declares_access_and_record(app: OpenAPI) -> None:
    assert problems_of(app) == []


def test_a_route_without_a_declaration_is_found_and_answers_as_if_it_were_not_there(app: OpenAPI) -> None:
    app.add_url_rule("/planted", view_func=lambda: "secret", endpoint="planted")
    assert problems_of(app) == ["/planted declares no access"]
    answer = app.test_client().get("/planted")
    assert answer.status_code == 404
    assert b"secret" not in answer.data


def test_the_list_of_unaudited_paths_names_only_unaudited_routes(app: OpenAPI) -> None:
    rules = {
        rule.rule: declaration_of(app.view_functions[rule.endpoint])
        for rule in app.url_map.iter_rules()
        if "GET" in (rule.methods or ())
    }
    wrong = [path for path in UNAUDITED if rules.get(path) is None or rules[path].audit is not None]  # type: ignore[union-attr]
    assert wrong == []


def test_the_published_list_is_the_real_one() -> None:
    page = (ROOT / "docs/reference/unaudited-paths.md").read_text("utf-8")
    assert all(f"`{path}`" in page for path in UNAUDITED)


def test_every_error_has_a_status_and_a_page() -> None:
    kinds = list(STATUS)
    assert TicketgateError in kinds
    assert sorted({kind.code for kind in kinds} - set(CODES)) == []


def test_every_code_that_is_raised_has_a_page() -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "gateway").rglob("*.py") if "jobs" not in path.parts]
    raised = {code for text in sources for code in re.findall(r'\bcode="([a-z][a-z-]+)"', text)}
    assert len(raised) > 10
    assert sorted(raised - set(CODES)) == []


def test_every_page_answers(app: OpenAPI) -> None:
    client = app.test_client()
    assert [code for code in CODES if client.get(f"/problems/{code}").status_code != 200] == []


def test_the_description_is_openapi_3_1(app: OpenAPI) -> None:
    document = app.test_client().get("/openapi.json").get_json()
    assert document["openapi"].startswith("3.1")
    assert "/v1/release-requests" in document["paths"]
