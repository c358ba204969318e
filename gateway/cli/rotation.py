"""Replace the master key and the passphrase: both can be stopped at any moment and started again.

Invariants:
    - The new secret joins the file before anything is wrapped by it, and an old one leaves only when nothing needs it: at every
      moment in between, what is stored opens.
    - Each step is an event of the log; no secret is printed, logged or passed as an argument.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import click

from gateway.access import FileSealing, older_seals, replace_secrets, reseal_keys
from gateway.audit import Log
from gateway.cli.compose import open_house
from gateway.cli.output import emit, json_option
from gateway.cli.principals import operator
from gateway.errors import Conflict, InvalidRequest, Unavailable
from gateway.releases import House
from gateway.releases.data_keys import rewrap_keys, wrapped_by
from gateway.settings import Settings
from gateway.storage import FileKey, key_id_of, read_ring, write_ring
from gateway.telemetry import utc_now

__all__ = ["rotate_master", "rotate_passphrase"]

KEY_BYTES = 32
rewrap_option = click.option("--rewrap-only", is_flag=True, help="The file was edited already: new secret first, old one below.")
forget_option = click.option("--forget", is_flag=True, help="Remove the old secrets from the file, once nothing needs them.")


def _record(house: House, what: str, **data: Any) -> None:
    with house.database.begin() as work:
        Log(work).append("wrapping-key.rotated", at=utc_now(), actor=operator(), data={"what": what, **data})
        work.commit()


def _one_of(*, rewrap_only: bool, forget: bool) -> None:
    if rewrap_only and forget:
        raise InvalidRequest("--rewrap-only and --forget are two steps: name one")


def _by_hand(error: Unavailable, path: Path, option: str) -> Unavailable:
    steps = (
        f"write the new secret into the first line of {path.name} where it comes from, keep the old one below it",
        "wait until every process has the new file (none needs a restart)",
        f"then run this command with {option}",
    )
    return Unavailable(error.detail, unlock=steps)


@click.command("rotate-master")
@rewrap_option
@forget_option
@json_option
def rotate_master(*, rewrap_only: bool, forget: bool, as_json: bool) -> None:
    """Wrap every data key by a new master key; the old one stays in the file until --forget."""
    _one_of(rewrap_only=rewrap_only, forget=forget)
    settings = Settings()
    house = open_house(settings)
    if not isinstance(house.wrapper, FileKey):
        raise InvalidRequest("data keys are wrapped by a KMS here: rotate the key there, its old versions still unwrap")
    path = settings.master_key_file or settings.keys_folder / "master.key"
    if not rewrap_only and not forget:
        ring = (os.urandom(KEY_BYTES), *read_ring(path))
        try:
            write_ring(path, ring)
        except Unavailable as error:
            raise _by_hand(error, path, "--rewrap-only") from None
        _record(house, "master-key", step="added", key=key_id_of(ring[0]))
    done = rewrap_keys(house.database, house.wrapper)
    _record(house, "master-key", step="rewrapped", key=house.wrapper.key_id, count=done)
    forgotten = _forget_master(house, house.wrapper, path) if forget else []
    answer = {"key": house.wrapper.key_id, "rewrapped": done, "forgotten": forgotten,
              "kept": [name for name in house.wrapper.known_ids if name != house.wrapper.key_id]}  # fmt: skip
    emit(answer, _told("data keys", answer), as_json=as_json)


def _forget_master(house: House, wrapper: FileKey, path: Path) -> list[str]:
    with house.database.read() as work:
        needed = {name: count for name, count in wrapped_by(work).items() if name != wrapper.key_id}
    if needed:
        raise Conflict(f"{sum(needed.values())} data keys are still wrapped by an older key; run this again")
    older = [name for name in wrapper.known_ids if name != wrapper.key_id]
    try:
        write_ring(path, read_ring(path)[:1])
    except Unavailable as error:
        raise Unavailable(
            error.detail, unlock=("nothing needs the older lines any more: remove them where it comes from",)
        ) from None
    _record(house, "master-key", step="forgotten", key=wrapper.key_id, older=older)
    return older


@click.command("rotate-passphrase")
@rewrap_option
@forget_option
@json_option
def rotate_passphrase(*, rewrap_only: bool, forget: bool, as_json: bool) -> None:
    """Seal the gateway's private keys under a new passphrase; the old one stays in the file until --forget."""
    _one_of(rewrap_only=rewrap_only, forget=forget)
    settings = Settings()
    house = open_house(settings)
    if not isinstance(house.sealing, FileSealing):
        raise InvalidRequest("private keys are sealed by a KMS here: rotate the key there, its old versions still open")
    path = settings.passphrase_file or settings.keys_folder / "sealing.secret"
    known = [line.strip() for line in path.read_bytes().splitlines() if line.strip()]
    if not rewrap_only and not forget:
        try:
            replace_secrets(path, (secrets.token_urlsafe(KEY_BYTES).encode(), *known))
        except Unavailable as error:
            raise _by_hand(error, path, "--rewrap-only") from None
        _record(house, "passphrase", step="added")
    with house.database.begin() as work:
        done = reseal_keys(work, house.sealing)
        work.commit()
    _record(house, "passphrase", step="rewrapped", count=done)
    forgotten = _forget_passphrase(house, house.sealing, path) if forget else 0
    answer = {"rewrapped": done, "forgotten": forgotten, "kept": len(house.sealing.ring) - 1}
    emit(answer, _told("private keys", answer), as_json=as_json)


def _forget_passphrase(house: House, sealing: FileSealing, path: Path) -> int:
    with house.database.read() as work:
        needed = older_seals(work, sealing)
    if needed:
        raise Conflict(f"{needed} private keys are still sealed under an older passphrase; run this again")
    older = len(sealing.ring) - 1
    first = next(line.strip() for line in path.read_bytes().splitlines() if line.strip())
    try:
        replace_secrets(path, (first,))
    except Unavailable as error:
        raise Unavailable(
            error.detail, unlock=("nothing needs the older lines any more: remove them where it comes from",)
        ) from None
    _record(house, "passphrase", step="forgotten", older=older)
    return older


def _told(things: str, answer: dict[str, Any]) -> str:
    lines = [f"{answer['rewrapped']} {things} wrapped anew."]
    if answer["forgotten"]:
        lines.append("The old secret is out of the file; destroy its backups, too.")
    elif answer["kept"]:
        lines.append(
            "The old secret stays in the file, so that nothing breaks. Back the file up, then run this again with --forget."
        )
    return "\n".join(lines)
