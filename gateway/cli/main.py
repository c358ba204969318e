"""The root command: finds command groups by name, loads them when they are called, and turns errors into exit codes.

Invariants:
    - `ticketgate --help` and analyst commands load neither torch nor the web.
    - Every error ends in one clear sentence and an exit code of the contract; a traceback needs `--debug`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from gateway.cli.output import report_error
from gateway.errors import EXIT_FAILED, EXIT_USAGE, TicketgateError
from gateway.telemetry import configure_logs

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, tuple[str, str]] = {
    # who does what: name → (module, attribute)
    "init": ("gateway.cli.setup", "init"),
    "doctor": ("gateway.cli.setup", "doctor"),
    "db": ("gateway.cli.setup", "db"),
    "serve": ("gateway.cli.serve", "serve"),
    "worker": ("gateway.cli.serve", "worker"),
    "up": ("gateway.cli.serve", "up"),
    "keys": ("gateway.cli.keys", "keys"),
    "principal": ("gateway.cli.principals", "principal"),
    "ticket": ("gateway.cli.tickets", "ticket"),
    "demo": ("gateway.cli.demo", "demo"),
    "dataset": ("gateway.cli.datasets", "dataset"),
    "budget": ("gateway.cli.budget", "budget"),
    "dp": ("gateway.cli.dp", "dp"),
    "policy": ("gateway.cli.policy", "policy"),
    "keygen": ("gateway.cli.analyst", "keygen"),
    "login": ("gateway.cli.analyst", "login"),
    "request": ("gateway.cli.analyst", "request"),
    "status": ("gateway.cli.analyst", "status"),
    "wait": ("gateway.cli.analyst", "wait"),
    "cancel": ("gateway.cli.analyst", "cancel"),
    "download": ("gateway.cli.analyst", "download"),
    "verify": ("gateway.cli.verify", "verify"),
    "review": ("gateway.cli.review", "review"),
    "trace": ("gateway.cli.compliance", "trace"),
    "evidence": ("gateway.cli.compliance", "evidence"),
    "compliance-report": ("gateway.cli.compliance", "compliance_report"),
    "narrative": ("gateway.cli.compliance", "narrative"),
    "model-card": ("gateway.cli.compliance", "model_card"),
    "withdraw": ("gateway.cli.compliance", "withdraw"),
    "audit": ("gateway.cli.audit", "audit"),
}


class Lazy(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name]
        command = getattr(import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}.{attribute} is no command")
        return command


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show a traceback when something breaks.")
@click.version_option(package_name="ticketgate")
def root(*, debug: bool) -> None:
    """Release synthetic data through a gate: tickets, policies, privacy checks, short-lived tokens, a log nobody can rewrite."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command and leave with its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    debug, as_json = "--debug" in given, "--json" in given
    configure_logs(level="WARNING")  # to standard error: with --json, standard output holds one document
    try:
        result: Any = root.main(args=[a for a in given if a != "--debug"], prog_name="ticketgate", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("ticketgate: stopped", err=True)
        sys.exit(130)
    except TicketgateError as error:
        if debug:
            raise
        report_error(error, as_json=as_json)
    except BrokenPipeError:
        sys.exit(EXIT_FAILED)
    except Exception as error:
        if debug:
            raise
        click.echo(f"ticketgate: something unforeseen went wrong ({type(error).__name__}); --debug shows where", err=True)
        sys.exit(EXIT_FAILED)
    sys.exit(result if isinstance(result, int) else 0)
