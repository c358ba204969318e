"""What runs in a bounded child over a confidential source: profiles and scans. Aggregates only come out."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa

from gateway.storage.artifacts import digest_of
from gateway.storage.source import open_source
from policies.card import DatasetCard
from policies.tables import TableInvalid, read_table

__all__ = ["check_source", "profile_source", "scan_source"]


def _read(card: str, source: str, endpoint: str | None) -> tuple[DatasetCard, pa.Table]:
    known = DatasetCard.model_validate(json.loads(card))
    with (
        tempfile.TemporaryDirectory() as scratch,
        open_source(known, root=Path(source), scratch=Path(scratch), endpoint=endpoint) as path,
    ):
        return known, read_table(path, card=known).table


def check_source(*, card: str, source: str, endpoint: str | None) -> dict[str, Any]:
    """Whether a table fits its card: rows, digest of the bytes, and what the reader had to decide."""
    known = DatasetCard.model_validate(json.loads(card))
    with (
        tempfile.TemporaryDirectory() as scratch,
        open_source(known, root=Path(source), scratch=Path(scratch), endpoint=endpoint) as path,
    ):
        found = read_table(path, card=known)
        _, digest = digest_of(path)
    if found.table.num_rows == 0:
        raise TableInvalid("the table has no rows: there is nothing to synthesise")
    return {"rows": found.table.num_rows, "sha256": digest, "notes": list(found.notes)}


def profile_source(*, card: str, source: str, endpoint: str | None) -> dict[str, Any]:
    """Profile a registered dataset: shapes, missingness and ranges as aggregates."""
    from gateway.catalogue.profile import profile

    known, table = _read(card, source, endpoint)
    return profile(table, card=known)


def scan_source(*, card: str, source: str, endpoint: str | None) -> dict[str, Any]:
    """Scan a registered dataset for personal data by kind and column."""
    from gateway.catalogue.pii import scan_pii

    _, table = _read(card, source, endpoint)
    return scan_pii(table)
