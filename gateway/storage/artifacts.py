"""Write and open the artifacts of releases: seal, name, digest; unseal, check, range.

Invariants:
    - The digest that is stored is of the plaintext that was read here, byte for byte; the store never sees plaintext.
    - A name in the store carries fence and digest, so a revived worker can neither replace nor imitate an artifact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.settings import Settings
from gateway.storage.envelope import CHUNK, DecryptingReader, encrypt
from gateway.storage.keys import FileKey, KeyWrapper, KmsKey
from gateway.storage.local import LocalStore
from gateway.storage.store import ArtifactStore, StoredBytes, artifact_name

__all__ = ["SealedArtifact", "digest_of", "key_of", "open_artifact", "seal_artifact", "store_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedArtifact:
    """An artifact as the database remembers it: where it is, and size and SHA-256 of its plaintext."""

    name: str
    filename: str
    size: int
    digest: str


def digest_of(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest


def seal_artifact(
    store: ArtifactStore, path: Path, *, release_id: str, fence: int, filename: str, data_key: bytes
) -> SealedArtifact:
    """Encrypt a file into the store under its fence and digest.

    Raises:
        ArtifactExists: this very attempt has written it before.
        StoreUnavailable: nothing was written.
        ValueError: the file changed while it was written; it is not kept.
    """
    size, digest = digest_of(path)
    name = artifact_name(release_id=release_id, fence=fence, digest=digest, filename=filename)
    seen = hashlib.sha256()
    store.put(name, encrypt(_blocks(path, seen), data_key=data_key, name=name))
    if seen.hexdigest() != digest:
        store.delete(name)
        raise ValueError("the file changed while it was stored")
    return SealedArtifact(name=name, filename=filename, size=size, digest=digest)


def _blocks(path: Path, seen: hashlib._Hash) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            seen.update(block)
            yield block


def open_artifact(store: ArtifactStore, name: str, *, data_key: bytes) -> DecryptingReader:
    """Open an artifact as a seekable file of verified plaintext.

    Raises:
        ArtifactMissing: the store has no such name.
        VerificationFailed: it is not what was written.
    """
    return DecryptingReader(StoredBytes(store, name), data_key=data_key, name=name)


def store_of(settings: Settings) -> ArtifactStore:
    """The artifact store that the settings name: a folder, or `s3://bucket/prefix`."""
    url = settings.artifacts_url
    if not url.startswith("s3://"):
        return LocalStore(Path(url))
    from gateway.storage.s3 import S3Store, new_client

    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return S3Store(
        client=new_client(endpoint=settings.s3_endpoint),
        bucket=bucket,
        prefix=f"{prefix.strip('/')}/" if prefix.strip("/") else "",
        encryption=settings.s3_encryption,
        kms_key=settings.s3_kms_key,
    )


def key_of(settings: Settings) -> KeyWrapper:
    """The key-encryption key that the settings name: a KMS key, or the master key file.

    Raises:
        KeyUnavailable: the file is missing or may be read by others.
    """
    if settings.kms_key is not None:
        return KmsKey(settings.kms_key)
    return FileKey(settings.master_key_file or settings.keys_folder / "master.key")
