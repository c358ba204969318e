"""Verify a bundle offline, with pinned public keys alone: each check named, the first failure located.

Invariants:
    - No key, no digest and no name is taken from the bundle on trust.
    - Every file is checked; a file that the manifest does not name fails the bundle.
    - The log must show that this very manifest was let out: that a release was evaluated, or waits for reviewers, is not enough.
    - Nothing here needs a database or a network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.access import PublicKey
from gateway.access.public_keys import public_key_of
from gateway.audit.note import NoteVerifier
from gateway.audit.proof import verify_tlog_proof
from gateway.errors import InvalidRequest, TicketgateError, VerificationFailed
from gateway.releases.bundle import ENVELOPE, MANIFEST, PROOF, EnvelopeInvalid, open_envelope, sha256_hex

__all__ = ["Check", "TrustedKeys", "load_trusted", "run_check", "signed_by_any", "verify_bundle"]

OUTSIDE = frozenset({MANIFEST, ENVELOPE, PROOF})
SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
MAX_DOCUMENT = 8 << 20
HEX_DIGITS = 64
LET_OUT = "release.released"


@dataclass(frozen=True, slots=True)
class Check:
    """One named check."""

    name: str
    ok: bool
    detail: str

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"name": self.name, "ok": self.ok, "detail": self.detail}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKeys:
    """Pinned public keys of one gateway."""

    issuer: str
    manifest: tuple[PublicKey, ...]
    log: tuple[NoteVerifier, ...]
    log_thumbprints: frozenset[str] = frozenset()


def load_trusted(path: Path) -> TrustedKeys:
    """Read `trusted-keys.json`.

    Raises:
        InvalidRequest: it cannot be read, or holds no usable key.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
        issuer = str(document["issuer"])
        found = [(item, str(item["ticketgate_purpose"]), public_key_of(_bare(item))) for item in document["keys"]]
        log = [NoteVerifier(name=str(i["ticketgate_origin"]), public_key=k.raw_bytes()) for i, p, k in found if p == "log"]
    except OSError as error:
        raise InvalidRequest(
            f"{path} cannot be read: {error.strerror}", unlock=("name the gateway's keys with --keys, or run `ticketgate login`",)
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidRequest(f"{path} is not a file of trusted keys") from error
    return TrustedKeys(
        issuer=issuer,
        manifest=tuple(key for _, purpose, key in found if purpose == "manifest"),
        log=tuple(log),
        log_thumbprints=frozenset(key.thumbprint for _, purpose, key in found if purpose == "log"),
    )


def _bare(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item[name] for name in ("kty", "crv", "x", "y") if name in item}


def verify_bundle(folder: Path, trusted: TrustedKeys) -> tuple[Check, ...]:
    """Every check of a bundle, in order; a check whose ground failed before is not run."""
    if not folder.is_dir():
        raise InvalidRequest(f"{folder} is not a folder: name the bundle that `ticketgate download` wrote")
    checks: list[Check] = []
    manifest = run_check(checks, "manifest is present", lambda: _read(folder / MANIFEST))
    envelope = run_check(checks, "envelope is present", lambda: _read(folder / ENVELOPE))
    if manifest is None or envelope is None:
        return tuple(checks)
    statement = run_check(checks, "envelope is signed by a trusted key", lambda: _open(envelope, trusted))
    if statement is not None:
        run_check(checks, "envelope speaks of this manifest", lambda: _same_manifest(statement, manifest))
    document = run_check(checks, "manifest can be read", lambda: _parse(manifest))
    if document is not None:
        _check_files(checks, folder, document)
        run_check(checks, "log proof holds", lambda: _proof(folder, manifest, document, trusted))
    return tuple(checks)


def run_check(checks: list[Check], name: str, act: Callable[[], Any]) -> Any:
    """Run one check; its answer, or None when it failed."""
    try:
        answer = act()
    except (TicketgateError, EnvelopeInvalid) as failure:
        checks.append(Check(name, ok=False, detail=str(failure)))
        return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as failure:  # a hostile document of another shape
        checks.append(Check(name, ok=False, detail=f"it has another shape than it can have ({type(failure).__name__})"))
        return None
    checks.append(Check(name, ok=True, detail="ok"))
    return answer


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_DOCUMENT + 1)
    except OSError as error:
        raise VerificationFailed(f"{path.name} cannot be read: {error.strerror}") from error
    if len(raw) > MAX_DOCUMENT:
        raise VerificationFailed(f"{path.name} is larger than it can be")
    return raw


def _open(envelope: bytes, trusted: TrustedKeys) -> dict[str, Any]:
    return open_envelope(envelope, verify=signed_by_any(trusted))


def signed_by_any(trusted: TrustedKeys) -> Callable[[str, bytes, bytes], bool]:
    """(key id, signature, message) → whether the pinned manifest key of that id made the signature."""

    def verify(key_id: str, signature: bytes, message: bytes) -> bool:
        return any(key.thumbprint == key_id and _signed_by(key, signature, message) for key in trusted.manifest)

    return verify


def _signed_by(key: PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key.raw_bytes()).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _same_manifest(statement: Mapping[str, Any], manifest: bytes) -> bool:
    digests = {item.get("name"): (item.get("digest") or {}).get("sha256") for item in statement.get("subject", ())}
    if digests.get(MANIFEST) != sha256_hex(manifest):
        raise VerificationFailed(f"{MANIFEST} is not the one that was signed")
    return True


def _parse(manifest: bytes) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(manifest)
        files = document["files"]
        well_formed = all(
            SAFE.match(file["name"]) and isinstance(file["size"], int) and len(file["sha256"]) == HEX_DIGITS for file in files
        )
    except (ValueError, KeyError, TypeError) as error:
        raise VerificationFailed(f"{MANIFEST} is not a manifest") from error
    if not well_formed:
        raise VerificationFailed(f"{MANIFEST} names a file that cannot be")
    return document


def _check_files(checks: list[Check], folder: Path, document: Mapping[str, Any]) -> None:
    listed: Sequence[Mapping[str, Any]] = document["files"]
    for file in listed:
        run_check(checks, f"{file['name']} is what was released", lambda file=file: _same_file(folder, file))  # type: ignore[misc]
    names = {file["name"] for file in listed} | OUTSIDE
    strangers = sorted(path.name for path in folder.iterdir() if path.name not in names)

    def no_strangers() -> bool:
        if strangers:
            raise VerificationFailed(f"the bundle holds {len(strangers)} files that were not released: {strangers[0][:80]!r}")
        return True

    run_check(checks, "nothing else is in the bundle", no_strangers)


def _same_file(folder: Path, file: Mapping[str, Any]) -> bool:
    import hashlib

    path = folder / file["name"]
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            size = stream.tell()
    except OSError as error:
        raise VerificationFailed(f"{file['name']} cannot be read: {error.strerror}") from error
    if size != file["size"]:
        raise VerificationFailed(f"{file['name']} has {size} bytes; {file['size']} were released")
    if digest != file["sha256"]:
        raise VerificationFailed(f"{file['name']} does not have the digest that was released")
    return True


def _proof(folder: Path, manifest: bytes, document: Mapping[str, Any], trusted: TrustedKeys) -> bool:
    text = _read(folder / PROOF).decode("utf-8", "replace")
    leaf = verify_tlog_proof(text, keys=trusted.log)
    event = leaf.document
    data, subjects = event.get("data") or {}, event.get("subjects") or {}
    if event.get("kind") != LET_OUT:
        raise VerificationFailed(f"the log proof shows {str(event.get('kind'))[:80]!r}, not that the release was let out")
    if subjects.get("release") != document.get("release_id"):
        raise VerificationFailed("the log proof is about another release")
    if data.get("manifest_digest") != sha256_hex(manifest):
        raise VerificationFailed("the log records another manifest for this release")
    # The manifest is written before reviewers vote: it names the event that asked them, and the approval names that one again.
    # Approvals of the first edition did not; the digest above ties them to the manifest all the same.
    named = data.get("audit_event_id", document.get("audit_event_id")) if data.get("by") == "review" else event.get("id")
    if named != document.get("audit_event_id"):
        raise VerificationFailed("the log proof is about another event than the manifest names")
    return True
