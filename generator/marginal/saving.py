"""A fitted marginal model on disk.

Responsible for the cliques of the model; what all families write alike is `generator.saving`.

Invariants:
    - What is written is what may be released: noisy, processed probabilities, the card, and what was spent.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from generator.base import ModelCorrupt
from generator.clamped import Outside
from generator.marginal.junction import Walk
from generator.marginal.model import Model
from generator.model_file import read_model, write_model
from generator.saving import facts_from, parts_of
from generator.slots import Pace

if TYPE_CHECKING:
    from generator.marginal.fitted import FittedMarginal

__all__ = ["load", "save"]


def save(fitted: FittedMarginal, folder: Path) -> str:
    """Write `model.json` and `model.safetensors`."""
    manifest, arrays = parts_of(fitted)
    for place, table in enumerate(fitted.model.tables):
        arrays[f"clique.{place}"] = table
    pace = fitted.pace
    manifest["pace"] = None if pace is None else [pace.place, pace.values.tolist(), pace.day, pace.week]
    manifest["walks"] = [[list(w.clique), w.parent, list(w.separator)] for w in fitted.model.walks]
    manifest["outside"] = {name: [one.count, one.sigma] for name, one in fitted.outside.items()}
    return write_model(folder, kind=fitted.name, manifest=manifest, arrays=arrays)


def load(folder: Path, *, digest: str) -> FittedMarginal:
    """Read a saved model.

    Raises:
        ModelCorrupt: the files are not what was saved.
    """
    from generator.marginal.fitted import FittedMarginal

    name, manifest, arrays = read_model(folder, digest=digest)
    walks = [Walk(tuple(clique), parent, tuple(separator)) for clique, parent, separator in manifest["walks"]]
    if any(f"clique.{place}" not in arrays for place in range(len(walks))):
        raise ModelCorrupt("the saved model lacks a clique")
    model = Model.of(walks, [arrays[f"clique.{place}"] for place in range(len(walks))])
    found = manifest["pace"]
    pace = None if found is None else Pace(found[0], np.array(found[1]), *found[2:])
    outside = {name: Outside(*one) for name, one in manifest["outside"].items()}
    return FittedMarginal(name=name, model=model, pace=pace, outside=outside, **facts_from(manifest, arrays))
