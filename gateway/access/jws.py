"""The one door for signed messages: a compact JWS is opened here, strictly, or not at all.

What PyJWT forgives is refused before it sees the message: other shapes, other spellings of the same bytes, header
members that the purpose does not have, members that stand twice. PyJWT then verifies the signature, with the one algorithm
that follows from the key.

Invariants:
    - A message has one spelling: three base64url parts without padding or spare bits, and a signature of 64 bytes.
    - The header has exactly the members of its profile. Nothing in a header names an algorithm, a key or an address to be used.
    - Unverified parts carry the prefix `unverified_`; `Profile.open` is the only way to a verified payload.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NoReturn

import jwt
from jwt.algorithms import OKPAlgorithm

from gateway.access.private_keys import PrivateKey
from gateway.access.public_keys import Algorithm, PublicKey, decode_segment, encode_segment, public_key_of
from gateway.access.refusal import refusal
from gateway.access.strict_json import NotStrictJson, parse_object

__all__ = [
    "ACCESS_TOKEN", "CLIENT_ASSERTION", "DPOP_PROOF", "RELEASE_REQUEST", "RELEASE_TOKEN", "Profile", "UnverifiedJws",
    "digest_of", "sign", "signature_holds",
]  # fmt: skip

SHAPE: Final = re.compile(r"([A-Za-z0-9_-]{1,2048})\.([A-Za-z0-9_-]{1,24576})\.([A-Za-z0-9_-]{86})\Z")
# Public keys of RFC 8037 (appendix A) and RFC 7515 (appendix A.3): nobody here signs with them.
DECOYS: Final[Mapping[Algorithm, PublicKey]] = {
    "EdDSA": public_key_of({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
    "ES256": public_key_of(
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        }
    ),
}
# The name of the algorithm follows from the key. RFC 9864 gives EdDSA with this curve a name of its own, which newer
# libraries write; it is accepted where libraries write, and is the same algorithm.
OWN_NAMES: Final[Mapping[str, Algorithm]] = {"EdDSA": "EdDSA", "ES256": "ES256"}
ALL_NAMES: Final[Mapping[str, Algorithm]] = {**OWN_NAMES, "Ed25519": "EdDSA"}
_LIBRARY = jwt.PyJWS(algorithms=["EdDSA", "ES256"])
_LIBRARY.register_algorithm("Ed25519", OKPAlgorithm())


@dataclass(frozen=True, slots=True)
class UnverifiedJws:
    """A message taken apart, nothing of it believed yet."""

    raw: str
    unverified_header: Mapping[str, Any]
    unverified_payload: bytes

    def unverified_claims(self) -> dict[str, Any]:
        """The claims, to find out whose key to verify with.

        Raises:
            NotAuthenticated: the payload is not one unambiguous JSON object.
        """
        try:
            return parse_object(self.unverified_payload)
        except NotStrictJson:
            raise refusal("payload-not-json") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The header that one purpose has.

    Attributes:
        purpose: For the log.
        types: Allowed `typ`, compared exactly.
        needs_type: Whether `typ` must stand there.
        names: What `alg` may say, and which algorithm that is.
        key: How the key is named: by `kid`, by `kid` or not at all, or by a whole `jwk`.
        max_bytes: Bound that is checked before anything is parsed.
    """

    purpose: str
    types: frozenset[str]
    needs_type: bool = True
    names: Mapping[str, Algorithm] = field(default_factory=lambda: OWN_NAMES)
    key: Literal["kid", "optional-kid", "jwk"] = "kid"
    max_bytes: int

    def take_apart(self, raw: bytes | str) -> UnverifiedJws:
        """Check size, shape and header.

        Raises:
            NotAuthenticated: not a message of this purpose.
        """
        if len(raw) > self.max_bytes:
            raise refusal("too-long")
        try:
            text = raw if isinstance(raw, str) else raw.decode("ascii")
        except UnicodeDecodeError:
            raise refusal("shape") from None
        shape = SHAPE.match(text)
        if shape is None:
            raise refusal("shape")
        try:
            header_raw, payload, _signature = (decode_segment(part) for part in shape.groups())
        except ValueError:
            raise refusal("spelling") from None
        try:
            header = parse_object(header_raw)
        except NotStrictJson:
            raise refusal("header-not-json") from None
        self._check_header(header)
        return UnverifiedJws(text, header, payload)

    def _check_header(self, header: Mapping[str, Any]) -> None:
        required = {"alg"} | ({"typ"} if self.needs_type else set()) | ({self.key} if self.key in ("kid", "jwk") else set())
        allowed = required | {"typ"} | ({"kid"} if self.key == "optional-kid" else set())
        if not required <= set(header) <= allowed:
            raise refusal("header-members")
        if not all(isinstance(header[name], str) for name in ("alg", "typ", "kid") if name in header):
            raise refusal("header-types")
        if header["alg"] not in self.names:
            raise refusal("algorithm")
        if "typ" in header and header["typ"] not in self.types:
            raise refusal("type")

    def open(self, message: UnverifiedJws, key: PublicKey | None) -> dict[str, Any]:
        """Verify the signature with the algorithm of the key, and give the claims.

        An unknown key costs as much time as a wrong signature.

        Raises:
            NotAuthenticated: the key is unknown, of another algorithm, or the signature does not hold.
        """
        if key is None:
            self.refuse_unknown_key(message)
        name = message.unverified_header["alg"]
        if self.names[name] != key.algorithm:
            raise refusal("algorithm-of-another-key")
        if not signature_holds(key, message.raw, name=name):
            raise refusal("signature")
        return message.unverified_claims()

    def refuse_unknown_key(self, message: UnverifiedJws) -> NoReturn:
        """Refuse, after as much work as a wrong signature takes.

        Raises:
            NotAuthenticated: always.
        """
        name = message.unverified_header["alg"]
        signature_holds(DECOYS[self.names[name]], message.raw, name=name)
        raise refusal("unknown-key")


def signature_holds(key: PublicKey, message: str, *, name: str) -> bool:
    """Whether a compact JWS is signed with this key, under the one algorithm the key has.

    Args:
        key: A key of ours or of a principal.
        message: As taken apart.
        name: What the header calls the algorithm; the caller has compared it with the key's.
    """
    try:
        _LIBRARY.decode(message, key=key.crypto_key(), algorithms=[name])
    except jwt.InvalidTokenError:
        return False
    return True


def sign(header: Mapping[str, Any], payload: bytes, key: PrivateKey) -> str:
    """A compact JWS; `alg` is set from the key."""
    return _LIBRARY.encode(payload, key=key.crypto_key, algorithm=key.algorithm, headers={**header, "alg": key.algorithm})


def digest_of(raw: bytes | str) -> str:
    """SHA-256 of the message as sent, in hex."""
    return hashlib.sha256(raw.encode("ascii") if isinstance(raw, str) else raw).hexdigest()


def access_hash(token: str) -> str:
    """`ath` of RFC 9449: base64url SHA-256 of an access token."""
    return encode_segment(hashlib.sha256(token.encode("ascii")).digest())


RELEASE_REQUEST = Profile(purpose="release-request", types=frozenset({"release-request+jwt"}), max_bytes=16 * 1024)
CLIENT_ASSERTION = Profile(
    purpose="client-assertion",
    types=frozenset({"JWT", "client-authentication+jwt"}),
    needs_type=False,
    names=ALL_NAMES,
    key="optional-kid",
    max_bytes=8 * 1024,
)
ACCESS_TOKEN = Profile(purpose="access-token", types=frozenset({"at+jwt"}), max_bytes=8 * 1024)
RELEASE_TOKEN = Profile(purpose="release-token", types=frozenset({"release+jwt"}), max_bytes=8 * 1024)
DPOP_PROOF = Profile(purpose="dpop-proof", types=frozenset({"dpop+jwt"}), names=ALL_NAMES, key="jwk", max_bytes=4 * 1024)
