"""Verify an evidence file offline, with pinned public keys alone: each check named, the first failure located.

Invariants:
    - No key, no digest and no name is taken from the file on trust: the index counts once a pinned key has signed it, an
      event once its proof leads to a checkpoint that a pinned key has signed.
    - What the log names by digest is compared with the member; the verdict is computed anew from report card and policy.
    - Nothing here needs a database or a network, and nothing is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.access.jws import RELEASE_REQUEST
from gateway.access.public_keys import public_key_of
from gateway.audit.kinds import PERSONAL_FIELDS
from gateway.audit.proof import VerifiedLeaf, verify_tlog_proof
from gateway.errors import InvalidRequest, VerificationFailed
from gateway.evidence.archive import MAX_ARCHIVE, read_archive
from gateway.evidence.attestation import INDEX, INDEX_ENVELOPE, open_statement
from gateway.evidence.checks import Check, TrustedKeys, run_check, signed_by_any
from gateway.evidence.crate import CRATE
from gateway.evidence.record import ENDS
from gateway.releases.bundle import ENVELOPE, MANIFEST, open_envelope, sha256_hex
from policies.canonical import from_canonical
from policies.gate import gate
from policies.metrics import MetricResult
from policies.presets import expand
from policies.schema import ReleasePolicy

__all__ = ["verify_evidence"]

Members = Mapping[str, bytes]
PROOFS = "proofs/"


@dataclass(frozen=True, slots=True)
class _Case:
    """A file whose index and events have been verified."""

    members: Members
    index: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...]
    trusted: TrustedKeys

    def event(self, kind: str) -> Mapping[str, Any]:
        """Data of the last event of a kind."""
        found = [event for event in self.events if event["kind"] == kind]
        if not found:
            raise VerificationFailed(f"the log shows no {kind} for this release")
        data: Mapping[str, Any] = found[-1]["data"]
        return data

    def document(self, name: str) -> Any:
        """A member as JSON."""
        if name not in self.members:
            raise VerificationFailed(f"{name} is missing")
        return _json(self.members[name], name)


def verify_evidence(path: Path, trusted: TrustedKeys) -> tuple[Check, ...]:
    """Every check of an evidence file, in order; a check whose ground failed before is not run.

    Raises:
        InvalidRequest: the file cannot be opened.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_ARCHIVE + 1)
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}") from error
    checks: list[Check] = []
    members = run_check(checks, "archive can be read", lambda: read_archive(raw))
    if members is None:
        return tuple(checks)
    index = _verified_index(checks, members, trusted)
    if index is None:
        return tuple(checks)
    _check_members(checks, members, index)
    events = run_check(checks, "every event stands in the log", lambda: _events(members, index, trusted))
    if events is not None:
        _check_story(checks, _Case(members, index, events, trusted))
    return tuple(checks)


def _json(raw: bytes, name: str) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise VerificationFailed(f"{name} is not JSON") from error


def _verified_index(checks: list[Check], members: Members, trusted: TrustedKeys) -> Mapping[str, Any] | None:
    def signed() -> Mapping[str, Any]:
        if INDEX not in members or INDEX_ENVELOPE not in members:
            raise VerificationFailed("the file has no signed index")
        return open_statement(members[INDEX_ENVELOPE], verify=signed_by_any(trusted))

    statement = run_check(checks, "index is signed by a trusted key", signed)

    def same() -> Mapping[str, Any]:
        subjects = {item["name"]: item["digest"]["sha256"] for item in statement["subject"]}
        if subjects.get(INDEX) != sha256_hex(members[INDEX]):
            raise VerificationFailed(f"{INDEX} is not the one that was signed")
        document: Mapping[str, Any] = _json(members[INDEX], INDEX)
        return document

    if statement is None:
        return None
    found: Mapping[str, Any] | None = run_check(checks, "index is the one that was signed", same)
    return found


def _check_members(checks: list[Check], members: Members, index: Mapping[str, Any]) -> None:
    for file in index["files"]:
        run_check(checks, f"{file['name']} is what was exported", lambda file=file: _same(members, file))  # type: ignore[misc]

    def no_strangers() -> bool:
        strangers = sorted(set(members) - {file["name"] for file in index["files"]} - {INDEX, INDEX_ENVELOPE})
        if strangers:
            raise VerificationFailed(f"{strangers[0]} was not exported")
        return True

    run_check(checks, "nothing else is in the file", no_strangers)
    run_check(checks, "the research-object description names every member", lambda: _crate(members))


def _same(members: Members, file: Mapping[str, Any]) -> bool:
    raw = members.get(file["name"])
    if raw is None:
        raise VerificationFailed(f"{file['name']} is missing")
    if len(raw) != file["size"] or sha256_hex(raw) != file["sha256"]:
        raise VerificationFailed(f"{file['name']} does not have the digest that was exported")
    return True


def _crate(members: Members) -> bool:
    graph = {item["@id"]: item for item in _json(members.get(CRATE, b""), CRATE)["@graph"]}
    parts = {part["@id"] for part in graph["./"]["hasPart"]}
    if parts != set(members) - {CRATE} or not parts <= set(graph):
        raise VerificationFailed(f"{CRATE} describes other members")
    return True


def _events(members: Members, index: Mapping[str, Any], trusted: TrustedKeys) -> tuple[Mapping[str, Any], ...]:
    # Canonical JSON holds U+2028, U+0085 and their like as they are: only the line feed ends an event.
    lines = members.get("events.jsonl", b"").decode("utf-8", "replace").removesuffix("\n").split("\n")
    names = sorted(name for name in members if name.startswith(PROOFS))
    if len(names) != len(lines) or not names:
        raise VerificationFailed(f"{len(lines)} events have {len(names)} proofs")
    return tuple(_event(name, members[name], line, index, trusted) for name, line in zip(names, lines, strict=True))


def _event(name: str, raw: bytes, line: str, index: Mapping[str, Any], trusted: TrustedKeys) -> Mapping[str, Any]:
    try:
        leaf: VerifiedLeaf = verify_tlog_proof(raw.decode("utf-8", "replace"), keys=trusted.log, payload=line)
    except VerificationFailed as failure:
        raise VerificationFailed(f"{name}: {failure}") from failure
    if (leaf.document.get("subjects") or {}).get("release") != index["release_id"]:
        raise VerificationFailed(f"{name} is about another release")
    return leaf.document


def _check_story(checks: list[Check], case: _Case) -> None:
    run_check(checks, "the decisive event is the one the file names", lambda: _decisive(case))
    run_check(
        checks,
        "the request is the one that was recorded",
        lambda: _digest(case, "request.jwt", "release.requested", "request_digest"),
    )
    run_check(checks, "the request is signed by the requester's key", lambda: _signature(case))
    run_check(checks, "the decision is the one that was recorded", lambda: _recorded(case, "decision.json", "decision"))
    if "ticket.json" in case.members:
        run_check(checks, "the ticket is the one that was seen", lambda: _recorded(case, "ticket.json", "ticket"))
    if "policy.json" in case.members:
        run_check(checks, "the policy is the one that decided", lambda: _policy(case))
    if "report-card.json" in case.members:
        where = ("report-card.json", "release.evaluated", "report_card_digest")
        run_check(checks, "the report card is the one that was recorded", lambda: _digest(case, *where))
        run_check(checks, "the gate says the same again", lambda: _verdict(case))
    if MANIFEST in case.members:
        run_check(
            checks,
            "the manifest is the one that was released",
            lambda: _digest(case, MANIFEST, "release.released", "manifest_digest"),
        )
        run_check(checks, "the manifest is signed by a trusted key", lambda: _envelope(case))
    run_check(checks, "the ledger's charges are those that were recorded", lambda: _ledger(case))
    run_check(checks, "the keys are pinned ones", lambda: _keys(case))


def _decisive(case: _Case) -> bool:
    decisive = case.index["decisive"]
    found = next((event for event in case.events if event["id"] == decisive["event"]), None)
    if found is None or found["kind"] != decisive["kind"] or found["at"] != decisive["at"]:
        raise VerificationFailed("the log does not show the decisive event that the index names")
    is_denied = found["kind"] == "release.decided" and not found["data"]["decision"]["permitted"]
    if case.index["outcome"] != ("denied" if is_denied else ENDS.get(found["kind"])):
        raise VerificationFailed("the outcome is not the one of the decisive event")
    return True


def _digest(case: _Case, name: str, kind: str, member: str) -> bool:
    if name not in case.members:
        raise VerificationFailed(f"{name} is missing")
    if sha256_hex(case.members[name]) != case.event(kind).get(member):
        raise VerificationFailed(f"{name} is not the one that the log names in {kind}")
    return True


def _signature(case: _Case) -> bool:
    key = public_key_of(case.document("requester.jwk.json"))
    if key.thumbprint != case.event("release.requested").get("key"):
        raise VerificationFailed("the requester's key is not the one that the log names")
    claims = RELEASE_REQUEST.open(RELEASE_REQUEST.take_apart(case.members["request.jwt"]), key)
    if claims.get("aud") != case.index["issuer"]:
        raise VerificationFailed("the request was addressed to another gateway than the index names")
    return True


def _recorded(case: _Case, name: str, member: str) -> bool:
    if _impersonal(case.document(name)) != _impersonal(case.event("release.decided").get(member)):
        raise VerificationFailed(f"{name} is not what the log records in release.decided")
    return True


def _impersonal(value: Any) -> Any:
    """Without identifiers of people: they stand in the log as pseudonyms."""
    if isinstance(value, dict):
        return {name: None if name in PERSONAL_FIELDS else _impersonal(item) for name, item in value.items()}
    return [_impersonal(item) for item in value] if isinstance(value, list) else value


def _policy(case: _Case) -> bool:
    named = case.event("release.decided")["decision"]["policy"]
    if sha256_hex(case.members["policy.json"]) != named["digest"]:
        raise VerificationFailed("policy.json is not the policy that the decision names")
    return True


def _verdict(case: _Case) -> bool:
    policy = from_canonical(case.members["policy.json"], ReleasePolicy)
    metrics = {name: MetricResult.from_json(metric) for name, metric in case.document("report-card.json")["metrics"].items()}
    verdict = gate(metrics, expand(policy).spec.gate)
    recorded = case.event("release.evaluated")
    if json.loads(json.dumps(verdict.to_json(), default=str)) != case.document("verdict.json"):
        raise VerificationFailed("verdict.json does not follow from the report card and the policy")
    blocking = [rule.metric for rule in verdict.blocking]
    if verdict.passed != recorded.get("passed") or blocking != recorded.get("failed_rules"):
        raise VerificationFailed("the log records another verdict")
    return True


def _envelope(case: _Case) -> bool:
    statement = open_envelope(case.members.get(ENVELOPE, b""), verify=signed_by_any(case.trusted))
    subjects = {item.get("name"): (item.get("digest") or {}).get("sha256") for item in statement.get("subject", ())}
    if subjects.get(MANIFEST) != sha256_hex(case.members[MANIFEST]):
        raise VerificationFailed(f"{ENVELOPE} speaks of another manifest")
    return True


def _ledger(case: _Case) -> bool:
    held = {charge["reserve"]["entry_id"] for charge in case.document("ledger.json")}
    recorded = {event["data"].get("entry") for event in case.events if event["kind"] == "budget.reserved"}
    if held != recorded:
        raise VerificationFailed("ledger.json holds other charges than the log records")
    return True


def _keys(case: _Case) -> bool:
    ours = {key.thumbprint for key in case.trusted.manifest} | case.trusted.log_thumbprints
    strangers = [str(key.get("kid"))[:16] for key in case.document("jwks.json")["keys"] if key.get("kid") not in ours]
    if strangers:
        raise VerificationFailed(f"jwks.json holds the key {strangers[0]}…, which is not pinned")
    return True
