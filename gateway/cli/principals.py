"""Who may speak: add, list, disable, roles."""

from __future__ import annotations

import getpass
from pathlib import Path

import click

from gateway.access import ROLES, Principal, Principals, load_public_key
from gateway.audit import Log
from gateway.cli.compose import open_house
from gateway.cli.output import emit, json_option
from gateway.errors import Conflict
from gateway.settings import Settings
from gateway.telemetry import utc_now

__all__ = ["operator", "principal"]


def operator() -> str:
    """Who works at this terminal: stands in the log as the actor of an operator command."""
    return f"operator:{getpass.getuser()}"


def as_document(found: Principal) -> dict[str, object]:
    """A principal as JSON."""
    return {
        "name": found.name,
        "account_id": found.account_id,
        "roles": sorted(found.roles),
        "disabled": found.disabled_at is not None,
        "keys": [
            {"thumbprint": key.public.thumbprint, "algorithm": key.public.algorithm, "disabled": key.disabled_at is not None,
             "expires_at": None if key.expires_at is None else key.expires_at.isoformat()}
            for key in found.keys
        ],
    }  # fmt: skip


@click.group()
def principal() -> None:
    """Principals: who a verified signature speaks for."""


@principal.command()
@click.argument("name")
@click.option("--role", "roles", multiple=True, required=True, type=click.Choice(ROLES), help="May be given several times.")
@click.option("--key", "key_file", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Public key, PEM or JWK.")
@click.option("--account", help="The same person's account id in the ticket system; default: the name.")
@click.option("--expires", "expires", type=click.DateTime(), help="From then on the key proves nothing (UTC).")
@json_option
def add(*, name: str, roles: tuple[str, ...], key_file: Path, account: str | None, expires: object, as_json: bool) -> None:
    """Add a principal with its public key, or another key to a principal that exists."""
    from datetime import UTC, datetime

    now = utc_now()
    until = expires.replace(tzinfo=UTC) if isinstance(expires, datetime) else None
    key = load_public_key(key_file.read_bytes())
    house = open_house(Settings())
    with house.database.begin() as work:
        principals = Principals(work)
        known = principals.find(name)
        if known is None:
            made = principals.add(name, roles=roles, key=key, account_id=account, expires_at=until, now=now)
            kind = "principal.added"
        else:
            principals.add_key(name, key, expires_at=until, now=now)
            made = principals.get(name)
            kind = "principal-key.added"
        data = {"principal": name, "roles": sorted(made.roles), "key": key.thumbprint}
        Log(work).append(kind, at=now, actor=operator(), data=data)
        work.commit()
    what = "added" if known is None else "given another key"
    emit(as_document(made), f"{name} was {what}: {', '.join(sorted(made.roles))}; key {key.thumbprint}", as_json=as_json)


@principal.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """All principals with roles and keys."""
    house = open_house(Settings())
    with house.database.begin() as work:
        found = [as_document(item) for item in Principals(work).list()]
        Log(work).append("principals.read", at=utc_now(), actor=operator())
        work.commit()
    lines = [f"{item['name']}: {', '.join(item['roles'])}{' (disabled)' if item['disabled'] else ''}" for item in found]  # type: ignore[arg-type]
    emit({"principals": found}, "\n".join(lines) or "There are no principals yet.", as_json=as_json)


@principal.command()
@click.argument("name")
@click.option("--key", "thumbprint", help="Disable only this key.")
@json_option
def disable(*, name: str, thumbprint: str | None, as_json: bool) -> None:
    """Disable a principal, or one of its keys: its tokens die at once."""
    now = utc_now()
    house = open_house(Settings())
    with house.database.begin() as work:
        principals = Principals(work)
        if thumbprint is None:
            principals.disable(name, now=now)
            Log(work).append("principal.disabled", at=now, actor=operator(), data={"principal": name})
        else:
            principals.disable_key(thumbprint, now=now)
            data = {"principal": name, "key": thumbprint}
            Log(work).append("principal-key.disabled", at=now, actor=operator(), data=data)
        found = as_document(principals.get(name))
        work.commit()
    emit(found, f"{name if thumbprint is None else 'key ' + thumbprint} is disabled.", as_json=as_json)


@principal.command()
@click.argument("name")
@click.option("--role", "chosen", multiple=True, required=True, type=click.Choice(ROLES), help="The new roles, all of them.")
@json_option
def roles(*, name: str, chosen: tuple[str, ...], as_json: bool) -> None:
    """Set the roles of a principal."""
    now = utc_now()
    house = open_house(Settings())
    with house.database.begin() as work:
        before = sorted(Principals(work).get(name).roles)
        made = Principals(work).set_roles(name, chosen)
        data = {"principal": name, "before": before, "after": sorted(made.roles)}
        Log(work).append("principal.roles-changed", at=now, actor=operator(), data=data)
        work.commit()
    emit(as_document(made), f"{name} is now {', '.join(sorted(made.roles))}.", as_json=as_json)


@principal.command()
@click.argument("name")
@json_option
def erase(*, name: str, as_json: bool) -> None:
    """Let the log name a person no more: the key of their pseudonym is deleted, and no leaf changes.

    NAME is a principal, who must be disabled, or anybody else whom events name, such as an approver. Rows of requests and
    releases keep the name as long as they stand.
    """
    now = utc_now()
    house = open_house(Settings())
    with house.database.begin() as work:
        known = Principals(work).find(name)
        if known is not None and known.disabled_at is None:
            raise Conflict(
                f"{name} is not disabled: the next event would give that name a new pseudonym",
                unlock=(f"ticketgate principal disable {name}",),
            )
        was_there = Log(work).erase(name, at=now, actor=operator())
        work.commit()
    text = f"The log names {name} no more." if was_there else f"No event names {name}: there was nothing to erase."
    emit({"erased": was_there}, text, as_json=as_json)
