"""Every promise names tests, and every named test exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_promised_test_exists() -> None:
    page = (ROOT / "docs/explanation/promises.md").read_text("utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    defined = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)\(", path.read_text("utf-8"))
    }
    assert len(named) > 20
    assert sorted(named - defined) == []


def test_every_row_of_the_table_names_a_test() -> None:
    page = (ROOT / "docs/explanation/promises.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert [row for row in rows if "`test_" not in row] == []
