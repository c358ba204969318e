"""Column names as segments of flat metric names.

Responsible for `segment`.

Invariants: different names give different segments; no segment contains a dot or a star, or is one
of the words that stand for an aggregate over columns.
"""

from __future__ import annotations

from typing import Final

__all__ = ["AGGREGATES", "segment"]

AGGREGATES: Final[frozenset[str]] = frozenset({"worst", "mean", "none"})


def segment(name: str) -> str:
    """A column's name as it stands in a metric name: itself, unless it would mean something else there.

    >>> segment("age"), segment("a.b"), segment("worst")
    ('age', 'a%2Eb', '%77orst')
    """
    escaped = name.replace("%", "%25").replace(".", "%2E").replace("*", "%2A")
    return f"%{ord(escaped[0]):02X}{escaped[1:]}" if escaped in AGGREGATES else escaped
