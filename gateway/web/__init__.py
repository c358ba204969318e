"""Flask: the application, its API, problem documents and console. Loads neither models nor evaluators nor source tables."""

from __future__ import annotations

from gateway.web.app import Role, create_app, end_app

__all__ = ["Role", "create_app", "end_app"]
