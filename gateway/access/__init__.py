"""Who speaks, and what they may fetch: principals, keys, signed requests, access and release tokens.

Front door of the room. Everything here is pure or takes an open `Work`; time is always an argument. PyJWT is used in this
room only, behind `Profile`.
"""

from __future__ import annotations

from gateway.access.access_tokens import AccessFacts, issue_access_token, verify_access_token
from gateway.access.assertions import verify_client_assertion
from gateway.access.downloads import DownloadFacts, Downloads
from gateway.access.facts import KeyFacts, Principal, RegisteredKey
from gateway.access.gateway_keys import JWKS_MAX_AGE, GatewayKey, GatewayKeys, KeyEvent, Signer
from gateway.access.lifetime import Lifetime
from gateway.access.limits import LIMITS, RateLimit, address_key, principal_key
from gateway.access.principals import Principals
from gateway.access.private_keys import PrivateKey, generate_keypair, load_private_key, write_keypair
from gateway.access.proofs import ProofContext
from gateway.access.public_keys import PublicKey, load_public_key, thumbprint
from gateway.access.refusal import reason_of
from gateway.access.release_tokens import IssuedToken, KnownToken, ReleaseTokens, TokenFacts, TokenSubject
from gateway.access.replay import FirstUse, Repeated, ReplayGuard
from gateway.access.requests import ReleaseClaims, VerifiedRequest, verify_release_request
from gateway.access.resealing import older_seals, reseal_keys
from gateway.access.revocations import RevocationFacts, Revocations
from gateway.access.scopes import ACCESS, ROLES, SCOPES, Access, scopes_of
from gateway.access.sealing import (
    FileSealing,
    KmsSealing,
    NoSealing,
    PassphraseSealing,
    Sealing,
    replace_secrets,
    sealing_from_file,
)
from gateway.access.signing import client_assertion, dpop_proof, new_jti, sign_request
from gateway.access.token_calls import introspect, revoke
from gateway.access.token_endpoint import TokenDenied, TokenGranted, answer_token_request, server_metadata

__all__ = [
    "ACCESS", "JWKS_MAX_AGE", "LIMITS", "ROLES", "SCOPES", "Access", "AccessFacts", "DownloadFacts", "Downloads", "FileSealing",
    "FirstUse", "GatewayKey", "GatewayKeys", "IssuedToken", "KeyEvent", "KeyFacts", "KmsSealing", "KnownToken", "Lifetime",
    "NoSealing",
    "PassphraseSealing", "Principal", "Principals", "PrivateKey", "ProofContext", "PublicKey", "RateLimit", "RegisteredKey",
    "ReleaseClaims", "ReleaseTokens", "Repeated", "ReplayGuard", "RevocationFacts", "Revocations", "Sealing", "Signer",
    "TokenDenied", "TokenFacts", "TokenGranted", "TokenSubject", "VerifiedRequest", "address_key", "answer_token_request",
    "client_assertion", "dpop_proof", "generate_keypair", "introspect", "issue_access_token", "load_private_key",
    "load_public_key", "new_jti", "older_seals", "principal_key", "reason_of", "replace_secrets", "reseal_keys", "revoke",
    "scopes_of", "sealing_from_file", "server_metadata", "sign_request", "thumbprint", "verify_access_token",
    "verify_client_assertion", "verify_release_request", "write_keypair",
]  # fmt: skip
