"""Privacy configurations, before any training: is this one sound, and which one would be better."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from flask import Response, jsonify
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from gateway.errors import InvalidRequest
from gateway.web.guard import declares
from generator.privacy import MOST_ROWS, recommend, validate_config
from policies.types import GENERATORS

api = APIBlueprint("dp", __name__, url_prefix="/v1/dp", abp_tags=[Tag(name="dp")])


class ValidateBody(BaseModel):
    """A configuration."""

    model_config = ConfigDict(extra="forbid")

    generator: str = Field(max_length=64)
    epsilon: Decimal | None = Field(default=None, gt=0, le=1000)
    delta: Decimal | None = Field(default=None, gt=0, lt=1)
    rows: Annotated[int, Field(strict=True)] | None = Field(
        default=None, ge=1, le=MOST_ROWS, description="Privacy units in the table, as far as publicly known."
    )
    epochs: Decimal | None = Field(default=None, gt=0, le=100000)
    noise_multiplier: float | None = Field(default=None, gt=0, le=10000)
    hyperparameters: dict[str, Any] = Field(default_factory=dict)


class RecommendQuery(BaseModel):
    """What is wanted."""

    model_config = ConfigDict(extra="forbid")

    generator: str = Field(default="dp-marginal", max_length=64)
    desired_quality: Literal["privacy", "balanced", "quality"] = "balanced"
    rows: int | None = Field(default=None, ge=1, le=MOST_ROWS)


@api.post("/validate-config")
@declares("dp:compute", audit="dp.consulted")
def validate(body: ValidateBody) -> Response:
    """Errors, warnings, the noise that the trainer's own accountant solves for, and a recommended configuration."""
    report = validate_config(
        generator=body.generator, epsilon=body.epsilon, delta=body.delta, rows=body.rows, epochs=body.epochs,
        noise_multiplier=body.noise_multiplier, hyperparameters=body.hyperparameters,
    )  # fmt: skip
    return jsonify(report.to_json())


@api.get("/recommended-config")
@declares("dp:compute", audit="dp.consulted")
def recommended(query: RecommendQuery) -> Response:
    """A valid configuration for a wanted quality."""
    if query.generator not in GENERATORS:
        raise InvalidRequest(f"generator: there is no '{query.generator}'; there are {', '.join(GENERATORS)}")
    return jsonify(recommend(desired_quality=query.desired_quality, generator=query.generator, rows=query.rows))
