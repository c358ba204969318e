"""A fitted neural generator on disk: safetensors and a JSON manifest, digest before parse.

Responsible for the network's numbers; what all families write alike is `generator.saving`.

Invariants:
    - What is written is what may be released: trained numbers, noisy histograms, the card, and what was spent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from generator.model_file import read_model, write_model
from generator.saving import facts_from, parts_of
from generator.sgd.fitted import FittedNeural, Sampler

__all__ = ["load_with", "save"]

Rebuild = Callable[[Mapping[str, Any], Mapping[str, np.ndarray]], Sampler]
PREFIX = "network."


def save(fitted: FittedNeural, folder: Path) -> str:
    """Write `model.json` and `model.safetensors`."""
    manifest, arrays = parts_of(fitted)
    arrays |= {f"{PREFIX}{name}": array for name, array in fitted.sampler.arrays().items()}
    manifest["network"] = fitted.sampler.shape()
    return write_model(folder, kind=fitted.name, manifest=manifest, arrays=arrays)


def load_with(folder: Path, *, digest: str, rebuild: Rebuild) -> FittedNeural:
    """Read a saved model.

    Args:
        folder: Where it was saved.
        digest: What `save` returned.
        rebuild: Makes the family's network from its shape and numbers.

    Raises:
        ModelCorrupt: the files are not what was saved.
    """
    name, manifest, arrays = read_model(folder, digest=digest)
    numbers = {key.removeprefix(PREFIX): array for key, array in arrays.items() if key.startswith(PREFIX)}
    return FittedNeural(name=name, sampler=rebuild(manifest["network"], numbers), **facts_from(manifest, arrays))
