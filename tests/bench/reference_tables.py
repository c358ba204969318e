"""Tables on which other libraries were asked the same questions: made here from a seed, the same in every environment.

Only `Generator.random` is drawn from, whose stream every version of NumPy keeps, and all else is arithmetic on it. Each world is
train, holdout and synthetic as columns of plain values; None is missing.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

__all__ = ["WORLDS", "digest"]

Columns = dict[str, list[Any]]
World = dict[str, Columns]
STEPS = 9_362
"""Seven columns are compared on a grid of 65,534 // 7 steps: integers from 0 to this lie on it exactly."""


def _people(rows: int, seed: int, *, strength: float) -> Columns:
    """Numbers and categories that belong together; a tenth of the incomes is missing."""
    drawn = np.random.default_rng(seed).random((rows, 7))
    age = 18 + np.floor(60 * drawn[:, 0])
    income = 500 + strength * 30 * age + 600 * (drawn[:, 1] + drawn[:, 2])
    town = np.array(["north", "south", "east", "west"])[np.searchsorted([0.4, 0.7, 0.9], drawn[:, 3])]
    job = np.where(drawn[:, 4] < np.where(age > 45, 0.2, 0.7), "young", np.where(drawn[:, 5] < 0.5, "a", "b"))
    known = drawn[:, 6] >= 0.1
    return {
        "age": [int(value) for value in age],
        "income": [round(float(value), 3) if told else None for value, told in zip(income, known, strict=True)],
        "spend": [round(float(value), 3) for value in 0.4 * income + 200 * drawn[:, 5]],
        "town": [str(value) for value in town],
        "job": [str(value) for value in job],
    }


def _grid(rows: int, seed: int) -> Columns:
    """Six numbers on the grid and a secret that hangs on some of them; the first rows hold both ends of every number."""
    drawn = np.random.default_rng(seed).random((rows, 7))
    whole = np.floor(drawn[:, :6] * (STEPS + 1)).astype(int)
    whole[0], whole[1] = 0, STEPS
    ill = (whole[:, 0] + whole[:, 3]) / (2 * STEPS) + 0.6 * (drawn[:, 6] - 0.5) > 0.5
    columns: Columns = {name: [int(value) for value in whole[:, index]] for index, name in enumerate("abcdef")}
    return columns | {"ill": ["yes" if value else "no" for value in ill]}


def _names(rows: int, seed: int) -> Columns:
    """Texts of which many are rare: one of nine hundred streets, more of them in the front."""
    drawn = np.random.default_rng(seed).random((rows, 3))
    return {name: [f"{name}{int(900 * value**2):03d}" for value in drawn[:, index]] for index, name in enumerate(("x", "y", "z"))}


def _with_copies(synthetic: Columns, train: Columns, copies: int) -> Columns:
    return {name: [*train[name][:copies], *values[copies:]] for name, values in synthetic.items()}


def _worlds() -> dict[str, World]:
    people = {"train": _people(1000, 1, strength=1.0), "holdout": _people(1000, 2, strength=1.0)}
    grid = {"train": _grid(300, 11), "holdout": _grid(300, 12)}
    names = {"train": _names(600, 21), "holdout": _names(600, 22)}
    return {
        "people": people | {"synthetic": _with_copies(_people(900, 3, strength=0.6), people["train"], 45)},
        "grid": grid | {"synthetic": _with_copies(_grid(400, 13), grid["train"], 40)},
        "names": names | {"synthetic": _with_copies(_names(700, 23), names["train"], 30)},
    }


WORLDS = _worlds()


def digest(world: World) -> str:
    """Lower-case hex SHA-256 of a world's values: the reference was computed on these and no others."""
    return hashlib.sha256(json.dumps(world, sort_keys=True).encode()).hexdigest()
