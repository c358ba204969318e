"""Synthetic keys and fake text: what stands in columns that are never learnt.

Responsible for identifier columns and free text of synthetic rows.

Invariants:
    - Nothing here reads the train table: keys are made of the row's number and of nothing else.
    - Keys are unique within one sample, unless they stand for units that own several rows.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from generator.arrow import Array
from generator.arrow import compute as pc

__all__ = ["fake_texts", "row_keys"]

WORDS = [
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "harbour",
    "island",
    "juniper",
    "kestrel",
    "lagoon",
    "meadow",
    "north",
    "orchid",
    "pebble",
    "quartz",
    "river",
    "slate",
    "timber",
    "umber",
    "valley",
    "willow",
    "yarrow",
    "zephyr",
]


def row_keys(numbers: NDArray[np.int64], kind: pa.DataType) -> Array:
    """Keys for numbers of rows or units: `S0000000042` in a text column, whole numbers in any other; below 0 is missing."""
    if (numbers < 0).any():
        return pc.if_else(pa.array(numbers < 0), pa.scalar(None, kind), row_keys(np.abs(numbers), kind))
    if pa.types.is_string(kind):
        digits = pc.utf8_lpad(pa.array(numbers, pa.int64()).cast(pa.string()), width=10, padding="0")
        return pc.binary_join_element_wise("S", digits, "").cast(kind)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return pa.array(numbers, pa.int64()).cast(kind)
    return pa.array([None] * numbers.size, kind)


def fake_texts(rows: int, rng: np.random.Generator) -> Array:
    """Texts of a few plain words that come from no row."""
    words: Array = pa.array(WORDS, pa.string())
    drawn = [words.take(pa.array(rng.integers(0, len(WORDS), rows))) for _ in range(3)]
    return pc.binary_join_element_wise(*drawn, " ")
