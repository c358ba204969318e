"""A saved model: arrays as safetensors, everything else as a JSON manifest, and one digest over both.

Responsible for writing and reading the two files. Knows nothing of what a family stores in them.

Invariants:
    - The digest is compared before a single byte is parsed.
    - Nothing that is read can execute: no pickle, no code names to import.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from generator.base import ModelCorrupt

__all__ = ["read_kind", "read_model", "write_model"]

MANIFEST = "model.json"
ARRAYS = "model.safetensors"
SCHEMA = "ticketgate/model/v1"


def write_model(folder: Path, *, kind: str, manifest: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """Write a model and return its digest.

    Args:
        folder: An existing folder.
        kind: The generator's name in the catalogue.
        manifest: JSON-safe particulars.
        arrays: Arrays by name.
    """
    from safetensors.numpy import save

    blob = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    document = {"schema": SCHEMA, "kind": kind, "arrays_sha256": hashlib.sha256(blob).hexdigest(), "manifest": dict(manifest)}
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    (folder / ARRAYS).write_bytes(blob)
    (folder / MANIFEST).write_bytes(text)
    return hashlib.sha256(text).hexdigest()


def read_model(folder: Path, *, digest: str) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """Read a model whose digest is known.

    Returns:
        The generator's name, the manifest and the arrays.

    Raises:
        ModelCorrupt: a file is missing, altered, or not of this schema.
    """
    from safetensors.numpy import load

    document = _document(folder, digest=digest)
    blob = _bytes(folder / ARRAYS)
    if hashlib.sha256(blob).hexdigest() != document["arrays_sha256"]:
        raise ModelCorrupt("the arrays of the saved model do not have the digest that its manifest states")
    return document["kind"], document["manifest"], load(blob)


def read_kind(folder: Path, *, digest: str) -> str:
    """The generator's name of a saved model whose digest is known."""
    kind = _document(folder, digest=digest)["kind"]
    if not isinstance(kind, str):
        raise ModelCorrupt("the saved model does not say which generator it is of")
    return kind


def _document(folder: Path, *, digest: str) -> dict[str, Any]:
    text = _bytes(folder / MANIFEST)
    if hashlib.sha256(text).hexdigest() != digest:
        raise ModelCorrupt("the saved model does not have the digest that was recorded for it")
    document: dict[str, Any] = json.loads(text)
    if document.get("schema") != SCHEMA:
        raise ModelCorrupt(f"the saved model is not of the schema {SCHEMA}")
    return document


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelCorrupt(f"the saved model lacks its file {path.name}") from error
