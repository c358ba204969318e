"""What every fitted generator that draws bins writes to disk and reads back.

Responsible for the parts of a saved model that the marginal and the neural families share.

Invariants:
    - What is written is what may be released: noisy, processed probabilities, the card, and what was spent.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol, cast

import numpy as np

from generator.base import ModelCorrupt
from generator.constraints import orders_of
from generator.fields import Known, make_fields
from generator.marginal.bins import Bins
from generator.units import UnitModel
from policies.card import DatasetCard
from policies.types import PrivacySpent

__all__ = ["Bound", "facts_from", "parts_of"]


class Bound(Protocol):
    """What all families hold around their model."""

    @property
    def card(self) -> DatasetCard:
        """The dataset card."""

    @property
    def bins(self) -> tuple[Bins, ...]:
        """Bins of each variable, with their noisy probabilities."""

    @property
    def units(self) -> UnitModel | None:
        """The noisy model of rows per unit."""

    @property
    def domains(self) -> Mapping[str, Any]:
        """Domains that the card left open, as estimated."""

    @property
    def cells(self) -> int:
        """Most cells of a grid."""

    @property
    def spent(self) -> PrivacySpent:
        """What it cost."""


def parts_of(fitted: Bound) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The shared part of manifest and arrays."""
    arrays: dict[str, np.ndarray] = {}
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
        "units": None if units is None else [units.low, units.high],
        "spent": fitted.spent.to_json(),
    }
    return manifest, arrays


def facts_from(manifest: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The shared arguments of a fitted generator.

    Raises:
        ModelCorrupt: the saved model has other columns than its card.
    """
    card = DatasetCard.model_validate(manifest["card"])
    domains = {column: _domain(card, column, values) for column, values in manifest["domains"].items()}
    fields = make_fields(card, domains, cells=manifest["cells"])
    if len(manifest["sizes"]) != sum(len(field.variables) for field in fields):
        raise ModelCorrupt("the saved model has other columns than its card")
    units = None
    if manifest["units"] is not None:
        units = UnitModel(arrays["units.sizes"], arrays["units.firsts"], arrays["units.gaps"], *manifest["units"])
    return {
        "card": card,
        "fields": fields,
        "bins": tuple(
            Bins(arrays[f"bins.{i}.of_cell"], arrays[f"bins.{i}.cells"], size) for i, size in enumerate(manifest["sizes"])
        ),
        "orders": orders_of(card, fields),
        "units": units,
        "spent": PrivacySpent.from_json(manifest["spent"]),
        "domains": domains,
        "cells": manifest["cells"],
    }


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _domain(card: DatasetCard, column: str, values: list[Any]) -> Known:
    if card.columns[column].is_temporal:
        return (datetime.fromisoformat(values[0]), datetime.fromisoformat(values[1]))
    return cast("Known", tuple(values))
