"""Keyed hashes of cells, by which a leaked file is compared with what was released.

Responsible for bringing equal values to one spelling, however a file was encoded, and for hashing them.

Invariants:
    - CSV and Parquet of one table hash alike; no plain value leaves this room.
    - Cells are hashed by SipHash-2-4 (Aumasson and Bernstein, 2012) under a key of 112 bits that never leaves the gateway.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

__all__ = ["Hashes", "cell_hashes", "derived", "hash_text_key", "tokens_of"]

Hashes = Mapping[str, NDArray[np.uint64]]
compute: Any = pyarrow.compute
SEVEN_BITS = 0x7F
HASH_KEY = 16
MOMENT = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})(?:[T ](?P<minute>\d{2}:\d{2})(?P<second>:\d{2})?(?:\.\d+)?(?:Z|\+00:?00)?)?", re.ASCII
)


def derived(secret: bytes, use: str, *, size: int) -> bytes:
    """A key for one use out of the gateway's secret for fingerprints (HKDF, RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=size, salt=None, info=f"ticketgate fingerprint {use}".encode()).derive(secret)


def cell_hashes(table: pa.Table, *, key: bytes) -> dict[str, NDArray[np.uint64]]:
    """Keyed hashes of every cell, by column.

    Args:
        table: Any table; values are brought to one text form, so that CSV and Parquet of one table agree.
        key: The gateway's secret for fingerprints.
    """
    secret = hash_text_key(derived(key, "cells", size=HASH_KEY))
    return {
        name: pd.util.hash_array(_texts(table.column(name)), hash_key=secret, categorize=True).astype(np.uint64)
        for name in table.column_names
    }


def hash_text_key(key: bytes) -> str:
    """The first 16 bytes of a key as pandas takes SipHash's: as 16 characters of a byte each, so seven bits of each are ours."""
    return "".join(chr(byte & SEVEN_BITS) for byte in key[:HASH_KEY])


def tokens_of(hashes: Hashes, columns: Sequence[str]) -> NDArray[np.uint64]:
    """One token a row for a set of columns; the order in which they are named does not matter."""
    ordered = sorted(columns)
    mixed = np.full(len(hashes[ordered[0]]), 0x9E3779B97F4A7C15, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for name in ordered:
            mixed ^= hashes[name]
            mixed *= np.uint64(0xFF51AFD7ED558CCD)
            mixed ^= mixed >> np.uint64(33)
    return mixed


def _texts(column: pa.ChunkedArray[Any]) -> NDArray[np.object_]:
    """One spelling for equal values: shortest numbers, ISO times to the second, trimmed text, one word for missing."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_boolean(kind):
        texts = compute.if_else(column, "true", "false")
        return np.asarray(compute.fill_null(texts, "").to_pylist(), dtype=object)
    if pa.types.is_temporal(kind):
        moments = pd.to_datetime(column.to_pandas(), utc=True, errors="coerce")
        return np.asarray(moments.dt.strftime("%Y-%m-%dT%H:%M:%S").fillna(""), dtype=object)
    values = column.to_pandas()
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        numbers = pd.to_numeric(values, errors="coerce").astype(float)
        return np.asarray(["" if math.isnan(number) else f"{number:.10g}" for number in numbers], dtype=object)
    return np.asarray([_text(value) for value in values], dtype=object)


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):  # NaN is the only value that differs from itself
        return ""
    text = str(value).strip().removeprefix("'")
    moment = MOMENT.fullmatch(text)
    if moment is not None:
        return f"{moment['day']}T{moment['minute'] or '00:00'}{moment['second'] or ':00'}"
    try:
        number = float(text)
    except ValueError:
        return text.casefold()
    return f"{number:.10g}" if np.isfinite(number) else text.casefold()
