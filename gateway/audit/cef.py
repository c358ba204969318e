r"""Entries in the Common Event Format, version 0, and inside RFC 5424 syslog.

Invariants:
    - One line an entry, whatever the values hold: `\` and `|` are escaped in the header, `\`, `=` and line breaks behind it.
    - Severity follows the catalogue of kinds.
"""

from __future__ import annotations

from gateway.audit.event import Entry, format_time, milliseconds
from gateway.audit.kinds import Severity, kind_shown

__all__ = ["to_cef", "to_syslog"]

SEVERITY = {Severity.INFORMATIONAL: 1, Severity.LOW: 3, Severity.MEDIUM: 6, Severity.HIGH: 8}
SYSLOG_LEVEL = {Severity.INFORMATIONAL: 6, Severity.LOW: 5, Severity.MEDIUM: 4, Severity.HIGH: 3}
LOG_AUDIT = 13
"""Syslog facility "log audit"."""
CUSTOM = ("release", "ticket", "dataset", "token")


def to_cef(entry: Entry) -> str:
    """One entry as `CEF:0|Ticketgate|gateway|1|kind|meaning|severity|extension`."""
    kind = kind_shown(entry.kind)
    header = [
        "CEF:0",
        "Ticketgate",
        "gateway",
        "1",
        _in_header(kind.name),
        _in_header(kind.meaning),
        str(SEVERITY[kind.severity]),
    ]
    pairs = {"rt": str(milliseconds(entry.at)), "externalId": entry.id, "act": kind.activity.value}
    if entry.index is not None:
        pairs |= {"cn1Label": "leafIndex", "cn1": str(entry.index)}
    if entry.subjects.actor is not None:
        pairs["suid"] = entry.subjects.actor
    for number, name in enumerate(CUSTOM, start=1):
        value = getattr(entry.subjects, name)
        if value is not None:
            pairs |= {f"cs{number}Label": name, f"cs{number}": value}
    pairs |= {"cs5Label": "leafHash", "cs5": entry.leaf_hash.hex()}
    return "|".join([*header, " ".join(f"{key}={_in_extension(value)}" for key, value in pairs.items())])


def to_syslog(entry: Entry, *, host: str) -> str:
    """The CEF line as the message of an RFC 5424 record.

    Args:
        entry: The entry.
        host: Name of the gateway; printable ASCII without spaces.
    """
    priority = LOG_AUDIT * 8 + SYSLOG_LEVEL[kind_shown(entry.kind).severity]
    return f"<{priority}>1 {format_time(entry.at)} {host} ticketgate - {entry.kind} - {to_cef(entry)}"


def _in_header(value: str) -> str:
    return value.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("\r", " ")


def _in_extension(value: str) -> str:
    return value.replace("\\", "\\\\").replace("=", "\\=").replace("\r", "\\r").replace("\n", "\\n")
