"""Artifacts in an S3 bucket.

Invariants:
    - Create-only: every write carries `If-None-Match: *`; a repeated write of ours is told from another writer's by a nonce.
    - After every write the response must name the encryption that was asked for, else the object is removed and it is an
      error: a server may take the wish and ignore it.
    - An object becomes visible whole. What is cut off on its way down is an error, never a shorter artifact.
"""

from __future__ import annotations

import hashlib
import secrets
import tempfile
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from typing import IO, TYPE_CHECKING, Any, Literal, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from gateway.storage.store import (
    ArtifactExists,
    ArtifactMissing,
    EncryptionRefused,
    StoredArtifact,
    StoreUnavailable,
    check_name,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

__all__ = ["S3Encryption", "S3Store", "new_client"]

S3Encryption = Literal["none", "aws:kms", "AES256"]
SPOOL = 32 << 20
ONE_PUT = 4 << 30
PART = 256 << 20
MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
TAKEN = frozenset({"412", "PreconditionFailed"})
NONCE = "ticketgate-writer"
CLAIMS = ".claims/"


def new_client(*, endpoint: str | None = None, connect_timeout: int = 5, read_timeout: int = 60) -> S3Client:
    """An S3 client; credentials come from the usual places of the AWS configuration."""
    config = Config(
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": 3},
        signature_version="s3v4",
        s3={"addressing_style": "path" if endpoint else "auto"},
        # Content-MD5 is sent and lengths are checked here; trailing checksums are unknown to many servers.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    client: S3Client = boto3.session.Session().client("s3", endpoint_url=endpoint, config=config)
    return client


@contextmanager
def _spoken(doing: str) -> Iterator[None]:
    """Put the errors of a server or of the way to it into the words of a store."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        raise StoreUnavailable(f"the S3 store refused {doing} ({code})") from None
    except (BotoCoreError, OSError) as error:
        raise StoreUnavailable(f"the S3 store did not finish {doing} ({type(error).__name__})") from None


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@dataclass(frozen=True, slots=True)
class S3Store:
    """An artifact store below a prefix of one bucket.

    Attributes:
        client: From `new_client`.
        bucket: An existing bucket.
        prefix: Put before every name, with a slash at its end, or empty.
        encryption: Server-side encryption to ask for, beside our own envelope.
        kms_key: Key id for `aws:kms`.
    """

    client: S3Client
    bucket: str
    prefix: str = ""
    encryption: S3Encryption = "none"
    kms_key: str | None = None

    def put(self, name: str, blocks: Iterable[bytes]) -> int:
        """Write a new name. The sealed bytes are spooled first, so that their length and digest are known."""
        key = self._key(name)
        with tempfile.SpooledTemporaryFile(max_size=SPOOL) as spool:
            digest = hashlib.md5(usedforsecurity=False)
            size = 0
            for block in blocks:
                digest.update(block)
                size += spool.write(block)
            spool.seek(0)
            nonce = secrets.token_hex(16)
            with _spoken("to write an artifact"):
                try:
                    answer = (
                        self._put_whole(key, cast("IO[bytes]", spool), size, digest.digest(), nonce)
                        if size <= ONE_PUT
                        else self._put_parts(key, cast("IO[bytes]", spool), nonce)
                    )
                except ClientError as error:
                    if _code(error) not in TAKEN:
                        raise
                    answer = self._own(key, name, nonce, size)
        self._check_encryption(answer, key)
        return size

    def _wish(self) -> dict[str, Any]:
        if self.encryption == "none":
            return {}
        wish: dict[str, Any] = {"ServerSideEncryption": self.encryption}
        return wish | ({"SSEKMSKeyId": self.kms_key} if self.encryption == "aws:kms" and self.kms_key else {})

    def _put_whole(self, key: str, body: IO[bytes], size: int, digest: bytes, nonce: str) -> dict[str, Any]:
        answer = self.client.put_object(
            Bucket=self.bucket,
            Key=key,
            Body=body,
            ContentLength=size,
            ContentMD5=b64encode(digest).decode(),
            IfNoneMatch="*",
            Metadata={NONCE: nonce},
            **self._wish(),
        )
        return dict(answer)

    def _put_parts(self, key: str, body: IO[bytes], nonce: str) -> dict[str, Any]:
        """Beyond the size of one request: a create-only claim first, since servers ignore conditions on a completion."""
        self.client.put_object(Bucket=self.bucket, Key=self._claim(key), Body=b"", IfNoneMatch="*")
        if self._is_there(key):
            raise ArtifactExists(f"the artifact {key.removeprefix(self.prefix)} was written before")
        started = self.client.create_multipart_upload(Bucket=self.bucket, Key=key, Metadata={NONCE: nonce}, **self._wish())
        where = {"Bucket": self.bucket, "Key": key, "UploadId": started["UploadId"]}
        try:
            parts: list[CompletedPartTypeDef] = []
            for number, block in enumerate(iter(lambda: body.read(PART), b""), start=1):
                digest = b64encode(hashlib.md5(block, usedforsecurity=False).digest()).decode()
                done = self.client.upload_part(**where, PartNumber=number, Body=block, ContentMD5=digest)  # type: ignore[arg-type]
                parts.append({"ETag": done["ETag"], "PartNumber": number})
            return dict(self.client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts}, IfNoneMatch="*"))  # type: ignore[arg-type]
        except (ClientError, BotoCoreError):
            self.client.abort_multipart_upload(**where)  # type: ignore[arg-type]
            raise

    def _is_there(self, key: str) -> bool:
        try:
            self.client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if _code(error) in MISSING:
                return False
            raise
        return True

    def _claim(self, key: str) -> str:
        return f"{self.prefix}{CLAIMS}{key.removeprefix(self.prefix)}"

    def _own(self, key: str, name: str, nonce: str, size: int) -> dict[str, Any]:
        """The object that made our write fail, when it is our own first attempt whose answer was lost."""
        try:
            there = self.client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if _code(error) in MISSING:  # somebody's claim stands, their parts do not yet
                raise ArtifactExists(f"the artifact {name} is being written") from None
            raise
        if there.get("Metadata", {}).get(NONCE) != nonce or there["ContentLength"] != size:
            raise ArtifactExists(f"the artifact {name} was written before")
        return dict(there)

    def _check_encryption(self, answer: dict[str, Any], key: str) -> None:
        wanted = self._wish()
        named = {part: answer.get(part) for part in wanted}
        same_key = self.kms_key is None or str(named.get("SSEKMSKeyId") or "").endswith(self.kms_key)
        if wanted and (named["ServerSideEncryption"] != self.encryption or ("SSEKMSKeyId" in wanted and not same_key)):
            with _spoken("to remove an artifact that it did not encrypt"):
                self.client.delete_object(Bucket=self.bucket, Key=key)
            raise EncryptionRefused(
                f"the S3 store did not confirm the encryption {self.encryption}: the artifact was removed again"
            )

    def size(self, name: str) -> int:
        """Stored bytes of a name."""
        with _spoken("to look at an artifact"):
            try:
                return self.client.head_object(Bucket=self.bucket, Key=self._key(name))["ContentLength"]
            except ClientError as error:
                raise self._missing(error, name) from None

    def fetch(self, name: str, start: int, length: int) -> bytes:
        """Part of the stored bytes."""
        if length <= 0:
            return b""
        with _spoken("to read an artifact"):
            try:
                span = f"bytes={start}-{start + length - 1}"
                answer = self.client.get_object(Bucket=self.bucket, Key=self._key(name), Range=span)
            except ClientError as error:
                if _code(error) in {"InvalidRange", "416"}:
                    return b""
                raise self._missing(error, name) from None
            block = answer["Body"].read()
        if len(block) != answer["ContentLength"] or len(block) > length:
            raise StoreUnavailable("the S3 store sent another number of bytes than it promised")
        return block

    @staticmethod
    def _missing(error: ClientError, name: str) -> Exception:
        return ArtifactMissing(f"the store has no artifact {name}") if _code(error) in MISSING else error

    def names(self, prefix: str = "") -> Iterator[StoredArtifact]:
        """Everything whose name starts with a prefix, in order."""
        with _spoken("to list artifacts"):
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix + prefix)
            for page in pages:
                for found in page.get("Contents", []):
                    name = found["Key"].removeprefix(self.prefix)
                    if name.startswith(CLAIMS):
                        continue
                    yield StoredArtifact(name, found["Size"], found["LastModified"].astimezone(UTC))

    def first_versions(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Name and version of the first writing of every name; a bucket lists the versions of a key from the newest on."""
        with _spoken("to list versions"):
            pages = self.client.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=self.prefix + prefix)
            last: tuple[str, str] | None = None
            for found in (version for page in pages for version in page.get("Versions", [])):
                if last is not None and last[0] != found["Key"]:
                    yield last[0].removeprefix(self.prefix), last[1]
                last = found["Key"], found["VersionId"]
            if last is not None:
                yield last[0].removeprefix(self.prefix), last[1]

    def fetch_version(self, name: str, version: str) -> bytes:
        """All bytes of one version."""
        with _spoken("to read a version"):
            return self.client.get_object(Bucket=self.bucket, Key=self._key(name), VersionId=version)["Body"].read()

    def delete(self, name: str) -> None:
        """Remove a name; with versioning on, the data key's destruction is what removes old versions."""
        with _spoken("to remove an artifact"):
            for key in (self._key(name), self._claim(self._key(name))):
                self.client.delete_object(Bucket=self.bucket, Key=key)

    def check(self, *, writes: bool = True) -> None:
        """Ask for one name; a write is not tried, it would have to be removed again."""
        del writes
        with _spoken("to list artifacts"):
            self.client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)

    def _key(self, name: str) -> str:
        return self.prefix + check_name(name)
