"""A witness: someone else who watches that the log only grows, and signs that it does (C2SP tlog-witness).

Invariants:
    - A cosignature is kept only when it verifies under the key that was configured for the witness.
    - A witness that is away, or refuses, holds nothing up: the checkpoint goes out without its cosignature.
    - What a witness refuses because it remembers another log is said aloud: that is a fork, or a restored backup.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

import httpx

from gateway.audit.note import NoteVerifier, SignedNote
from gateway.errors import VerificationFailed
from gateway.telemetry import logger

__all__ = ["HttpWitness", "Witness", "add_checkpoint_body"]

MAX_SIZE_DIGITS = 19


class Witness(Protocol):
    """Cosigns checkpoints."""

    def cosign(self, note: str, *, size: int, prove: Callable[[int], list[bytes]]) -> str:
        """Ask for a cosignature.

        Args:
            note: The signed checkpoint.
            size: Its size.
            prove: Gives the consistency proof from an earlier size.

        Returns:
            The note with the cosignature added; unchanged when there is none.
        """


class HttpWitness:
    """A witness behind `POST <prefix>/add-checkpoint`."""

    def __init__(self, prefix: str, key: NoteVerifier, client: httpx.Client) -> None:
        """Keep what is needed.

        Args:
            prefix: Submission prefix, without the final slash.
            key: Verifier key of the witness (kind 4).
            client: With time-outs; redirects are not followed.
        """
        self._url, self._key, self._client = f"{prefix}/add-checkpoint", key, client
        self._seen = 0

    def cosign(self, note: str, *, size: int, prove: Callable[[int], list[bytes]]) -> str:
        """Ask once, and once more when the witness remembers another size than we do."""
        try:
            response = self._ask(note, size, prove)
            remembered = _remembered(response)
            if remembered is not None and remembered != self._seen and remembered <= size:
                self._seen = remembered
                response = self._ask(note, size, prove)
        except httpx.HTTPError as error:
            logger("audit").warning("the witness does not answer", error=type(error).__name__)
            return note
        if response.status_code != HTTPStatus.OK:
            logger("audit").error("the witness refused the checkpoint", size=size, status=response.status_code)
            return note
        self._seen = size
        return self._with_cosignatures(note, response.text)

    def _ask(self, note: str, size: int, prove: Callable[[int], list[bytes]]) -> httpx.Response:
        proof = prove(self._seen) if 0 < self._seen < size else []
        return self._client.post(self._url, content=add_checkpoint_body(note, old=self._seen, proof=proof))

    def _with_cosignatures(self, note: str, lines: str) -> str:
        """The note with those signatures of the answer that hold."""
        try:
            answered = SignedNote.parse(note + lines)
        except VerificationFailed:
            logger("audit").error("the witness answered something that is no signature")
            return note
        own = SignedNote.parse(note).signatures
        good = [s for s in answered.signatures[len(own) :] if self._key.owns(s) and self._key.verifies(s, answered.text)]
        return SignedNote(answered.text, (*own, *good)).to_text()


def add_checkpoint_body(note: str, *, old: int, proof: list[bytes]) -> str:
    """The body of `add-checkpoint`: old size, consistency proof, empty line, checkpoint."""
    return "\n".join([f"old {old}", *(b64encode(value).decode() for value in proof), "", note])


def _remembered(response: httpx.Response) -> int | None:
    """The size that the witness cosigned last, when it says so."""
    text = response.text.strip()
    is_size = response.status_code == HTTPStatus.CONFLICT and text.isascii() and text.isdigit() and len(text) <= MAX_SIZE_DIGITS
    return int(text) if is_size else None
