"""Wrap the data keys of releases by a key-encryption key: a file of this machine, or a KMS.

Invariants:
    - A data key is stored only wrapped, bound to its release (associated data) and to the key that wrapped it.
    - Destroying the wrapped data key makes the release unreadable wherever copies of its bytes lie: that is the withdrawal.
    - A key file that others may read is refused; one that was replaced is read again before it is used.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import VerificationFailed
from gateway.storage.key_ring import KeyUnavailable, key_id_of, read_ring, stamp_of

__all__ = ["FileKey", "KeyWrapper", "KmsKey"]

MAGIC = b"TGK1"
HEAD = len(MAGIC) + 8
NONCE_BYTES = 12


class KeyWrapper(Protocol):
    """Wraps and unwraps data keys."""

    @property
    def key_id(self) -> str:
        """Which key wraps now."""
        ...

    def wrap(self, data_key: bytes, *, release_id: str) -> bytes:
        """Wrap the data key of a release."""
        ...

    def wrapped_by(self, wrapped: bytes) -> str:
        """Id of the key that wrapped these bytes."""
        ...

    def unwrap(self, wrapped: bytes, *, release_id: str) -> bytes:
        """Unwrap it again.

        Raises:
            VerificationFailed: it was changed, belongs to another release, or to another key.
            KeyUnavailable: the key cannot be used at present.
        """
        ...


class FileKey:
    """Key-encryption keys in a file (mode 0600): 64 hex digits a line, the first wraps, the others still unwrap.

    The file is read again when it has changed, so that a rotation reaches every process that runs.
    """

    def __init__(self, path: Path, *, retired: tuple[Path, ...] = ()) -> None:
        """Read the key that wraps, and older ones that still unwrap."""
        self._path, self._retired = path, retired
        self._seen = stamp_of(path)
        self._ring = self._read()

    def _read(self) -> tuple[bytes, ...]:
        return tuple(key for path in (self._path, *self._retired) for key in read_ring(path))

    def _fresh(self) -> tuple[bytes, ...]:
        stamp = stamp_of(self._path)
        if stamp != self._seen:
            self._ring, self._seen = self._read(), stamp
        return self._ring

    @property
    def key_id(self) -> str:
        """First 16 hex digits of the present key's SHA-256, which says nothing about the key."""
        return key_id_of(self._fresh()[0])

    @property
    def known_ids(self) -> tuple[str, ...]:
        """Ids of all keys that unwrap, the present one first."""
        return tuple(key_id_of(key) for key in self._fresh())

    def wrap(self, data_key: bytes, *, release_id: str) -> bytes:
        """Wrap by AES-256-GCM; the key id and the release are associated data."""
        current, nonce = self._fresh()[0], os.urandom(NONCE_BYTES)
        head = MAGIC + bytes.fromhex(key_id_of(current))
        return head + nonce + AESGCM(current).encrypt(nonce, data_key, head + release_id.encode())

    def wrapped_by(self, wrapped: bytes) -> str:
        """Read off the wrapped bytes themselves."""
        return wrapped[len(MAGIC) : HEAD].hex()

    def unwrap(self, wrapped: bytes, *, release_id: str) -> bytes:
        """Unwrap by the key that the wrapped bytes name."""
        head, nonce, sealed = wrapped[:HEAD], wrapped[HEAD : HEAD + NONCE_BYTES], wrapped[HEAD + NONCE_BYTES :]
        wanted = self.wrapped_by(wrapped)
        key = next((key for key in self._fresh() if key_id_of(key) == wanted), None)
        if not wrapped.startswith(MAGIC) or key is None:
            raise VerificationFailed("the data key of this release was wrapped by a key that is not here")
        try:
            return AESGCM(key).decrypt(nonce, sealed, head + release_id.encode())
        except (InvalidTag, ValueError):
            raise VerificationFailed("the wrapped data key was changed or belongs to another release") from None


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

    def wrapped_by(self, wrapped: bytes) -> str:
        """The KMS keeps its own versions; seen from here there is one key."""
        del wrapped
        return self._key

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
