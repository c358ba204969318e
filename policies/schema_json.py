"""JSON Schemas of the documents that people write, for editors and for readers.

Responsible for generating them from the models, so that descriptions and rules stand in one place. `python -m
policies.schema_json docs/reference/schemas` writes them; a test fails when the committed files differ.

Invariants: the schema accepts what the models' shapes accept (relations between keys are the loader's and lint's to check).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from policies.card import DatasetCard
from policies.case_schema import PolicyCases
from policies.schema import ReleasePolicy

__all__ = ["FILES", "json_schema", "schema_text", "write_schemas"]

FILES: Mapping[str, type[BaseModel]] = {
    "dataset.schema.json": DatasetCard,
    "release-policy.schema.json": ReleasePolicy,
    "policy-cases.schema.json": PolicyCases,
}


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a document."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_text(model: type[BaseModel]) -> str:
    """The schema as it stands in the file."""
    return json.dumps(json_schema(model), indent=2, ensure_ascii=False) + "\n"


def write_schemas(folder: Path) -> tuple[Path, ...]:
    """Write every schema; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in FILES.items():
        (folder / name).write_text(schema_text(model), "utf-8")
    return tuple(folder / name for name in FILES)


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))
