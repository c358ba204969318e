"""Wrap the data keys of releases by a key-encryption key: a file of this machine, or a KMS.

Invariants:
    - A data key is stored only wrapped, bound to its release (associated data) and to the key that wrapped it.
    - Destroying the wrapped data key makes the release unreadable wherever copies of its bytes lie: that is the withdrawal.
    - A key file that others may read is refused.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import Unavailable, VerificationFailed
from gateway.storage.envelope import KEY_BYTES

__all__ = ["FileKey", "KeyUnavailable", "KeyWrapper", "KmsKey", "create_key_file"]

MAGIC = b"TGK1"
NONCE_BYTES = 12


class KeyUnavailable(Unavailable):
    """The key-encryption key cannot be used: missing, readable by others, or its KMS does not answer."""


class KeyWrapper(Protocol):
    """Wraps and unwraps data keys."""

    @property
    def key_id(self) -> str:
        """Which key wraps now."""
        ...

    def wrap(self, data_key: bytes, *, release_id: str) -> bytes:
        """Wrap the data key of a release."""
        ...

    def unwrap(self, wrapped: bytes, *, release_id: str) -> bytes:
        """Unwrap it again.

        Raises:
            VerificationFailed: it was changed, belongs to another release, or to another key.
            KeyUnavailable: the key cannot be used at present.
        """
        ...


def create_key_file(path: Path) -> None:
    """Write a fresh key-encryption key to a new file that only its owner may read; an existing file stays as it is."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(os.urandom(KEY_BYTES).hex() + "\n")
        file.flush()
        os.fsync(file.fileno())


class FileKey:
    """A key-encryption key in a file (64 hex digits, mode 0600)."""

    def __init__(self, path: Path, *, retired: tuple[Path, ...] = ()) -> None:
        """Read the key that wraps, and older ones that still unwrap."""
        self._current = _read_key(path)
        self._known = {_key_id(key): key for key in (self._current, *map(_read_key, retired))}

    @property
    def key_id(self) -> str:
        """First 16 hex digits of the key's SHA-256, which says nothing about the key."""
        return _key_id(self._current)

    def wrap(self, data_key: bytes, *, release_id: str) -> bytes:
        """Wrap by AES-256-GCM; the key id and the release are associated data."""
        nonce = os.urandom(NONCE_BYTES)
        head = MAGIC + bytes.fromhex(self.key_id)
        return head + nonce + AESGCM(self._current).encrypt(nonce, data_key, head + release_id.encode())

    def unwrap(self, wrapped: bytes, *, release_id: str) -> bytes:
        """Unwrap by the key that the wrapped bytes name."""
        head, nonce, sealed = wrapped[:12], wrapped[12 : 12 + NONCE_BYTES], wrapped[12 + NONCE_BYTES :]
        key = self._known.get(head[len(MAGIC) :].hex())
        if not wrapped.startswith(MAGIC) or key is None:
            raise VerificationFailed("the data key of this release was wrapped by a key that is not here")
        try:
            return AESGCM(key).decrypt(nonce, sealed, head + release_id.encode())
        except (InvalidTag, ValueError):
            raise VerificationFailed("the wrapped data key was changed or belongs to another release") from None


def _key_id(key: bytes) -> str:
    return hashlib.sha256(b"ticketgate key id" + key).hexdigest()[:16]


def _read_key(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise KeyUnavailable(f"the master key file {path.name} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        text = file.read(1024)
    if stat.S_IMODE(mode) & 0o077:
        raise KeyUnavailable(f"the master key file {path.name} may be read by others: set its mode to 0600")
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise KeyUnavailable(f"the master key file {path.name} does not hold 64 hex digits")
    return key


class KmsKey:
    """A key-encryption key that never leaves a KMS; the release is the encryption context, which its log records."""

    def __init__(self, key: str, *, client: Any = None, endpoint: str | None = None, region: str | None = None) -> None:
        """Name the key; a client is made when none is given."""
        import boto3
        from botocore.config import Config

        self._key = key
        config = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 3})
        self._client: Any = client or boto3.client("kms", endpoint_url=endpoint, region_name=region, config=config)

    @property
    def key_id(self) -> str:
        """The KMS's own name of the key."""
        return self._key

    def wrap(self, data_key: bytes, *, release_id: str) -> bytes:
        """Have the KMS encrypt the data key."""
        answer = self._call("encrypt", KeyId=self._key, Plaintext=data_key, EncryptionContext=_context(release_id))
        return bytes(answer["CiphertextBlob"])

    def unwrap(self, wrapped: bytes, *, release_id: str) -> bytes:
        """Have the KMS decrypt the data key."""
        answer = self._call("decrypt", KeyId=self._key, CiphertextBlob=wrapped, EncryptionContext=_context(release_id))
        return bytes(answer["Plaintext"])

    def _call(self, operation: str, **arguments: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._client, operation)(**arguments)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "unknown"))
            if code in {"InvalidCiphertextException", "IncorrectKeyException"}:
                raise VerificationFailed("the wrapped data key was changed or belongs to another release") from None
            raise KeyUnavailable(f"the KMS refused to {operation} a data key ({code})") from None
        except BotoCoreError as error:
            raise KeyUnavailable(f"the KMS did not answer ({type(error).__name__})") from None


def _context(release_id: str) -> dict[str, str]:
    return {"ticketgate:release": release_id}
