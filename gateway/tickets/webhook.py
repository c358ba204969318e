"""What a ticket system pushes: believed only as a hint to look again.

Responsible for the signature of a webhook call and for the one thing that is read from it: which ticket changed, under the key
that it has and under those that it had before a move. Everything else is fetched from the ticket system. Invariants: pure; an
unsigned, wrongly signed, oversized or unreadable call names no ticket; signatures are compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import json

from gateway.tickets.port import KEY

__all__ = ["MAX_BODY", "changed_tickets", "is_authentic"]

MAX_BODY = 1024 * 1024
MAX_KEYS = 8
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


def changed_tickets(body: bytes) -> tuple[str, ...]:
    """The keys of the ticket that changed, the present one first; empty when the call does not name one.

    A ticket that was moved has another key now: releases stand under the one that it had.
    """
    try:
        document = json.loads(body)
        found = [document["issue"]["key"]]
        items = (document.get("changelog") or {}).get("items") or []
        found += [item.get("fromString") for item in items if item.get("field") == "Key"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ()
    keys = [key for key in found if isinstance(key, str) and KEY.match(key)]
    return tuple(dict.fromkeys(keys))[:MAX_KEYS]
