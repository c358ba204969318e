"""A fitted neural generator on disk: safetensors and a JSON manifest, digest before parse.

Invariants:
    - What is written is what may be released: trained numbers, noisy histograms, the card, and what was spent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from generator.base import ModelCorrupt
from generator.constraints import orders_of
from generator.fields import Known, make_fields
from generator.marginal.bins import Bins
from generator.marginal.model import Model
from generator.model_file import read_model, write_model
from generator.sgd.fitted import FittedNeural, Sampler
from generator.units import UnitModel
from policies.card import DatasetCard
from policies.types import PrivacySpent

__all__ = ["load_with", "save"]

Rebuild = Callable[[Mapping[str, Any], Mapping[str, np.ndarray]], Sampler]


def save(fitted: FittedNeural, folder: Path) -> str:
    """Write `model.json` and `model.safetensors`."""
    arrays = {f"network.{name}": array for name, array in fitted.sampler.arrays().items()}
    for place, bins in enumerate(fitted.bins):
        arrays[f"bins.{place}.of_cell"], arrays[f"bins.{place}.cells"] = bins.of_cell, bins.cells
    units = fitted.units
    if units is not None:
        arrays |= {"units.sizes": units.sizes, "units.firsts": units.firsts, "units.gaps": units.gaps}
    manifest = {
        "card": fitted.card.model_dump(mode="json", by_alias=True),
        "domains": {name: [_plain(value) for value in known] for name, known in fitted.domains.items()},
        "cells": fitted.cells,
        "sizes": [bins.size for bins in fitted.bins],
        "network": fitted.sampler.shape(),
        "units": None if units is None else [units.low, units.high],
        "spent": fitted.spent.to_json(),
    }
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
    card = DatasetCard.model_validate(manifest["card"])
    domains = {column: _domain(card, column, values) for column, values in manifest["domains"].items()}
    fields = make_fields(card, domains, cells=manifest["cells"])
    if len(manifest["sizes"]) != sum(len(field.variables) for field in fields):
        raise ModelCorrupt("the saved model has other columns than its card")
    bins = tuple(Bins(arrays[f"bins.{i}.of_cell"], arrays[f"bins.{i}.cells"], n) for i, n in enumerate(manifest["sizes"]))
    numbers = {key.removeprefix("network."): array for key, array in arrays.items() if key.startswith("network.")}
    units = None
    if manifest["units"] is not None:
        units = UnitModel(arrays["units.sizes"], arrays["units.firsts"], arrays["units.gaps"], *manifest["units"])
    return FittedNeural(
        name=name, card=card, fields=fields, bins=bins, model=Model.of([], []), orders=orders_of(card, fields), units=units,
        spent=PrivacySpent.from_json(manifest["spent"]), domains=domains, cells=manifest["cells"],
        sampler=rebuild(manifest["network"], numbers),
    )  # fmt: skip


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _domain(card: DatasetCard, column: str, values: list[Any]) -> Known:
    if card.columns[column].is_temporal:
        return (datetime.fromisoformat(values[0]), datetime.fromisoformat(values[1]))
    return tuple(values)
