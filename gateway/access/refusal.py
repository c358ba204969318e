"""How access refuses: the same words to the caller whatever was wrong, the reason as a slug for the log.

Invariants:
    - The detail of a refused token is `invalid_token`, and nothing of the token is in it.
    - The reason is a note on the error; only the audit event reads it.
"""

from __future__ import annotations

from gateway.errors import NotAuthenticated, TokenRefused

__all__ = ["WORDS", "reason_of", "refusal", "token_refusal"]

WORDS = "invalid_token"
NOTE = "reason: "


def refusal(reason: str) -> NotAuthenticated:
    """An error for a signature, assertion or access token that proves nothing."""
    error = NotAuthenticated(WORDS)
    error.add_note(NOTE + reason)
    return error


def token_refusal(reason: str) -> TokenRefused:
    """An error for a release token."""
    error = TokenRefused(WORDS)
    error.add_note(NOTE + reason)
    return error


def reason_of(error: BaseException) -> str:
    """The slug for the log; `unknown` for an error that was not made here."""
    notes: list[str] = getattr(error, "__notes__", [])
    return next((note.removeprefix(NOTE) for note in notes if note.startswith(NOTE)), "unknown")
