"""Structured logs, the clock, and process metrics.

Invariants:
    - This is the only module that reads the wall clock; everybody else takes `now` as an argument.
    - Log lines are JSON on standard error. Keys that could hold a secret are replaced before anything is written.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

import structlog

__all__ = ["configure_logs", "logger", "utc_now"]

SECRET_WORDS = ("token", "secret", "password", "passphrase", "authorization", "private", "assertion", "jws", "proof")


def utc_now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(tz=UTC)  # noqa: TID251 - the one clock


def _redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key in event:
        if any(word in key.lower() for word in SECRET_WORDS) and not key.endswith(("_id", "_digest")):
            event[key] = "[redacted]"
    return event


def configure_logs(*, level: str = "INFO", json: bool = True) -> None:
    """Send structured logs to standard error."""
    renderer: Any = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _redact,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: structlog.PrintLogger(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


def logger(room: str) -> Any:
    """A structured logger that names its room on every line; before a process has configured any, lines go to standard error."""
    if not structlog.is_configured():
        configure_logs()
    return structlog.get_logger(room=room)
