"""The evidence file described as a Five Safes RO-Crate, so that research-data tools can read what it is.

Responsible for `ro-crate-metadata.json`: RO-Crate 1.1 with the profile https://w3id.org/5s-crate/0.4 (safe project: the
ticket; safe people: the requester; safe data: the dataset; safe settings: the gateway's policy; safe outputs: the gate).

Invariants: every member of the file is a part of the crate; equal records give equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import rfc8785

from gateway.audit.event import format_time
from gateway.evidence.record import Record

__all__ = ["CRATE", "crate_of"]

CRATE = "ro-crate-metadata.json"
CONTEXT = "https://w3id.org/ro/crate/1.1/context"
SPECIFICATION = "https://w3id.org/ro/crate/1.1"
PROFILE = "https://w3id.org/5s-crate/0.4"
SHP = "https://w3id.org/shp#"
MEDIA = {
    ".json": "application/json", ".jsonl": "application/x-ndjson", ".jwt": "application/jwt", ".tlog-proof": "text/plain",
}  # fmt: skip
DONE, FAILED = "http://schema.org/CompletedActionStatus", "http://schema.org/FailedActionStatus"


def crate_of(record: Record, issuer: str, members: Sequence[str]) -> bytes:
    """Describe an evidence file.

    Args:
        record: The release.
        issuer: The gateway.
        members: Names of all other members.
    """
    graph: list[dict[str, Any]] = [
        {"@id": CRATE, "@type": "CreativeWork", "about": {"@id": "./"}, "conformsTo": {"@id": SPECIFICATION}},
        _root(record, members),
        {"@id": PROFILE, "@type": ["CreativeWork", "Profile"], "name": "Five Safes RO-Crate profile"},
        *_people(record, issuer),
        *_actions(record),
        *({"@id": name, "@type": "File", "name": name, "encodingFormat": _media(name)} for name in members),
    ]
    context: list[Any] = [CONTEXT, {"shp": SHP}]
    return rfc8785.dumps({"@context": context, "@graph": graph})


def _media(name: str) -> str:
    return next((media for ending, media in MEDIA.items() if name.endswith(ending)), "application/octet-stream")


def _root(record: Record, members: Sequence[str]) -> dict[str, Any]:
    release = record.release
    return {
        "@id": "./",
        "@type": "Dataset",
        "conformsTo": {"@id": PROFILE},
        "identifier": release.id,
        "name": f"Evidence of release {release.id}",
        "description": f"What was asked, decided and checked about synthetic data of {release.dataset}: {record.outcome}.",
        "datePublished": format_time(record.decisive.at),
        "license": {"@id": "#terms"},
        "mainEntity": {"@id": "#generator"},
        "sourceOrganization": {"@id": "#project"},
        "mentions": [{"@id": "#production"}, {"@id": "#decision"}, {"@id": "#disclosure-check"}],
        "hasPart": [{"@id": name} for name in members],
    }


def _people(record: Record, issuer: str) -> list[dict[str, Any]]:
    release = record.release
    generator, version = str(release.request.get("generator")), release.generator_version or "not run"
    return [
        {"@id": "#terms", "@type": "CreativeWork", "name": "For compliance and audit only; not for redistribution"},
        {"@id": "#project", "@type": "Project", "name": release.ticket, "identifier": release.ticket},
        {"@id": "#gateway", "@type": "Organization", "name": "Ticketgate", "url": issuer},
        {"@id": "#requester", "@type": "Person", "name": release.principal, "affiliation": {"@id": "#gateway"}},
        {"@id": "#dataset", "@type": "Dataset", "name": release.dataset, "description": "Confidential; not part of this crate."},
        {"@id": "#generator", "@type": "SoftwareApplication", "name": generator, "version": version},
    ]  # fmt: skip


def _actions(record: Record) -> list[dict[str, Any]]:
    was_permitted = record.outcome != "denied"
    was_released = record.outcome == "released"
    production: dict[str, Any] = {
        "@id": "#production", "@type": "CreateAction", "name": "Production of the synthetic table",
        "agent": {"@id": "#requester"}, "object": [{"@id": "#dataset"}, {"@id": "request.jwt"}],
        "instrument": {"@id": "#generator"}, "actionStatus": {"@id": DONE if was_released else FAILED},
        "endTime": format_time(record.decisive.at),
    }  # fmt: skip
    return [
        production,
        _assessed("#decision", "SignOff", "decision.json", record, after="release.decided", ok=was_permitted),
        _assessed("#disclosure-check", "DisclosureCheck", "events.jsonl", record, after="release.evaluated", ok=was_released),
    ]


def _assessed(name: str, kind: str, result: str, record: Record, *, after: str, ok: bool) -> dict[str, Any]:
    event = record.last(after) or record.decisive
    return {
        "@id": name, "@type": "AssessAction", "additionalType": {"@id": f"{SHP}{kind}"}, "name": kind,
        "agent": {"@id": "#gateway"}, "object": {"@id": "request.jwt"}, "result": {"@id": result},
        "actionStatus": {"@id": DONE if ok else FAILED}, "endTime": format_time(event.at),
    }  # fmt: skip
