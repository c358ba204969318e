"""The file of key-encryption keys: 64 hex digits a line, newest first, replaced whole or not at all.

Invariants:
    - Only the owner can read the file; another mode is refused, and a new file has 0600 from its first byte.
    - A reader finds the old ring or the new one, never half of either, and after a power cut too.
    - Comments and empty lines are no keys; anything else that is not 64 hex digits is refused.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from gateway.errors import Unavailable
from gateway.storage.envelope import KEY_BYTES

__all__ = ["KeyUnavailable", "Stamp", "create_key_file", "key_id_of", "read_ring", "stamp_of", "write_ring"]

MOST_BYTES = 8192
Stamp = tuple[int, int, int]


class KeyUnavailable(Unavailable):
    """The key-encryption key cannot be used: missing, readable by others, or its KMS does not answer."""


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


def write_ring(path: Path, keys: tuple[bytes, ...]) -> None:
    """Replace the file by these keys, the first of which wraps.

    Raises:
        KeyUnavailable: the file cannot be replaced (a secret that is mounted read-only); it stays as it is.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write("".join(f"{key.hex()}\n" for key in keys))
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)  # noqa: PTH105 - atomic, and it replaces
        finally:
            partial.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise KeyUnavailable(f"the master key file {path.name} cannot be replaced: {error.strerror}") from None


def read_ring(path: Path) -> tuple[bytes, ...]:
    """The keys of a file, the one that wraps first.

    Raises:
        KeyUnavailable: it is missing, may be read by others, or holds something else.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise KeyUnavailable(f"the master key file {path.name} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        raw = file.read(MOST_BYTES)
    if stat.S_IMODE(mode) & 0o077:
        raise KeyUnavailable(f"the master key file {path.name} may be read by others: set its mode to 0600")
    lines = [line.strip() for line in raw.decode("ascii", "replace").splitlines()]
    try:
        keys = tuple(bytes.fromhex(line) for line in lines if line and not line.startswith("#"))
    except ValueError:
        keys = ()
    if not keys or any(len(key) != KEY_BYTES for key in keys) or len(raw) == MOST_BYTES:
        raise KeyUnavailable(f"the master key file {path.name} does not hold 64 hex digits a line")
    return keys


def key_id_of(key: bytes) -> str:
    """First 16 hex digits of a digest of the key, which says nothing about the key."""
    return hashlib.sha256(b"ticketgate key id" + key).hexdigest()[:16]


def stamp_of(path: Path) -> Stamp:
    """What changes when the file is replaced.

    Raises:
        KeyUnavailable: it is missing.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise KeyUnavailable(f"the master key file {path.name} cannot be read: {error.strerror}") from None
    return found.st_mtime_ns, found.st_ino, found.st_size
