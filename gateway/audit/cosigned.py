"""What witnesses have cosigned, as far as the notes at hand show it.

Invariants:
    - Only a cosignature that verifies under a given key counts, over a note that a trusted key of the log signed.
    - That a witness was away is no finding; that a demanded cosignature is missing, or that one does not hold, is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.audit.findings import Cosigned, FindingKind, Report
from gateway.audit.note import NoteVerifier, SignedNote, cosigned_at

__all__ = ["newest_cosigned"]


def newest_cosigned(
    notes: Mapping[str, int],
    *,
    witnesses: Sequence[NoteVerifier],
    demanded: Sequence[NoteVerifier],
    signed_size: int,
    report: Report,
) -> tuple[Cosigned, ...]:
    """The largest checkpoint that each witness cosigned.

    Args:
        notes: Notes that trusted keys of the log signed, with their sizes.
        witnesses: Keys of witnesses to look for.
        demanded: Those whose cosignature the newest checkpoint must carry.
        signed_size: Leaves of the newest checkpoint.
        report: Takes the findings.
    """
    by_size = sorted(notes.items(), key=lambda item: item[1], reverse=True)
    found = {key.vkey: _of_witness(by_size, key, report) for key in (*witnesses, *demanded)}
    for key in demanded:
        size = found[key.vkey].size
        if size < signed_size:
            detail = f"{key.name} has cosigned {size} of {signed_size} signed leaves"
            report.add(FindingKind.NOT_COSIGNED, size, detail)
    return tuple(found.values())


def _of_witness(by_size: Sequence[tuple[str, int]], key: NoteVerifier, report: Report) -> Cosigned:
    for raw_note, size in by_size:
        note = SignedNote.parse(raw_note)
        for signature in note.signatures:
            if key.owns(signature):
                at = cosigned_at(signature, note.text, key)
                if at is not None:
                    return Cosigned(key.name, size, at)
                detail = f"the cosignature of {key.name} on the checkpoint of {size} leaves does not hold"
                report.add(FindingKind.BAD_SIGNATURE, max(size - 1, 0), detail)
    return Cosigned(key.name, 0, None)
