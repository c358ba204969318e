"""The life of a release: every status, every move, who makes it and what the log calls it. One table, nowhere else.

Invariants:
    - A move that is not in `MOVES` does not happen. Out of a final status leads at most a withdrawal.
    - Each move names the kind of audit event that is written in the same transaction.
    - docs/reference/release-states.md is drawn from this table; a test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

__all__ = ["FINAL", "MOVES", "Move", "Status", "diagram", "move_between"]


class Status(StrEnum):
    """Where a release stands."""

    RECEIVED = "received"
    DENIED = "denied"
    QUEUED = "queued"
    GENERATING = "generating"
    EVALUATING = "evaluating"
    IN_REVIEW = "in_review"
    BLOCKED = "blocked"
    RELEASED = "released"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    CANCELLED = "cancelled"
    FAILED = "failed"


Mover = Literal["policy", "worker", "gate", "reviewer", "requester", "compliance", "clock"]


@dataclass(frozen=True, slots=True)
class Move:
    """One allowed change of status."""

    source: Status
    target: Status
    by: Mover
    event: str


MOVES: tuple[Move, ...] = (
    Move(Status.RECEIVED, Status.DENIED, "policy", "release.decided"),
    Move(Status.RECEIVED, Status.QUEUED, "policy", "release.queued"),
    Move(Status.QUEUED, Status.GENERATING, "worker", "release.generating"),
    Move(Status.QUEUED, Status.CANCELLED, "requester", "release.cancelled"),
    Move(Status.QUEUED, Status.FAILED, "worker", "release.failed"),
    Move(Status.GENERATING, Status.EVALUATING, "worker", "release.evaluating"),
    Move(Status.GENERATING, Status.CANCELLED, "requester", "release.cancelled"),
    Move(Status.GENERATING, Status.FAILED, "worker", "release.failed"),
    Move(Status.EVALUATING, Status.GENERATING, "worker", "release.generating"),
    Move(Status.EVALUATING, Status.RELEASED, "gate", "release.released"),
    Move(Status.EVALUATING, Status.IN_REVIEW, "gate", "release.in-review"),
    Move(Status.EVALUATING, Status.BLOCKED, "gate", "release.blocked"),
    Move(Status.EVALUATING, Status.CANCELLED, "requester", "release.cancelled"),
    Move(Status.EVALUATING, Status.FAILED, "worker", "release.failed"),
    Move(Status.IN_REVIEW, Status.RELEASED, "reviewer", "release.released"),
    Move(Status.IN_REVIEW, Status.BLOCKED, "reviewer", "release.blocked"),
    Move(Status.IN_REVIEW, Status.CANCELLED, "requester", "release.cancelled"),
    Move(Status.IN_REVIEW, Status.WITHDRAWN, "compliance", "release.withdrawn"),
    Move(Status.RELEASED, Status.EXPIRED, "clock", "release.expired"),
    Move(Status.RELEASED, Status.WITHDRAWN, "compliance", "release.withdrawn"),
    Move(Status.EXPIRED, Status.WITHDRAWN, "compliance", "release.withdrawn"),
)

FINAL: frozenset[Status] = frozenset(Status) - {move.source for move in MOVES if move.by != "compliance"}
"""Statuses after which nothing comes by itself. What has expired can still be withdrawn: a leak may be found later."""

_BY_PAIR = {(move.source, move.target): move for move in MOVES}


def move_between(source: Status, target: Status) -> Move | None:
    """The move from one status to another, or None when there is no such move."""
    return _BY_PAIR.get((source, target))


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {Status.RECEIVED}"]
    lines += [f"    {move.source} --> {move.target}: {move.by}" for move in MOVES]
    lines += [f"    {status} --> [*]" for status in Status if status in FINAL]
    return "\n".join(lines) + "\n"
