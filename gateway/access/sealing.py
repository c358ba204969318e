"""Private keys of the gateway at rest: sealed under a passphrase, a key file with mode 0600, or a KMS.

Invariants:
    - A sealed key opens only for the purpose and name it was sealed for (associated data; encryption context with a KMS).
    - Passphrase and file content go through scrypt with a salt of their own; nothing is stored that shortens guessing.
    - A file may hold several secrets, one a line: the first seals, the others still open. A file that was replaced is read
      again, so that a rotation reaches every process that runs.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from gateway.errors import InvalidRequest, Unavailable, VerificationFailed

__all__ = ["FileSealing", "KmsSealing", "NoSealing", "PassphraseSealing", "Sealing", "replace_secrets", "sealing_from_file"]

SCRYPT, KMS = b"\x01", b"\x02"
SALT, NONCE, KEY = 16, 12, 32
WORK_FACTOR: Final = 2**15  # 32 MiB and about 0.1 s a guess
LEAST_SECRET = 12
OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Sealing(Protocol):
    """Encrypts what only this gateway may read."""

    def seal(self, secret: bytes, *, context: Mapping[str, str]) -> bytes:
        """Encrypt; `context` must be the same when it is opened."""

    def open(self, sealed: bytes, *, context: Mapping[str, str]) -> bytes:
        """Decrypt.

        Raises:
            VerificationFailed: another secret, another context, or changed bytes.
        """


def _associated(context: Mapping[str, str]) -> bytes:
    return "\n".join(f"{name}={context[name]}" for name in sorted(context)).encode()


@dataclass(slots=True)
class PassphraseSealing:
    """AES-256-GCM under a key that scrypt derives from a secret. Its text form does not show the secret."""

    secret: bytes = field(repr=False)
    work_factor: int = WORK_FACTOR
    _salt: bytes = field(init=False, repr=False, default_factory=lambda: secrets.token_bytes(SALT))
    _keys: dict[tuple[bytes, int], bytes] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.secret) < LEAST_SECRET:
            raise InvalidRequest(f"a passphrase has at least {LEAST_SECRET} bytes")

    def seal(self, secret: bytes, *, context: Mapping[str, str]) -> bytes:
        """Version, log2 of the work factor, salt, nonce, ciphertext."""
        nonce = secrets.token_bytes(NONCE)
        head = SCRYPT + bytes([self.work_factor.bit_length() - 1]) + self._salt + nonce
        sealed = AESGCM(self._key(self._salt, self.work_factor)).encrypt(nonce, secret, head + _associated(context))
        return head + sealed

    def open(self, sealed: bytes, *, context: Mapping[str, str]) -> bytes:
        """Inverse of `seal`."""
        head, rest = sealed[: 2 + SALT + NONCE], sealed[2 + SALT + NONCE :]
        if head[:1] != SCRYPT or not rest or not 1 <= head[1] <= 20:  # noqa: PLR2004 - at most 1 GiB for scrypt
            raise VerificationFailed("a sealed key is not in the form this gateway writes")
        key = self._key(head[2 : 2 + SALT], 1 << head[1])
        try:
            return AESGCM(key).decrypt(head[2 + SALT :], rest, head + _associated(context))
        except InvalidTag:
            raise VerificationFailed("a sealed key does not open: another passphrase, or it was changed") from None

    def _key(self, salt: bytes, work_factor: int) -> bytes:
        if (salt, work_factor) not in self._keys:
            self._keys[salt, work_factor] = Scrypt(salt=salt, length=KEY, n=work_factor, r=8, p=1).derive(self.secret)
        return self._keys[salt, work_factor]


@dataclass(frozen=True, slots=True)
class KmsSealing:
    """A key management service wraps and unwraps; the two calls are given, so that no cloud library is needed here.

    Attributes:
        wrap: (plaintext, encryption context) → ciphertext.
        unwrap: (ciphertext, encryption context) → plaintext; raises `VerificationFailed` when the service refuses.
    """

    wrap: Callable[[bytes, Mapping[str, str]], bytes]
    unwrap: Callable[[bytes, Mapping[str, str]], bytes]

    def seal(self, secret: bytes, *, context: Mapping[str, str]) -> bytes:
        """Wrap by the service."""
        return KMS + self.wrap(secret, context)

    def open(self, sealed: bytes, *, context: Mapping[str, str]) -> bytes:
        """Unwrap by the service."""
        if sealed[:1] != KMS:
            raise VerificationFailed("a sealed key was not sealed by the key management service")
        return self.unwrap(sealed[1:], context)


class NoSealing:
    """The sealing of a process that signs nothing and opens no private key."""

    def seal(self, secret: bytes, *, context: Mapping[str, str]) -> bytes:
        """Refuse."""
        del secret, context
        raise Unavailable("this process has no passphrase: it signs nothing")

    def open(self, sealed: bytes, *, context: Mapping[str, str]) -> bytes:
        """Refuse."""
        del sealed, context
        raise Unavailable("this process has no passphrase: it signs nothing")


class FileSealing:
    """Sealing under the secrets of a file that nobody else can read."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            InvalidRequest: missing, readable by others, or a secret too short.
        """
        self._path = path
        self._seen, self._ring = self._read()

    def _read(self) -> tuple[tuple[int, int, int], tuple[PassphraseSealing, ...]]:
        path = self._path
        try:
            found, content = path.stat(), path.read_bytes()
        except OSError as error:
            raise InvalidRequest(f"the file {path.name} that seals the private keys cannot be read") from error
        if found.st_mode & OTHERS:
            raise InvalidRequest(f"the file {path.name} can be read by others", unlock=(f"chmod 600 {path}",))
        lines = [line.strip() for line in content.splitlines() if line.strip()] or [b""]
        stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
        return stamp, tuple(PassphraseSealing(line) for line in lines)

    @property
    def ring(self) -> tuple[PassphraseSealing, ...]:
        """One sealing for each secret of the file, the one that seals first."""
        try:
            found = self._path.stat()
        except OSError as error:
            raise InvalidRequest(f"the file {self._path.name} that seals the private keys cannot be read") from error
        if (found.st_mtime_ns, found.st_ino, found.st_size) != self._seen:
            self._seen, self._ring = self._read()
        return self._ring

    def seal(self, secret: bytes, *, context: Mapping[str, str]) -> bytes:
        """Under the first secret."""
        return self.ring[0].seal(secret, context=context)

    def open(self, sealed: bytes, *, context: Mapping[str, str]) -> bytes:
        """Under whichever secret it was sealed."""
        first, *others = self.ring
        try:
            return first.open(sealed, context=context)
        except VerificationFailed as failure:
            for sealing in others:
                try:
                    return sealing.open(sealed, context=context)
                except VerificationFailed:
                    continue
            raise failure from None

    def is_current(self, sealed: bytes, *, context: Mapping[str, str]) -> bool:
        """Whether the first secret opens it."""
        try:
            self.ring[0].open(sealed, context=context)
        except VerificationFailed:
            return False
        return True


def replace_secrets(path: Path, lines: tuple[bytes, ...]) -> None:
    """Replace the file's secrets, whole or not at all.

    Raises:
        Unavailable: the file cannot be replaced (a secret that is mounted read-only); it stays as it is.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(b"".join(secret + b"\n" for secret in lines))
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)  # noqa: PTH105 - atomic, and it replaces
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise Unavailable(f"the file {path.name} cannot be replaced: {error.strerror}") from None


def sealing_from_file(path: Path, *, create: bool = False) -> FileSealing:
    """Seal under the secrets of a file that nobody else can read.

    Args:
        path: The file; each line without surrounding white space is a secret, the first one seals.
        create: Make a new one of 256 random bits when it is missing.

    Raises:
        InvalidRequest: missing, readable by others, or too short.
    """
    if create and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(KEY))
    return FileSealing(path)
