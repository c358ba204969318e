"""The evidence of one release, or of one refusal: a file by which anybody can check, offline, what was decided and why.

Responsible for gathering the members; `archive` writes them, `attestation` signs their index, `crate` describes them,
`examine` checks them.

Invariants:
    - Rebuilt at any later time the file is the same, byte for byte: it ends with the decisive event, and nothing in it
      grows. The signature of the index is kept when the file is handed out, so a later rotation of the manifest key does not
      show; manifest and envelope lie outside what a withdrawal destroys.
    - Every event of the release travels with its proof of inclusion; what an event names by digest is checked against it.
    - No row of a confidential or synthetic table is in it, nor where the confidential table lies.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import rfc8785

from gateway.access import GatewayKeys, Principals
from gateway.audit import Log
from gateway.audit.event import Entry, as_json, format_time
from gateway.audit.proof import tlog_proof
from gateway.catalogue import Datasets, Policies
from gateway.db import Work
from gateway.errors import Conflict
from gateway.evidence.archive import read_archive, write_archive
from gateway.evidence.attestation import INDEX, INDEX_ENVELOPE, payload_of, statement_about
from gateway.evidence.crate import CRATE, crate_of
from gateway.evidence.record import Record, record_of
from gateway.releases import House, Release
from gateway.releases.artifacts import Artifacts, seal_proof
from gateway.releases.bundle import ENVELOPE, MANIFEST, envelope_of, sha256_hex
from policies.canonical import canonical_json

__all__ = ["evidence_zip", "export_evidence"]

SCHEMA = "ticketgate/evidence/v1"


def export_evidence(house: House, release_id: str, *, by: str, now: datetime) -> bytes:
    """Build the evidence file and record that it was handed out, before it is.

    Raises:
        NotFound: there is no such release.
        Conflict: it is not decided, or its events do not stand in a signed checkpoint yet.
        NotRecorded: the hand-over could not be recorded.
    """
    kept = _signature_row(house, release_id, read_archive(evidence_zip(house, release_id))[INDEX_ENVELOPE], now=now)
    with house.database.begin() as work:
        Artifacts(work).add(release_id, kept)  # whoever was first stays
        work.commit()
    raw = evidence_zip(house, release_id)
    with house.database.begin() as work:
        data = {"sha256": sha256_hex(raw), "size": len(raw)}
        Log(work).append("evidence.exported", at=now, actor=by, release=release_id, data=data)
        work.commit()
    return raw


def evidence_zip(house: House, release_id: str) -> bytes:
    """The evidence file; the same bytes whenever it is built.

    Raises:
        NotFound: there is no such release.
        Conflict: it is not decided, or its events do not stand in a signed checkpoint yet.
    """
    with house.database.read() as work:
        record = record_of(work, release_id)
        common = _documents(work, record) | _proofs(work, record) | _manifest(work, house, record)
        kept = _kept_signature(work, house, release_id)
        if kept is not None:
            signer_kid = str(json.loads(kept)["signatures"][0]["keyid"])
            members = _indexed(record, common | {"jwks.json": _keys(work, house, record, signer_kid)})
            if payload_of(kept) == statement_about(members[INDEX]):
                return write_archive(members | {INDEX_ENVELOPE: kept})
        signer = GatewayKeys(work, house.sealing).signer("manifest")
        members = _indexed(record, common | {"jwks.json": _keys(work, house, record, signer.kid)})
    envelope = envelope_of(statement_about(members[INDEX]), sign=signer.sign, key_id=signer.kid)
    return write_archive(members | {INDEX_ENVELOPE: envelope})


def issuer_of(release: Release) -> str:
    """The gateway as the signed request addressed it: it stays, whatever the address of the present process is."""
    _, claims, _ = release.signed_request.split(".")
    document = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    return str(document["aud"])


def _indexed(record: Record, members: dict[str, bytes]) -> dict[str, bytes]:
    crate = crate_of(record, issuer_of(record.release), sorted([*members, INDEX, INDEX_ENVELOPE]))
    described = members | {CRATE: crate}
    return described | {INDEX: _index(record, described)}


def _signature_row(house: House, release_id: str, envelope: bytes, *, now: datetime) -> dict[str, Any]:
    """Keep the signature: a retired key does not sign again, and Ed25519 is deterministic only under one key."""
    media = "application/vnd.dsse+json"
    return seal_proof(house, release_id, INDEX_ENVELOPE, envelope, media_type=media, audience="compliance", now=now)


def _kept_signature(work: Work, house: House, release_id: str) -> bytes | None:
    found = [artifact for artifact in Artifacts(work).of(release_id) if artifact.name == INDEX_ENVELOPE]
    return Artifacts(work).read(house, found[0]) if found else None


def _index(record: Record, members: Mapping[str, bytes]) -> bytes:
    listed = [{"name": name, "size": len(raw), "sha256": sha256_hex(raw)} for name, raw in sorted(members.items())]
    decisive = record.decisive
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "release_id": record.release.id,
        "issuer": issuer_of(record.release),
        "outcome": record.outcome,
        "decisive": {"event": decisive.id, "kind": decisive.kind, "at": format_time(decisive.at)},
        "files": listed,
    }
    return rfc8785.dumps(document)


def _documents(work: Work, record: Record) -> dict[str, bytes]:
    """What was asked, what was decided, by which rules, and what came of it."""
    release = record.release
    decided = record.last("release.decided")
    found: dict[str, Any] = {
        "decision.json": release.decision,
        "ticket.json": None if decided is None else decided.data.get("ticket"),
        "requester.jwk.json": _requester_key(work, record),
        "report-card.json": release.report_card,
        "verdict.json": release.verdict,
        "ledger.json": [_charge(charge) for charge in record.charges],
    }
    members = {name: rfc8785.dumps(as_json(document)) for name, document in found.items() if document is not None}
    members["request.jwt"] = release.signed_request.encode()
    if release.policy is not None and release.policy_version is not None:
        members["policy.json"] = canonical_json(Policies(work).get(release.policy, version=release.policy_version).policy)
    card = _card(work, release)
    return members if card is None else members | {"card.json": card}


def _card(work: Work, release: Release) -> bytes | None:
    """The dataset card without where its table lies."""
    if release.dataset_version is None:
        return None
    card = Datasets(work).get(release.dataset, version=release.dataset_version).card
    document = json.loads(canonical_json(card))
    document["spec"].pop("source", None)
    return rfc8785.dumps(document)


def _charge(charge: Any) -> dict[str, Any]:
    settlement = None if charge.settlement is None else charge.settlement.to_json()
    return {"reserve": charge.reserve.to_json(), "settlement": settlement}


def _requester_key(work: Work, record: Record) -> Mapping[str, Any] | None:
    requested = record.last("release.requested")
    registered = None if requested is None else Principals(work).key_of(str(requested.data.get("key")))
    return None if registered is None else dict(registered.key.public.jwk)


def _proofs(work: Work, record: Record) -> dict[str, bytes]:
    members = {"events.jsonl": "".join(f"{entry.payload}\n" for entry in record.events).encode()}
    for place, entry in enumerate(record.events):
        members[f"proofs/{place:03d}-{entry.kind}.tlog-proof"] = _proof(work, entry)
    return members


def _proof(work: Work, entry: Entry) -> bytes:
    text = tlog_proof(work, entry.id)
    if text is None:
        raise Conflict(
            "an event of the release does not stand in a signed checkpoint of the log yet", code="not-included",
            unlock=("ask again in a few seconds, while a worker is running",),
        )  # fmt: skip
    return text.encode()


def _keys(work: Work, house: House, record: Record, signer: str) -> bytes:
    """Public keys that were in force: for a reader's convenience, never believed without the pinned ones."""
    keys = [
        {**key.public.jwk, "kid": key.kid, "alg": "EdDSA", "use": "sig", "ticketgate_purpose": key.purpose}
        for key in GatewayKeys(work, house.sealing).list()
        if key.purpose in ("manifest", "log")
        and (key.kid == signer or (key.activated_at is not None and key.activated_at <= record.decisive.at))
    ]
    return rfc8785.dumps({"keys": keys})


def _manifest(work: Work, house: House, record: Record) -> dict[str, bytes]:
    """Manifest and envelope as they were handed over."""
    if record.outcome != "released":
        return {}
    artifacts = Artifacts(work)
    return {name: artifacts.read(house, artifacts.get(record.release.id, name)) for name in (MANIFEST, ENVELOPE)}
