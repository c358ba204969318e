"""Trace a leaked file: read it in a bounded child, compare it with the fingerprints of every release.

Invariants:
    - The file is parsed in a child that nothing depends on; here arrive keyed hashes only.
    - Withdrawn releases stay traceable: their fingerprint outlives their data.
    - Fingerprints are sealed at rest: who has the database alone learns nothing from them, not even which cells are equal.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from gateway.db import Work
from gateway.db.tables.evidence import release_fingerprint
from gateway.db.tables.releases import release
from gateway.errors import InvalidRequest
from gateway.evidence.cells import Hashes, cell_hashes, derived
from gateway.evidence.fingerprints import Fingerprint
from gateway.evidence.matching import LINE, Match, match
from gateway.evidence.watermark import Agreement, agreement
from gateway.releases import House, Releases
from gateway.releases.artifacts import secret_of
from gateway.storage.bounded import Bounds, Completed, run_bounded
from gateway.storage.envelope import KEY_BYTES, DecryptingReader, encrypt
from gateway.telemetry import utc_now

__all__ = [
    "FINGERPRINT",
    "describe",
    "fingerprint_key",
    "hash_file",
    "keep_fingerprint",
    "read_marks",
    "seal_fingerprint",
    "trace_file",
    "watermark_key",
]

FINGERPRINT = "fingerprint.bin"
AT_REST = "at rest"
NO_MARK = Agreement(agree=0, of=0)
MAX_LEAK_ROWS = 50_000


def fingerprint_key(house: House) -> bytes:
    """The key of all fingerprints of this gateway."""
    return secret_of(house, "fingerprints", bound_to="fingerprints", purpose="fingerprint", now=utc_now())


def watermark_key(house: House, release_id: str) -> bytes:
    """The key of a release's watermark."""
    return derived(fingerprint_key(house), f"watermark {release_id}", size=KEY_BYTES)


def hash_file(*, path: str, key: str) -> dict[str, Any]:
    """In the bounded child: read a file and give the keyed hashes of its cells."""
    from policies.tables import read_table

    table = read_table(Path(path)).table
    if table.num_rows > MAX_LEAK_ROWS:
        chosen = np.random.default_rng(0).choice(table.num_rows, MAX_LEAK_ROWS, replace=False)
        table = table.take(np.sort(chosen))
    hashes = cell_hashes(table, key=bytes.fromhex(key))
    return {name: base64.b64encode(values.tobytes()).decode() for name, values in hashes.items()}


def read_marks(*, path: str, asked: list[dict[str, Any]]) -> dict[str, Any]:
    """In the bounded child: how far a file bears the watermarks of some releases."""
    from policies.tables import read_table

    table = read_table(Path(path)).table
    found = {item["release_id"]: agreement(table, marks=item["marks"], key=bytes.fromhex(item["key"])) for item in asked}
    return {release_id: [item.agree, item.of] for release_id, item in found.items()}


def trace_file(house: House, path: Path) -> dict[str, Any]:
    """Which release a file comes from.

    Returns:
        {matches: [{release_id, ticket, principal, dataset, share, expected_share, chance, columns, watermark}], compared,
        not_comparable, rows}; no match means: not ours. Not comparable are releases whose fingerprints are of an earlier version.

    Raises:
        InvalidRequest: the file cannot be read as a table; one sentence.
    """
    key = fingerprint_key(house)
    leak: Hashes = {
        name: np.frombuffer(base64.b64decode(text), dtype=np.uint64)
        for name, text in _in_child("hash_file", path, key=key.hex()).items()
    }
    found: dict[str, Match | None] = {}
    marks: dict[str, dict[str, int]] = {}
    let_out = _let_out(house)
    for release_id, fence in let_out:  # one at a time: a fingerprint is megabytes
        known = _opened(house, release_id, fence, key=key)
        if known is None:
            continue
        found[release_id] = match(leak, known)
        if set(known.marks) & set(leak):
            marks[release_id] = known.marks
    marked = _marks(house, path, marks)
    ours = [
        (release_id, best.among(len(found)))
        for release_id, best in found.items()
        if best is not None and (best.among(len(found)).is_ours or marked.get(release_id, NO_MARK).chance * len(found) < LINE)
    ]
    return {
        "matches": [
            _named(house, release_id, best, marked.get(release_id))
            for release_id, best in sorted(ours, key=lambda pair: -pair[1].share)
        ],
        "compared": len(found),
        "not_comparable": len(let_out) - len(found),
        "rows": max((len(values) for values in leak.values()), default=0),
    }


def _in_child(act: str, path: Path, **arguments: Any) -> dict[str, Any]:
    given = {"path": str(path.resolve()), **arguments}
    answer = run_bounded(f"gateway.evidence.leaks:{act}", given, bounds=Bounds(file_bytes=256 << 20))
    if not isinstance(answer, Completed):
        raise InvalidRequest(answer.sentence)
    return dict(answer.value)


def _marks(house: House, path: Path, marks: dict[str, dict[str, int]]) -> dict[str, Agreement]:
    """How far the file bears each release's watermark."""
    if not marks:
        return {}
    asked = [{"release_id": i, "marks": columns, "key": watermark_key(house, i).hex()} for i, columns in marks.items()]
    return {i: Agreement(agree=agree, of=of) for i, (agree, of) in _in_child("read_marks", path, asked=asked).items()}


def keep_fingerprint(work: Work, *, release_id: str, fence: int, sealed: bytes) -> None:
    """Keep the sealed fingerprint of a production; it outlives the release's data, and counts once the release was let out."""
    dialect = sqlite if work.is_sqlite else postgresql
    row = {"release_id": release_id, "fence": fence, "body": sealed}
    work.execute(dialect.insert(release_fingerprint).values(row).on_conflict_do_nothing())


def seal_fingerprint(house: House, raw: bytes, *, release_id: str, fence: int) -> bytes:
    """A fingerprint as it is stored, under a key of the gateway's secret for fingerprints and bound to its release."""
    key = derived(fingerprint_key(house), AT_REST, size=KEY_BYTES)
    return b"".join(encrypt([raw], data_key=key, name=_place(release_id, fence)))


def _place(release_id: str, fence: int) -> str:
    return f"fingerprints/{release_id}/{fence}"


@dataclass(frozen=True, slots=True)
class _Stored:
    """Bytes out of the database, as the envelope reads them."""

    body: bytes

    def size(self) -> int:
        return len(self.body)

    def fetch(self, start: int, length: int) -> bytes:
        return self.body[start : start + length]


def _let_out(house: House) -> list[tuple[str, int]]:
    """Release and fence of everything that ever left."""
    query = (
        select(release_fingerprint.c.release_id, release_fingerprint.c.fence)
        .join(release, release.c.id == release_fingerprint.c.release_id)
        .where(release.c.fence == release_fingerprint.c.fence, release.c.released_at.is_not(None))
    )
    with house.database.read() as work:
        return [(row.release_id, row.fence) for row in work.execute(query)]


def _opened(house: House, release_id: str, fence: int, *, key: bytes) -> Fingerprint | None:
    """One fingerprint; None for one of the first form, which held hashes of chosen column sets in the clear."""
    table = release_fingerprint
    query = select(table.c.body).where(table.c.release_id == release_id, table.c.fence == fence)
    with house.database.read() as work:
        body = bytes(work.execute(query).scalar_one())
    if body.startswith(b"{"):
        return None
    at_rest = derived(key, AT_REST, size=KEY_BYTES)
    reader = DecryptingReader(_Stored(body), data_key=at_rest, name=_place(release_id, fence))
    return Fingerprint.from_bytes(reader.read())


def _named(house: House, release_id: str, best: Match, marked: Agreement | None) -> dict[str, Any]:
    with house.database.read() as work:
        found = Releases(work).get(release_id)
    return {
        "release_id": release_id,
        "ticket": found.ticket,
        "principal": found.principal,
        "dataset": found.dataset,
        "status": found.status,
        "share": round(best.share, 4),
        "expected_share": round(best.expected, 6),
        "chance": float(f"{best.chance:.3g}"),
        "columns": list(best.columns),
        "watermark": None
        if marked is None
        else {"agree": marked.agree, "of": marked.of, "chance": float(f"{marked.chance:.3g}")},
    }


def describe(answer: dict[str, Any]) -> str:
    """The answer in plain words."""
    count = answer["not_comparable"]
    older = f" ({count} releases of an earlier version could not be compared)" if count else ""
    if not answer["matches"]:
        return f"not ours: none of {answer['compared']} releases matches" + older
    return "\n".join(_line(item) for item in answer["matches"]) + older


def _line(item: dict[str, Any]) -> str:
    line = (
        f"{item['release_id']}: ticket {item['ticket']}, {item['principal']}; {item['share']:.1%} of the rows match "
        f"(by chance {item['expected_share']:.2%}; odds of a chance match {item['chance']:.1g})"
    )
    mark = item["watermark"]
    if mark is None:
        return line
    return line + f"; it bears the release's watermark in {mark['agree']} of {mark['of']} values (odds {mark['chance']:.1g})"
