"""What callers write, read into plain values: JSON bodies and points in time.

Invariants: whatever arrives is read or refused as an invalid request; no depth, length or date of it is an error of the gateway.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from flask.json.provider import DefaultJSONProvider

from gateway.errors import InvalidRequest

__all__ = ["MAX_DEPTH", "JsonReader", "moment_of"]

MAX_DEPTH: Final = 100
"""How deep a JSON document may be nested: no policy comes near, and nothing that walks one runs out of stack."""


class JsonReader(DefaultJSONProvider):
    """Flask's JSON, less documents that are nested too deeply: those are refused like any text that is not JSON."""

    sort_keys = False

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Read a document.

        Raises:
            ValueError: it is not JSON, or nested too deeply.
        """
        try:
            document = super().loads(s, **kwargs)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        layer = [document]
        for _ in range(MAX_DEPTH):
            layer = [member for part in layer for member in _members(part)]
            if not layer:
                return document
        raise ValueError("nested too deeply")


def _members(part: Any) -> list[Any]:
    every = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return [member for member in every if isinstance(member, dict | list)]


def moment_of(text: str, *, name: str) -> datetime:
    """A point in time as ISO 8601 writes it, in UTC; without a zone it is UTC.

    Args:
        text: As it came.
        name: What the caller calls it.

    Raises:
        InvalidRequest: it is none, or it lies before the first or behind the last day there is.
    """
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRequest(f"{name}: no point in time, as in 2026-01-31T00:00:00Z") from None
