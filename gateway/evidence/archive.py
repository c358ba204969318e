"""A zip that is the same whenever it is written, and is read as a hostile one.

Invariants:
    - Equal members give equal bytes: sorted names, one time stamp, no compression, no platform in the headers.
    - Reading bounds the archive, its members and their number before anything is unpacked, refuses every name that is not
      plain, and writes nothing to disk.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Mapping

from gateway.errors import VerificationFailed

__all__ = ["MAX_ARCHIVE", "read_archive", "write_archive"]

EPOCH = (1980, 1, 1, 0, 0, 0)
PLAIN_FILE = 0o100644 << 16
UNIX = 3
MAX_ARCHIVE = 64 << 20
MAX_MEMBERS = 512
SAFE = re.compile(r"(?:proofs/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


def write_archive(members: Mapping[str, bytes]) -> bytes:
    """Write a zip. Members are stored as they are: a compressor's next version would write other bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system, entry.external_attr = UNIX, PLAIN_FILE
            archive.writestr(entry, members[name])
    return stream.getvalue()


def read_archive(raw: bytes) -> dict[str, bytes]:
    """Read a zip that anybody may have written.

    Args:
        raw: The archive.

    Raises:
        VerificationFailed: it is too large, is no zip, or holds a member that an evidence file cannot hold.
    """
    if len(raw) > MAX_ARCHIVE:
        raise VerificationFailed(f"the archive is larger than {MAX_ARCHIVE >> 20} MiB")
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            entries = archive.infolist()
            _check(entries)
            return {entry.filename: archive.read(entry) for entry in entries}
    except (
        zipfile.BadZipFile,
        struct.error,
        NotImplementedError,
        EOFError,
        ValueError,
        RuntimeError,
        OverflowError,
        OSError,
    ) as error:
        raise VerificationFailed(f"the archive cannot be read: {str(error)[:120] or type(error).__name__}") from error


def _check(entries: list[zipfile.ZipInfo]) -> None:
    names = [entry.filename for entry in entries]
    if len(names) > MAX_MEMBERS or len(set(names)) != len(names):
        raise VerificationFailed("the archive holds too many members, or one twice")
    for entry in entries:
        if not SAFE.match(entry.filename) or ".." in entry.filename:
            raise VerificationFailed(f"the archive holds a member that cannot be: {entry.filename[:80]!r}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size or entry.flag_bits & 1:
            raise VerificationFailed(f"{entry.filename} is compressed or encrypted; an evidence file stores its members")
    if sum(entry.file_size for entry in entries) > MAX_ARCHIVE:
        raise VerificationFailed(f"the archive unpacks to more than {MAX_ARCHIVE >> 20} MiB")
