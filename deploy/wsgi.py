# ruff: noqa: INP001 - a WSGI server loads this file by name
"""The application for a WSGI server: the house composed as `ticketgate serve` composes it, behind exactly one proxy.

Invariants:
    - The published log is checked before anything is served.
    - The caller's address is the last hop's word (`X-Forwarded-For`, one entry); without a proxy in front, do not use this.
    - What was counted of strangers' noise, and the downloads that are cut off, are written when the process ends.
"""

from __future__ import annotations

import atexit
import os

from flask import Flask

from gateway.cli.compose import open_house
from gateway.releases.origin import check_log
from gateway.settings import Settings
from gateway.telemetry import configure_logs
from gateway.web import create_app, end_app

__all__ = ["create"]


def create() -> Flask:
    """The application of this process; settings come from the environment.

    Raises:
        InvalidRequest: the gateway was not initialised.
        VerificationFailed: the database does not continue the published log.
    """
    settings = Settings().model_copy(update={"proxies": 1})
    configure_logs(level=settings.log_level)
    house = open_house(settings, with_queue=True)
    check_log(house)
    app: Flask = create_app(house, threads=int(os.environ.get("TICKETGATE_WEB_THREADS", "16")))  # as gunicorn.conf.py
    atexit.register(end_app, app)
    return app
