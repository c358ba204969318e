"""The generator `tvae`: the package's, wrapped; without any privacy guarantee."""

from __future__ import annotations

from pathlib import Path

from generator.base import FittedGenerator, GeneratorError
from generator.gan.packaged import Packaged
from generator.hyperparameters import PackagedParameters

__all__ = ["create", "load"]


def create(name: str, values: PackagedParameters) -> Packaged:
    """Make the unfitted generator."""
    return Packaged(name, values)


def load(folder: Path, *, digest: str) -> FittedGenerator:
    """Refused: a model of this package is never saved."""
    raise GeneratorError(f"a model of tvae is never saved, so none can be loaded from {folder.name} ({digest[:8]})")
