"""Flask: the application, its API, problem documents and console. Loads neither models nor evaluators nor source tables."""

from __future__ import annotations

from gateway.web.app import create_app

__all__ = ["create_app"]
