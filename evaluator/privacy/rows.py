"""Rows as hashes: which real rows stand in the synthetic table, whole or but for a few columns.

Responsible for canonical values (rounding; case, spaces, punctuation and Unicode forms of text), for hashes of rows from
which any columns can be left out, and for asking of every real row: does one person alone have it, and is it in the synthetic
table?

Invariants:
    - Train and holdout are treated alike: rows of train stand first, and nothing here depends on which is which.
    - Equal canonical rows have equal hashes; different ones collide with probability 2^-64 a pair.
    - The order of rows and of columns does not matter to any answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evaluator.inputs import Inputs

__all__ = ["Hashes", "Matches", "RealRows", "real_rows"]

Hashes = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]
SIGNIFICANT_DIGITS = 6
"""Numbers that agree to so many digits are the same value: a row copied through float32 or text is still a copy."""

SPACING = r"""[\s\p{Z}\p{Cf}\p{Pi}\p{Pf}.,;:!?'"()\[\]{}_/\\]+"""
"""What texts may differ in and still be one value: a copy with a doubled space or without its full stop is a copy. Signs that
carry meaning (+ - < > = %) stay."""


@dataclass(frozen=True, slots=True)
class Matches:
    """For every real row under one choice of columns.

    Attributes:
        alone: Only one privacy unit has this row.
        found: The synthetic table has it.
        twins: How many other rows, real and synthetic, are equal to it; one synthetic row is not counted, so that a copy
            does not make its original look less lonely.
    """

    alone: Flags
    found: Flags
    twins: Codes


@dataclass(frozen=True, slots=True)
class RealRows:
    """Train and holdout stacked (train first), beside synthetic, as one hash per row and column.

    Attributes:
        names: Columns.
        real, synthetic: Hash of each value, one array per column. A row's hash on some columns is their wrapping sum.
        unit: Privacy unit of each real row; units of train and holdout are different numbers.
        member: Whether the row is of train.
    """

    names: tuple[str, ...]
    real: tuple[Hashes, ...]
    synthetic: tuple[Hashes, ...]
    unit: Codes
    member: Flags

    @property
    def row_is_unit(self) -> bool:
        """Whether every row is a privacy unit of its own."""
        return int(self.unit[-1]) + 1 == len(self.unit)

    def totals(self, columns: Iterable[int]) -> tuple[Hashes, Hashes]:
        """Row hashes of real and of synthetic rows on some columns."""
        real = np.zeros(len(self.unit), np.uint64)
        synthetic = np.zeros(len(self.synthetic[0]), np.uint64)
        for column in columns:
            real += self.real[column]
            synthetic += self.synthetic[column]
        return real, synthetic

    def matches(self, real: Hashes, synthetic: Hashes) -> Matches:
        """Compare row hashes: rows that only one unit has, and rows that the synthetic table has."""
        order = np.argsort(real)  # ties may fall in any order: equal rows get equal answers
        ordered, unit = real[order], self.unit[order]
        first = np.ones(len(order), dtype=np.bool_)
        first[1:] = ordered[1:] != ordered[:-1]
        starts = np.flatnonzero(first)
        one_unit = np.minimum.reduceat(unit, starts) == np.maximum.reduceat(unit, starts)
        values = ordered[starts]
        pool = np.sort(synthetic)
        copies = np.searchsorted(pool, values, side="right") - np.searchsorted(pool, values, side="left")
        group = np.cumsum(first) - 1
        alone, found = np.empty(len(order), np.bool_), np.empty(len(order), np.bool_)
        twins = np.empty(len(order), np.int64)
        size = np.diff(np.append(starts, len(order)))
        others = size - 1 + np.maximum(copies - 1, 0)
        alone[order], found[order], twins[order] = one_unit[group], (copies > 0)[group], others[group]
        return Matches(alone, found, twins)


def real_rows(inputs: Inputs) -> RealRows:
    """Hash the rows of the three tables (once per evaluation)."""
    return inputs.once("privacy.rows", lambda: _hashed(inputs))


def _hashed(inputs: Inputs) -> RealRows:
    names = tuple(inputs.columns)
    real, synthetic = [], []
    for position, name in enumerate(names):
        table = _canonical_hashes(inputs, name, position)
        real.append(np.concatenate([table[inputs.train.codes(name)], table[inputs.holdout.codes(name)]]))
        synthetic.append(table[inputs.synthetic.codes(name)])
    unit = np.concatenate([inputs.train.units.astype(np.int64), inputs.holdout.units.astype(np.int64) + inputs.train.n_units])
    member = np.arange(len(unit)) < inputs.train.rows
    return RealRows(names, tuple(real), tuple(synthetic), unit, member)


def _canonical_hashes(inputs: Inputs, name: str, position: int) -> Hashes:
    """Hash of every value of a column's domain; the last entry, which code -1 picks, is for a missing value."""
    domain = inputs.domain(name)
    column = inputs.columns[name]
    size = len(domain)
    if size == 0:
        codes: npt.NDArray[np.generic] = np.zeros(0, dtype=np.int64)
    elif column.type == "number":
        codes = _rounded(domain.to_numpy(zero_copy_only=False).astype(np.float64), column.decimals)
        codes = np.unique(codes, return_inverse=True)[1].reshape(-1)
    elif column.type in ("category", "text"):
        codes = _folded(domain).dictionary_encode().indices.to_numpy(zero_copy_only=False)
    else:
        codes = np.arange(size)
    mixed = np.concatenate([codes.astype(np.int64) + 2, [1]]).astype(np.uint64)
    salt = np.full(1, position + 1, dtype=np.uint64) * np.uint64(0xD1B54A32D192ED03)
    return _scrambled(mixed * np.uint64(0x9E3779B97F4A7C15) + salt)


def _folded(texts: pa.Array[Any]) -> pa.Array[Any]:
    """Texts as they are compared: one Unicode form, one case, no spaces or punctuation but single spaces between words."""
    kernels: Any = pc
    plain = kernels.utf8_lower(kernels.utf8_normalize(texts, form="NFKC"))
    return cast("pa.Array[Any]", kernels.utf8_trim_whitespace(kernels.replace_substring_regex(plain, SPACING, " ")))


def _rounded(values: npt.NDArray[np.float64], decimals: int | None) -> npt.NDArray[np.float64]:
    if decimals is not None:
        return np.round(values, decimals)
    with np.errstate(divide="ignore"):
        exponent = np.where(values == 0, 0.0, np.floor(np.log10(np.abs(np.where(values == 0, 1.0, values)))))
    scale = np.power(10.0, SIGNIFICANT_DIGITS - 1 - exponent)
    return np.where(np.isfinite(scale) & (scale > 0), np.rint(values * scale) / scale, values)


def _scrambled(words: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele et al. 2014): a bijection whose outputs behave as independent."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
