"""The story of a release in plain words, for somebody who reads no JSON: from rows and log alone.

Invariants:
    - Every sentence stands for an event of the log or a stored row; nothing is concluded that they do not say.
    - It goes on after the decisive event: tokens, downloads, withdrawal are part of the story.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.audit import Log
from gateway.audit.event import Entry
from gateway.db import Work
from gateway.releases import Release, Releases
from gateway.releases.review import votes_of

__all__ = ["narrative"]

PLAIN = {
    "release.queued": "It was put into the queue.",
    "release.evaluating": "The synthetic table was made, and its evaluation began.",
    "release.in-review": "The gate passed, and the release waited for reviewers.",
    "budget.cancelled": "What was held was given back, because the table had never been read.",
    "release.cancelled": "The requester took the request back.",
    "artifact.destroyed": "The key of its files was destroyed; nobody can read them any more.",
}


def narrative(work: Work, release_id: str) -> dict[str, Any]:
    """The story.

    Returns:
        {release_id, status, sentences: [{at, text, event}], text}.

    Raises:
        NotFound: there is no such release.
    """
    release = Releases(work).get(release_id)
    votes = iter(votes_of(work, release_id))
    sentences = [
        {"at": f"{entry.at:%Y-%m-%d %H:%M:%S} UTC", "text": text, "event": entry.id}
        for entry in Log(work).of_release(release_id)
        for text in _told(entry, release, votes)
    ]
    text = "\n".join(f"{item['at']}  {item['text']}" for item in sentences)
    return {"release_id": release_id, "status": release.status, "sentences": sentences, "text": text}


def _told(entry: Entry, release: Release, votes: Iterator[Any]) -> Iterator[str]:
    data = entry.data
    match entry.kind:
        case "release.requested":
            yield _asked(release)
        case "release.decided":
            yield from _decided(data["decision"], release)
        case "budget.reserved":
            yield _held(data)
        case "budget.settled":
            yield _settled(data)
        case "release.generating":
            generator = release.request.get("generator")
            yield f"A worker took it up (attempt {data.get('fence', 1)}) to read the confidential table and fit {generator}."
        case "release.evaluated":
            yield from _evaluated(data, release)
        case "release.reviewed":
            vote = next(votes, None)
            who = "A reviewer" if vote is None else vote.reviewer
            yield f"{who} {'approved' if data.get('approve') else 'rejected'} it: “{data.get('comment', '')}”."
        case _:
            yield from _ended(entry, release)


def _asked(release: Release) -> str:
    request = release.request
    cost = "without a privacy guarantee" if request.get("epsilon") is None else f"with ε = {request['epsilon']}"
    return (
        f"{release.principal} asked, under ticket {release.ticket}, for {request['rows']:,} synthetic rows of {release.dataset} "
        f"for {request['purpose']}, made by {request['generator']} {cost}; the request was signed."
    )


def _decided(decision: Mapping[str, Any], release: Release) -> Iterator[str]:
    under = f"policy {release.policy} version {release.policy_version}" if release.policy else "no policy"
    if decision["permitted"]:
        yield f"The request was permitted under {under}."
        return
    yield f"The request was denied under {under}; no data was read."
    for violation in decision.get("violations", ()):
        yield f"  Because: {violation['message']}"
    for step in decision.get("unlock", ()):
        yield f"  What would change that: {step}"


def _held(data: Mapping[str, Any]) -> str:
    if data.get("epsilon") is None:
        return "It was entered into the dataset's privacy ledger" + (
            f" ({data['why']})." if data.get("why") else ", flagged as without a guarantee."
        )
    return f"ε = {data['epsilon']}, δ = {data['delta']} were held in the dataset's privacy ledger."


def _settled(data: Mapping[str, Any]) -> str:
    spent = data.get("spent")
    if spent is None:
        return f"What was held was charged in full ({data.get('why', 'nothing better is known')})."
    if spent.get("epsilon") is None:
        return "The ledger keeps a flagged entry: the generator gives no privacy guarantee."
    return f"ε = {spent['epsilon']}, δ = {spent['delta']} were charged, accounted by {spent['accountant']}."


def _evaluated(data: Mapping[str, Any], release: Release) -> Iterator[str]:
    if data["passed"]:
        yield "The table was evaluated against people it was fitted on and people it never saw; the gate passed it."
        warned = data.get("warned_rules")
        if warned:
            yield f"It warned of {', '.join(warned)}."
        return
    yield "The table was evaluated, and the gate refused it."
    rules = (release.verdict or {}).get("rules", ())
    for rule in rules:
        if rule.get("blocks"):
            yield f"  {rule['metric']}: observed {rule.get('observed')}, required {rule.get('bound')} ({rule['status']})."


def _ended(entry: Entry, release: Release) -> Iterator[str]:
    data = entry.data
    match entry.kind:
        case "release.released":
            yield f"It was released; the manifest has the digest {str(data.get('manifest_digest'))[:16]}…."
        case "release.blocked":
            yield (
                "The reviewers blocked it; nothing was let out."
                if data.get("by") == "review"
                else "It was blocked; nothing was let out."
            )
        case "release.failed":
            yield f"It failed: {data.get('message', 'something broke')}. Nothing was let out."
        case "release.withdrawn":
            yield f"It was withdrawn: {data.get('reason')}."
        case "release.expired":
            yield "Its time was over."
        case "release.closed":
            yield f"It was closed: {data.get('reason')}."
        case kind if kind in PLAIN:
            yield PLAIN[kind]
        case _:
            yield from _handed_over(entry, release)


def _handed_over(entry: Entry, release: Release) -> Iterator[str]:
    data = entry.data
    match entry.kind:
        case "token.issued":
            until, often = str(data.get("expires_at"))[:19], data.get("max_downloads")
            yield f"{release.principal} received a token, valid until {until}, for {often} downloads."
        case "token.revoked":
            yield f"{len(data.get('tokens', ()))} tokens were revoked."
        case "download.finished":
            yield f"{data.get('sent')} bytes of {data.get('artifact')} were sent: {data.get('outcome')}."
        case "download.refused":
            yield f"A download of {data.get('artifact')} was refused: {data.get('reason')}."
        case "evidence.exported":
            yield f"Its evidence was handed out (SHA-256 {str(data.get('sha256'))[:16]}…)."
        case _:
            return
