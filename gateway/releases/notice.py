"""Tell the world outside that a release was withdrawn: a comment on its ticket, and a webhook of the operator's choice.

Invariants:
    - A withdrawal never waits for anybody: it is committed before the first notice is tried, and no notice that fails makes it
      fail, or keeps the notices of other releases back.
    - What was told is an event of the log (`webhook.sent`), per channel; what could not be told is tried again by the worker,
      every minute for three days. A notice may arrive twice, never not at all as long as its receiver comes back.
    - The webhook names release, ticket, dataset and recipients, holds no figure and no row, is signed with a shared secret
      (HMAC-SHA-256, `X-Hub-Signature`), and follows no redirect.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx

from gateway.audit import Log
from gateway.audit.event import Entry
from gateway.errors import TicketgateError
from gateway.releases.house import House
from gateway.releases.produce import subjects_of
from gateway.releases.repository import Release, Releases
from gateway.releases.states import Status
from gateway.settings import Settings
from gateway.telemetry import logger

__all__ = ["tell_again", "tell_withdrawal", "withdrawal_of"]

PATIENCE: Final = timedelta(days=3)
FIRST_CHANCE: Final = timedelta(seconds=60)
TIMEOUT: Final = 5.0
LEAST_SECRET: Final = 16
TOLD = "told"


def withdrawal_of(entries: list[Entry]) -> Entry | None:
    """The event by which a release was withdrawn."""
    return next((entry for entry in entries if entry.kind == "release.withdrawn"), None)


def tell_withdrawal(house: House, release_id: str, *, recipients: list[str], reason: str, now: datetime) -> dict[str, str]:
    """Tell every channel that was not told yet. Raises nothing that the gateway foresees: the withdrawal stands already.

    Returns:
        By channel (`ticket`, `webhook`): `told`, or in one word why not. Only `ticket` where it is not known who was told.
    """
    try:
        with house.database.read() as work:
            release = Releases(work).get(release_id)
            known = {str(e.data.get("to")) for e in Log(work).of_release(release_id) if e.kind == "webhook.sent"}
    except TicketgateError as error:
        logger("releases").error("nobody was told of a withdrawal yet", release_id=release_id, code=error.slug)
        return {"ticket": error.slug}
    outcome: dict[str, str] = {}
    if "ticket" not in known:
        outcome["ticket"] = _comment(house, release, reason, now)
    if "webhook" not in known and house.settings.notify_url is not None:
        outcome["webhook"] = _post(house.settings, house.settings.notify_url, _document(house, release, recipients, reason))
    for channel in (channel for channel, said in outcome.items() if said == TOLD):
        _record(house, release, channel, now)
    return outcome


def tell_again(house: House, *, now: datetime) -> int:
    """Try again what could not be told; answers how many releases wait for it still."""
    with house.database.read() as work:
        recent = [
            release
            for release in Releases(work).all_of(status=Status.WITHDRAWN)
            if release.closed_at is not None and now - PATIENCE < release.closed_at < now - FIRST_CHANCE
        ]
    waiting = 0
    for release in recent:
        with house.database.read() as work:
            event = withdrawal_of(Log(work).of_release(release.id))
        data: Mapping[str, Any] = {} if event is None else event.data
        recipients = [release.principal] if data.get("recipients") else []
        said = tell_withdrawal(house, release.id, recipients=recipients, reason=str(data.get("reason", "")), now=now)
        waiting += any(outcome != TOLD for outcome in said.values())
    return waiting


def _comment(house: House, release: Release, reason: str, now: datetime) -> str:
    text = f"Release {release.id} of {release.dataset} was withdrawn: {reason}. Please delete every copy."
    try:
        problem = house.tickets().comment(release.ticket, text, now=now)
    except TicketgateError as error:  # the registry of tickets is in the database, which may take no more
        logger("releases").error("a ticket was not told of a withdrawal", release_id=release.id, code=error.slug)
        return error.slug
    return TOLD if problem is None else problem.kind


def _record(house: House, release: Release, channel: str, now: datetime) -> None:
    try:
        with house.database.begin() as work:
            Log(work).append("webhook.sent", at=now, **subjects_of(release), data={"to": channel, "about": "release.withdrawn"})
            work.commit()
    except TicketgateError as error:  # the withdrawal stands; the worker will tell the channel once more
        logger("releases").error("a notice was sent and not recorded", release_id=release.id, channel=channel, code=error.slug)


def _document(house: House, release: Release, recipients: list[str], reason: str) -> dict[str, Any]:
    at = None if release.closed_at is None else release.closed_at.isoformat().replace("+00:00", "Z")
    return {
        "type": "release.withdrawn", "issuer": house.issuer, "release": release.id, "ticket": release.ticket,
        "dataset": release.dataset, "recipients": recipients, "reason": reason, "at": at,
    }  # fmt: skip


def _post(settings: Settings, url: str, document: Mapping[str, Any]) -> str:
    body = json.dumps(document, sort_keys=True).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "ticketgate"}
    if settings.notify_secret_file is not None:
        secret = _secret(settings.notify_secret_file)
        if secret is None:
            return "no-secret"
        headers["X-Hub-Signature"] = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    try:
        with httpx.Client(timeout=TIMEOUT, follow_redirects=False) as client:
            answer = client.post(url, content=body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL):
        return "unreachable"
    return TOLD if answer.is_success else "refused"


def _secret(path: Path) -> bytes | None:
    """The shared secret; an unsigned notice is never sent where a signed one is expected."""
    try:
        if path.stat().st_mode & 0o077:
            return None
        secret = path.read_bytes().strip()
    except OSError:
        return None
    return secret if len(secret) >= LEAST_SECRET else None
