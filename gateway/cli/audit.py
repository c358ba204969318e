"""The log for security: tail, search, show, verify, prove, checkpoint, export.

Invariants:
    - Reading the log is itself an event, written before the answer; what cannot be recorded is not answered.
    - A verification speaks about the log as it stood when it began; that it was done, and what it found, is recorded after it.
"""

from __future__ import annotations

import base64
import sys
import time
from pathlib import Path
from typing import Any

import click
from rich.progress import Progress

from gateway.audit import Log, newest_signed, prove_consistency, prove_inclusion
from gateway.audit.event import Entry, format_time
from gateway.audit.export import decode_cursor, export_lines, export_page
from gateway.audit.findings import Findings
from gateway.audit.verify import verify_log
from gateway.audit.witness import parse_witnesses, witness_key
from gateway.cli.compose import open_house
from gateway.cli.output import Refused, emit, json_option, stderr
from gateway.cli.principals import operator
from gateway.cli.verify import find_keys
from gateway.errors import EXIT_UNAVAILABLE, EXIT_VERIFICATION, NotFound, NotRecorded
from gateway.evidence.checks import load_trusted
from gateway.releases import House
from gateway.releases.origin import anchor_of, log_keys
from gateway.settings import Settings
from gateway.telemetry import utc_now

__all__ = ["audit"]

MAX_TOLD = 50


@click.group()
def audit() -> None:
    """The tamper-evident log."""


def _note(house: House, kind: str, **data: Any) -> None:
    with house.database.begin() as work:
        Log(work).append(kind, at=utc_now(), actor=operator(), data=data)
        work.commit()


def _line(entry: Entry) -> str:
    about = " ".join(f"{name}={value}" for name, value in entry.subjects.to_json().items() if name != "actor")
    return f"{'-' if entry.index is None else entry.index:>6} {format_time(entry.at)} {entry.kind:24} {about}"


@audit.command()
@click.option("--lines", "-n", "count", type=click.IntRange(1, 1000), default=20, show_default=True)
@json_option
def tail(*, count: int, as_json: bool) -> None:
    """The newest entries."""
    house = open_house(Settings())
    _note(house, "log.read", how="tail")
    with house.database.read() as work:
        found = Log(work).search(limit=count, newest_first=True)[::-1]
    emit({"entries": [entry.to_json() for entry in found]}, "\n".join(map(_line, found)), as_json=as_json)


@audit.command()
@click.option("--kind", help="A kind, or all of a subject with a dot: `release.`")
@click.option("--actor", help="Plain name; compared as its pseudonym.")
@click.option("--release")
@click.option("--ticket")
@click.option("--dataset")
@click.option("--token")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@json_option
def search(*, limit: int, as_json: bool, **conditions: str | None) -> None:
    """Entries by what they are about."""
    where = {name: value for name, value in conditions.items() if value is not None}
    house = open_house(Settings())
    _note(house, "log.read", how="search", where=where)
    with house.database.read() as work:
        found = Log(work).search(limit=limit, **where)  # type: ignore[arg-type]  # the options are its conditions
    emit({"entries": [entry.to_json() for entry in found]}, "\n".join(map(_line, found)) or "Nothing found.", as_json=as_json)


@audit.command()
@click.argument("event")
@json_option
def show(*, event: str, as_json: bool) -> None:
    """One entry by its id."""
    house = open_house(Settings())
    _note(house, "log.read", how="show", event=event)
    with house.database.read() as work:
        found = Log(work).get(event)
    if found is None:
        raise NotFound(f"the log has no event {event}")
    emit(found.to_json(), f"{_line(found)}\n{found.payload}", as_json=as_json)


@audit.command()
@click.option("--keys", type=click.Path(path_type=Path, dir_okay=False), help="Pinned keys; never taken from the database.")
@click.option(
    "--witness", "demanded", multiple=True, metavar="KEY", help="Demand the cosignature of a witness, by its verifier key."
)
@json_option
def verify(*, keys: Path | None, demanded: tuple[str, ...], as_json: bool) -> None:
    """Check every row, tile and checkpoint, and locate what is wrong; exit 6 when something is.

    What the witnesses of TICKETGATE_WITNESSES cosigned is told; with --witness the newest checkpoint must be cosigned.

    The verification itself becomes an event after it was made; exit 5 when it cannot be recorded.
    """
    settings = Settings()
    trusted = load_trusted(find_keys(keys))
    witnesses = [key for _, key in parse_witnesses(settings.witnesses)]
    house = open_house(settings)
    with Progress(console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("leaves", total=None)
        findings = verify_log(
            house.database, keys=trusted.log, anchor=anchor_of(settings), witnesses=witnesses,
            demanded=[witness_key(vkey) for vkey in demanded],
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    document = findings.to_json()
    lines = [f"  {item['kind']} at {item['index']}: {item['detail']}" for item in document["findings"]]
    lines.insert(0, f"{document['leaves']} leaves: {'nothing was changed' if findings.ok else 'the log was changed'}")
    lines += [f"  {item['name']} cosigned {item['size']} leaves, {item['at']}" for item in document["witnesses"] if item["size"]]
    lines += [f"  {item['name']} cosigned nothing" for item in document["witnesses"] if not item["size"]]
    unrecorded = _note_verified(house, findings)
    emit(document, "\n".join(lines), as_json=as_json)
    if not findings.ok:
        raise Refused(unrecorded or "", EXIT_VERIFICATION)
    if unrecorded is not None:
        raise Refused(unrecorded, EXIT_UNAVAILABLE)


def _note_verified(house: House, findings: Findings) -> str | None:
    """Record a verification and what it found; answers what to say when that cannot be done.

    A database that takes no more rows must not hide what was found in it: the findings are shown all the same.
    """
    facts = {"ok": findings.ok, "leaves": findings.leaves, "signed_size": findings.signed_size, "pending": findings.pending}
    told = [{"kind": item.kind.value, "index": item.index} for item in findings.findings[:MAX_TOLD]]
    count = len(findings.findings) + findings.left_out
    try:
        _note(house, "log.verified", **facts, findings=told, findings_count=count)
    except NotRecorded as error:
        return f"this verification could not be recorded: {error.detail}"
    return None


@audit.command()
@click.argument("index", type=click.IntRange(min=0))
@click.option("--size", type=click.IntRange(min=1), help="Tree size; default: the newest signed one.")
@click.option("--since", type=click.IntRange(min=1), help="Prove instead that the tree continues the one of this size.")
@json_option
def prove(*, index: int, size: int | None, since: int | None, as_json: bool) -> None:
    """An inclusion proof of a leaf, or a consistency proof."""
    house = open_house(Settings())
    _note(house, "log.read", how="prove")
    with house.database.read() as work:
        head = newest_signed(work)
        if head is None:
            raise NotFound("no checkpoint was signed yet")
        under = size or head.size
        proof = prove_inclusion(work, index, under) if since is None else prove_consistency(work, since, under)
    parts = [base64.b64encode(part).decode() for part in proof]
    document = {"index": index, "size": under, "proof": parts} if since is None else {"old": since, "new": under, "proof": parts}
    emit(document, "\n".join(parts), as_json=as_json)


@audit.command()
@json_option
def checkpoint(*, as_json: bool) -> None:
    """The newest signed checkpoint; with --json also the log's verifier keys, which a witness asks for."""
    house = open_house(Settings())
    _note(house, "log.read", how="checkpoint")
    with house.database.read() as work:
        head = newest_signed(work)
    if head is None or head.note is None:
        raise NotFound("no checkpoint was signed yet")
    keys = [key.vkey for key in log_keys(house)]
    document = {"size": head.size, "root": head.root.hex(), "note": head.note, "verifier_keys": keys}
    emit(document, head.note, as_json=as_json)


@audit.command()
@click.option("--format", "format_", type=click.Choice(["jsonl", "ocsf", "cef"]), default="jsonl", show_default=True)
@click.option("--cursor", help="Go on behind an earlier export.")
@click.option("--out", type=click.File("w", encoding="utf-8"), default="-", help="File; default: standard output.")
@json_option
def export(*, format_: str, cursor: str | None, out: Any, as_json: bool) -> None:
    """All leaves as JSON Lines, OCSF or CEF; the export is itself a leaf, and the cursor goes to standard error."""
    house = open_house(Settings())
    _note(house, "log.exported", format=format_, behind=None if cursor is None else decode_cursor(cursor))
    count = 0
    started = time.monotonic()
    while True:
        with house.database.read() as work:
            page = export_page(work, cursor=cursor, limit=1000)
        for line in export_lines(page.entries, format_):
            out.write(line)
        count += len(page.entries)
        cursor = page.cursor
        if page.is_last:
            break
    if as_json and out is not sys.stdout:
        emit({"entries": count, "cursor": cursor, "seconds": time.monotonic() - started}, "", as_json=True)
    else:
        click.echo(f"{count} entries; cursor {cursor}", err=True)
