"""The `.tlog-proof` that travels in a bundle: leaf index, inclusion proof and checkpoint in one text (C2SP tlog-proof v1).

Invariants:
    - A proof is written once, when a signed checkpoint first covers the event, and is the same whenever it is asked again.
    - Its payload (the `extra` line) is believed only after the proof has tied it to a checkpoint that a trusted key signed.
    - Verification needs no database and no network.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from gateway.audit.merkle import HASH_SIZE, leaf_hash, verify_inclusion
from gateway.audit.note import Checkpoint, NoteVerifier, decode_base64
from gateway.audit.tree import prove_inclusion, signed_covering
from gateway.db.tables.audit import audit_event
from gateway.db.work import Work
from gateway.errors import NotFound, VerificationFailed

__all__ = ["VerifiedLeaf", "format_tlog_proof", "tlog_proof", "verify_tlog_proof"]

HEADER = "c2sp.org/tlog-proof@v1"
MAX_PROOF_HASHES = 63
MAX_TEXT = 1 << 20
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class VerifiedLeaf:
    """What a proof has shown.

    Attributes:
        index: Place of the leaf in the log.
        payload: The canonical JSON of the event, when the proof carries it or it was given.
        checkpoint: The signed head that covers it.
    """

    index: int
    payload: str
    checkpoint: Checkpoint

    @property
    def document(self) -> Mapping[str, Any]:
        """The event."""
        document: Mapping[str, Any] = json.loads(self.payload)
        return document


def tlog_proof(work: Work, event_id: str, *, with_payload: bool = True) -> str | None:
    """The proof of an event under the smallest signed checkpoint that covers it.

    Args:
        work: A transaction.
        event_id: Identifier of the event.
        with_payload: Whether the event's payload travels along; without it a verifier must have it from elsewhere.

    Returns:
        The text, or None while no signed checkpoint covers the event.

    Raises:
        NotFound: there is no such event.
    """
    row = work.execute(select(audit_event.c.leaf_index, audit_event.c.payload).where(audit_event.c.id == event_id)).first()
    if row is None:
        raise NotFound(f"the log has no event {event_id}")
    head = None if row.leaf_index is None else signed_covering(work, row.leaf_index)
    if head is None or head.note is None:
        return None
    proof = prove_inclusion(work, row.leaf_index, head.size)
    return format_tlog_proof(
        index=row.leaf_index, proof=proof, note=head.note, extra=row.payload.encode() if with_payload else None
    )


def format_tlog_proof(*, index: int, proof: Sequence[bytes], note: str, extra: bytes | None = None) -> str:
    """Write a proof.

    Args:
        index: Place of the leaf.
        proof: Inclusion proof, from the leaf's sibling upwards.
        note: The signed checkpoint, verbatim.
        extra: Opaque bytes; here the payload of the leaf.
    """
    lines = [HEADER]
    if extra is not None:
        lines.append(f"extra {b64encode(extra).decode()}")
    lines.append(f"index {index}")
    lines += [b64encode(sibling).decode() for sibling in proof]
    return "\n".join([*lines, "", note])


def verify_tlog_proof(raw_text: str, *, keys: Sequence[NoteVerifier], payload: str | None = None) -> VerifiedLeaf:
    """Check a proof offline.

    Args:
        raw_text: The proof.
        keys: Trusted keys of the log.
        payload: The event's payload; needed when the proof does not carry it, and must equal it when it does.

    Raises:
        VerificationFailed: the text is malformed, the signature or the inclusion proof does not hold, or the payload differs.
    """
    head, separator, note = raw_text.partition("\n\n")
    lines = head.split("\n")
    if len(raw_text) > MAX_TEXT or not separator or lines.pop(0) != HEADER or not lines:
        raise VerificationFailed("this is not a log proof")
    carried = _payload_line(lines)
    index = _INDEX.fullmatch(lines.pop(0)) if lines else None
    hashes = [decode_base64(line) for line in lines]
    proof = [value for value in hashes if value is not None and len(value) == HASH_SIZE]
    if index is None or len(proof) != len(hashes) or len(proof) > MAX_PROOF_HASHES:
        raise VerificationFailed("this log proof is malformed")
    leaf = carried if payload is None else payload
    if leaf is None or (carried is not None and carried != leaf):
        raise VerificationFailed("this log proof is about another event, or does not say which")
    checkpoint = Checkpoint.verify(note, keys)
    place = int(index.group(1))
    shown = verify_inclusion(index=place, size=checkpoint.size, leaf=leaf_hash(leaf.encode()), proof=proof, root=checkpoint.root)
    if not shown:
        raise VerificationFailed("the event is not where this log proof says it is")
    return VerifiedLeaf(index=place, payload=leaf, checkpoint=checkpoint)


def _payload_line(lines: list[str]) -> str | None:
    """Take the `extra` line off, if there is one."""
    if not lines[0].startswith("extra "):
        return None
    data = decode_base64(lines.pop(0).removeprefix("extra "))
    if data is None:
        raise VerificationFailed("this log proof is malformed: its extra line")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise VerificationFailed("this log proof is malformed: its extra line") from error
