"""A fitted marginal model on disk.

Responsible for turning it into a manifest and arrays, and back.

Invariants:
    - What is written is what may be released: noisy, processed probabilities, the card, and what was spent.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from generator.base import ModelCorrupt
from generator.constraints import orders_of
from generator.fields import Known, make_fields
from generator.marginal.bins import Bins
from generator.marginal.junction import Walk
from generator.marginal.model import Model
from generator.model_file import read_model, write_model
from generator.units import UnitModel
from policies.card import DatasetCard
from policies.types import PrivacySpent

if TYPE_CHECKING:
    from generator.marginal.fitted import FittedMarginal

__all__ = ["load", "save"]


def save(fitted: FittedMarginal, folder: Path) -> str:
    """Write `model.json` and `model.safetensors`."""
    arrays: dict[str, np.ndarray] = {}
    for place, bins in enumerate(fitted.bins):
        arrays[f"bins.{place}.of_cell"], arrays[f"bins.{place}.cells"] = bins.of_cell, bins.cells
    for place, table in enumerate(fitted.model.tables):
        arrays[f"clique.{place}"] = table
    units = fitted.units
    if units is not None:
        arrays |= {"units.sizes": units.sizes, "units.firsts": units.firsts, "units.gaps": units.gaps}
    manifest = {
        "card": fitted.card.model_dump(mode="json", by_alias=True),
        "domains": {name: [_plain(value) for value in known] for name, known in fitted.domains.items()},
        "cells": fitted.cells,
        "sizes": [bins.size for bins in fitted.bins],
        "walks": [[list(w.clique), w.parent, list(w.separator)] for w in fitted.model.walks],
        "units": None if units is None else [units.low, units.high],
        "spent": fitted.spent.to_json(),
    }
    return write_model(folder, kind=fitted.name, manifest=manifest, arrays=arrays)


def load(folder: Path, *, digest: str) -> FittedMarginal:
    """Read a saved model.

    Raises:
        ModelCorrupt: the files are not what was saved.
    """
    from generator.marginal.fitted import FittedMarginal

    name, manifest, arrays = read_model(folder, digest=digest)
    card = DatasetCard.model_validate(manifest["card"])
    domains = {column: _domain(card, column, values) for column, values in manifest["domains"].items()}
    fields = make_fields(card, domains, cells=manifest["cells"])
    count = sum(len(field.variables) for field in fields)
    walks = [Walk(tuple(clique), parent, tuple(separator)) for clique, parent, separator in manifest["walks"]]
    if any(f"clique.{place}" not in arrays for place in range(len(walks))):
        raise ModelCorrupt("the saved model lacks a clique")
    if len(manifest["sizes"]) != count:
        raise ModelCorrupt("the saved model has other columns than its card")
    bins = tuple(Bins(arrays[f"bins.{i}.of_cell"], arrays[f"bins.{i}.cells"], n) for i, n in enumerate(manifest["sizes"]))
    model = Model.of(walks, [arrays[f"clique.{place}"] for place in range(len(walks))])
    units = None
    if manifest["units"] is not None:
        units = UnitModel(arrays["units.sizes"], arrays["units.firsts"], arrays["units.gaps"], *manifest["units"])
    return FittedMarginal(
        name=name, card=card, fields=fields, bins=bins, model=model, orders=orders_of(card, fields), units=units,
        spent=PrivacySpent.from_json(manifest["spent"]), domains=domains, cells=manifest["cells"],
    )  # fmt: skip


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _domain(card: DatasetCard, column: str, values: list[Any]) -> Known:
    if card.columns[column].is_temporal:
        return (datetime.fromisoformat(values[0]), datetime.fromisoformat(values[1]))
    return cast("Known", tuple(values))
