"""The job engine: DBOS on the gateway's own database, embedded on SQLite and shared by many workers on PostgreSQL.

Invariants:
    - A job is enqueued in the caller's transaction: it exists if and only if what asked for it was committed.
    - What the engine stores is JSON; it never unpickles anything.
    - A dead worker's jobs are taken over by whoever notices that its heartbeat is missing (`heartbeat`).

The choice and its trial: docs/adr/0003-durable-execution.md.
"""

from __future__ import annotations

import json
from typing import Any

from dbos import DBOS, DBOSClient, DBOSConfig, Serializer

from gateway.db import Database, Work
from gateway.errors import TicketgateError

__all__ = ["APPLICATION", "QUEUE", "VERSION", "DbosQueue", "JsonSerializer", "StepBroke", "configure"]

APPLICATION = "ticketgate"
QUEUE = "work"
VERSION = "1"
WORKFLOWS = {"release": "produce-release", "job": "small-job"}
POLL_SECONDS = 0.25
ERROR = "ticketgate-error"


class StepBroke(TicketgateError):
    """An error that ended a step before: its class and code, not its text, which may hold a cell."""


class JsonSerializer(Serializer):
    """Arguments, results and errors as JSON."""

    def serialize(self, data: Any) -> str:
        """To JSON; what is not JSON is an error here, not later."""
        if isinstance(data, BaseException):
            data = {ERROR: type(data).__name__, "code": data.slug if isinstance(data, TicketgateError) else TicketgateError.code}
        return json.dumps(data, allow_nan=False)

    def deserialize(self, serialized_data: str) -> Any:
        """From JSON."""
        data = json.loads(serialized_data)
        if isinstance(data, dict) and ERROR in data:
            return StepBroke(f"a step of the job ended in {data[ERROR]}", code=data["code"])
        return data

    def name(self) -> str:
        """How rows name this form."""
        return "ticketgate-json"


class DbosQueue:
    """The enqueue port of `gateway.releases`, on DBOS."""

    def __init__(self, database: Database) -> None:
        self._client = DBOSClient(
            system_database_url=engine_url(database), serializer=JsonSerializer(), application_name=APPLICATION
        )

    def __call__(self, work: Work, *, kind: str, subject: str) -> None:
        """Enqueue in the caller's transaction; the same subject twice is one job."""
        self._client.enqueue_in_transaction(
            work.connection,
            {"workflow_name": WORKFLOWS[kind], "queue_name": QUEUE, "workflow_id": f"{kind}:{subject}", "app_version": VERSION},
            subject,
        )

    def close(self) -> None:
        """Close its connections."""
        self._client.destroy()


def engine_url(database: Database) -> str:
    """The database URL as the engine reads it."""
    return database.engine.url.render_as_string(hide_password=False)


def configure(database: Database, *, executor: str) -> None:
    """Set the engine of this process up; workflows must have been declared before `launch`.

    Args:
        database: The gateway's own.
        executor: Name of this worker; its heartbeat carries the same.
    """
    config: DBOSConfig = {
        "name": APPLICATION,
        "system_database_url": engine_url(database),
        "executor_id": executor,
        "application_version": VERSION,
        "serializer": JsonSerializer(),
        "log_level": "ERROR",
        "notification_listener_polling_interval_sec": POLL_SECONDS,
    }
    DBOS(config=config)


def prepare(database: Database) -> None:
    """Create or upgrade the engine's own tables."""
    DBOS.migrate(engine_url(database))
