"""The file registry of tickets, for places without a ticket system."""

from __future__ import annotations

import click

from gateway.audit import Log
from gateway.cli.compose import open_house
from gateway.cli.output import emit, json_option
from gateway.cli.principals import operator
from gateway.settings import Settings
from gateway.telemetry import utc_now
from gateway.tickets import Tickets, snapshot
from policies.types import TicketFacts

__all__ = ["ticket"]


def _line(found: TicketFacts) -> str:
    return (
        f"{found.key}: {found.status}, dataset {found.dataset or '–'}, assignee {found.assignee or '–'}, "
        f"approver {found.approver or '–'}"
    )


@click.group()
def ticket() -> None:
    """Tickets of the file registry; with Jira they are fetched from there."""


@ticket.command()
@click.argument("key")
@click.option("--dataset", help="The dataset that the ticket is about.")
@click.option("--assignee", help="Account id of who works on it.")
@click.option("--approver", help="Account id of who approved it.")
@click.option("--status", default="Approved", show_default=True, help="Its status; `Approved` dates the approval now.")
@click.option("--type", "kind", default="Task", show_default=True, help="What kind of case it is.")
@json_option
def add(
    *, key: str, dataset: str | None, assignee: str | None, approver: str | None, status: str, kind: str, as_json: bool
) -> None:
    """Open a ticket."""
    now = utc_now()
    house = open_house(Settings())
    with house.database.begin() as work:
        made = Tickets(work).add(key, status=status, now=now, dataset=dataset, assignee=assignee, approver=approver, type=kind)
        data = {"status": status, "assignee": assignee, "approver": approver}
        Log(work).append("ticket.added", at=now, actor=operator(), ticket=key, dataset=dataset, data=data)
        work.commit()
    emit(snapshot(made), _line(made), as_json=as_json)


@ticket.command("set")
@click.argument("key")
@click.option("--dataset")
@click.option("--assignee")
@click.option("--approver")
@click.option("--status")
@json_option
def set_(*, key: str, dataset: str | None, assignee: str | None, approver: str | None, status: str | None, as_json: bool) -> None:
    """Change a ticket; tokens and releases under it are judged by what it says then."""
    given = {"dataset": dataset, "assignee": assignee, "approver": approver, "status": status}
    changes = {name: value for name, value in given.items() if value is not None}
    now = utc_now()
    house = open_house(Settings())
    with house.database.begin() as work:
        made = Tickets(work).set(key, now=now, **changes)
        Log(work).append("ticket.changed", at=now, actor=operator(), ticket=key, dataset=made.dataset, data=changes)
        work.commit()
    emit(snapshot(made), _line(made), as_json=as_json)


@ticket.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """All tickets of the registry."""
    now = utc_now()
    house = open_house(Settings())
    with house.database.begin() as work:
        found = Tickets(work).list(now=now)
        Log(work).append("ticket.read", at=now, actor=operator())
        work.commit()
    text = "\n".join(map(_line, found)) or "There are no tickets yet."
    emit({"tickets": [snapshot(item) for item in found]}, text, as_json=as_json)
