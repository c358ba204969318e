"""Where a confidential source table lies, opened for the worker alone.

Invariants:
    - A path of a card is below the source root after every link is followed; anything else is refused by the same words,
      so that a card cannot be used to feel around on the machine.
    - An object of S3 is copied to the job's own folder and removed with it.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from gateway.storage.s3 import new_client
from gateway.storage.store import StoreUnavailable
from policies.card import DatasetCard
from policies.tables import TableInvalid

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["open_source", "resolve_source"]

BLOCK = 1 << 20
MOST_BYTES = 64 << 30


def resolve_source(source: str, *, root: Path) -> Path:
    """The file that a card names, below a root.

    Raises:
        TableInvalid: the path leaves the root, or there is no regular file.
    """
    outside = TableInvalid(
        "the card's source is not a file below the source folder: put it there and name it by its relative path"
    )
    relative = PurePosixPath(source)
    if relative.is_absolute() or ".." in relative.parts or "\0" in source or "\\" in source:
        raise outside
    try:
        base = root.resolve(strict=True)
        path = (base / relative).resolve(strict=True)
        is_file = stat.S_ISREG(path.stat().st_mode)
    except (OSError, RuntimeError, ValueError):
        raise outside from None
    if not path.is_relative_to(base) or not is_file:
        raise outside
    return path


@contextmanager
def open_source(
    card: DatasetCard, *, root: Path, scratch: Path, endpoint: str | None = None, client: S3Client | None = None
) -> Iterator[Path]:
    """The source table of a card as a file, for as long as the block lasts.

    Args:
        card: Its `spec.source` is a path below `root`, or `s3://bucket/key`.
        root: Folder of source tables.
        scratch: A folder of the job, readable by the worker alone; takes the copy of an S3 object.
        endpoint: S3 server other than AWS.
        client: An S3 client to use instead of a new one.

    Raises:
        TableInvalid: there is no such table.
        StoreUnavailable: the S3 server does not answer.
    """
    if not card.spec.source.startswith("s3://"):
        yield resolve_source(card.spec.source, root=root)
        return
    bucket, _, key = card.spec.source.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise TableInvalid("the card's source is not of the form s3://bucket/key")
    path = scratch / f"source-{hashlib.sha256(card.spec.source.encode()).hexdigest()[:16]}{PurePosixPath(key).suffix[:8]}"
    try:
        _fetch(client or new_client(endpoint=endpoint), bucket, key, path)
        yield path
    finally:
        path.unlink(missing_ok=True)


def _fetch(client: S3Client, bucket: str, key: str, path: Path) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = client.get_object(Bucket=bucket, Key=key)
        promised = answer["ContentLength"]
        if promised > MOST_BYTES:
            raise TableInvalid(f"the card's source is larger than {MOST_BYTES >> 30} GiB")
        with path.open("xb") as file:
            path.chmod(0o600)
            for block in answer["Body"].iter_chunks(BLOCK):
                file.write(block)
            got = file.tell()
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        if code in {"NoSuchKey", "NoSuchBucket", "404", "AccessDenied", "403"}:
            raise TableInvalid(f"the card's source cannot be read from S3 ({code})") from None
        raise StoreUnavailable(f"the S3 store refused to read a source table ({code})") from None
    except (BotoCoreError, OSError) as error:
        raise StoreUnavailable(f"a source table was not read to its end ({type(error).__name__})") from None
    if got != promised:
        raise StoreUnavailable("a source table was cut off on its way from S3")
