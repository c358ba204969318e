"""The status of a request as server-sent events, told by so few threads that everybody else is still served.

Invariants:
    - A stream holds a thread of the server while it lives, so all streams together hold far fewer than there are, and one account
      one or two. Whoever asks for more is told to ask for the status instead.
    - Every second something is written, so a reader that went away is noticed and the thread given back.
    - Every second the caller is looked at again, like for a new call: a stream tells nothing to whom a call would be refused.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from threading import Lock
from typing import Any, Final

from gateway.access import AccessFacts
from gateway.errors import TicketgateError, TooManyRequests
from gateway.releases import FINAL, House, Release, Releases
from gateway.releases.views import links_of
from gateway.telemetry import utc_now
from gateway.web.identity import still_holds

__all__ = ["STREAMS", "Streams", "events_of"]

STREAMS: Final = "ticketgate.streams"
SHARE: Final = 4
"""One thread in so many may tell a stream."""
PER_ACCOUNT: Final = 2
LIFE_SECONDS: Final = 60.0
BEAT_SECONDS: Final = 1.0
RETRY_MILLISECONDS: Final = 2000
HEARTBEAT: Final = ": still here\n\n"


class Streams:
    """The streams that one process tells at present.

    Args:
        threads: How many threads the server has.
    """

    def __init__(self, threads: int) -> None:
        self._most = threads // SHARE
        self._lock = Lock()
        self._open: dict[object, tuple[str, float]] = {}

    def open(self, account: str) -> Callable[[], None]:
        """Take a place for a stream; answers what gives it back, to be called once or more often.

        Raises:
            TooManyRequests: the account, or the process, has as many as it may.
        """
        place, now = object(), time.monotonic()
        with self._lock:
            # A place that was not given back, because its answer was lost on the way, is nobody's after a stream's life.
            self._open = {key: held for key, held in self._open.items() if now - held[1] < 2 * LIFE_SECONDS}
            if len(self._open) >= self._most or sum(held[0] == account for held in self._open.values()) >= PER_ACCOUNT:
                raise TooManyRequests(
                    "as many event streams are open as may be", unlock=("ask for the status of the request instead",)
                )
            self._open[place] = (account, now)
        return lambda: self._close(place)

    def __len__(self) -> int:
        return len(self._open)

    def _close(self, place: object) -> None:
        with self._lock:
            self._open.pop(place, None)


def events_of(house: House, first: Release, *, who: AccessFacts, scope: str) -> Iterator[str]:
    """The status at every change, a comment in between, until it is final, a minute has passed, or the caller may not see it.

    Args:
        house: The house.
        first: The release as it was when the call was checked.
        who: The caller then.
        scope: What the caller needs all the time.
    """
    yield f"retry: {RETRY_MILLISECONDS}\n\n"
    began = utc_now()
    release, last, end = first, "", time.monotonic() + LIFE_SECONDS
    while True:
        text = json.dumps(_shown(release))
        yield HEARTBEAT if text == last else f"event: status\ndata: {text}\n\n"
        last = text
        if release.status in FINAL or release.released_at is not None or time.monotonic() > end:
            return
        time.sleep(BEAT_SECONDS)
        try:
            with house.database.read() as work:
                if not still_holds(work, who, scope=scope, since=began):
                    return
                release = Releases(work).get(first.id)
        except TicketgateError:  # nothing certain can be told any more; the reader asks anew and is answered why
            return


def _shown(release: Release) -> dict[str, Any]:
    return {"status": release.status, "stage": release.stage, "progress": release.progress, "links": links_of(release)}
