"""What a production is told and what it answers: two JSON documents, checked at both ends.

Invariants:
    - An order holds everything the child process needs; the child asks no database and no network for anything else.
    - The split key travels on standard input only, never in an argument or an environment variable.
    - An outcome holds names, sizes, digests and aggregates, never a row.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Failure", "Order", "Outcome", "ProducedFile"]


class Message(BaseModel):
    """A frozen message that refuses unknown members."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Order(Message):
    """One release to be produced."""

    release_id: str
    card: dict[str, Any]
    source: str = Field(description="Folder of the source table; the card names the file below it.")
    s3_endpoint: str | None
    split_key: str = Field(repr=False, description="Hex; decides train and holdout per privacy unit.")
    fingerprint_key: str = Field(repr=False, description="Hex; keys the hashes by which a leak is traced.")
    watermark_key: str | None = Field(default=None, repr=False, description="Hex; set where the policy asks for a watermark.")
    policy: dict[str, Any]
    generator: str
    hyperparameters: dict[str, Any]
    epsilon: Decimal | None
    delta: Decimal | None
    rows: int
    columns: tuple[str, ...] | None
    format: Literal["parquet", "csv"]
    seed: int | None
    evaluation_seed: int
    folder: str
    memory_mb: int


class ProducedFile(Message):
    """One file in the scratch folder."""

    name: str
    media_type: str
    size: int
    sha256: str
    audience: Literal["requester", "compliance"]


class Outcome(Message):
    """A finished production."""

    files: tuple[ProducedFile, ...]
    spent: dict[str, Any]
    generator_version: str
    rows: dict[str, int]
    report_card_digest: str
    notes: tuple[str, ...] = ()


class Failure(Message):
    """A production that did not finish: a stable code, one sentence, and whether the confidential table was read."""

    code: str
    message: str
    data_was_read: bool
