"""The command line. `main` is the entry point; each command group has a module of its own, loaded when it is called."""

from __future__ import annotations

from gateway.cli.main import main

__all__ = ["main"]
