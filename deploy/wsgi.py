# ruff: noqa: INP001 - a WSGI server loads this file by name
"""The application for a WSGI server: the house composed as `ticketgate serve` composes it, behind exactly one proxy.

Invariants:
    - The published log is checked before anything is served.
    - The caller's address is the last hop's word (`X-Forwarded-For`, one entry); without a proxy in front, do not use this.
    - What was counted of strangers' noise is written when the process ends.
"""

from __future__ import annotations

import atexit
from typing import Any

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from gateway.cli.compose import open_house
from gateway.releases.origin import check_log
from gateway.settings import Settings
from gateway.telemetry import configure_logs
from gateway.web import create_app
from gateway.web.unauthenticated import flush_noise

__all__ = ["create"]


def create() -> Flask:
    """The application of this process; settings come from the environment.

    Raises:
        InvalidRequest: the gateway was not initialised.
        VerificationFailed: the database does not continue the published log.
    """
    settings = Settings()
    configure_logs(level=settings.log_level)
    house = open_house(settings, with_queue=True)
    check_log(house)
    app: Any = create_app(house)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)
    atexit.register(flush_noise, app, everything=True)
    return app  # type: ignore[no-any-return]  # the application is a Flask
