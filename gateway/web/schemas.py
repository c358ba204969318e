"""Shapes of queries and answers, for validation and for the OpenAPI description."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from gateway.releases import Status

__all__ = ["PageQuery", "ProblemDocument", "ReleasePath", "StatusDocument"]


class PageQuery(BaseModel):
    """A page of a list."""

    model_config = ConfigDict(extra="forbid")

    cursor: str | None = Field(default=None, max_length=200, description="Opaque; from the link to the next page.")
    limit: int = Field(default=50, ge=1, le=200, description="At most so many.")
    status: Status | None = Field(default=None, description="Only this status.")
    dataset: str | None = Field(default=None, max_length=64, description="Only this dataset.")


class ReleasePath(BaseModel):
    """One release."""

    release_id: str = Field(max_length=64, description="The release's id.")


class Violation(BaseModel):
    """A rule that is not met."""

    rule: str
    observed: Any = None
    required: Any = None
    message: str
    code: str = ""


class ProblemDocument(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    decision_id: str | None = None
    violations: list[Violation] | None = None
    unlock: list[str] | None = None


class StatusDocument(BaseModel):
    """Where a request stands."""

    id: str
    status: str
    progress: float = Field(default=0.0, ge=0, le=1)
    stage: str = ""
    decision_id: str
    verdict: dict[str, Any] | None = None
    links: dict[str, str]
