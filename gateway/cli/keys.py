"""The gateway's own keys: list, rotate, retire, publish; master key and passphrase are rotated in `rotation`."""

from __future__ import annotations

import json
from collections.abc import Iterable

import click

from gateway.access import GatewayKeys, KeyEvent
from gateway.access.gateway_keys import PURPOSES, Purpose
from gateway.audit import Log
from gateway.cli.compose import open_house
from gateway.cli.output import emit, json_option
from gateway.cli.principals import operator
from gateway.cli.rotation import rotate_master, rotate_passphrase
from gateway.cli.setup import write_trusted
from gateway.releases import House
from gateway.settings import Settings
from gateway.telemetry import utc_now

__all__ = ["keys"]


@click.group()
def keys() -> None:
    """The gateway's signing keys."""


def _record(log: Log, events: Iterable[KeyEvent]) -> None:
    for event in events:
        data = {"kid": event.kid, "purpose": event.purpose}
        log.append(f"gateway-key.{event.action}", at=event.at, actor=operator(), data=data)


def _show(house: House, *, as_json: bool) -> None:
    now = utc_now()
    with house.database.read() as work:
        repository = GatewayKeys(work, house.sealing)
        found, jwks = repository.list(), repository.jwks(now)
    write_trusted(house.settings.home / "trusted-keys.json", house.issuer, jwks)
    rows = [
        {"kid": key.kid, "purpose": key.purpose, "state": key.state, "created_at": key.created_at.isoformat(),
         "retires_at": None if key.retires_at is None else key.retires_at.isoformat()}
        for key in found
    ]  # fmt: skip
    emit({"keys": rows}, "\n".join(f"{row['purpose']:9} {row['state']:9} {row['kid']}" for row in rows), as_json=as_json)


@keys.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """All keys with purpose and state."""
    _show(open_house(Settings()), as_json=as_json)


@keys.command()
@click.option("--purpose", type=click.Choice(PURPOSES), default="token", show_default=True)
@json_option
def rotate(*, purpose: Purpose, as_json: bool) -> None:
    """Let the next key sign; the old one still verifies for a while."""
    house = open_house(Settings())
    with house.database.begin() as work:
        _record(Log(work), GatewayKeys(work, house.sealing).rotate(utc_now(), purpose))
        work.commit()
    _show(house, as_json=as_json)


@keys.command()
@click.argument("kid")
@click.option("--destroy", is_flag=True, help="Also destroy its private part, for ever.")
@json_option
def retire(*, kid: str, destroy: bool, as_json: bool) -> None:
    """Retire a key at once: no token that it signed is believed any more."""
    house = open_house(Settings())
    with house.database.begin() as work:
        repository, log = GatewayKeys(work, house.sealing), Log(work)
        if repository.get(kid).state != "retired" or not destroy:
            _record(log, repository.retire(kid, utc_now()))
        if destroy:
            _record(log, repository.destroy(kid, utc_now()))
        work.commit()
    _show(house, as_json=as_json)


@keys.command()
@json_option
def jwks(*, as_json: bool) -> None:
    """The public keys as a JWK set, ready for a file."""
    house = open_house(Settings())
    with house.database.read() as work:
        document = GatewayKeys(work, house.sealing).jwks(utc_now())
    emit(document, json.dumps(document, indent=1), as_json=as_json)


keys.add_command(rotate_master)
keys.add_command(rotate_passphrase)
