"""Witnesses: others who watch that the log only grows, and sign that it does (C2SP tlog-witness).

Invariants:
    - A cosignature is kept only when it verifies under the key that was configured for the witness.
    - A witness that is away, or refuses, holds nothing up: the checkpoint goes out without its cosignature, and that witness is
      not asked again for a minute.
    - What a witness refuses because it remembers another log is said aloud: that is a fork, or a restored backup.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol
from urllib.parse import urlsplit

import httpx

from gateway.audit.note import COSIGNATURE_V1, NoteVerifier, SignedNote
from gateway.errors import InvalidRequest, VerificationFailed
from gateway.telemetry import logger

__all__ = ["HttpWitness", "Witness", "Witnesses", "add_checkpoint_body", "http_witnesses", "parse_witnesses", "witness_key"]

MAX_SIZE_DIGITS = 19
MAX_ANSWER_BYTES = 16 * 1024
MAX_SECONDS = 5.0
ASK_AGAIN_SECONDS = 60.0
TIMEOUT: Final = httpx.Timeout(5.0, connect=2.0)
REFUSALS: Final = {
    HTTPStatus.FORBIDDEN: "it does not know the key that signed",
    HTTPStatus.NOT_FOUND: "it does not know this log",
    HTTPStatus.CONFLICT: "it remembers a larger log, or another one of this size: this one was forked or set back",
    HTTPStatus.UNPROCESSABLE_ENTITY: "it remembers a log that this one does not continue: a fork",
}


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


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    text: str

    def remembered(self) -> int | None:
        """The size that the witness cosigned last, when it says so."""
        text = self.text.strip()
        is_size = self.status == HTTPStatus.CONFLICT and text.isascii() and text.isdigit() and len(text) <= MAX_SIZE_DIGITS
        return int(text) if is_size else None


class HttpWitness:
    """A witness behind `POST <prefix>/add-checkpoint`."""

    def __init__(
        self, prefix: str, key: NoteVerifier, client: httpx.Client, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Keep what is needed.

        Args:
            prefix: Submission prefix, without the final slash.
            key: Verifier key of the witness (kind 4).
            client: With time-outs; redirects are not followed.
            clock: Seconds that only grow.
        """
        self._url, self._key, self._client, self._clock = f"{prefix}/add-checkpoint", key, client, clock
        self._seen, self._not_before = 0, float("-inf")

    def cosign(self, note: str, *, size: int, prove: Callable[[int], list[bytes]]) -> str:
        """Ask once, and once more when the witness remembers another size than we do."""
        if self._clock() < self._not_before:
            return note
        try:
            answer = self._ask(note, size, prove)
            remembered = answer.remembered()
            if remembered is not None and remembered != self._seen and remembered <= size:
                self._seen = remembered
                answer = self._ask(note, size, prove)
        except httpx.HTTPError as error:
            self._leave_alone()
            logger("audit").warning("a witness does not answer", witness=self._key.name, error=type(error).__name__)
            return note
        if answer.status != HTTPStatus.OK:
            self._leave_alone()
            why = REFUSALS.get(HTTPStatus(answer.status), "") if answer.status in set(HTTPStatus) else ""
            logger("audit").error(
                "a witness refused the checkpoint", witness=self._key.name, size=size, status=answer.status, why=why,
                remembers=answer.remembered(),
            )  # fmt: skip
            return note
        self._seen = size
        return self._with_cosignatures(note, answer.text)

    def _leave_alone(self) -> None:
        # Every checkpoint waits for its witnesses: one that is away must not slow all of them down.
        self._not_before = self._clock() + ASK_AGAIN_SECONDS

    def _ask(self, note: str, size: int, prove: Callable[[int], list[bytes]]) -> _Answer:
        proof = prove(self._seen) if 0 < self._seen < size else []
        body = add_checkpoint_body(note, old=self._seen, proof=proof)
        raw, began = b"", self._clock()
        with self._client.stream("POST", self._url, content=body) as response:
            for chunk in response.iter_bytes():
                raw += chunk
                if self._clock() - began > MAX_SECONDS:  # the client's time-out is one of each read
                    raise httpx.ReadTimeout("the answer takes too long")
                if len(raw) > MAX_ANSWER_BYTES:
                    break
        return _Answer(response.status_code, raw[:MAX_ANSWER_BYTES].decode("utf-8", "replace"))

    def _with_cosignatures(self, note: str, lines: str) -> str:
        """The note with those signatures of the answer that hold."""
        try:
            answered = SignedNote.parse(note + lines)
        except VerificationFailed:
            logger("audit").error("a witness answered something that is no signature", witness=self._key.name)
            return note
        own = SignedNote.parse(note).signatures
        good = [s for s in answered.signatures[len(own) :] if self._key.owns(s) and self._key.verifies(s, answered.text)]
        if not good:
            logger("audit").error("a witness answered a signature that does not hold", witness=self._key.name)
        return SignedNote(answered.text, (*own, *good[:1])).to_text()


class Witnesses:
    """Several witnesses, asked one after the other; each sees the bare checkpoint."""

    def __init__(self, witnesses: Sequence[Witness]) -> None:
        self._witnesses = tuple(witnesses)

    def cosign(self, note: str, *, size: int, prove: Callable[[int], list[bytes]]) -> str:
        """The note with all cosignatures that could be had."""
        bare = SignedNote.parse(note)
        answers = [SignedNote.parse(witness.cosign(note, size=size, prove=prove)) for witness in self._witnesses]
        added = [signature for answer in answers for signature in answer.signatures[len(bare.signatures) :]]
        return SignedNote(bare.text, (*bare.signatures, *added)).to_text()


def parse_witnesses(setting: str) -> tuple[tuple[str, NoteVerifier], ...]:
    """Addresses and keys from the setting: `URL KEY`, separated by commas.

    Raises:
        InvalidRequest: one is not an address and the verifier key of a witness, or a key stands there twice.
    """
    found: list[tuple[str, NoteVerifier]] = []
    for entry in filter(None, (part.strip() for part in setting.split(","))):
        address, _, vkey = entry.partition(" ")
        found.append((_address(address), witness_key(vkey.strip())))
    if len({key.name for _, key in found}) != len(found):
        raise InvalidRequest("TICKETGATE_WITNESSES names a witness twice")
    return tuple(found)


def witness_key(vkey: str) -> NoteVerifier:
    """The verifier key of a witness.

    Raises:
        InvalidRequest: it is none.
    """
    try:
        key = NoteVerifier.from_vkey(vkey)
    except (ValueError, UnicodeError):
        key = None
    if key is None or key.kind != COSIGNATURE_V1:
        raise InvalidRequest("the verifier key of a witness is name+id+key, of kind 4 (Ed25519 cosignatures)")
    return key


def _address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise InvalidRequest("the address of a witness is its submission prefix: https://HOST[/PATH]")
    return text.rstrip("/")


def http_witnesses(setting: str) -> Witness | None:
    """The witnesses of the setting, ready to be asked; None when there are none.

    Raises:
        InvalidRequest: the setting is malformed.
    """
    wanted = parse_witnesses(setting)
    if not wanted:
        return None
    client = httpx.Client(timeout=TIMEOUT, follow_redirects=False)
    return Witnesses([HttpWitness(prefix, key, client) for prefix, key in wanted])


def add_checkpoint_body(note: str, *, old: int, proof: list[bytes]) -> str:
    """The body of `add-checkpoint`: old size, consistency proof, empty line, checkpoint."""
    return "\n".join([f"old {old}", *(b64encode(value).decode() for value in proof), "", note])
