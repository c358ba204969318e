"""Send the bytes of a download: a file that the server reads as fast as its reader takes it, and not faster.

Under waitress the file is handed to the server's one writing loop (`wsgi.file_wrapper`), so a slow reader holds no thread; any
other server iterates over it.

Invariants:
    - What is recorded as sent is what the operating system took, to the byte, under waitress; elsewhere, what the server took.
    - Every few seconds the token is asked about again: a revocation or withdrawal ends a transfer that is under way.
    - One transfer never keeps the loop for longer than one chunk (1 MiB) when others wait.
    - The end is recorded whatever ended it: complete, broken-off, damaged or revoked; at the end of the process, too.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Final
from weakref import WeakSet

from gateway.errors import TicketgateError, VerificationFailed
from gateway.releases import House, Transfer, finish_transfer, still_stands
from gateway.telemetry import logger, utc_now
from gateway.web.metrics import DOWNLOAD_BYTES, DOWNLOADS

__all__ = ["Desk", "Sending", "TransferStopped"]

RECHECK_SECONDS: Final = 2.0
BLOCK: Final = 1 << 18
TURN: Final = 1 << 20
"""Bytes after which a transfer lets the others have their turn."""


class TransferStopped(OSError):
    """The transfer ends here. An `OSError`, which servers take for a connection that went away."""


class Desk:
    """The transfers of one process: knows those under way, and records their ends."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._recorder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="downloads")
        self._lock = Lock()
        self._open: WeakSet[Sending] = WeakSet()

    def send(self, transfer: Transfer, *, in_loop: bool) -> Sending:
        """A transfer as a file.

        Args:
            transfer: As opened.
            in_loop: Whether a server's one writing loop reads the file; then nothing in it waits for the database longer than
                one question, and the end is recorded beside the loop.
        """
        sending = Sending(transfer, ends=lambda done: self._end(done, in_loop=in_loop), stands=self._stands, in_loop=in_loop)
        with self._lock:
            self._open.add(sending)
        return sending

    def close(self) -> None:
        """Record the transfers that the end of the process cuts off."""
        with self._lock:
            under_way = list(self._open)
        for sending in under_way:
            sending.close()
        self._recorder.shutdown(wait=True)

    def _stands(self, transfer: Transfer) -> bool:
        return still_stands(self._house, transfer, now=utc_now())

    def _end(self, sending: Sending, *, in_loop: bool) -> None:
        with self._lock:
            self._open.discard(sending)
        if in_loop:
            self._recorder.submit(self._record, sending)
        else:
            self._record(sending)

    def _record(self, sending: Sending) -> None:
        transfer = sending.transfer
        DOWNLOADS.labels(outcome=sending.outcome).inc()
        DOWNLOAD_BYTES.inc(sending.sent)
        try:
            finish_transfer(self._house, transfer, sent=sending.sent, outcome=sending.outcome, now=utc_now())
        except TicketgateError as error:  # the intent stands in the log, the bytes are gone: nothing is left to refuse
            logger("web").error("the end of a download was not recorded", download=transfer.download.id, code=error.slug)


class Sending(io.RawIOBase):
    """One byte range of an artifact as a seekable file."""

    def __init__(
        self, transfer: Transfer, *, ends: Callable[[Sending], None], stands: Callable[[Transfer], bool], in_loop: bool
    ) -> None:
        super().__init__()
        self.transfer = transfer
        self._ends, self._stands, self._in_loop = ends, stands, in_loop
        self._position = 0
        self._asked_at = time.monotonic()
        self._turn_ends = TURN
        self._why: str | None = None

    @property
    def sent(self) -> int:
        """Bytes that were taken."""
        return min(self._position, self.transfer.length)

    @property
    def outcome(self) -> str:
        """Complete, broken-off, damaged or revoked."""
        return self._why or ("complete" if self.sent == self.transfer.length else "broken-off")

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Position in the range."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move in the range."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.transfer.length}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Bytes from the present position, at most to the end of a chunk; nothing when others are to have their turn."""
        if self._in_loop and self._position >= self._turn_ends:
            self._turn_ends = self._position + TURN
            return b""
        left = self.transfer.length - self._position
        wanted = left if size < 0 else min(size, left)
        if wanted <= 0:
            return b""
        self._ask_again()
        block = self._plain(wanted)
        self._position += len(block)
        return block

    def _plain(self, wanted: int) -> bytes:
        reader = self.transfer.reader
        try:
            reader.seek(self.transfer.start + self._position)
            return bytes(reader.read(wanted) or b"")
        except (VerificationFailed, TicketgateError) as error:
            self._why = "damaged" if isinstance(error, VerificationFailed) else "broken-off"
            logger("web").error(
                "an artifact could not be read to its end", release_id=self.transfer.release.id,
                artifact=self.transfer.artifact.name, code=error.slug,
            )  # fmt: skip
            raise TransferStopped(error.detail) from error

    def _ask_again(self) -> None:
        if time.monotonic() - self._asked_at < RECHECK_SECONDS:
            return
        self._asked_at = time.monotonic()
        try:
            stands = self._stands(self.transfer)
        except TicketgateError:  # whether it stands is not known: nothing more is sent
            stands = False
        if not stands:
            self._why = "revoked"
            raise TransferStopped("the token does not stand any more")

    def blocks(self) -> Iterator[bytes]:
        """The whole range, for servers that iterate."""
        try:
            while block := self.read(BLOCK):
                yield block
        finally:
            self.close()

    def close(self) -> None:
        """Record the end, once."""
        if not self.closed:
            super().close()
            self._ends(self)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other
