"""The catalogue of what is recorded: every kind of event, what it means, and how it is shown to other systems.

Invariants:
    - A kind that does not stand here cannot be recorded.
    - A name is never reused for another meaning; a kind that is no longer written stays, for the old leaves.
    - Fields of `data` that name a person stand in `PERSONAL_FIELDS` (for all kinds, at any depth): they enter the log as
      pseudonyms only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["KINDS", "PERSONAL_FIELDS", "Activity", "Kind", "Severity", "kind_named", "kind_shown"]


class Severity(StrEnum):
    """How much an operator should care."""

    INFORMATIONAL = "informational"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Activity(StrEnum):
    """What was done, in the few words that exports know."""

    CREATE = "create"
    READ = "read"
    UPDATE = "update"
    DELETE = "delete"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of event.

    Attributes:
        name: `subject.what-happened`.
        meaning: One sentence for people.
        activity: For exports.
        severity: For exports.
    """

    name: str
    meaning: str
    activity: Activity = Activity.OTHER
    severity: Severity = Severity.INFORMATIONAL


PERSONAL_FIELDS = frozenset(
    {
        "account", "account_id", "actor", "address", "applied_by", "approved_by", "approver", "assignee", "email", "issued_to",
        "owner_email", "principal", "recipient", "recipients", "registered_by", "reporter", "requested_by", "requester",
        "reviewer", "reviewers", "steward", "sub", "username", "voter",
    }
)  # fmt: skip
"""Names of fields that hold identifiers of people: strings, or lists of strings."""

_C, _R, _U, _D, _O = Activity.CREATE, Activity.READ, Activity.UPDATE, Activity.DELETE, Activity.OTHER
_INFO, _LOW, _MEDIUM, _HIGH = Severity.INFORMATIONAL, Severity.LOW, Severity.MEDIUM, Severity.HIGH

_CATALOGUE = (
    # the gateway itself
    Kind("gateway.initialised", "The gateway's home, database and keys were made.", _C),
    Kind("gateway.started", "A process of the gateway started.", _O),
    Kind("gateway.migrated", "The database schema was upgraded.", _U, _LOW),
    Kind("gateway.unsafe-used", "A variant with an ugly name was used: something the defaults refuse.", _O, _HIGH),
    Kind("gateway-key.created", "A signing key of the gateway was made.", _C, _LOW),
    Kind("gateway-key.activated", "A signing key of the gateway began to sign.", _U, _LOW),
    Kind("gateway-key.retired", "A signing key of the gateway stopped signing; it still verifies.", _U, _LOW),
    Kind("gateway-key.destroyed", "A signing key of the gateway was destroyed.", _D, _MEDIUM),
    Kind(
        "wrapping-key.rotated", "Data keys or private keys were wrapped anew: the master key or passphrase changed.", _U, _MEDIUM
    ),
    # people and their keys
    Kind("principal.added", "A principal was added.", _C),
    Kind("principal.disabled", "A principal was disabled; all its tokens died.", _U, _MEDIUM),
    Kind("principal.enabled", "A disabled principal was enabled again.", _U, _LOW),
    Kind("principal.roles-changed", "The roles of a principal changed.", _U, _MEDIUM),
    Kind("principal.erased", "The key of a principal's pseudonym was deleted: the log names that person no more.", _D, _MEDIUM),
    Kind("principal-key.added", "A public key of a principal was registered.", _C),
    Kind("principal-key.disabled", "A public key of a principal was disabled; what it obtained died.", _U, _MEDIUM),
    Kind("principals.read", "Principals were listed or read.", _R),
    Kind("access-token.issued", "An access token was issued for a client assertion.", _C),
    Kind("access-token.refused", "A client assertion was refused.", _O, _MEDIUM),
    Kind("access-token.revoked", "An access token was revoked.", _D, _LOW),
    Kind("call.unauthenticated", "A call came without a signature or token that was accepted.", _O, _LOW),
    Kind("call.unauthorised", "A principal's roles did not allow a call.", _O, _MEDIUM),
    Kind("call.failed", "A call ended in an unforeseen error; nothing was changed.", _O, _MEDIUM),
    Kind("calls.aggregated", "Throttled or malformed calls of one address in one window, as counts.", _O, _LOW),
    # tickets
    Kind("ticket.added", "A ticket was written into the file registry.", _C),
    Kind("ticket.changed", "A ticket of the file registry changed.", _U),
    Kind("ticket.read", "Tickets were listed or read.", _R),
    Kind("ticket.fetched", "The ticket was fetched from its source; the snapshot is recorded.", _R),
    Kind("ticket.invalidated", "The ticket source said that a ticket changed; snapshots of it no longer count.", _U),
    # datasets and policies
    Kind("dataset.registered", "A version of a dataset card was registered.", _C),
    Kind("dataset.read", "Dataset cards were listed or read.", _R),
    Kind("dataset.profiled", "A profile of a confidential table was asked for.", _R, _LOW),
    Kind("dataset.scanned", "A scan of a confidential table for personal data was asked for.", _R, _LOW),
    Kind("policy.applied", "A version of a policy was applied.", _C, _LOW),
    Kind("policy.read", "Policies were listed or read.", _R),
    Kind("policy.simulated", "It was computed what a policy would have decided.", _R),
    Kind("policy.explained", "It was explained what a policy would decide.", _R),
    Kind("dp.consulted", "A privacy configuration was validated or recommended.", _R),
    # the privacy budget
    Kind("budget.reserved", "Privacy loss was held for a release.", _U),
    Kind("budget.settled", "A hold was replaced by what was spent.", _U),
    Kind("budget.cancelled", "A hold was given back: the data was never read.", _U),
    Kind("budget.raise-proposed", "One principal proposed a higher limit; a second one is needed.", _U, _MEDIUM),
    Kind("budget.raised", "Two principals raised the limit of a dataset.", _U, _HIGH),
    Kind("budget.read", "A budget was read.", _R),
    # a release from request to its end
    Kind("release.requested", "A signed release request was accepted for decision.", _C),
    Kind("release.refused", "A release request was not taken up: its signature, claims or content did not hold.", _O, _LOW),
    Kind("release.replayed", "A one-time identifier was used again with other bytes.", _O, _MEDIUM),
    Kind("release.decided", "A request was decided: permit or deny, with the reasons.", _O),
    Kind("release.queued", "A permitted release waits for a worker.", _U),
    Kind("release.generating", "A worker began to read the confidential table.", _R),
    Kind("release.evaluating", "The synthetic table is being evaluated.", _U),
    Kind("release.evaluated", "The report card and the verdict of the gate were computed.", _U),
    Kind("release.in-review", "The release waits for reviewers.", _U),
    Kind("release.reviewed", "A reviewer approved or rejected.", _U),
    Kind("release.released", "The release was let out: artifacts, manifest and signature are final.", _C),
    Kind("release.blocked", "The gate or a reviewer refused; nothing was let out.", _O, _MEDIUM),
    Kind("release.cancelled", "The requester took the request back.", _U),
    Kind("release.failed", "Something broke; nothing was let out.", _O, _MEDIUM),
    Kind("release.withdrawn", "A release was withdrawn: artifacts destroyed, tokens dead.", _D, _MEDIUM),
    Kind("release.expired", "The time of a release was over.", _U),
    Kind("release.closed", "No transfer of a release can begin any more: it expired, was withdrawn or used up.", _U),
    Kind("release.read", "Releases or requests were listed or read.", _R),
    Kind("review.read", "Reviews were listed or read.", _R),
    Kind("artifact.destroyed", "The key of artifacts was destroyed; they cannot be read any more.", _D, _LOW),
    # tokens and downloads
    Kind("token.issued", "A release token was issued.", _C),
    Kind("token.refused", "A release token was asked for and refused, or was refused at use.", _O, _MEDIUM),
    Kind("token.revoked", "Release tokens were revoked.", _D, _LOW),
    Kind("token.introspected", "A token was looked up.", _R),
    Kind("download.started", "Bytes of an artifact are about to be sent.", _R),
    Kind("download.finished", "What was sent of an artifact: bytes, range, outcome, duration.", _R),
    Kind("download.refused", "A download was refused.", _O, _LOW),
    # jobs
    Kind("job.requested", "A small job was asked for.", _C),
    Kind("job.finished", "A small job ended.", _U),
    Kind("job.read", "The state of a small job was read.", _R),
    Kind("job.resumed", "Work of a dead worker was taken over.", _U, _LOW),
    # compliance and security
    Kind("trace.read", "A trace was asked for.", _R),
    Kind("trace.file-asked", "It was asked which release a file comes from.", _R, _LOW),
    Kind("evidence.exported", "An evidence bundle was handed out.", _R, _LOW),
    Kind("compliance.read", "A compliance report, model card or narrative was handed out.", _R),
    Kind("log.read", "Entries, checkpoints or proofs of the log were read.", _R),
    Kind("log.exported", "Entries of the log were exported.", _R, _LOW),
    Kind(
        "log.row-disputed",
        "Rows became leaves that are not what their own payload says: they were written past the gateway.",
        _O,
        _HIGH,
    ),
    Kind("log.verified", "The log was verified; the findings are recorded.", _R),
    Kind("webhook.received", "A webhook arrived and was accepted.", _O),
    Kind("webhook.refused", "A webhook arrived and was refused.", _O, _LOW),
    Kind("webhook.sent", "A webhook or ticket comment was sent.", _O),
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in _CATALOGUE}
"""All kinds by name."""


def kind_named(name: str) -> Kind:
    """The kind of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in KINDS:
        raise ValueError(f"there is no kind of event {name!r}; kinds are listed in gateway.audit.kinds")
    return KINDS[name]


def kind_shown(name: str) -> Kind:
    """The kind of an entry as an export shows it, also when it stands in no catalogue: a row written past the gateway."""
    return KINDS.get(name) or Kind(name, "An event of a kind that the gateway does not write.", _O, _HIGH)
