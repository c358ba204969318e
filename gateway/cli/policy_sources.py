"""Where policy commands get their documents: files, ready policies, applied versions, records of the past.

Invariants: what cannot be read ends in one clear sentence with file, line and column, and exit code 4.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import policies
from gateway.cli.output import Refused
from gateway.errors import EXIT_BAD_INPUT, InvalidRequest, NotFound
from policies.card import DatasetCard
from policies.findings import DocumentInvalid
from policies.lint import lint_file
from policies.loader import load_policy
from policies.presets import expand
from policies.records import Record, record_from_json
from policies.schema import ReleasePolicy

if TYPE_CHECKING:
    from gateway.catalogue import AppliedPolicy
    from gateway.db import Work

__all__ = [
    "applied_document", "applied_policies", "check", "decision_of", "moment_of", "policy_of", "records_of", "replayed_here",
]  # fmt: skip

LIBRARY = Path(policies.__file__).parent / "library"


def policy_of(source: str) -> ReleasePolicy:
    """A policy by file; by `NAME` or `NAME@VERSION` of an applied one; else by the name of a ready policy.

    What is in force wins over a ready policy of the same name: who asks for `customer` wants to know what holds here.

    Raises:
        Refused: the file is no policy.
        NotFound: nothing has this name.
    """
    path = Path(source)
    if path.exists() or path.suffix in (".yaml", ".yml", ".json"):
        return _read(path)
    try:
        return _applied(source)
    except (NotFound, InvalidRequest) as error:
        ready = LIBRARY / f"{source}.yaml"
        if "/" not in source and ready.exists():
            return _read(ready)
        if isinstance(error, InvalidRequest) and "@" in source:
            raise
        said = f"'{source}' is no file and no ready policy, and {error.detail}"
        raise NotFound(said, unlock=(*error.unlock, _ready_words())) from None


def _ready_words() -> str:
    return f"ready policies are {', '.join(sorted(found.stem for found in LIBRARY.glob('*.yaml')))}"


def check(file: Path) -> ReleasePolicy:
    """A policy that lint accepts, with its preset written out.

    Raises:
        Refused: with every finding.
    """
    errors = [finding for finding in lint_file(file) if finding.severity == "error"]
    if errors:
        raise Refused("\n".join(map(str, errors)), EXIT_BAD_INPUT)
    return _read(file)


def applied_policies() -> tuple[AppliedPolicy, ...]:
    """The current version of every applied policy of the gateway here; that it was read is logged."""
    from gateway.catalogue import Policies

    with _logged("policy.read") as work:
        return Policies(work).list()


def applied_document(applied: AppliedPolicy) -> dict[str, Any]:
    """An applied policy as JSON, without its rules."""
    return {
        "name": applied.name,
        "version": applied.version,
        "digest": applied.digest,
        "mode": applied.policy.spec.mode,
        "datasets": list(applied.policy.spec.datasets),
        "applied_at": applied.applied_at.isoformat(),
        "applied_by": applied.applied_by,
    }


def decision_of(release_id: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Decision and verdict of a release; that they were read is logged.

    Raises:
        NotFound: there is no such release.
    """
    from gateway.releases.repository import Releases

    with _logged("policy.explained", release=release_id) as work:
        found = Releases(work).get(release_id)
    return dict(found.decision), None if found.verdict is None else dict(found.verdict)


def replayed_here(candidate: ReleasePolicy, *, since: str | None) -> dict[str, Any]:
    """The gateway's own past under a candidate; that it was tried is logged."""
    from gateway.cli.compose import open_house
    from gateway.releases.history import replay_under
    from gateway.settings import Settings

    bound = None if since is None else moment_of(since)
    answer = replay_under(open_house(Settings()), candidate, since=bound, sight="everything")
    with _logged("policy.simulated", data={"replayed": answer["replayed"], "candidate": answer["digest"]}):
        return answer


@contextmanager
def _logged(event: str, **parts: Any) -> Iterator[Work]:
    """A transaction in which an operator reads, with its event."""
    from gateway.audit import Log
    from gateway.cli.compose import open_house
    from gateway.cli.principals import operator
    from gateway.settings import Settings
    from gateway.telemetry import utc_now

    with open_house(Settings()).database.begin() as work:
        Log(work).append(event, at=utc_now(), actor=operator(), **parts)
        yield work
        work.commit()


def records_of(file: Path, *, since: str | None) -> Iterator[Record]:
    """Records of past requests, one JSON document a line.

    Args:
        file: The file.
        since: ISO date or time; older records are left out.

    Raises:
        Refused: a line cannot be read.
    """
    cards: dict[str, DatasetCard] = {}
    bound = None if since is None else moment_of(since)
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    record = _record(line, cards, f"{file}:{number}")
                    if bound is None or record.now >= bound:
                        yield record
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}", EXIT_BAD_INPUT) from None


def _record(line: str, cards: dict[str, DatasetCard], where: str) -> Record:
    try:
        return record_from_json(json.loads(line), cards=cards)
    except ValueError as error:
        raise Refused(f"{where}: {error}", EXIT_BAD_INPUT) from None


def moment_of(text: str) -> datetime:
    """A date or time; without zone it is UTC.

    Raises:
        InvalidRequest: it is neither.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(f"'{text[:40]}' is no date or time, as in 2026-01-31 or 2026-01-31T00:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _read(path: Path) -> ReleasePolicy:
    try:
        return load_policy(path)
    except DocumentInvalid as error:
        raise Refused(str(error), EXIT_BAD_INPUT) from None


def _applied(source: str) -> ReleasePolicy:
    from gateway.catalogue import Policies

    name, _, version = source.partition("@")
    if version and not version.isdigit():
        raise InvalidRequest(f"a version is a number, as in {name}@3, not '{version[:20]}'")
    with _logged("policy.read") as work:
        return expand(Policies(work).get(name, int(version) if version else None).policy)
