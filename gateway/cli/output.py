"""How commands speak: text for people or one JSON document, and an exit code that means something.

Invariants:
    - With `--json` exactly one JSON document goes to standard output; progress and errors go to standard error.
    - No traceback reaches a person unless `--debug` was given.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click
from rich.console import Console

from gateway.errors import EXIT_FAILED, TicketgateError

__all__ = ["Refused", "emit", "json_option", "report_error", "stderr"]

F = TypeVar("F", bound=Callable[..., Any])

stderr = Console(stderr=True, highlight=False, soft_wrap=True)


class Refused(click.ClickException):
    """A command that ends with a stated exit code after it has said why."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it off the instance

    def show(self, file: Any = None) -> None:
        """One sentence on standard error."""
        del file
        if self.message:
            click.echo(f"ticketgate: {self.message}", err=True)


def json_option(command: F) -> F:
    """The `--json` that every command takes; the parameter is `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")(command)


def emit(document: Any, text: str, *, as_json: bool) -> None:
    """Print one JSON document, or text for people."""
    if as_json:
        click.echo(json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True, default=str))
    else:
        click.echo(text)


def report_error(error: TicketgateError, *, as_json: bool = False) -> NoReturn:
    """Say what happened and what to do next, and leave with the exit code of the error."""
    if as_json:
        document = {"error": {"code": error.slug, "detail": error.detail, "unlock": list(error.unlock)}}
        click.echo(json.dumps(document, indent=1, ensure_ascii=False))
    click.echo(f"ticketgate: {error.detail}", err=True)
    for step in error.unlock:
        click.echo(f"  → {step}", err=True)
    sys.exit(error.exit_code or EXIT_FAILED)
