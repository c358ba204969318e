"""The steward's work on datasets: draft a card, register, look, profile, scan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from gateway.audit import Log
from gateway.catalogue import Datasets, RegisteredDataset
from gateway.cli.compose import open_house
from gateway.cli.output import Refused, emit, json_option
from gateway.cli.principals import operator
from gateway.errors import EXIT_BAD_INPUT, EXIT_UNAVAILABLE
from gateway.releases.registration import register_dataset
from gateway.settings import Settings
from gateway.storage.bounded import Bounds, Completed, run_bounded
from gateway.telemetry import utc_now
from policies.canonical import canonical_json
from policies.loader import DocumentInvalid, load_card

__all__ = ["dataset"]

KINDS = {
    "profile": ("gateway.jobs.inspect:profile_source", "dataset.profiled"),
    "pii": ("gateway.jobs.inspect:scan_source", "dataset.scanned"),
}
MEMORY = 2048 << 20


@click.group()
def dataset() -> None:
    """Datasets: confidential tables and their cards."""


def bounded(function: str, arguments: dict[str, Any], *, credentials: bool = False) -> Any:
    """Call a function on a file that nobody has checked, in a bounded child.

    Raises:
        Refused: it did not end well; one sentence and exit code 4 (5 when time or memory ran out).
    """
    answer = run_bounded(function, arguments, bounds=Bounds(memory_bytes=MEMORY), credentials=credentials)
    if isinstance(answer, Completed):
        return answer.value
    raise Refused(answer.sentence, EXIT_BAD_INPUT if answer.kind in ("refused", "crashed", "memory") else EXIT_UNAVAILABLE)


@dataset.command("draft-card")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option
def draft_card(*, file: Path, as_json: bool) -> None:
    """Draft a card from a table: types and roles, and TODO where public knowledge is needed."""
    text = bounded("gateway.catalogue.draft:draft_card", {"path": str(file.resolve())})
    emit({"card": text}, text, as_json=as_json)


@dataset.command()
@click.argument("card", type=click.Path(path_type=Path, dir_okay=False))
@json_option
def register(*, card: Path, as_json: bool) -> None:
    """Register a dataset by its card; the table is read once to see that they fit."""
    known = read_card(card)
    settings = Settings()
    house = open_house(settings)
    root = (settings.sources or card.parent).resolve()
    checked = bounded(
        "gateway.jobs.inspect:check_source",
        {"card": canonical_json(known).decode(), "source": str(root), "endpoint": settings.s3_endpoint},
        credentials=known.spec.source.startswith("s3://"),
    )
    made = register_dataset(house, known, source=str(root), source_digest=checked["sha256"], by=operator(), now=utc_now())
    document = {**_document(made), "rows": checked["rows"], "notes": checked["notes"]}
    notes = "".join(f"\n  note: {note}" for note in checked["notes"])
    emit(document, f"{made.name} version {made.version} is registered (card {made.digest[:12]}).{notes}", as_json=as_json)


def read_card(path: Path) -> Any:
    """A card without open questions.

    Raises:
        Refused: it cannot be read, breaks a rule, or holds a TODO; each finding with its place.
    """
    try:
        return load_card(path)
    except DocumentInvalid as invalid:
        raise Refused(str(invalid), EXIT_BAD_INPUT) from None


def _document(found: RegisteredDataset) -> dict[str, Any]:
    return {
        "name": found.name, "version": found.version, "digest": found.digest, "source_digest": found.source_digest,
        "registered_at": found.registered_at.isoformat(), "registered_by": found.registered_by,
    }  # fmt: skip


@dataset.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """The newest version of every dataset."""
    house = open_house(Settings())
    with house.database.begin() as work:
        found = Datasets(work).list()
        Log(work).append("dataset.read", at=utc_now(), actor=operator())
        work.commit()
    text = "\n".join(f"{item.name} v{item.version}" for item in found) or "There are no datasets yet."
    emit({"datasets": [_document(item) for item in found]}, text, as_json=as_json)


@dataset.command()
@click.argument("name")
@json_option
def show(*, name: str, as_json: bool) -> None:
    """One dataset with its card."""
    house = open_house(Settings())
    with house.database.begin() as work:
        found = Datasets(work).get(name)
        Log(work).append("dataset.read", at=utc_now(), actor=operator(), dataset=name)
        work.commit()
    card = json.loads(canonical_json(found.card))
    columns = "\n".join(f"  {column['name']}: {column['type']}, {column['role']}" for column in card["spec"]["columns"])
    emit({**_document(found), "card": card}, f"{found.name} v{found.version}\n{columns}", as_json=as_json)


def _inspect(kind: str, name: str, *, as_json: bool) -> None:
    function, event = KINDS[kind]
    house = open_house(Settings())
    with house.database.begin() as work:
        found = Datasets(work).get(name)
        Log(work).append(event, at=utc_now(), actor=operator(), dataset=name)
        work.commit()
    arguments = {
        "card": canonical_json(found.card).decode(), "source": found.source, "endpoint": house.settings.s3_endpoint,
    }  # fmt: skip
    result = bounded(function, arguments, credentials=found.card.spec.source.startswith("s3://"))
    emit(result, json.dumps(result, indent=1, ensure_ascii=False), as_json=as_json)


@dataset.command()
@click.argument("name")
@json_option
def profile(*, name: str, as_json: bool) -> None:
    """A profile of the confidential table, for its steward."""
    _inspect("profile", name, as_json=as_json)


@dataset.command()
@click.argument("name")
@json_option
def pii(*, name: str, as_json: bool) -> None:
    """A scan of the confidential table for personal data, for its steward."""
    _inspect("pii", name, as_json=as_json)
