"""Policies as documents: check them, test them, compare them, try them on the past, put them in force.

Everything but `apply`, `list` and trying on the gateway's own past works on files alone, without a gateway.

Invariants: a policy that lint refuses is never applied; a finding is printed as `file:line:column: …`; a policy may be named by
its file, as `NAME` or `NAME@VERSION` of an applied one, or by the name of a ready policy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import click

from gateway.cli.output import Refused, emit, json_option
from gateway.cli.policy_sources import (
    applied_document,
    applied_policies,
    check,
    decision_of,
    policy_of,
    records_of,
    replayed_here,
)
from gateway.errors import EXIT_BAD_INPUT, EXIT_VERIFICATION
from policies.canonical import canonical_json, digest
from policies.cases import CaseResult, Coverage, coverage, junit, run_cases
from policies.diff import diff as compare
from policies.explain import explain as in_words
from policies.findings import DocumentInvalid
from policies.lint import lint_file
from policies.loader import load_cases, to_yaml
from policies.presets import PRESETS, preset_rules
from policies.schema import PresetName
from policies.simulate import CHANGES
from policies.simulate import simulate as replay_past

__all__ = ["policy"]

MARKS = {"pass": "ok  ", "fail": "FAIL", "skip": "skip"}
SCREENFUL = 50
SIGNS = {"stricter": "stricter", "looser": "LOOSER  ", "changed": "changed "}


@click.group()
def policy() -> None:
    """Release policies: lint, test, explain, diff, simulate, apply."""


@policy.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Warnings refuse too.")
@json_option
def lint(*, files: tuple[Path, ...], strict: bool, as_json: bool) -> None:
    """Say what is wrong with policies, with line, column and what was probably meant."""
    findings = [finding for file in files for finding in lint_file(file)]
    refused = [finding for finding in findings if strict or finding.severity == "error"]
    lines = [f"{finding.severity}: {finding}" for finding in findings]
    document = {"ok": not refused, "findings": [finding.to_json() for finding in findings]}
    emit(document, "\n".join(lines) or f"{len(files)} sound", as_json=as_json)
    if refused:
        raise Refused("", EXIT_BAD_INPUT)


@policy.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--policy", "against", help="Test this policy instead of the one that the case file names.")
@click.option("--junit", "junit_file", type=click.Path(path_type=Path, dir_okay=False), help="Also write JUnit XML here.")
@click.option("--coverage", "show_coverage", is_flag=True, help="Say which rules no row tries.")
@json_option
def test(*, files: tuple[Path, ...], against: str | None, junit_file: Path | None, show_coverage: bool, as_json: bool) -> None:
    """Run case files: request, ticket and report card against decision and reason codes."""
    documents: list[dict[str, Any]] = []
    lines: list[str] = []
    everything: list[CaseResult] = []
    for file in files:
        try:
            cases = load_cases(file)
        except DocumentInvalid as error:
            raise Refused(str(error), EXIT_BAD_INPUT) from None
        tested = policy_of(against or str(file.parent / cases.spec.policy))
        results = run_cases(cases, tested)
        everything += results
        tried = coverage(tested, results)
        lines += [f"{file}: {tested.name} version {tested.version}"]
        lines += [f"  {MARKS[r.outcome]}  {r.name}{': ' + r.message if r.message else ''}" for r in results]
        lines += _coverage_lines(tried) if show_coverage else []
        documents.append(
            {
                "file": str(file),
                "policy": tested.name,
                "results": [result.to_json() for result in results],
                "coverage": tried.to_json(),
            }
        )
    outcomes: list[str] = [result.outcome for result in everything]
    counts = {word: outcomes.count(outcome) for word, outcome in (("passed", "pass"), ("failed", "fail"), ("skipped", "skip"))}
    lines.append(", ".join(f"{number} {word}" for word, number in counts.items()))
    if junit_file is not None:
        junit_file.write_text(junit(everything, name="policy cases"), "utf-8")
    emit({"ok": counts["failed"] == 0, **counts, "files": documents}, "\n".join(lines), as_json=as_json)
    if counts["failed"]:
        raise Refused("", EXIT_VERIFICATION)


def _coverage_lines(tried: Coverage) -> list[str]:
    lines = [f"  rules tried both ways: {tried.tried} of {len(tried.rules)}"]
    for path in tried.untried:
        kept, broken = tried.rules[path]
        missing = "no row meets it" if not (kept or broken) else "no row breaks it" if kept else "no row keeps it"
        lines.append(f"    {path}: {missing}")
    return lines


@policy.command()
@click.argument("release", required=False)
@click.option("--cases", "case_file", type=click.Path(path_type=Path), help="A case file, to explain one of its rows.")
@click.option("--row", help="The row's name.")
@click.option("--decision", "decision_file", type=click.Path(path_type=Path), help="A decision as JSON.")
@json_option
def explain(*, release: str | None, case_file: Path | None, row: str | None, decision_file: Path | None, as_json: bool) -> None:
    """Walk through one decision, rule by rule: of a release, of a row of a case file, or of a file."""
    if sum(source is not None for source in (release, case_file, decision_file)) != 1:
        raise click.UsageError("name one of: a release, --cases FILE --row NAME, --decision FILE")
    if case_file is not None:
        decision, verdict = _of_row(case_file, row)
    elif decision_file is not None:
        decision, verdict = _of_file(decision_file)
    else:
        decision, verdict = decision_of(str(release))
    try:
        text = in_words(decision, verdict)
    except (KeyError, TypeError, AttributeError):
        raise Refused("this is not a decision as `ticketgate` writes it", EXIT_BAD_INPUT) from None
    emit({"decision": decision, "verdict": verdict}, text, as_json=as_json)


def _of_row(file: Path, name: str | None) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    try:
        cases = load_cases(file)
    except DocumentInvalid as error:
        raise Refused(str(error), EXIT_BAD_INPUT) from None
    results = {result.name: result for result in run_cases(cases, policy_of(str(file.parent / cases.spec.policy)))}
    if name not in results:
        raise Refused(f"{file} has no row '{name}'; there are: {', '.join(results)}", EXIT_BAD_INPUT)
    document = results[name].to_json()
    return document["decision"], document["verdict"]


def _of_file(file: Path) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    try:
        document = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Refused(f"{file} cannot be read as JSON ({type(error).__name__})", EXIT_BAD_INPUT) from None
    if not isinstance(document, dict):
        raise Refused(f"{file} holds no decision", EXIT_BAD_INPUT)
    inner = document.get("decision", document)
    return cast("dict[str, Any]", inner), document.get("verdict")


@policy.command()
@click.argument("old")
@click.argument("new")
@json_option
def diff(*, old: str, new: str, as_json: bool) -> None:
    """Say in words what got stricter or looser between two policies."""
    changes = compare(policy_of(old), policy_of(new))
    lines = [f"{SIGNS[change.direction]}  {change.path}: {change.text}" for change in changes]
    counts = {word: sum(change.direction == word for change in changes) for word in SIGNS}
    lines.append(", ".join(f"{number} {word}" for word, number in counts.items()) if changes else "no rule differs")
    emit({**counts, "changes": [change.to_json() for change in changes]}, "\n".join(lines), as_json=as_json)


@policy.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def apply(*, file: Path, as_json: bool) -> None:
    """Put a policy in force as a new version; an applied version never changes."""
    from gateway.cli.compose import open_house
    from gateway.cli.principals import operator
    from gateway.releases.registration import apply_policy
    from gateway.settings import Settings
    from gateway.telemetry import utc_now

    checked = check(file)
    applied = apply_policy(open_house(Settings()), checked, by=operator(), now=utc_now())
    watching = "" if checked.is_enforced else ", watching only (mode: audit)"
    text = f"{applied.name} v{applied.version} is in force{watching} ({applied.digest[:12]})."
    emit(applied_document(applied), text, as_json=as_json)


@policy.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """The current version of every applied policy."""
    found = applied_policies()
    lines = [f"{e.name} v{e.version} ({e.policy.spec.mode}): {', '.join(e.policy.spec.datasets)}" for e in found]
    emit({"policies": [applied_document(e) for e in found]}, "\n".join(lines) or "There are no policies yet.", as_json=as_json)


@policy.command()
@click.argument("name")
@click.option("--version", type=click.IntRange(min=1), help="The same as NAME@VERSION.")
@json_option
def show(*, name: str, version: int | None, as_json: bool) -> None:
    """A policy with its preset written out, by file, NAME or NAME@VERSION of an applied one, or ready policy."""
    found = policy_of(name if version is None else f"{name}@{version}")
    document = {
        "name": found.name,
        "version": found.version,
        "digest": digest(found),
        "policy": json.loads(canonical_json(found)),
    }
    emit(document, f"# digest {digest(found)}\n{to_yaml(found).rstrip()}", as_json=as_json)


@policy.command("show-preset")
@click.argument("name", type=click.Choice(list(PRESETS)))
@json_option
def show_preset(*, name: str, as_json: bool) -> None:
    """The gate rules behind a preset."""
    rules = preset_rules(cast("PresetName", name))
    lines = [f"{rule.metric}: {_line(rule.bound())}, use {rule.use}, {rule.severity}" for rule in rules]
    document = {"preset": name, "rules": [rule.model_dump(mode="json", exclude_none=True) for rule in rules]}
    emit(document, "\n".join(lines), as_json=as_json)


def _line(bound: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in bound.items())


@policy.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--since", help="Only requests not older, as in 2026-01-31 or 2026-01-31T00:00:00Z.")
@click.option("--history", type=click.Path(path_type=Path), help="Records as JSON lines, instead of the gateway's own past.")
@json_option
def simulate(*, file: Path, since: str | None, history: Path | None, as_json: bool) -> None:
    """What a candidate policy would have done to past requests: newly denied, permitted, blocked, released, by which rules."""
    candidate = check(file)
    if history is None:
        result = replayed_here(candidate, since=since)
    else:
        result = replay_past(records_of(history, since=since), candidate).to_json()
    emit(result, "\n".join(_simulation_lines(result)), as_json=as_json)


def _simulation_lines(result: dict[str, Any]) -> Iterator[str]:
    left_out = f", {result['skipped']} of other datasets left out" if result["skipped"] else ""
    yield f"{result['replayed']} past requests replayed{left_out}"
    if result.get("unrecorded"):
        yield f"{result['unrecorded']} older decisions were not replayed: their facts were not kept then"
    for change in CHANGES:
        rows = result[change]
        yield f"{change.replace('_', ' ')}: {len(rows)}"
        yield from (f"  {r['release_id']}  {r['was']} → {r['would_be']}  {', '.join(r['rules'])}" for r in rows[:SCREENFUL])
        if len(rows) > SCREENFUL:
            yield f"  … and {len(rows) - SCREENFUL} more; --json lists all"
    yield from (f"by rule: {number} of {rule}" for rule, number in result["by_rule"].items())
