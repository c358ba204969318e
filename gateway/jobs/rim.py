"""The rim of a job: what cannot be done for now is asked again, and whatever breaks becomes the job's failure.

Invariants:
    - Only what an unavailable database, store or key service refused is asked again: the act was not done, or doing it twice
      changes nothing.
    - Nothing that a job raises reaches the engine unless not even its failure could be written; then `idle` finds the job.
    - A failure names the class of an error nobody foresaw, never its text: a library's message may hold a cell.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from gateway.errors import TicketgateError, Unavailable
from gateway.jobs.order import Failure
from gateway.telemetry import logger

__all__ = ["at_the_rim", "patiently"]

T = TypeVar("T")
WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, *(60.0 for _ in range(9)))
"""Seconds between one time and the next: ten minutes in all, which a failover or a full disk's owner may need."""


def patiently(act: Callable[[], T]) -> T:
    """Do something that may be done twice, again while what it depends on is unavailable.

    Raises:
        Unavailable: it was so for ten minutes.
    """
    for wait in WAITS:
        try:
            return act()
        except Unavailable as error:
            logger("jobs").warning("trying again", code=error.slug, detail=error.detail, seconds=wait)
            time.sleep(wait)
    return act()


def at_the_rim(act: Callable[[], T], *, give_up: Callable[[Failure], object]) -> T | None:
    """Run a job; whatever it raises is told to `give_up`.

    Args:
        act: The job.
        give_up: Writes the failure down; asked again while the database is unavailable.

    Returns:
        What the job answers, or None when it failed.
    """
    try:
        return act()
    except TicketgateError as error:
        logger("jobs").error("a job broke", code=error.slug, detail=error.detail)
        failure = Failure(code=error.slug, message=error.detail, data_was_read=True)
    except Exception as error:  # noqa: BLE001 - the one place: what nobody foresaw must end the release and settle its reserve
        logger("jobs").error("a job broke on something that nobody foresaw", kind=type(error).__name__)
        failure = Failure(code="internal-error", message=_unforeseen(error), data_was_read=True)
    patiently(lambda: give_up(failure))
    return None


def _unforeseen(error: Exception) -> str:
    """The class of an error, and of the operating system's the sentence that belongs to its number."""
    why = type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        why = f"{why}: {error.strerror}"
    return f"the job met an error that nobody foresaw ({why})"
