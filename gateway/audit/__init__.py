"""The tamper-evident log: event rows written with what they record, a Merkle tree over them, checkpoints, proofs, exports.

Invariants:
    - An event row is written in the transaction of what it records; if it cannot be written, the act does not happen.
    - Leaves are never changed; any edit, deletion, insertion, reordering or truncation is found and located by `verify_log`.
    - People stand in the log as pseudonyms only; erasing a person's key leaves every proof valid.
"""

from __future__ import annotations

from gateway.audit.anchor import Anchor, FileAnchor, ObjectAnchor
from gateway.audit.event import Entry, Subjects
from gateway.audit.export import Page, export_lines, export_page
from gateway.audit.findings import Finding, FindingKind, Findings
from gateway.audit.guards import install_guards
from gateway.audit.heads import check_anchor
from gateway.audit.log import Log, Where
from gateway.audit.noise import Noise
from gateway.audit.note import Checkpoint, NoteSigner, NoteVerifier
from gateway.audit.proof import VerifiedLeaf, tlog_proof, verify_tlog_proof
from gateway.audit.sequencer import Sequencer
from gateway.audit.tree import event_is_included, newest_signed, prove_consistency, prove_inclusion, signed_covering
from gateway.audit.verify import verify_log
from gateway.audit.witness import HttpWitness, Witness, Witnesses

__all__ = [
    "Anchor",
    "Checkpoint",
    "Entry",
    "FileAnchor",
    "Finding",
    "FindingKind",
    "Findings",
    "HttpWitness",
    "Log",
    "Noise",
    "NoteSigner",
    "NoteVerifier",
    "ObjectAnchor",
    "Page",
    "Sequencer",
    "Subjects",
    "VerifiedLeaf",
    "Where",
    "Witness",
    "Witnesses",
    "check_anchor",
    "event_is_included",
    "export_lines",
    "export_page",
    "install_guards",
    "newest_signed",
    "prove_consistency",
    "prove_inclusion",
    "signed_covering",
    "tlog_proof",
    "verify_log",
    "verify_tlog_proof",
]
