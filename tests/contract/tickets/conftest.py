"""A server that behaves like Jira, and one way to make the same ticket in every source."""

from __future__ import annotations

import base64
import json
import os
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest
from sqlalchemy import delete

from gateway.db.schema import create_schema
from gateway.db.tables.tickets import ticket
from gateway.db.work import Database
from gateway.tickets import FileRegistry, Jira, JiraSettings, Tickets

TLS = ssl.create_default_context()  # making one takes longer than most of these tests
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EMAIL, TOKEN = "gateway@example.org", "made-up-token"
DATASET, APPROVER = "customfield_10042", "customfield_10043"


class JiraLike:
    """Issues, changelogs and comments behind HTTP; `script` holds answers to give before the true ones."""

    def __init__(self):
        self.issues = {}
        self.changes = {}
        self.comments = []
        self.script = []
        self.calls = []
        self.page = 2
        self.delay = 0.0
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536  # headers and body in one packet: no waiting for acknowledgements
            disable_nagle_algorithm = True

            def log_message(self, *args):
                pass

            def do_GET(self):
                server.answer(self, "GET", None)

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                server.answer(self, "POST", body)

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                """A client that gave up is what these tests are about."""

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def stop(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def answer(self, handler, method, body):
        url = urlsplit(handler.path)
        self.calls.append((method, url.path))
        if self.delay:
            time.sleep(self.delay)
        if self.script:
            return self.send(handler, *self.script.pop(0))
        expected = "Basic " + base64.b64encode(f"{EMAIL}:{TOKEN}".encode()).decode()
        if handler.headers.get("Authorization") != expected:
            return self.send(handler, 401, {}, b"{}")
        parts = url.path.split("/")
        key = parts[5] if len(parts) > 5 else ""
        if key not in self.issues:
            return self.send(handler, 404, {}, b'{"errorMessages":["Issue does not exist"]}')
        if method == "POST" and parts[6:] == ["comment"]:
            self.comments.append((key, json.loads(body)))
            return self.send(handler, 201, {}, b"{}")
        if parts[6:] == ["changelog"]:
            query = parse_qs(url.query)
            start, all_of_it = int(query["startAt"][0]), self.changes[key]
            size = min(self.page, int(query["maxResults"][0]))
            values = all_of_it[start : start + size]
            page = {"startAt": start, "maxResults": size, "total": len(all_of_it), "values": values}
            return self.send(handler, 200, {}, json.dumps(page).encode())
        return self.send(handler, 200, {}, json.dumps(self.issues[key]).encode())

    @staticmethod
    def send(handler, status, headers, body):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        try:
            handler.wfile.write(body)
            handler.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            handler.close_connection = True


def stamp(at):
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}+0000"


class JiraWorld:
    """Makes tickets in Jira as people do: by moving and editing issues."""

    name = "jira"

    def __init__(self, server):
        self.server = server
        settings = JiraSettings(
            url=server.url, email=EMAIL, token=TOKEN, dataset_field=DATASET, approver_field=APPROVER, deadline=2.0, timeout=1.0
        )
        self.source = Jira(settings, transport=httpx.HTTPTransport(verify=TLS))

    def open(self, key, *, dataset, assignee, at):
        del at  # the changelog of a new issue is empty
        user = None if assignee is None else {"accountId": assignee, "displayName": "Not Compared"}
        self.server.issues[key] = {
            "key": key,
            "fields": {
                "project": {"key": key.split("-")[0]},
                "issuetype": {"name": "Data request"},
                "status": {"name": "Open"},
                "assignee": user,
                DATASET: {"value": dataset} if dataset else None,
                APPROVER: None,
            },
        }
        self.server.changes[key] = []

    def change(self, key, field, value, *, by, at):
        self.server.changes[key].append(
            {"created": stamp(at), "author": {"accountId": by}, "items": [{"field": field, "fieldId": field, "toString": value}]}
        )

    def approve(self, key, *, by, at):
        self.server.issues[key]["fields"]["status"] = {"name": "Approved"}
        self.server.issues[key]["fields"][APPROVER] = {"accountId": by}
        self.change(key, APPROVER, by, by=by, at=at - timedelta(seconds=5))
        self.change(key, "status", "Approved", by=by, at=at)

    def reopen(self, key, *, at):
        self.server.issues[key]["fields"]["status"] = {"name": "Open"}
        self.change(key, "status", "Open", by="acc-rob", at=at)

    def reassign(self, key, *, to, at):
        self.server.issues[key]["fields"]["assignee"] = {"accountId": to}
        self.change(key, "assignee", to, by="acc-rob", at=at)

    def rename_dataset(self, key, *, to, at):
        self.server.issues[key]["fields"][DATASET] = {"value": to}
        self.change(key, DATASET, to, by="acc-ana", at=at)

    def comments(self, key):
        return [c["body"]["content"][0]["content"][0]["text"] for k, c in self.server.comments if k == key]


class RegistryWorld:
    """Makes tickets in the file registry."""

    name = "registry"

    def __init__(self, database):
        self.database = database
        self.source = FileRegistry(database)

    def open(self, key, *, dataset, assignee, at):
        with self.database.begin() as work:
            Tickets(work).add(key, status="Open", dataset=dataset, assignee=assignee, type="Data request", now=at)
            work.commit()

    def _set(self, key, at, **changes):
        with self.database.begin() as work:
            Tickets(work).set(key, now=at, **changes)
            work.commit()

    def approve(self, key, *, by, at):
        self._set(key, at, status="Approved", approver=by)

    def reopen(self, key, *, at):
        self._set(key, at, status="Open")

    def reassign(self, key, *, to, at):
        self._set(key, at, assignee=to)

    def rename_dataset(self, key, *, to, at):
        self._set(key, at, dataset=to)

    def comments(self, key):
        with self.database.read() as work:
            return [c["text"] for c in Tickets(work)._row(key)["extra"].get("comments", [])]


@pytest.fixture
def jira_server():
    server = JiraLike()
    yield server
    server.stop()


@pytest.fixture
def jira(jira_server):
    world = JiraWorld(jira_server)
    yield world
    world.source.close()


@pytest.fixture
def registry(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'tickets.db'}")
    create_schema(database)
    yield RegistryWorld(database)
    database.dispose()


@pytest.fixture(scope="module")
def postgres_database():
    """One database for all rows of a table of tests: making one takes seconds."""
    server = os.environ.get("TICKETGATE_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432")
    name = f"tickets_{uuid4().hex[:12]}"
    try:
        connection = psycopg.connect(f"{server}/postgres", autocommit=True, connect_timeout=2)
    except psycopg.OperationalError:
        pytest.skip("PostgreSQL does not answer")
    with connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        database = Database(f"{server}/{name}")
        create_schema(database)
        yield database
        database.dispose()
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def registry_on_postgres(postgres_database):
    with postgres_database.begin() as work:
        work.execute(delete(ticket))
        work.commit()
    return RegistryWorld(postgres_database)


@pytest.fixture(params=["registry", pytest.param("registry_on_postgres", marks=pytest.mark.services), "jira"])
def world(request):
    return request.getfixturevalue(request.param)
