"""The signed list of what leaves: manifest, its DSSE envelope, and the check of both.

Responsible for `manifest.json` and `manifest.dsse.json`, pure: documents in, bytes out.

Invariants:
    - The manifest names every file of the bundle but itself, its envelope and the log proof, with size and SHA-256.
    - The envelope signs an in-toto Statement v1 whose subjects are the manifest and every file in it (DSSE v1, in-toto v1).
    - Equal inputs give equal bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rfc8785

__all__ = [
    "ENVELOPE", "MANIFEST", "PAYLOAD_TYPE", "PREDICATE_TYPE", "PROOF", "EnvelopeInvalid", "FileEntry", "envelope_of",
    "manifest_bytes", "open_envelope", "pre_authentication", "sha256_hex", "statement_of",
]  # fmt: skip

MANIFEST = "manifest.json"
ENVELOPE = "manifest.dsse.json"
PROOF = "audit.tlog-proof"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:ticketgate:release-manifest:v1"
SCHEMA = "ticketgate/manifest/v1"
MAX_ENVELOPE = 4 << 20


class EnvelopeInvalid(ValueError):
    """An envelope that is not signed by a trusted key, or is no envelope."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file as the manifest names it."""

    name: str
    media_type: str
    size: int
    sha256: str


def sha256_hex(raw: bytes) -> str:
    """Lower-case hex SHA-256."""
    return hashlib.sha256(raw).hexdigest()


def manifest_bytes(*, files: Sequence[FileEntry], facts: Mapping[str, Any]) -> bytes:
    """The manifest: facts of the release and every file, as canonical JSON (RFC 8785).

    Args:
        files: Every file of the bundle that the manifest vouches for.
        facts: Members of the release: ids, digests of card and policy, privacy spent, verdict, `audit_event_id`.
    """
    listed: list[dict[str, Any]] = [
        {"name": file.name, "media_type": file.media_type, "size": file.size, "sha256": file.sha256}
        for file in sorted(files, key=lambda file: file.name)
    ]
    return rfc8785.dumps({"schema": SCHEMA, **facts, "files": listed})


def statement_of(manifest: bytes) -> bytes:
    """The in-toto statement about a manifest and the files in it."""
    document = json.loads(manifest)
    subjects: list[dict[str, Any]] = [{"name": MANIFEST, "digest": {"sha256": sha256_hex(manifest)}}]
    subjects += [{"name": file["name"], "digest": {"sha256": file["sha256"]}} for file in document["files"]]
    return rfc8785.dumps({"_type": STATEMENT_TYPE, "subject": subjects, "predicateType": PREDICATE_TYPE, "predicate": document})


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """PAE of DSSE v1: what is signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def envelope_of(payload: bytes, *, sign: Callable[[bytes], bytes], key_id: str) -> bytes:
    """A DSSE envelope around a statement.

    Args:
        payload: The statement.
        sign: Signs the pre-authentication encoding (Ed25519).
        key_id: The key's thumbprint; a hint only, verifiers try the keys they trust.
    """
    signature = sign(pre_authentication(PAYLOAD_TYPE, payload))
    return rfc8785.dumps(
        {
            "payloadType": PAYLOAD_TYPE,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [{"keyid": key_id, "sig": base64.b64encode(signature).decode()}],
        }
    )


def open_envelope(raw: bytes, *, verify: Callable[[str, bytes, bytes], bool]) -> dict[str, Any]:
    """Check an envelope and give the statement in it.

    Args:
        raw: The envelope as read.
        verify: (key id, signature, message) → whether a trusted key of that id made the signature.

    Raises:
        EnvelopeInvalid: no signature of a trusted key holds, or the bytes are no envelope.
    """
    if len(raw) > MAX_ENVELOPE:
        raise EnvelopeInvalid("the envelope is larger than 4 MiB")
    try:
        document = json.loads(raw)
        payload = base64.b64decode(document["payload"], validate=True)
        signatures = [(str(item["keyid"]), base64.b64decode(item["sig"], validate=True)) for item in document["signatures"]]
        payload_type = document["payloadType"]
    except (ValueError, KeyError, TypeError) as error:
        raise EnvelopeInvalid("the envelope is not a DSSE envelope") from error
    if payload_type != PAYLOAD_TYPE:
        raise EnvelopeInvalid("the envelope does not hold an in-toto statement")
    message = pre_authentication(PAYLOAD_TYPE, payload)
    if not any(verify(key_id, signature, message) for key_id, signature in signatures):
        raise EnvelopeInvalid("no signature of a trusted key holds")
    statement: dict[str, Any] = json.loads(payload)
    if statement.get("_type") != STATEMENT_TYPE or statement.get("predicateType") != PREDICATE_TYPE:
        raise EnvelopeInvalid("the statement is not about a release manifest")
    return statement
