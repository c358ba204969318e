"""What the use cases of a release stand on: settings, database, store, ticket source, and the port to the job engine.

Invariants:
    - A house is put together once per process, by the command that starts it; nothing in it is global.
    - The web's house has no way to read a source table: only jobs compose the reader.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from gateway.access import Sealing
from gateway.db import Database, Work
from gateway.settings import Settings
from gateway.storage import ArtifactStore, KeyWrapper
from gateway.tickets import TicketSource

__all__ = ["Enqueue", "House", "nothing_enqueued"]


class Enqueue(Protocol):
    """Put a job into the queue of the job engine, in the caller's transaction."""

    def __call__(self, work: Work, *, kind: str, subject: str) -> None:
        """Enqueue `kind` (`release`, `job`) for the release or job `subject`."""


def nothing_enqueued(work: Work, *, kind: str, subject: str) -> None:
    """The port of a process that takes no requests."""
    del work
    raise RuntimeError(f"this process cannot enqueue {kind} {subject}")


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """One gateway process.

    Attributes:
        store: Where encrypted artifacts are.
        wrapper: Wraps and unwraps data keys.
        sealing: Opens the gateway's private keys.
        tickets: Where tickets are fetched from, given a unit of work for the registry.
        enqueue: The job engine's port.
    """

    settings: Settings
    database: Database
    store: ArtifactStore
    wrapper: KeyWrapper
    sealing: Sealing
    tickets: Callable[[], TicketSource]
    enqueue: Enqueue = field(default=nothing_enqueued)

    @property
    def issuer(self) -> str:
        """The issuer URL."""
        return self.settings.issuer_url
