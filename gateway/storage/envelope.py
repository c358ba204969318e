"""Encrypt artifacts at rest: AES-256-GCM in chunks of 1 MiB, seekable, by the STREAM construction.

Layout: 4 bytes of magic `TGE1`, a random 7-byte prefix, then chunks of ciphertext and 16-byte tag. The nonce of a chunk is
prefix ‖ 32-bit counter ‖ last flag (Hoang, Reyhanitabar, Rogaway and Vizár, "Online Authenticated-Encryption and its
Nonce-Reuse Misuse-Resistance", 2015). Magic, prefix and the artifact's name are associated data of every chunk.

Invariants:
    - Not a byte of plaintext leaves before its chunk's tag has been checked.
    - Truncation, extension, a dropped, swapped or repeated chunk, a flipped bit and a file under another name are found;
      the end of the file is checked when it is opened, whatever range is asked for.
    - One data key encrypts one release; a prefix is never chosen by the caller.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import VerificationFailed

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["CHUNK", "KEY_BYTES", "DecryptingReader", "RandomAccess", "encrypt", "new_data_key", "sealed_size"]

MAGIC = b"TGE1"
PREFIX_BYTES = 7
HEADER = len(MAGIC) + PREFIX_BYTES
CHUNK = 1 << 20
TAG = 16
KEY_BYTES = 32
MOST_CHUNKS = 1 << 32
DAMAGED = "the stored artifact is not what was written: it is damaged, cut off or was replaced"


class RandomAccess(Protocol):
    """Stored bytes of which any part can be fetched."""

    def size(self) -> int:
        """Bytes in all."""
        ...

    def fetch(self, start: int, length: int) -> bytes:
        """Exactly these bytes, fewer only at the end."""
        ...


def new_data_key() -> bytes:
    """A fresh key for one release, from the operating system."""
    return os.urandom(KEY_BYTES)


def sealed_size(size: int) -> int:
    """Stored bytes for a plaintext of `size` bytes."""
    chunks = max(1, -(-size // CHUNK))
    return HEADER + size + chunks * TAG


def _nonce(prefix: bytes, counter: int, *, is_last: bool) -> bytes:
    return prefix + counter.to_bytes(4, "big") + (b"\1" if is_last else b"\0")


def encrypt(blocks: Iterable[bytes], *, data_key: bytes, name: str) -> Iterator[bytes]:
    """Yield the sealed bytes of an artifact.

    Args:
        blocks: Plaintext in pieces of any size.
        data_key: 32 bytes; see `new_data_key`.
        name: The artifact's name in the store; opening it under another name fails.
    """
    cipher = AESGCM(data_key)
    prefix = os.urandom(PREFIX_BYTES)
    header = MAGIC + prefix
    bound = header + name.encode()
    yield header
    counter = 0
    waiting = bytearray()
    for block in blocks:
        waiting += block
        while len(waiting) > CHUNK:  # strictly: the last chunk is known only when nothing follows
            yield cipher.encrypt(_nonce(prefix, counter, is_last=False), bytes(waiting[:CHUNK]), bound)
            del waiting[:CHUNK]
            counter += 1
            if counter >= MOST_CHUNKS:
                raise ValueError("an artifact holds at most 4 PiB")
    yield cipher.encrypt(_nonce(prefix, counter, is_last=True), bytes(waiting), bound)


class DecryptingReader(io.RawIOBase):
    """A sealed artifact as a seekable file of plaintext.

    Raises:
        VerificationFailed: on opening or reading, when the bytes are not those that were written.
    """

    def __init__(self, stored: RandomAccess, *, data_key: bytes, name: str) -> None:
        super().__init__()
        self._stored = stored
        self._cipher = AESGCM(data_key)
        header = stored.fetch(0, HEADER)
        body = stored.size() - HEADER
        chunks = -(-body // (CHUNK + TAG))
        if len(header) != HEADER or header[: len(MAGIC)] != MAGIC or body < TAG or body - (chunks - 1) * (CHUNK + TAG) < TAG:
            raise VerificationFailed(DAMAGED)
        self._prefix = header[len(MAGIC) :]
        self._bound = header + name.encode()
        self._last = chunks - 1
        self._size = body - chunks * TAG
        self._position = 0
        self._held: tuple[int, bytes] = (self._last, self._open_chunk(self._last))

    @property
    def plain_size(self) -> int:
        """Bytes of plaintext."""
        return self._size

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Position in the plaintext."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move in the plaintext."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("a position lies before the start of the artifact")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill a buffer with verified plaintext, at most to the end of the current chunk."""
        view = memoryview(buffer).cast("B")
        if self._position >= self._size or not len(view):
            return 0
        index, offset = divmod(self._position, CHUNK)
        plain = self._chunk(index)
        piece = plain[offset : offset + len(view)]
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def blocks(self, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield verified plaintext of a byte range, at most 1 MiB at a time.

        Args:
            start: First byte, from 0.
            length: Bytes wanted; None up to the end.
        """
        end = self._size if length is None else min(self._size, start + length)
        position = start
        while position < end:
            index, offset = divmod(position, CHUNK)
            piece = self._chunk(index)[offset : offset + end - position]
            position += len(piece)
            yield piece

    def _chunk(self, index: int) -> bytes:
        if self._held[0] != index:
            self._held = (index, self._open_chunk(index))
        return self._held[1]

    def _open_chunk(self, index: int) -> bytes:
        sealed = self._stored.fetch(HEADER + index * (CHUNK + TAG), CHUNK + TAG)
        nonce = _nonce(self._prefix, index, is_last=index == self._last)
        try:
            plain = self._cipher.decrypt(nonce, sealed, self._bound)
        except (InvalidTag, ValueError):
            raise VerificationFailed(DAMAGED) from None
        if len(plain) != (self._size - index * CHUNK if index == self._last else CHUNK):
            raise VerificationFailed(DAMAGED)
        return plain
