"""The train table as batches and as coded chunks, with the rows of each privacy unit bounded.

Responsible for reading batches, keeping at most m rows of a unit, and encoding them by the card's fields.

Invariants:
    - Which rows of a unit are kept is decided by the operating system's entropy, once for a fit.
    - Codes of a large table are never held whole: they are counted as they pass, in one pass where the counts themselves fit
      in memory; else chunks are made again from the batches in every round.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from generator.arrow import Array
from generator.arrow import compute as pc
from generator.base import BadTable, Train
from generator.encoding import Codes, Field, conform
from generator.relations import modelled, refuse_impossible
from generator.tally import Tally
from policies.card import DatasetCard

__all__ = ["Rows", "Source", "batches", "ranks"]

HELD_BYTES = 96 << 20
CHUNK_ROWS = 1 << 17
TWICE = "batches that do not fit in memory must be given as something that can be read again"
AGAIN = "the batches held other rows when they were read again: give a table, or batches that begin anew and stay the same"
Integers = NDArray[np.int64]


class Rows:
    """The rows that count: all of them, or at most m of each privacy unit.

    Args:
        train: A table, or batches; where a unit must be bounded, they must be re-iterable.
        card: The dataset card.

    Attributes:
        units: Whose row it is, by row that counts; None where a row is a unit.
        unit_rows: How many rows each unit with a key has in the table, before it is bounded.
        first_keyless: The first number in `units` of a row that has no key and stands for itself.

    Raises:
        GeneratorError: no model of this card could keep what it says; nothing was read or spent by then.
    """

    def __init__(self, train: Train, *, card: DatasetCard) -> None:
        refuse_impossible(card)
        self._train = train
        self.units: Integers | None = None
        self.unit_rows = np.zeros(0, np.int64)
        self.first_keyless = 0
        self._keep: NDArray[np.bool_] | None = None
        self._count: int | None = None
        if card.spec.privacy_unit is not None:
            units, self.first_keyless = unit_codes(train, card=card)
            self.unit_rows = np.bincount(units[units < self.first_keyless], minlength=self.first_keyless)
            self._keep = bounded(units, most=card.rows_per_unit)
            self.units = units[self._keep]
            self._count = units.size

    @property
    def is_single_use(self) -> bool:
        """Whether the batches can be read only once."""
        return isinstance(self._train, Iterator)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Batches of the rows that count.

        Raises:
            BadTable: they are read again, and are not as many rows as before: they pass by once, or they change.
        """
        start = 0
        for batch in batches(self._train):
            count = batch.num_rows
            yield batch if self._keep is None else batch.filter(pa.array(self._keep[start : start + count]))
            start += count
        if self._count is not None and start != self._count:
            raise BadTable(AGAIN)
        self._count = start


class Source:
    """Coded chunks of the rows that count.

    Args:
        rows: The rows.
        card: The dataset card.
        fields: How columns become codes.
    """

    def __init__(self, rows: Rows, *, card: DatasetCard, fields: Sequence[Field]) -> None:
        self._rows = rows
        self._fields = tuple(fields)
        self._columns = {name: card.columns[name] for field in fields for name in field.columns}
        self._held: list[list[Codes]] | None = None
        self._is_streamed = False
        self._targets = modelled(card, card.spec.targets)
        self.tally: Tally | None = None

    def chunks(self) -> Iterator[list[Codes]]:
        """Codes by variable, chunk after chunk; a first pass over a table that is too large to hold fills `tally`."""
        if self._held is not None:
            yield from self._held
            return
        if self._is_streamed and self._rows.is_single_use:
            raise BadTable(TWICE)
        held: list[list[Codes]] | None = None if self._is_streamed else []
        tally: Tally | None = None
        size = 0
        for chunk in self._encoded():
            if tally is not None:
                tally.add(chunk)
            if held is not None:
                held.append(chunk)
                size += sum(codes.nbytes for codes in chunk)
                if size > HELD_BYTES:
                    tally = self._new_tally(held)
                    held, self._is_streamed = None, True
            yield chunk
        self._held = held
        self.tally = tally or self.tally

    def _new_tally(self, held: Sequence[Sequence[Codes]]) -> Tally | None:
        variables = [variable for field in self._fields for variable in field.variables]
        third = next((i for i, variable in enumerate(variables) if variable.name in self._targets), None)
        tally = Tally.planned([variable.size for variable in variables], third)
        if self._rows.is_single_use and (tally is None or not tally.tells_all_with(third)):
            raise BadTable(TWICE)
        if tally is not None:
            for chunk in held:
                tally.add(chunk)
        return tally

    def _encoded(self) -> Iterator[list[Codes]]:
        for batch in self._rows.batches():
            if batch.num_rows:
                arrays = conform(batch, self._columns)
                yield [narrow(codes) for field in self._fields for codes in field.encode(arrays)]


def narrow(codes: Codes) -> Codes:
    """The same codes in two bytes where they fit."""
    return codes.astype(np.int16) if codes.size and codes.max() < np.iinfo(np.int16).max else codes


def batches(train: Train) -> Iterator[pa.RecordBatch]:
    """Batches of bounded length of a table or of an iterable of batches."""
    if isinstance(train, pa.Table):
        yield from train.to_batches(max_chunksize=CHUNK_ROWS)
        return
    for batch in train:
        for start in range(0, batch.num_rows, CHUNK_ROWS):
            yield batch.slice(start, CHUNK_ROWS)


def unit_codes(train: Train, *, card: DatasetCard) -> tuple[Integers, int]:
    """A whole number per row that says whose row it is, and from which number on rows without a unit stand for themselves.

    Raises:
        BadTable: batches that can be read only once cannot be bounded per unit.
    """
    unit = card.spec.privacy_unit
    if unit is None:
        raise BadTable("the card names no privacy unit")
    if isinstance(train, Iterator):
        raise BadTable("a table with a privacy unit must be given whole, or as batches that can be read again")
    parts: Iterable[Array] = [conform(batch, {unit: card.columns[unit]})[unit] for batch in batches(train)]
    whole = pa.chunked_array(parts, type=None if parts else pa.string())
    encoded: Any = whole.dictionary_encode().unify_dictionaries()
    codes = np.concatenate(
        [np.zeros(0), *(pc.fill_null(chunk.indices, -1).to_numpy(zero_copy_only=False) for chunk in encoded.chunks)]
    ).astype(np.int64)
    alone = codes < 0
    first = int(codes.max(initial=-1)) + 1
    codes[alone] = first + np.arange(int(alone.sum()))
    return codes, first


def bounded(units: Integers, *, most: int) -> NDArray[np.bool_]:
    """Which rows to keep: of every unit a random subset of at most `most` rows."""
    keys = np.frombuffer(secrets.token_bytes(8 * units.size), np.uint64)
    order = np.lexsort((keys, units))
    keep = np.zeros(units.size, bool)
    keep[order] = ranks(units[order]) < most
    return keep


def ranks(groups: Integers) -> Integers:
    """Place of each entry within its run of equal entries."""
    if not groups.size:
        return np.zeros(0, np.int64)
    starts = np.flatnonzero(np.append(True, groups[1:] != groups[:-1]))
    lengths = np.diff(np.append(starts, groups.size))
    return np.arange(groups.size) - np.repeat(starts, lengths)
