"""Hyper-parameters of every generator: pure models, so that a request is checked before anything is reserved or loaded.

Invariants:
    - Every name of the catalogue has a model here; an unknown or impossible value is an error that names it.
    - Every default is public knowledge: nothing here is tuned on the table that is fitted.
    - No model code is loaded; the web process may import this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from generator.errors import BadHyperparameters
from generator.sgd.parameters import ArParameters, GanParameters, PateParameters, VaeParameters

__all__ = ["AimParameters", "CartParameters", "MarginalParameters", "PackagedParameters", "checked", "model_of"]


FIRST = ("domain_share", "unit_share", "time_share", "outside_share")
THEN = ("one_way_share", "more_one_way_share", "pace_share", "choice_share")
MOST_SHARE, LEAST_SHARE = 0.99, 0.001


class MarginalParameters(BaseModel):
    """`dp-marginal`; all of it is public."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bins: int | None = Field(default=None, ge=2, le=256, description="Most bins of a variable; None: as noise allows.")
    one_way_share: float = Field(default=0.12, ge=LEAST_SHARE, lt=1, description="Share of what is left then for one-way counts.")
    more_one_way_share: float = Field(default=0.28, ge=LEAST_SHARE, lt=1, description="Further share of it where noise is high.")
    least_sigma: float = Field(default=2.0, ge=0, le=100, description="Least size of a bin, in noise standard deviations.")
    domain_share: float = Field(default=0.1, ge=LEAST_SHARE, lt=1, description="Share of the budget for open domains.")
    unit_share: float = Field(
        default=0.1, ge=LEAST_SHARE, lt=1, description="Share of the budget for rows per unit, first days and gaps."
    )
    time_share: float = Field(
        default=0.4,
        ge=0.001,
        lt=1,
        description="Share of the budget for the volume by day and hour where units own several rows.",
    )
    outside_share: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="Share of the budget for counting values outside the domains; 0: not counted.",
    )
    pace_share: float = Field(
        default=0.1, ge=LEAST_SHARE, lt=1, description="Share of it for how alike days are in a table of time slots."
    )
    choice_share: float = Field(default=0.08, ge=LEAST_SHARE, lt=1, description="Share of what is left then for choosing groups.")
    rounds: int | None = Field(default=None, ge=1, le=20, description="How often the model is asked what it gets worst.")
    picks: int | None = Field(default=None, ge=1, le=50, description="How many groups are measured after each question.")
    caution: float = Field(default=1.0, ge=0, le=10, description="How much of its noise error a measurement must be worth.")
    reluctance: float = Field(default=8.0, ge=0, le=100, description="How far above its noise a choice must score.")
    clear: float = Field(default=400.0, ge=0, description="Rows-to-noise ratio below which noise is high.")
    faint: float = Field(default=28.0, ge=0, description="Rows-to-noise ratio below which only one-way counts are measured.")
    triples_from: float = Field(default=400.0, ge=0, description="Ratio from which triples with the target are candidates.")
    emphasis: int = Field(default=2, ge=1, le=20, description="How much more the error of a pair with the target counts.")
    clique_cells: int = Field(default=20_000, ge=100, le=10_000_000, description="Most cells of a clique of the model.")

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        """Shares of the same whole leave something for what comes after them, whichever of them a table needs."""
        for names in (FIRST, THEN):
            if sum(getattr(self, name) for name in names) > MOST_SHARE:
                raise ValueError(f"{', '.join(names)} together leave less than {1 - MOST_SHARE:.0%} for what comes after them")
        if 0 < self.outside_share < LEAST_SHARE:
            raise ValueError(f"outside_share is 0 or at least {LEAST_SHARE}")
        return self


class AimParameters(MarginalParameters):
    """`dp-aim`: those of `dp-marginal`, and how often it asks."""

    clique_cells: int = Field(default=50_000, ge=100, le=10_000_000, description="Most cells of a clique of the model.")
    budget_rounds: int = Field(default=40, ge=1, le=2000, description="Into how many rounds the budget is cut at first.")


class CartParameters(BaseModel):
    """`cart`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    leaf_rows: int = Field(default=5, ge=1, le=10_000, description="Least number of train rows in a leaf.")
    depth: int = Field(default=25, ge=1, le=60, description="Greatest depth of a tree.")


class PackagedParameters(BaseModel):
    """`ctgan` and `tvae`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(default=30, ge=1, le=10_000, description="Passes over the table.")
    batch_size: int = Field(default=500, ge=10, le=100_000, multiple_of=10, description="Rows in a step; a multiple of 10.")


MODELS: Mapping[str, type[BaseModel]] = {
    "dp-marginal": MarginalParameters,
    "dp-aim": AimParameters,
    "dp-ctgan": GanParameters,
    "dp-tvae": VaeParameters,
    "dp-ar": ArParameters,
    "pate-gan": PateParameters,
    "ctgan": PackagedParameters,
    "tvae": PackagedParameters,
    "cart": CartParameters,
}


def model_of(generator: str) -> type[BaseModel]:
    """The model of a generator of the catalogue."""
    return MODELS[generator]


def checked(generator: str, values: Mapping[str, Any]) -> BaseModel:
    """The hyper-parameters of a generator of the catalogue; those not given take their defaults.

    Raises:
        BadHyperparameters: one of them is unknown or out of range; it is named.
    """
    model = MODELS[generator]
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = "is not a hyper-parameter" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
        what = f"'{where}' {reason}" if where else reason
        raise BadHyperparameters(f"{generator}: {what}; it has {', '.join(model.model_fields)}") from error
