"""What a ticket system pushes: believed only as a hint to look again.

Responsible for the signature of a webhook call and for the one thing that is read from it: which ticket changed. Everything
else is fetched from the ticket system. Invariants: pure; an unsigned, wrongly signed, oversized or unreadable call names no
ticket; signatures are compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import json

from gateway.tickets.port import KEY

__all__ = ["MAX_BODY", "changed_ticket", "is_authentic"]

MAX_BODY = 1024 * 1024
MIN_SECRET = 16
PREFIX = "sha256="


def is_authentic(body: bytes, *, signature: str | None, secret: bytes) -> bool:
    """Whether `X-Hub-Signature: sha256=<hex>` is the HMAC-SHA-256 of the body.

    Args:
        body: The bytes as received.
        signature: The header's value, or None.
        secret: At least 16 bytes, shared with the ticket system.

    Raises:
        ValueError: the secret is too short to mean anything; such a receiver must not start.
    """
    if len(secret) < MIN_SECRET:
        raise ValueError(f"a webhook secret has at least {MIN_SECRET} bytes")
    if signature is None or not signature.startswith(PREFIX) or len(body) > MAX_BODY:
        return False
    expected = hmac.new(secret, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature[len(PREFIX) :].encode("utf-8", "replace"))


def changed_ticket(body: bytes) -> str | None:
    """The key of the ticket that changed, or None when the call does not name one."""
    try:
        document = json.loads(body)
        key = document["issue"]["key"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return key if isinstance(key, str) and KEY.match(key) else None
