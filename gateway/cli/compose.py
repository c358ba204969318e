"""Put a house together from settings: the composition root of every process.

Invariants:
    - Nothing below this room reads the environment; nothing above it makes a database or a store.
    - A home that was not initialised is said so in one sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gateway.access import KmsSealing, NoSealing, Sealing, sealing_from_file
from gateway.db import Database
from gateway.errors import InvalidRequest, Unavailable
from gateway.releases import Enqueue, House
from gateway.releases.house import nothing_enqueued
from gateway.settings import Settings
from gateway.storage import key_of, store_of
from gateway.tickets import FileRegistry, Jira, JiraSettings, TicketSource

__all__ = ["open_house", "queue_of", "require_home", "sealing_of", "ticket_source"]


def require_home(settings: Settings, *, signs: bool = True) -> None:
    """Say what to do when the home was never initialised.

    Args:
        settings: Of this process.
        signs: Whether the process opens private keys; one that does not needs no passphrase.

    Raises:
        InvalidRequest: there is no database or no key file.
    """
    has_database = settings.database is not None or (settings.home / "ticketgate.db").exists()
    has_keys = (
        settings.keys_folder.exists()
        or settings.kms_key
        or (settings.master_key_file and (settings.passphrase_file or not signs))
    )
    if not has_database or not has_keys:
        raise InvalidRequest(
            f"there is no gateway under {settings.home}", unlock=("run `ticketgate init`, or set TICKETGATE_HOME",)
        )


def sealing_of(settings: Settings) -> Sealing:
    """What seals the gateway's private keys: a KMS, a passphrase file, or a secret of its own under the home folder."""
    if settings.kms_key is not None:
        kms = key_of(settings)
        return KmsSealing(
            wrap=lambda secret, context: kms.wrap(secret, release_id=context["kid"]),
            unwrap=lambda sealed, context: kms.unwrap(sealed, release_id=context["kid"]),
        )
    return sealing_from_file(settings.passphrase_file or settings.keys_folder / "sealing.secret")


def ticket_source(settings: Settings, database: Database) -> Callable[[], TicketSource]:
    """Where tickets are fetched from."""
    if settings.tickets == "registry":
        return lambda: FileRegistry(database)
    source = Jira(_jira_settings(settings))
    return lambda: source


def _jira_settings(settings: Settings) -> JiraSettings:
    if not _listed(settings.jira_approved_statuses):
        raise InvalidRequest("jira_approved_statuses names no status: then nothing could ever be approved")
    if settings.jira_url is None or settings.jira_email is None or settings.jira_token_file is None:
        raise InvalidRequest("tickets=jira needs jira_url, jira_email and jira_token_file")
    return JiraSettings(
        url=settings.jira_url,
        email=settings.jira_email,
        token=_secret(settings.jira_token_file),
        dataset_field=settings.jira_dataset_field or "",
        approver_field=settings.jira_approver_field,
        approved_statuses=tuple(_listed(settings.jira_approved_statuses)),
        automations=frozenset(_listed(settings.jira_automations)),
    )


def _listed(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _secret(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            raise InvalidRequest(f"{path} may be read by others: set its mode to 0600")
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error


def queue_of(database: Database) -> Enqueue:
    """The job engine's enqueue port."""
    from gateway.jobs.engine import DbosQueue

    return DbosQueue(database)


def open_house(settings: Settings, *, with_queue: bool = False, signs: bool = True) -> House:
    """The house of a process.

    Args:
        settings: Of this process.
        with_queue: Whether it takes requests and so enqueues jobs.
        signs: Whether it opens private keys; the process that only sends downloads does not.
    """
    require_home(settings, signs=signs)
    database = Database(settings.database_url)
    return House(
        settings=settings,
        database=database,
        store=store_of(settings),
        wrapper=key_of(settings),
        sealing=sealing_of(settings) if signs else NoSealing(),
        tickets=ticket_source(settings, database),
        enqueue=queue_of(database) if with_queue else nothing_enqueued,
    )
