"""Entries as OCSF events: class Entity Management (3004) of OCSF 1.3.0, pinned.

Invariants:
    - Every kind of event is valid under the published schema of the class (`schemas/ocsf-1.3.0-entity-management.json`, taken
      from the schema server's export, not edited); the tests validate each of them.
    - The class knows an actor only under the profile "host", so an event that has one names that profile.
    - What the class has no attribute for stands in `unmapped`.
"""

from __future__ import annotations

import json
from typing import Any

from gateway.audit.event import Entry, milliseconds
from gateway.audit.kinds import Activity, Severity, kind_shown

__all__ = ["OCSF_VERSION", "to_ocsf", "to_ocsf_line"]

OCSF_VERSION = "1.3.0"
CATEGORY = (3, "Identity & Access Management")
CLASS = (3004, "Entity Management")
ACTIVITY = {Activity.CREATE: 1, Activity.READ: 2, Activity.UPDATE: 3, Activity.DELETE: 4, Activity.OTHER: 99}
SEVERITY = {Severity.INFORMATIONAL: 1, Severity.LOW: 2, Severity.MEDIUM: 3, Severity.HIGH: 4}
ENTITIES = ("token", "release", "dataset", "ticket")
"""Subjects from the nearest to the widest: the first that an event has is its entity."""


def to_ocsf(entry: Entry) -> dict[str, Any]:
    """One entry as an OCSF event."""
    kind = kind_shown(entry.kind)
    activity = ACTIVITY[kind.activity]
    event: dict[str, Any] = {
        "activity_id": activity,
        "activity_name": kind.activity.value.capitalize(),
        "category_uid": CATEGORY[0],
        "category_name": CATEGORY[1],
        "class_uid": CLASS[0],
        "class_name": CLASS[1],
        "type_uid": CLASS[0] * 100 + activity,
        "severity_id": SEVERITY[kind.severity],
        "severity": kind.severity.value.capitalize(),
        "time": milliseconds(entry.at),
        "message": kind.meaning,
        "entity": _entity(entry),
        "metadata": _metadata(entry),
        "unmapped": {"kind": entry.kind, "subjects": entry.subjects.to_json(), "data": dict(entry.data)},
    }
    if entry.subjects.actor is not None:
        event["actor"] = {"user": {"uid": entry.subjects.actor}}
        event["metadata"]["profiles"] = ["host"]
    return event


def to_ocsf_line(entry: Entry) -> str:
    """One entry as a line of JSON."""
    return json.dumps(to_ocsf(entry), separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def _entity(entry: Entry) -> dict[str, Any]:
    for name in ENTITIES:
        value = getattr(entry.subjects, name)
        if value is not None:
            return {"type": name, "uid": value}
    return {"type": "gateway", "name": entry.kind.partition(".")[0]}


def _metadata(entry: Entry) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "version": OCSF_VERSION,
        "uid": entry.id,
        "event_code": entry.kind,
        "log_name": "ticketgate-audit",
        "product": {"name": "Ticketgate", "vendor_name": "Ticketgate", "uid": "ticketgate"},
    }
    return metadata if entry.index is None else metadata | {"sequence": entry.index}
