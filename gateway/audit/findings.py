"""What a verification of the log can find, and where.

Invariants:
    - A finding says what is wrong and at which leaf, or between which leaves; it never says "something is wrong".
    - `ok` is computed from the findings; nothing else can make a log good.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from gateway.audit.event import format_time

__all__ = ["Cosigned", "Finding", "FindingKind", "Findings", "Report"]

MAX_FINDINGS = 1000


class FindingKind(StrEnum):
    """Kinds of findings."""

    EDITED = "edited"
    """A row says something else than its leaf: payload, hash or a search column."""
    DELETED = "deleted"
    """A leaf has no row."""
    INSERTED = "inserted"
    """A row claims an index that the tree gives to another leaf, or that lies behind its end."""
    REORDERED = "reordered"
    """Rows stand at each other's indices."""
    TRUNCATED = "truncated"
    """The end of the log is missing: rows, tiles, or everything after an older state."""
    TAMPERED_TILE = "tampered-tile"
    """A tile does not hold what the leaves below it give."""
    FORKED_CHECKPOINT = "forked-checkpoint"
    """A checkpoint names another root than the leaves give."""
    BAD_SIGNATURE = "bad-signature"
    """A note of the database is malformed, or its signature does not hold."""
    SWAPPED_KEY = "swapped-key"
    """A checkpoint is signed, but by no key that is trusted."""
    MISSING_CHECKPOINT = "missing-checkpoint"
    """A published checkpoint has no row, or its row has lost its note."""
    BAD_ANCHOR = "bad-anchor"
    """The anchor is gone, lacks checkpoints, or holds something that is no checkpoint of this log."""
    NOT_COSIGNED = "not-cosigned"
    """A witness whose cosignature was demanded has not cosigned the newest checkpoint."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: What.
        index: The first leaf it concerns; None when it concerns no leaf.
        detail: For people; never personal data.
    """

    kind: FindingKind
    index: int | None
    detail: str

    def to_json(self) -> dict[str, Any]:
        """As `ticketgate audit verify --json` shows it."""
        return {"kind": self.kind.value, "index": self.index, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Findings:
    """The result of a verification.

    Attributes:
        leaves: Leaves that were checked.
        findings: What is wrong, by index.
        pending: Rows that wait for their leaf; not yet protected by the tree.
        signed_size: Leaves that a trusted signature covers.
        left_out: Findings beyond the first thousand.
        witnesses: How far each witness that was asked about vouches for the log.
    """

    leaves: int
    findings: tuple[Finding, ...]
    pending: int = 0
    signed_size: int = 0
    left_out: int = 0
    witnesses: tuple[Cosigned, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        """As `ticketgate audit verify --json` shows it."""
        return {
            "ok": self.ok,
            "leaves": self.leaves,
            "signed_size": self.signed_size,
            "pending": self.pending,
            "findings": [finding.to_json() for finding in self.findings],
            "left_out": self.left_out,
            "witnesses": [witness.to_json() for witness in self.witnesses],
        }


@dataclass(frozen=True, slots=True)
class Cosigned:
    """How far a witness vouches for the log.

    Attributes:
        name: Name of the witness.
        size: Leaves of the largest checkpoint that it cosigned; 0 when there is none.
        at: When it says it did.
    """

    name: str
    size: int
    at: datetime | None

    def to_json(self) -> dict[str, Any]:
        """As `ticketgate audit verify --json` shows it."""
        return {"name": self.name, "size": self.size, "at": None if self.at is None else format_time(self.at)}


@dataclass(slots=True)
class Report:
    """Collects findings while a verification runs; keeps the first thousand and counts the rest."""

    found: list[Finding] = field(default_factory=list)
    left_out: int = 0

    def add(self, kind: FindingKind, index: int | None, detail: str) -> None:
        """Note a finding."""
        if len(self.found) < MAX_FINDINGS:
            self.found.append(Finding(kind, index, detail))
        else:
            self.left_out += 1

    def sorted(self) -> tuple[Finding, ...]:
        """By index; those without one last."""
        return tuple(sorted(self.found, key=lambda finding: (finding.index is None, finding.index or 0, finding.kind)))
