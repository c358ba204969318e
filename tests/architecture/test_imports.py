"""The import rules of the house, and one planted violation of each seen to be caught."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("policies", "generator", "evaluator", "gateway")
VIOLATIONS = {
    "The house stands on its ground floor": ("policies/planted.py", "import gateway.errors"),
    "The engines take from the ground floor only the card, the metric types and plain facts": (
        "generator/planted.py",
        "import policies.gate",
    ),
    "Inside the gateway everything flows one way": ("gateway/audit/planted.py", "import gateway.budget.ledger"),
    "The client knows access and HTTP, nothing of the house": ("gateway/client.py", "import gateway.budget.ledger"),
    "The web process loads no torch, no model, no evaluator, no reader of source tables": (
        "gateway/web/planted.py",
        "import gateway.storage.source",
    ),
    "The evaluator runs without torch": ("evaluator/planted.py", "import torch"),
    "The ground floor is pure": ("policies/planted.py", "import sqlalchemy"),
    "Flask only in the web": ("gateway/releases/planted.py", "import flask"),
    "SQLAlchemy only beside the tables": ("gateway/web/planted.py", "import sqlalchemy"),
    "boto3 only in storage": ("gateway/access/planted.py", "import boto3"),
    "PyJWT only in access": ("gateway/budget/planted.py", "import jwt"),
    "PyYAML only in the loader": ("gateway/cli/planted.py", "import yaml"),
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache"]
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin", "COLUMNS": "250"},
    )


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("house")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "pyproject.toml", folder / "pyproject.toml")
    return folder


@pytest.mark.slow
def test_the_house_keeps_its_import_rules(copied: Path) -> None:
    done = lint(copied)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.slow
def test_one_violation_of_every_rule_is_caught(copied: Path) -> None:
    originals = {}
    for place, line in VIOLATIONS.values():
        path = copied / place
        originals.setdefault(path, path.read_text("utf-8") if path.exists() else None)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n")
    try:
        done = lint(copied)
    finally:
        for path, text in originals.items():
            path.unlink() if text is None else path.write_text(text, "utf-8")
    assert done.returncode != 0
    kept = [name for name in VIOLATIONS if f"{name} KEPT" in done.stdout]
    assert kept == [], f"rules that let a violation through: {kept}\n{done.stdout[-2500:]}"
    broken = [name for name in VIOLATIONS if f"{name} BROKEN" in done.stdout]
    assert sorted(broken) == sorted(VIOLATIONS), done.stdout[-2500:]
