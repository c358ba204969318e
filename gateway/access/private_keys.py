"""Private keys of people: made, written to a file nobody else can read, and loaded again.

Invariants:
    - The private file exists with mode 0600 from its first byte, and an existing file is never overwritten.
    - Loading refuses a file that others can read.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from gateway.access.public_keys import Algorithm, PublicKey, jwk_of, public_key_of
from gateway.errors import Conflict, InvalidRequest

__all__ = ["PrivateKey", "generate_keypair", "load_private_key", "private_key_of_pem", "write_keypair"]

OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A signing key with its public half. Its text form shows the thumbprint only."""

    crypto_key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
    public: PublicKey

    def __repr__(self) -> str:
        return f"PrivateKey({self.public.thumbprint})"

    @property
    def algorithm(self) -> Algorithm:
        """`EdDSA` or `ES256`."""
        return self.public.algorithm

    @property
    def thumbprint(self) -> str:
        """RFC 7638 thumbprint of the public half."""
        return self.public.thumbprint

    def sign_bytes(self, message: bytes) -> bytes:
        """The raw signature of 64 bytes: Ed25519, or r and s of ECDSA with SHA-256."""
        if isinstance(self.crypto_key, ed25519.Ed25519PrivateKey):
            return self.crypto_key.sign(message)
        r, s = decode_dss_signature(self.crypto_key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def pem(self) -> bytes:
        """PKCS #8 without encryption: only for a file with mode 0600 or for sealing."""
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return self.crypto_key.private_bytes(encoding, form, serialization.NoEncryption())


def generate_keypair(algorithm: Algorithm = "EdDSA") -> PrivateKey:
    """A new key pair from the operating system's randomness; its thumbprint does not look like a command line option."""
    while True:
        made = ed25519.Ed25519PrivateKey.generate() if algorithm == "EdDSA" else ec.generate_private_key(ec.SECP256R1())
        key = PrivateKey(made, public_key_of(jwk_of(made.public_key())))
        if not key.thumbprint.startswith("-"):
            return key


def write_keypair(path: Path, key: PrivateKey | None = None) -> PrivateKey:
    """Write `ana.pem` (0600) and `ana.pub.pem` beside it; a new key when none is given.

    Raises:
        Conflict: one of the files exists.
    """
    key = key or generate_keypair()
    public_path = path.with_suffix(".pub.pem")
    if path.exists() or public_path.exists():
        raise Conflict(f"{path.name} or {public_path.name} exists already; a key is never overwritten")
    path.parent.mkdir(parents=True, exist_ok=True)
    for target, content, mode in ((path, key.pem(), 0o600), (public_path, key.public.pem().encode(), 0o644)):
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
    return key


def load_private_key(path: Path) -> PrivateKey:
    """Read a private key from a PEM file with mode 0600.

    Raises:
        InvalidRequest: the file is missing, others can read it, or it holds no Ed25519 or P-256 key.
    """
    try:
        mode, raw = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"the key file {path.name} cannot be read") from error
    if mode & OTHERS:
        raise InvalidRequest(f"the key file {path.name} can be read by others", unlock=(f"chmod 600 {path}",))
    return private_key_of_pem(raw)


def private_key_of_pem(raw: bytes) -> PrivateKey:
    """A private key from PKCS #8 or SEC 1 text without a passphrase.

    Raises:
        InvalidRequest: anything else.
    """
    try:
        key = serialization.load_pem_private_key(raw, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidRequest("the file holds no unencrypted private key in PEM") from error
    if not isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
        raise InvalidRequest("the private key is neither Ed25519 nor P-256")
    return PrivateKey(key, public_key_of(jwk_of(key.public_key())))
