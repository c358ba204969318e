"""The gateway's signature over an evidence file: a DSSE envelope around an in-toto statement about its index.

Invariants:
    - The subjects are the index and every member that it lists, each with its SHA-256.
    - The statement has a predicate type of its own: an envelope around a release's manifest is never taken for it.
    - Ed25519 signatures are deterministic, so equal indices give equal envelopes under one key.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import rfc8785

from gateway.errors import VerificationFailed
from gateway.releases.bundle import PAYLOAD_TYPE, pre_authentication, sha256_hex

__all__ = ["INDEX", "INDEX_ENVELOPE", "open_statement", "payload_of", "statement_about"]

INDEX = "index.json"
INDEX_ENVELOPE = "index.dsse.json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:ticketgate:evidence:v1"


def statement_about(index: bytes) -> bytes:
    """The statement about an index and what it lists."""
    document = json.loads(index)
    subjects = [{"name": INDEX, "digest": {"sha256": sha256_hex(index)}}]
    subjects += [{"name": file["name"], "digest": {"sha256": file["sha256"]}} for file in document["files"]]
    about = {name: document[name] for name in ("release_id", "issuer", "outcome", "decisive")}
    statement: dict[str, Any] = {
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PREDICATE_TYPE,
        "predicate": about,
    }
    return rfc8785.dumps(statement)


def payload_of(envelope: bytes) -> bytes:
    """The statement in an envelope of our own store, unchecked: only to compare it with one that is made anew."""
    return base64.b64decode(json.loads(envelope)["payload"])


def open_statement(raw: bytes, *, verify: Callable[[str, bytes, bytes], bool]) -> Mapping[str, Any]:
    """Check an envelope and give its statement.

    Args:
        raw: The envelope as read.
        verify: (key id, signature, message) → whether a trusted key of that id made the signature.

    Raises:
        VerificationFailed: it is no such envelope, or no signature of a trusted key holds.
    """
    try:
        document = json.loads(raw)
        payload = base64.b64decode(document["payload"], validate=True)
        signatures = [(str(item["keyid"]), base64.b64decode(item["sig"], validate=True)) for item in document["signatures"]]
        is_ours = document["payloadType"] == PAYLOAD_TYPE
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise VerificationFailed("this is not a DSSE envelope") from error
    message = pre_authentication(PAYLOAD_TYPE, payload)
    if not is_ours or not any(verify(key_id, signature, message) for key_id, signature in signatures):
        raise VerificationFailed("no signature of a trusted key holds")
    statement: dict[str, Any] = json.loads(payload)
    if statement.get("_type") != STATEMENT_TYPE or statement.get("predicateType") != PREDICATE_TYPE:
        raise VerificationFailed("the statement is not about an evidence file")
    return statement
