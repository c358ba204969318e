"""The files of deploy/: they parse, name what exists, and grant what the architecture says and no more."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.setup import initialise
from gateway.settings import Settings
from gateway.web import create_app
from policies.loader import parse

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
SERVICES = parse(DEPLOY / "compose.yaml").data["services"]
JIRA = parse(DEPLOY / "compose.jira.yaml").data["services"]
MANIFESTS = sorted((DEPLOY / "k8s").rglob("*.yaml"))
FILE_SETTINGS = {f"TICKETGATE_{name.upper()}" for name in Settings.model_fields}
PROCESS_SETTINGS = {"TICKETGATE_BIND", "TICKETGATE_WEB_PROCESSES", "TICKETGATE_WEB_THREADS", "TICKETGATE_SOURCE_FOLDER"}


def manifest(name: str) -> Any:
    return parse(DEPLOY / "k8s" / f"{name}.yaml").data


def egress_namespaces(policy: Any) -> set[str]:
    return {
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for rule in policy["spec"]["egress"]
        for peer in rule["to"]
    }


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_every_manifest_is_one_named_object(path: Path) -> None:
    found = parse(path).data
    assert found["apiVersion"]
    assert found["kind"]
    assert found["metadata"]["namespace"] == "ticketgate"


def test_every_setting_that_is_named_exists() -> None:
    files = [
        DEPLOY / "compose.yaml",
        DEPLOY / "compose.jira.yaml",
        DEPLOY / "Dockerfile",
        DEPLOY / "README.md",
        DEPLOY / "gunicorn.conf.py",
        *MANIFESTS,
    ]
    named = {word for path in files for word in re.findall(r"TICKETGATE_[A-Z0-9_]+", path.read_text("utf-8"))}
    assert named - FILE_SETTINGS - PROCESS_SETTINGS == set()


def test_only_the_worker_reaches_the_source_tables() -> None:
    with_sources = {
        name for name, service in SERVICES.items() if any("/srv/sources" in volume for volume in service.get("volumes", ()))
    }
    assert with_sources == {"worker"}
    assert "source-store" in egress_namespaces(manifest("worker-network"))
    assert "source-store" not in egress_namespaces(manifest("web-network"))
    assert manifest("deny-all")["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_only_nginx_is_reachable_from_outside_and_the_worker_from_nowhere() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"nginx"}
    assert SERVICES["worker"]["networks"] == ["back"]
    assert manifest("worker-network")["spec"]["ingress"] == []


def test_only_web_and_worker_have_a_way_out_and_only_where_tickets_are_in_jira() -> None:
    assert all(not {"tickets", "default"} & set(service["networks"]) for service in SERVICES.values())
    assert set(JIRA) == {"web", "worker"}
    for role, service in JIRA.items():
        assert service["networks"] == ["tickets"]
        assert service["secrets"] == ["jira_token"]
        needed = {"TICKETGATE_TICKETS", "TICKETGATE_JIRA_URL", "TICKETGATE_JIRA_EMAIL", "TICKETGATE_JIRA_TOKEN_FILE"}
        assert set(service["environment"]) == needed == set(manifest("jira/config")["data"]), role
    policy = manifest("jira/network")["spec"]
    (chosen,) = policy["podSelector"]["matchExpressions"]
    assert chosen["values"] == ["web", "worker"]
    assert policy["policyTypes"] == ["Egress"]


def test_the_cluster_is_set_up_by_the_same_image_and_secrets_as_the_worker() -> None:
    job, worker = manifest("setup/init")["spec"]["template"], manifest("worker")["spec"]["template"]
    assert job["metadata"]["labels"] == worker["metadata"]["labels"], "the worker's network policy is for it, too"
    for field in ("image", "envFrom", "securityContext", "volumeMounts"):
        assert job["spec"]["containers"][0][field] == worker["spec"]["containers"][0][field]
    assert job["spec"]["initContainers"] == worker["spec"]["initContainers"]
    assert "ticketgate init" in job["spec"]["containers"][0]["command"][-1]


def test_an_alert_speaks_when_nobody_delivers_numbers() -> None:
    rules = {rule["alert"]: rule for rule in parse(DEPLOY / "alerts.yaml").data["groups"][0]["rules"]}
    assert "absent(ticketgate_database_up)" in rules["TicketgateSilent"]["expr"]
    callers = {
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for rule in manifest("web-network")["spec"]["ingress"]
        for peer in rule["from"]
    }
    assert callers == {"ingress-nginx", "monitoring"}


@pytest.mark.parametrize("role", ["web", "downloads", "worker"])
def test_no_role_runs_as_root_or_writes_to_its_image(role: str) -> None:
    assert SERVICES[role]["read_only"] is True
    assert SERVICES[role]["cap_drop"] == ["ALL"]
    pod = manifest(role)["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in [*pod["initContainers"], *pod["containers"]]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert "USER 10001:10001" in (DEPLOY / "Dockerfile").read_text("utf-8")


def test_the_downloads_role_has_no_passphrase_and_a_database_role_of_its_own() -> None:
    service, pod = SERVICES["downloads"], manifest("downloads")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    for command in (service["command"], container["command"]):
        assert command[:4] == ["ticketgate", "serve", "--role", "downloads"]
    assert set(service["secrets"]) == {"master_key", "downloads_passfile"}
    assert "TICKETGATE_PASSPHRASE_FILE" not in service["environment"]
    given = {item["name"]: item["value"] for item in container["env"]}
    for url in (service["environment"]["TICKETGATE_DATABASE"], given["TICKETGATE_DATABASE"]):
        assert "//ticketgate_downloads@" in url
    for hops in (service["environment"]["TICKETGATE_PROXIES"], given["TICKETGATE_PROXIES"]):
        assert hops == "1"
    assert [volume["secret"] for volume in pod["volumes"] if "secret" in volume] == [{"secretName": "ticketgate-downloads"}]
    assert all(volume.endswith(":ro") for volume in service["volumes"])
    web = manifest("web")["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] != web["serviceAccountName"]


@pytest.mark.parametrize("role", ["web", "downloads", "worker"])
def test_every_container_has_limits_probes_and_no_privilege(role: str) -> None:
    pod = manifest(role)["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert set(container["resources"]) == {"requests", "limits"}
        assert "memory" in container["resources"]["limits"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert not any("valueFrom" in item for item in container.get("env", ()))
        assert role == "worker" or {"readinessProbe", "livenessProbe"} <= set(container)
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted <= {volume["name"] for volume in pod["volumes"]}


def test_secrets_are_files_and_never_values() -> None:
    for path in (DEPLOY / "compose.yaml", *MANIFESTS):
        text = path.read_text("utf-8")
        assert not re.search(r"://[^/\s:@]+:[^@\s/]+@", text), f"{path.name} holds a password"
        assert not re.search(r"(?i)password:\s*[^{\s]", text), f"{path.name} holds a password"


def test_gunicorn_reads_its_configuration() -> None:
    found = runpy.run_path(str(DEPLOY / "gunicorn.conf.py"))
    assert (found["worker_class"], found["preload_app"]) == ("gthread", False)


def test_downloads_are_not_buffered_and_probes_stay_inside() -> None:
    text = (DEPLOY / "nginx.conf").read_text("utf-8")
    location = text.split("/artifacts/ {", 1)[1].split("}", 1)[0]
    assert "proxy_buffering off;" in location
    assert "proxy_pass http://downloads;" in location
    assert re.search(r"\(metrics\|readyz\|healthz\)\$ \{ return 404; \}", text)
    assert text.count("{") == text.count("}")


def test_every_path_that_nginx_names_is_a_route(house: Any) -> None:
    routes = {str(rule) for rule in create_app(house, with_limits=False).url_map.iter_rules()}
    exact = re.findall(r"location = (\S+)", (DEPLOY / "nginx.conf").read_text("utf-8"))
    assert exact
    assert set(exact) <= routes
    house.enqueue.close()


def test_the_entry_point_composes_the_house_and_believes_one_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import atexit

    registered: list[Any] = []
    monkeypatch.setattr(atexit, "register", lambda act, *rest, **options: registered.append((act, rest, options)))
    initialise(Settings(home=tmp_path / "home"))
    monkeypatch.setenv("TICKETGATE_HOME", str(tmp_path / "home"))
    app = runpy.run_path(str(DEPLOY / "wsgi.py"))["create"]()
    seen: list[str | None] = []

    def note() -> None:
        from flask import request

        seen.append(request.remote_addr)

    app.before_request(note)
    answer = app.test_client().get("/readyz", headers={"X-Forwarded-For": "192.0.2.9, 198.51.100.7"})
    assert answer.status_code == 200
    assert seen == ["198.51.100.7"]
    assert registered
    house = app.extensions["ticketgate"]
    house.enqueue.close()
    house.database.dispose()
