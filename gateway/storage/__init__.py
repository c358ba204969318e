"""Artifacts and their encryption, on local disk and on S3.

The readers of confidential source tables (`source`, `split`) and the bounded child process (`bounded`) are the worker's:
they are imported by their own names and never from here, so that the web process does not load them.

Invariants:
    - Names are written once, become visible whole, and hold sealed bytes only.
    - Plaintext leaves this room only after its chunk was verified.
"""

from gateway.storage.artifacts import SealedArtifact, digest_of, key_of, open_artifact, seal_artifact, store_of
from gateway.storage.envelope import DecryptingReader, encrypt, new_data_key
from gateway.storage.key_ring import KeyUnavailable, create_key_file, key_id_of, read_ring, write_ring
from gateway.storage.keys import FileKey, KeyWrapper, KmsKey
from gateway.storage.local import LocalStore
from gateway.storage.store import (
    ArtifactExists,
    ArtifactMissing,
    ArtifactStore,
    EncryptionRefused,
    StoredArtifact,
    StoreUnavailable,
    artifact_name,
    sweep,
)

__all__ = [
    "ArtifactExists", "ArtifactMissing", "ArtifactStore", "DecryptingReader", "EncryptionRefused", "FileKey", "KeyUnavailable",
    "KeyWrapper", "KmsKey", "LocalStore", "SealedArtifact", "StoreUnavailable", "StoredArtifact", "artifact_name",
    "create_key_file", "digest_of", "encrypt", "key_id_of", "key_of", "new_data_key", "open_artifact", "read_ring",
    "seal_artifact", "store_of", "sweep", "write_ring",
]  # fmt: skip
