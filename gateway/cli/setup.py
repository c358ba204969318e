"""Set a gateway up and look after it: init, doctor, db upgrade."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import click

from gateway.access import FileSealing, GatewayKeys, older_seals, sealing_from_file
from gateway.audit import Log
from gateway.cli.compose import open_house, sealing_of
from gateway.cli.output import Refused, emit, json_option
from gateway.db import Database, upgrade_schema
from gateway.db.grants import grant_downloads
from gateway.errors import EXIT_UNAVAILABLE, TicketgateError
from gateway.releases import House
from gateway.releases.data_keys import wrapped_by
from gateway.settings import Settings
from gateway.storage import FileKey, create_key_file, store_of
from gateway.telemetry import utc_now

__all__ = ["db", "doctor", "init", "initialise", "trusted_keys"]


def initialise(settings: Settings) -> dict[str, Any]:
    """Make home, keys and database; doing it again changes nothing."""
    home = settings.home
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    if settings.kms_key is None:
        create_key_file(settings.master_key_file or settings.keys_folder / "master.key")
        sealing_from_file(settings.passphrase_file or settings.keys_folder / "sealing.secret", create=True)
    database = Database(settings.database_url)
    upgrade_schema(database)
    _prepare_jobs(database)
    now = utc_now()
    with database.begin() as work:
        keys = GatewayKeys(work, sealing_of(settings))
        is_new = not keys.list()
        events = keys.ensure(now)
        log = Log(work)
        if is_new:
            log.append("gateway.initialised", at=now, data={"issuer": settings.issuer_url})
        for event in events:
            log.append(f"gateway-key.{event.action}", at=now, data={"kid": event.kid, "purpose": event.purpose})
        jwks = keys.jwks(now)
        work.commit()
    store_of(settings).check()
    trusted = write_trusted(home / "trusted-keys.json", settings.issuer_url, jwks)
    database.dispose()
    return {"home": str(home.resolve()), "database": _without_password(settings), "issuer": settings.issuer_url,
            "trusted_keys": str(trusted), "is_new": is_new}  # fmt: skip


def _prepare_jobs(database: Database) -> None:
    from gateway.jobs.engine import prepare

    prepare(database)


def _without_password(settings: Settings) -> str:
    return Database(settings.database_url).engine.url.render_as_string(hide_password=True)


def trusted_keys(issuer: str, jwks: dict[str, Any]) -> dict[str, Any]:
    """What a verifier pins: the issuer and the public keys that sign manifests and checkpoints."""
    kept = [key for key in jwks["keys"] if key.get("ticketgate_purpose") in ("manifest", "log")]
    return {"schema": "ticketgate/trusted-keys/v1", "issuer": issuer, "keys": kept}


def write_trusted(path: Path, issuer: str, jwks: dict[str, Any]) -> Path:
    """Write the pinned keys, atomically."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(json.dumps(trusted_keys(issuer, jwks), indent=1, sort_keys=True) + "\n", "utf-8")
    os.replace(partial, path)  # noqa: PTH105 - atomic, and it replaces
    return path


@click.command()
@json_option
def init(*, as_json: bool) -> None:
    """Make a gateway under TICKETGATE_HOME: keys, database, artifact store, trusted-keys.json."""
    made = initialise(Settings())
    verb = "initialised" if made["is_new"] else "was initialised already; nothing was changed"
    text = (
        f"The gateway under {made['home']} {verb}.\n  issuer    {made['issuer']}\n  database  {made['database']}\n"
        f"  verify with {made['trusted_keys']}\nNext: ticketgate principal add NAME --role analyst --key FILE"
    )
    emit(made, text, as_json=as_json)


@click.command()
@json_option
def doctor(*, as_json: bool) -> None:
    """Check that everything the gateway stands on works, and say what to do where it does not."""
    checks = [_check(name, act) for name, act in _checks().items()]
    lines = [f"{'ok  ' if found['ok'] else 'FAIL'}  {found['name']}: {found['detail']}" for found in checks]
    emit({"ok": all(found["ok"] for found in checks), "checks": checks}, "\n".join(lines), as_json=as_json)
    if not all(found["ok"] for found in checks):
        raise Refused("", EXIT_UNAVAILABLE)


def _checks() -> dict[str, Any]:
    settings = Settings()

    def database() -> str:
        house = open_house(settings)
        house.database.ping()
        return _without_password(settings)

    def store() -> str:
        open_house(settings).store.check()
        return settings.artifacts_url

    def keys() -> str:
        house = open_house(settings)
        with house.database.read() as work:
            signers = [GatewayKeys(work, house.sealing).signer(purpose).kid[:8] for purpose in ("token", "manifest", "log")]
        return "signing keys " + ", ".join(signers)

    def wrapping() -> str:
        return _wrapping(open_house(settings))

    def disk() -> str:
        free = shutil.disk_usage(settings.home.resolve()).free >> 30
        if free < 1:
            raise TicketgateError("less than 1 GiB is free under the home folder")
        return f"{free} GiB free"

    return {"database": database, "artifact store": store, "keys": keys, "master key and passphrase": wrapping, "disk": disk}


def _wrapping(house: House) -> str:
    """Whether everything that is wrapped opens with what is here.

    Raises:
        TicketgateError: it does not: artifacts or signing keys are lost until the old secret is back.
    """
    with house.database.read() as work:
        counts = wrapped_by(work)
        seals = older_seals(work, house.sealing) if isinstance(house.sealing, FileSealing) else 0
    known = house.wrapper.known_ids if isinstance(house.wrapper, FileKey) else tuple(counts)
    lost = sum(count for name, count in counts.items() if name not in known)
    if lost:
        raise TicketgateError(f"{lost} data keys are wrapped by a master key that is not here: bring its line back into the file")
    older = sum(count for name, count in counts.items() if isinstance(house.wrapper, FileKey) and name != known[0])
    hint = "; run `ticketgate keys rotate-master --rewrap-only`" if older else ""
    hint += "; run `ticketgate keys rotate-passphrase --rewrap-only`" if seals else ""
    return f"{sum(counts.values())} data keys open, {older} by an older key; {seals} private keys under an older passphrase{hint}"


def _check(name: str, act: Any) -> dict[str, Any]:
    try:
        return {"name": name, "ok": True, "detail": act()}
    except TicketgateError as error:
        return {"name": name, "ok": False, "detail": error.detail}


@click.group()
def db() -> None:
    """The database."""


@db.command()
@json_option
def upgrade(*, as_json: bool) -> None:
    """Bring the database to the present schema."""
    settings = Settings()
    database = Database(settings.database_url)
    revision = upgrade_schema(database)
    _prepare_jobs(database)
    with database.begin() as work:
        Log(work).append("gateway.migrated", at=utc_now(), data={"revision": revision})
        work.commit()
    emit({"revision": revision}, f"The database is at revision {revision}.", as_json=as_json)


@db.command("grant-downloads")
@click.argument("role")
@json_option
def grant(*, role: str, as_json: bool) -> None:
    """Give a PostgreSQL role what `serve --role downloads` needs, and no more; run it as the owner, after each upgrade."""
    database = Database(Settings().database_url)
    with database.begin() as work:
        statements = grant_downloads(work, role)
        work.commit()
    emit({"role": role, "statements": statements}, "\n".join(statements), as_json=as_json)
