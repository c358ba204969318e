"""Hyper-parameters of the neural generators: pure models, so that a request can be checked without loading torch.

Invariants:
    - Every default is public knowledge: nothing here is tuned on the table that is fitted.
    - Whatever changes what is read (rate, steps, share of the histograms) is part of the accounted schedule.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ArParameters", "GanParameters", "PateParameters", "SgdParameters", "VaeParameters"]

Width = Annotated[int, Field(ge=8, le=4096)]


class SgdParameters(BaseModel):
    """What all generators share that are trained by DP-SGD."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=400, ge=1, le=1_000_000, description="Optimiser steps on private data.")
    sampling_rate: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Probability with which a unit takes part in a step; None: from the rows that are public.",
    )
    batch_size: int = Field(
        default=1024, ge=1, le=1_000_000, description="Expected units in a step, where the row count is public."
    )
    clip: float = Field(default=1.0, gt=0, le=1e6, description="Most L2 norm of one unit's gradient.")
    learning_rate: float = Field(default=1e-2, gt=0, le=10, description="Step size of Adam.")
    histogram_share: float = Field(
        default=0.1,
        ge=0.001,
        le=0.9,
        description="Share of the budget (as zCDP) for one-way histograms, measured first.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Where to train; auto: on a GPU if there is one.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="Of the networks' products; auto: bfloat16 on a GPU that has it, else float32."
    )

    def rate(self, public_rows: int | None) -> float:
        """The sampling rate: as stated, or the batch size over the public row count, or 0.04."""
        if self.sampling_rate is not None:
            return self.sampling_rate
        return DEFAULT_RATE if public_rows is None else min(1.0, self.batch_size / public_rows)


class GanParameters(SgdParameters):
    """`dp-ctgan`: the discriminator alone is trained on private rows."""

    steps: int = Field(default=450, ge=1, le=1_000_000, description="Discriminator steps on private data.")
    batch_size: int = Field(
        default=2560, ge=1, le=1_000_000, description="Expected units in a step, where the row count is public."
    )
    learning_rate: float = Field(default=3e-3, gt=0, le=10, description="Step size of Adam for the discriminator.")
    noise_width: Width = 64
    generator_width: Width = 128
    discriminator_width: Width = 128
    generator_steps: int = Field(default=2, ge=1, le=20, description="Generator steps after each discriminator step.")


class VaeParameters(SgdParameters):
    """`dp-tvae`: encoder and decoder are trained on private rows."""

    steps: int = Field(default=600, ge=1, le=1_000_000, description="Optimiser steps on private data.")
    batch_size: int = Field(
        default=3072, ge=1, le=1_000_000, description="Expected units in a step, where the row count is public."
    )
    learning_rate: float = Field(default=2e-2, gt=0, le=10, description="Step size of Adam.")
    latent: Width = 16
    width: Width = 128
    beta: float = Field(default=0.8, ge=0, le=100, description="Weight of the divergence from the prior.")


class ArParameters(SgdParameters):
    """`dp-ar`: a masked network that predicts each column from the ones before it."""

    steps: int = Field(default=600, ge=1, le=1_000_000, description="Optimiser steps on private data.")
    batch_size: int = Field(
        default=1536, ge=1, le=1_000_000, description="Expected units in a step, where the row count is public."
    )
    width: Width = 128


class PateParameters(BaseModel):
    """`pate-gan`: teachers on disjoint shards of units, noisy votes, a student that sees only generated rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    teachers: int | None = Field(
        default=None, ge=2, le=100_000, description="Shards of units; None: one for each 8 units, by a noisy count."
    )
    rounds: int = Field(default=3, ge=1, le=1000, description="How often the teachers vote.")
    root_queries: int = Field(default=24, ge=2, le=128, description="Square root of the generated rows voted on in a round.")
    student_steps: int = Field(default=300, ge=1, le=10_000, description="Steps of the generator after each vote.")
    histogram_share: float = Field(default=0.3, ge=0.001, le=0.9, description="Share of the budget for one-way histograms.")
    noise_width: Width = 64
    generator_width: Width = 128
    device: Literal["auto", "cpu", "cuda"] = "auto"


DEFAULT_RATE = 0.04
