"""Public keys of principals and of the gateway: Ed25519 and P-256, from JWK or PEM, named by their RFC 7638 thumbprint.

Invariants:
    - A `PublicKey` can only be one of two kinds, and its algorithm follows from its kind; nothing else says which it is.
    - A private key, a symmetric key, a key for encryption, a point off the curve or of small order cannot be loaded.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from gateway.access.strict_json import NotStrictJson, parse_object
from gateway.errors import InvalidRequest

__all__ = ["Algorithm", "PublicKey", "decode_segment", "encode_segment", "load_public_key", "public_key_of", "thumbprint"]

Algorithm = Literal["EdDSA", "ES256"]
CryptoKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey

MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {"OKP": ("crv", "kty", "x"), "EC": ("crv", "kty", "x", "y")}
ALGORITHMS: Final[Mapping[tuple[str, str], Algorithm]] = {("OKP", "Ed25519"): "EdDSA", ("EC", "P-256"): "ES256"}
COMPANIONS: Final = frozenset({"alg", "use", "key_ops", "kid"})
COORDINATE = re.compile(r"[A-Za-z0-9_-]{43}\Z")
MAX_KEY_BYTES = 4096
WORDS = "a public key is an Ed25519 or P-256 key as JWK or PEM"

# Curve25519 (RFC 8032, 5.1): the field, the constant d, and the y of the points whose order divides 8.
FIELD = 2**255 - 19
CURVE_D = -121665 * pow(121666, FIELD - 2, FIELD) % FIELD
ORDER_8_Y = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SMALL_ORDER_Y: Final = frozenset({0, 1, FIELD - 1, ORDER_8_Y, FIELD - ORDER_8_Y})


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A verification key.

    Attributes:
        algorithm: `EdDSA` (Ed25519) or `ES256` (P-256): follows from the key, never from a message.
        jwk: The required members of RFC 7638, nothing else.
        thumbprint: base64url SHA-256 of those members; the only name a key has.
    """

    algorithm: Algorithm
    jwk: Mapping[str, str]
    thumbprint: str

    def crypto_key(self) -> CryptoKey:
        """The key as the signature library takes it."""
        return _crypto_key(self.jwk["x"], self.jwk.get("y"))

    def raw_bytes(self) -> bytes:
        """The 32 bytes of an Ed25519 key, or x and y of a P-256 key."""
        return b"".join(decode_segment(self.jwk[name]) for name in ("x", "y") if name in self.jwk)

    def pem(self) -> str:
        """SubjectPublicKeyInfo in PEM."""
        encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return self.crypto_key().public_bytes(encoding, form).decode("ascii")


def encode_segment(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def decode_segment(text: str) -> bytes:
    """Inverse of `encode_segment`, for text that is known to be in the alphabet.

    Raises:
        ValueError: the text is not the one spelling of its bytes.
    """
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if encode_segment(raw) != text:
        raise ValueError("not the canonical spelling")
    return raw


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """RFC 7638 thumbprint (SHA-256, base64url) of the required members of a JWK."""
    members = {name: jwk[name] for name in MEMBERS[jwk["kty"]]}
    return encode_segment(hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest())


def public_key_of(jwk: Mapping[str, Any]) -> PublicKey:
    """A public key from a JWK: the required members, and of the optional ones only those that agree with signing.

    Raises:
        InvalidRequest: anything else, with the reason.
    """
    kind = jwk.get("kty"), jwk.get("crv")
    algorithm = ALGORITHMS.get(kind) if all(isinstance(part, str) for part in kind) else None  # type: ignore[arg-type]
    if "d" in jwk or "k" in jwk:
        raise InvalidRequest("this is a private key; register the public one")
    if algorithm is None:
        raise InvalidRequest(WORDS)
    required = MEMBERS[jwk["kty"]]
    unknown = sorted(set(jwk) - set(required) - COMPANIONS)
    if unknown:
        raise InvalidRequest(f"the JWK has members that a public signing key does not have: {', '.join(unknown)[:200]}")
    _check_companions(jwk, algorithm)
    coordinates = [jwk.get(name) for name in required if name in ("x", "y")]
    if not all(isinstance(value, str) and COORDINATE.match(value) for value in coordinates):
        raise InvalidRequest("a coordinate of the JWK is not 32 bytes in base64url")
    return _checked(algorithm, *cast("list[str]", coordinates))


def _check_companions(jwk: Mapping[str, Any], algorithm: Algorithm) -> None:
    agrees = {
        "alg": jwk.get("alg", algorithm) in ((algorithm, "Ed25519") if algorithm == "EdDSA" else (algorithm,)),
        "use": jwk.get("use", "sig") == "sig",
        "key_ops": jwk.get("key_ops", ["verify"]) == ["verify"],
        "kid": isinstance(jwk.get("kid", ""), str),
    }
    wrong = [name for name, does in agrees.items() if not does]
    if wrong:
        raise InvalidRequest(f"the JWK is not a key for verifying {algorithm} signatures: {', '.join(wrong)}")


@lru_cache(maxsize=4096)
def _crypto_key(x: str, y: str | None) -> CryptoKey:
    if y is None:
        return ed25519.Ed25519PublicKey.from_public_bytes(decode_segment(x))
    across, up = (int.from_bytes(decode_segment(part), "big") for part in (x, y))
    return ec.EllipticCurvePublicNumbers(across, up, ec.SECP256R1()).public_key()


@lru_cache(maxsize=4096)
def _checked(algorithm: Algorithm, x: str, y: str | None = None) -> PublicKey:
    """The key of a point that is on its curve and has a large order. Remembered, because every use asks."""
    try:
        _crypto_key(x, y)
    except ValueError as error:
        raise InvalidRequest("the key is not a point on its curve") from error
    if y is None and not _is_sound_ed25519(decode_segment(x)):
        raise InvalidRequest("the key is not a point on its curve, or one of small order")
    members = {"crv": "Ed25519", "kty": "OKP", "x": x} if y is None else {"crv": "P-256", "kty": "EC", "x": x, "y": y}
    return PublicKey(algorithm, MappingProxyType(members), thumbprint(members))


def _is_sound_ed25519(raw: bytes) -> bool:
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    x_squared = (y * y - 1) * pow(CURVE_D * y * y + 1, FIELD - 2, FIELD) % FIELD
    is_on_curve = y < FIELD and (x_squared == 0 or pow(x_squared, (FIELD - 1) // 2, FIELD) == 1)
    return is_on_curve and y not in SMALL_ORDER_Y


def load_public_key(material: str | bytes | Mapping[str, Any]) -> PublicKey:
    """A public key from a JWK (mapping or JSON text) or PEM (SubjectPublicKeyInfo).

    Raises:
        InvalidRequest: not an Ed25519 or P-256 public key.
    """
    if isinstance(material, Mapping):
        return public_key_of(material)
    raw = material.encode() if isinstance(material, str) else material
    if len(raw) > MAX_KEY_BYTES:
        raise InvalidRequest(f"a public key has at most {MAX_KEY_BYTES} bytes")
    if raw.lstrip().startswith(b"{"):
        try:
            return public_key_of(parse_object(raw.strip()))
        except NotStrictJson as error:
            raise InvalidRequest(WORDS) from error
    if b"PRIVATE KEY" in raw:
        raise InvalidRequest("this is a private key; register the public one")
    try:
        key = serialization.load_pem_public_key(raw)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidRequest(WORDS) from error
    return public_key_of(jwk_of(key))


def jwk_of(key: object) -> dict[str, str]:
    """The required JWK members of a library key; empty for a kind that is not accepted."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return {"crv": "Ed25519", "kty": "OKP", "x": encode_segment(raw)}
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        numbers = key.public_numbers()
        x, y = (encode_segment(value.to_bytes(32, "big")) for value in (numbers.x, numbers.y))
        return {"crv": "P-256", "kty": "EC", "x": x, "y": y}
    return {}
