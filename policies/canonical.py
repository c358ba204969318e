"""One canonical form of a document, and its digest.

Responsible for what a policy's or card's digest is the digest of: RFC 8785 canonical JSON of the checked model with its
defaults written out. The digest stands in every decision, token and leaf, so equal meaning must give equal bytes.

Invariants:
    - A `Decimal` is text in plain notation without trailing zeros (`"0.000001"`): a JSON number would be rounded to a double.
    - Durations and sizes are text in their largest whole unit; dates and times are ISO 8601; null and absent are the same.
    - The columns of a card are an array of objects with a `name`, because their order means something.
    - `from_canonical(canonical_json(x), type(x)) == x`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar, cast

import rfc8785
from pydantic import BaseModel

from policies.card import DatasetCard

__all__ = ["canonical_json", "decimal_text", "digest", "from_canonical"]

Model = TypeVar("Model", bound=BaseModel)


def canonical_json(model: BaseModel) -> bytes:
    """The canonical bytes of a document (RFC 8785)."""
    document = _plain(model.model_dump(mode="python", by_alias=True, exclude_none=True))
    if isinstance(model, DatasetCard):
        columns = document["spec"]["columns"]
        document["spec"]["columns"] = [{"name": name, **column} for name, column in columns.items()]
    return rfc8785.dumps(document)


def digest(model: BaseModel) -> str:
    """Lower-case hexadecimal SHA-256 of the canonical form."""
    return hashlib.sha256(canonical_json(model)).hexdigest()


def from_canonical(raw: bytes, model: type[Model]) -> Model:
    """Rebuild a document from its canonical form.

    Raises:
        pydantic.ValidationError: the bytes are JSON but not such a document.
        ValueError: the bytes are not JSON.
    """
    return model.model_validate(json.loads(raw))


def decimal_text(number: Decimal) -> str:
    """A finite decimal in plain notation without trailing zeros: equal numbers give equal text."""
    if not number:
        return "0"
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in cast("Mapping[str, object]", value).items() if item is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, frozenset | set):
        return sorted(_plain(item) for item in value)
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value
