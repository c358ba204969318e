"""Rooms stay liveable: size of modules and functions, docstrings, front doors."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 400
MAX_FUNCTION = 60
FORBIDDEN_NAMES = {"utils", "util", "common", "manager", "managers", "handler", "handlers", "helpers", "misc"}
MODULES = sorted(
    path
    for package in ("policies", "generator", "evaluator", "gateway")
    for path in (ROOT / package).rglob("*.py")
    if "versions" not in path.parts
)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_small_named_well_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= MAX_LINES
    assert path.stem not in FORBIDDEN_NAMES
    if text.strip():
        assert ast.get_docstring(tree), "a module says in its docstring what it is responsible for"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            doc = ast.get_docstring(node, clean=False)
            body = length - (0 if doc is None else len(doc.splitlines()))
            assert body <= MAX_FUNCTION, f"{node.name} has {body} lines"


def test_every_package_that_offers_names_lists_them() -> None:
    doors = [path for path in MODULES if path.name == "__init__.py"]
    missing = [
        str(path.relative_to(ROOT))
        for path in doors
        if any(
            isinstance(node, ast.ImportFrom) and node.module != "__future__" for node in ast.parse(path.read_text("utf-8")).body
        )
        and "__all__" not in path.read_text("utf-8")
    ]
    assert missing == []
