"""The compliance officer's work: trace, evidence, reports, withdrawal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gateway.audit import Log
from gateway.cli.compose import open_house
from gateway.cli.output import emit, json_option
from gateway.cli.principals import operator
from gateway.errors import InvalidRequest
from gateway.releases import House
from gateway.releases import trace as find_trace
from gateway.releases import withdraw as withdraw_release
from gateway.releases.artifacts import Artifacts
from gateway.releases.trace import QUESTIONS
from gateway.settings import Settings
from gateway.telemetry import utc_now

__all__ = ["compliance_report", "evidence", "model_card", "narrative", "trace", "withdraw"]


@click.command()
@click.option("--ticket")
@click.option("--release")
@click.option("--principal")
@click.option("--dataset")
@click.option("--token", help="A token's id (jti), never the token.")
@click.option("--sha256", help="Of an artifact, manifest, report card or signed request.")
@click.option("--file", "file", type=click.Path(path_type=Path, dir_okay=False), help="A leaked file: which release is it from?")
@click.option("--after", help="Go on behind this release: `next` of the answer before.")
@json_option
def trace(*, file: Path | None, after: str | None, as_json: bool, **questions: str | None) -> None:
    """The whole story behind a ticket, release, principal, dataset, token, digest or leaked file."""
    asked = [(by, value) for by, value in questions.items() if value is not None]
    if len(asked) + (file is not None) != 1:
        raise click.UsageError(f"name exactly one of {', '.join(f'--{name}' for name in (*QUESTIONS, 'file'))}")
    house = open_house(Settings())
    if file is not None:
        _trace_file(house, file, as_json=as_json)
        return
    by, value = asked[0]
    with house.database.begin() as work:
        answer = find_trace(work, by=by, value=value, after=after)
        data = {"by": by, "found": [story["release_id"] for story in answer["releases"]]}
        Log(work).append("trace.read", at=utc_now(), actor=operator(), data=data)
        work.commit()
    text = "\n\n".join(map(_told, answer["releases"])) or f"No release leads back to {by} {value}."
    if answer["next"] is not None:
        text += f"\n\nThere are {answer['total']} in all; go on with --after {answer['next']}."
    emit(answer, text, as_json=as_json)


def _trace_file(house: House, file: Path, *, as_json: bool) -> None:
    from gateway.evidence.leaks import describe, trace_file

    with house.database.begin() as work:
        Log(work).append("trace.file-asked", at=utc_now(), actor=operator(), data={"how": "command line"})
        work.commit()
    answer = trace_file(house, file)
    emit(answer, describe(answer), as_json=as_json)


def _told(story: dict[str, Any]) -> str:
    details = story["details"]
    lines = [
        f"{story['release_id']}: {story['status']}",
        f"  asked by {story['principal']} under {story['ticket']} for {story['dataset']}: {details['request']['purpose']}",
        f"  policy {details['policy']['name']} v{details['policy']['version']}, decision {story['details']['decision_id'][:12]}",
    ]
    spent = details["spent"]
    if spent is not None:
        cost = f"ε = {spent['epsilon']}, δ = {spent['delta']}" if spent["epsilon"] else "no privacy guarantee"
        lines.append(f"  made by {details['generator_version']}: {cost}")
    lines += [
        f"  artifact {item['name']} {item['sha256'][:16]}…" for item in story["artifacts"] if item["audience"] == "requester"
    ]
    lines += [f"  token {token['jti']} until {token['expires_at'][:19]}" for token in story["tokens"]]
    sent = [item for item in story["downloads"] if "sent" in item]
    lines += [f"  sent {item['sent']} bytes of {item['artifact']}: {item['outcome']}" for item in sent]
    lines.append(f"  {len(story['events'])} events in the log")
    return "\n".join(lines)


@click.command("model-card")
@click.argument("release")
@json_option
def model_card(*, release: str, as_json: bool) -> None:
    """The model card of a release."""
    house = open_house(Settings())
    with house.database.begin() as work:
        artifacts = Artifacts(work)
        text = artifacts.read(house, artifacts.get(release, "model-card.md")).decode()
        Log(work).append("compliance.read", at=utc_now(), actor=operator(), release=release, data={"what": "model-card"})
        work.commit()
    emit({"release_id": release, "model_card": text}, text, as_json=as_json)


@click.command()
@click.argument("release")
@click.option("--reason", required=True, help="Why; stands in the log and on the ticket.")
@json_option
def withdraw(*, release: str, reason: str, as_json: bool) -> None:
    """Withdraw a release: tokens dead, artifacts unreadable, recipients named; the proof stays."""
    answer = dict(withdraw_release(open_house(Settings()), release, by=operator(), reason=reason, now=utc_now()))
    lines = [
        f"{release} is withdrawn; {answer['tokens_revoked']} tokens revoked.",
        f"  fetched by   {', '.join(answer['recipients']) or 'nobody'}",
        f"  stored data  {answer['stored_bytes']}",
        *(f"  {channel:11}  {said}" for channel, said in answer["notices"].items()),
        "Manifest, signature and log proof stay: `ticketgate evidence` writes them out.",
    ]
    emit(answer, "\n".join(lines), as_json=as_json)


@click.command()
@click.argument("release")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Where to write the zip.")
@json_option
def evidence(*, release: str, out: Path, as_json: bool) -> None:
    """Everything needed to check one release, or one refusal, offline."""
    from gateway.evidence.bundle import export_evidence
    from gateway.releases.bundle import sha256_hex

    raw = export_evidence(open_house(Settings()), release, by=operator(), now=utc_now())
    try:
        out.write_bytes(raw)
    except OSError as error:
        raise InvalidRequest(f"{out} cannot be written: {error.strerror}") from error
    document = {"release_id": release, "out": str(out), "size": len(raw), "sha256": sha256_hex(raw)}
    emit(document, f"{out}: {len(raw):,} bytes; check it with `ticketgate verify {out}`", as_json=as_json)


@click.command("compliance-report")
@click.argument("release")
@click.option(
    "--framework",
    type=click.Choice(["HIPAA", "GDPR", "CCPA"], case_sensitive=False),
    required=True,
    help="Which rules to report on.",
)
@json_option
def compliance_report(*, release: str, framework: str, as_json: bool) -> None:
    """What was measured for each indicator of a framework, and what a person has to judge."""
    from gateway.evidence.compliance import compliance_report as report_of
    from gateway.evidence.compliance import in_words

    house = open_house(Settings())
    with house.database.begin() as work:
        report = report_of(work, release, framework=framework)
        data = {"what": "compliance-report", "framework": report["framework"]}
        Log(work).append("compliance.read", at=utc_now(), actor=operator(), release=release, data=data)
        work.commit()
    emit(report, in_words(report), as_json=as_json)


@click.command()
@click.argument("release")
@json_option
def narrative(*, release: str, as_json: bool) -> None:
    """The story of a release in plain words."""
    from gateway.evidence.narrative import narrative as told

    house = open_house(Settings())
    with house.database.begin() as work:
        story = told(work, release)
        Log(work).append("compliance.read", at=utc_now(), actor=operator(), release=release, data={"what": "narrative"})
        work.commit()
    emit(story, story["text"], as_json=as_json)
