"""Signed notes and checkpoints as C2SP defines them (signed-note, tlog-checkpoint, tlog-cosignature v1).

Invariants:
    - Nothing of a note is believed before a trusted key has verified it; signatures of unknown keys are ignored, as the
      specification demands, and a bad signature of a known key refuses the whole note.
    - Text is parsed strictly: what this module accepts it would write again byte for byte.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.audit.merkle import HASH_SIZE
from gateway.errors import VerificationFailed

__all__ = [
    "COSIGNATURE_V1",
    "Checkpoint",
    "NoteSigner",
    "NoteVerifier",
    "Signature",
    "SignedNote",
    "cosignatures",
    "cosigned_at",
    "cosigned_message",
    "decode_base64",
]

ED25519 = 0x01
COSIGNATURE_V1 = 0x04
KEY_ID_BYTES = 4
TIMESTAMP_BYTES = 8
SIGNATURE_BYTES = 64
PUBLIC_KEY_BYTES = 32
MAX_NOTE_BYTES = 65_536
LATEST = 253_402_300_799  # the last second that a datetime can hold
DASH = "\N{EM DASH}"
_NAME = re.compile(r"[^\s+]+")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line.

    Attributes:
        name: Name of the key.
        key_id: First four bytes of the hash of name, kind and public key.
        value: The bytes after the key id.
    """

    name: str
    key_id: bytes
    value: bytes

    def to_line(self) -> str:
        """The line, with its newline."""
        return f"{DASH} {self.name} {b64encode(self.key_id + self.value).decode()}\n"


@dataclass(frozen=True, slots=True)
class SignedNote:
    """A text and its signatures, not yet verified.

    Attributes:
        text: What is signed, ending in a newline.
        signatures: In the order of the note.
    """

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, raw_note: str) -> SignedNote:
        """Read a note.

        Raises:
            VerificationFailed: it is not a signed note.
        """
        if len(raw_note) > MAX_NOTE_BYTES or any(character < " " and character != "\n" for character in raw_note):
            raise VerificationFailed("this is not a signed note: too long, or control characters")
        text, separator, raw_lines = raw_note.rpartition("\n\n")
        if not separator or not text or not raw_lines.endswith("\n"):
            raise VerificationFailed("this is not a signed note: no text, or no signatures")
        return cls(text=text + "\n", signatures=tuple(_parse_signature(line) for line in raw_lines[:-1].split("\n")))

    def to_text(self) -> str:
        """The note as it is stored and sent."""
        return self.text + "\n" + "".join(signature.to_line() for signature in self.signatures)


@dataclass(frozen=True, slots=True)
class NoteVerifier:
    """A public key that is trusted under a name.

    Attributes:
        name: Name of the key; for a log its origin.
        public_key: 32 bytes of an Ed25519 public key.
        kind: 1 for signatures over the note, 4 for timestamped cosignatures of a witness.
    """

    name: str
    public_key: bytes
    kind: int = ED25519

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"a key name has no spaces and no plus: {self.name!r}")
        if len(self.public_key) != PUBLIC_KEY_BYTES or self.kind not in (ED25519, COSIGNATURE_V1):
            raise ValueError("only Ed25519 keys of 32 bytes are known here")

    @classmethod
    def from_vkey(cls, vkey: str) -> NoteVerifier:
        """Read `name+hexid+base64(kind ‖ key)`.

        Raises:
            ValueError: it is not such a key, or its id does not belong to it.
        """
        name, _, rest = vkey.partition("+")
        raw_id, _, encoded = rest.partition("+")
        material = decode_base64(encoded)
        if not material:
            raise ValueError("a verifier key is name+id+base64")
        verifier = cls(name=name, public_key=material[1:], kind=material[0])
        if raw_id != verifier.key_id.hex():
            raise ValueError("the id of this verifier key does not belong to it")
        return verifier

    @property
    def vkey(self) -> str:
        """The text form of the key."""
        return f"{self.name}+{self.key_id.hex()}+{b64encode(bytes([self.kind]) + self.public_key).decode()}"

    @property
    def key_id(self) -> bytes:
        """First four bytes of SHA-256(name ‖ newline ‖ kind ‖ key)."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public_key).digest()[:KEY_ID_BYTES]

    def owns(self, signature: Signature) -> bool:
        """Whether a signature claims to be by this key."""
        return signature.name == self.name and signature.key_id == self.key_id

    def verifies(self, signature: Signature, text: str) -> bool:
        """Whether a signature of this key holds over the text."""
        if self.kind == ED25519:
            return self._holds(signature.value, text.encode())
        if len(signature.value) != TIMESTAMP_BYTES + SIGNATURE_BYTES:
            return False
        seconds = int.from_bytes(signature.value[:TIMESTAMP_BYTES])
        return self._holds(signature.value[TIMESTAMP_BYTES:], cosigned_message(text, seconds))

    def _holds(self, value: bytes, message: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(value, message)
        except InvalidSignature:
            return False
        return True


class NoteSigner:
    """A private key that signs under a name: the log's own, used for nothing else."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.verifier = NoteVerifier(name=name, public_key=key.public_key().public_bytes_raw())

    def sign(self, text: str) -> str:
        """A note with one signature.

        Args:
            text: Ends in a newline.
        """
        return SignedNote(text, (Signature(self.verifier.name, self.verifier.key_id, self._key.sign(text.encode())),)).to_text()


def cosigned_message(text: str, seconds: int) -> bytes:
    """What a witness signs: header, POSIX time, and the text of the checkpoint."""
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log at one size.

    Attributes:
        origin: Which log.
        size: Leaves in the tree.
        root: Root of the tree.
        extensions: Further lines, without meaning here.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read the text of a checkpoint (not its signatures).

        Raises:
            VerificationFailed: it is not a checkpoint.
        """
        origin, *rest = text.removesuffix("\n").split("\n")
        if len(rest) < 2 or not origin or not all(rest) or not text.endswith("\n"):  # noqa: PLR2004 - size and root
            raise VerificationFailed("this is not a checkpoint: it needs origin, size and root hash")
        root = decode_base64(rest[1])
        if not _NUMBER.fullmatch(rest[0]) or root is None or len(root) != HASH_SIZE:
            raise VerificationFailed("this is not a checkpoint: its size or root hash is malformed")
        return cls(origin=origin, size=int(rest[0]), root=root, extensions=tuple(rest[2:]))

    @classmethod
    def verify(cls, raw_note: str, keys: Iterable[NoteVerifier]) -> Checkpoint:
        """Read a signed checkpoint and check it against trusted keys of its log.

        Args:
            raw_note: The whole note.
            keys: Trusted keys; at least one must have signed, and none of them may have a bad signature.

        Raises:
            VerificationFailed: it is malformed, or its signatures do not hold.
        """
        note = SignedNote.parse(raw_note)
        checkpoint = cls.parse(note.text)
        good = 0
        for key in keys:
            for signature in note.signatures:
                if key.kind == ED25519 and key.name == checkpoint.origin and key.owns(signature):
                    if not key.verifies(signature, note.text):
                        raise VerificationFailed("the signature of this checkpoint does not hold")
                    good += 1
        if good == 0:
            raise VerificationFailed("no trusted key of this log signed this checkpoint")
        return checkpoint

    def to_text(self) -> str:
        """The text that is signed."""
        return "\n".join([self.origin, str(self.size), b64encode(self.root).decode(), *self.extensions]) + "\n"


def cosigned_at(signature: Signature, text: str, witness: NoteVerifier) -> datetime | None:
    """When a witness says it cosigned a note; None when this is no cosignature of it, or does not hold."""
    if witness.kind != COSIGNATURE_V1 or not witness.owns(signature) or not witness.verifies(signature, text):
        return None
    seconds = int.from_bytes(signature.value[:TIMESTAMP_BYTES])
    return datetime.fromtimestamp(seconds, tz=UTC) if seconds <= LATEST else None


def cosignatures(raw_note: str, witnesses: Sequence[NoteVerifier]) -> dict[str, datetime]:
    """Which trusted witnesses cosigned a checkpoint, and when they say they did.

    Returns:
        Time of the cosignature by name of the witness; signatures that do not hold are left out.

    Raises:
        VerificationFailed: it is not a signed note.
    """
    note = SignedNote.parse(raw_note)
    found = ((witness.name, cosigned_at(signature, note.text, witness)) for witness in witnesses for signature in note.signatures)
    return {name: at for name, at in found if at is not None}


def decode_base64(value: str) -> bytes | None:
    """Bytes of canonical standard base 64, or None."""
    try:
        data = b64decode(value, validate=True)
    except ValueError:
        return None
    return data if b64encode(data).decode() == value else None


def _parse_signature(line: str) -> Signature:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != DASH or not _NAME.fullmatch(parts[1]):  # noqa: PLR2004 - dash, name, bytes
        raise VerificationFailed("this is not a signed note: a signature line is malformed")
    data = decode_base64(parts[2])
    if data is None or len(data) <= KEY_ID_BYTES:
        raise VerificationFailed("this is not a signed note: a signature is malformed")
    return Signature(name=parts[1], key_id=data[:KEY_ID_BYTES], value=data[KEY_ID_BYTES:])
