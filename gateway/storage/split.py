"""Which privacy units train and which are held out: by keyed hash, for ever.

The side of a unit is HMAC-SHA256(dataset key, unit) < holdout fraction: independent per unit, the same in every run, never
shuffled to an exact size and never stratified on data.

Invariants:
    - All rows of a unit are on one side. Adding, removing or reordering other rows moves no unit.
    - A row without a unit, where the card names a privacy unit, is refused: nobody could say whom it belongs to.
    - Without the dataset key nobody can tell a unit's side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from policies.card import DatasetCard
from policies.tables import TableInvalid

__all__ = ["is_held_out", "split_units"]

SPACE = 1 << 64
BLOCK = 64
compute: Any = pyarrow.compute


def is_held_out(units: Iterable[bytes], *, key: bytes, fraction: Decimal) -> list[bool]:
    """The side of each unit; true is holdout.

    Args:
        units: Names of units.
        key: The dataset's own secret, at least 32 bytes.
        fraction: Expected share of units in the holdout, strictly between 0 and 1, exact to 2^-64.
    """
    if len(key) < 32:  # noqa: PLR2004 - bytes of a SHA-256 key
        raise ValueError("a dataset key has at least 32 bytes")
    if not 0 < fraction < 1:
        raise ValueError("a holdout fraction lies strictly between 0 and 1")
    line = int(fraction * SPACE).to_bytes(8, "big")
    # HMAC (RFC 2104) with both keyed states made once: three times as fast as one call per unit.
    block = (hashlib.sha256(key).digest() if len(key) > BLOCK else key).ljust(BLOCK, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))
    sides = []
    for unit in units:
        message, envelope = inner.copy(), outer.copy()
        message.update(unit)
        envelope.update(message.digest())
        sides.append(envelope.digest()[:8] < line)
    return sides


def split_units(table: pa.Table, *, card: DatasetCard, key: bytes) -> tuple[pa.Table, pa.Table]:
    """Split a table, as read with its card, into train and holdout.

    Args:
        table: All rows in file order: where a row is a unit, its number decides.
        card: Names the privacy unit and the fraction.
        key: The dataset's own secret, at least 32 bytes.

    Raises:
        TableInvalid: rows have no privacy unit, or one side would be empty.
    """
    name, fraction = card.spec.privacy_unit, card.spec.holdout.fraction
    if name is None:
        sides = np.asarray(
            is_held_out((b"row:%d" % row for row in range(table.num_rows)), key=key, fraction=fraction), dtype=bool
        )
    else:
        column = table.column(name).combine_chunks()
        if column.null_count:
            raise TableInvalid(
                f"{column.null_count:,} rows have no value in '{name}', the privacy unit: drop them or fill them in, "
                "since nobody can say whom they belong to"
            )
        encoded = column.dictionary_encode()
        texts = compute.cast(encoded.dictionary, pa.string()).to_pylist()
        units = np.asarray(is_held_out((b"unit:" + text.encode() for text in texts), key=key, fraction=fraction), dtype=bool)
        sides = units[encoded.indices.to_numpy(zero_copy_only=False)] if len(units) else np.zeros(0, dtype=bool)
    if sides.all() or not sides.any():
        raise TableInvalid("the table has too few privacy units to hold any out: nothing can be released from it")
    mask = pa.array(sides)
    return table.filter(compute.invert(mask)), table.filter(mask)
