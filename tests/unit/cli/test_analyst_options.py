"""Options of the analyst's commands that carry names of columns."""

from __future__ import annotations

import pytest

from gateway.cli.analyst import column_names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("age", ["age"]),
        ("age, income ,sex", ["age", "income", "sex"]),
        ('age, "Income, yearly",sex', ["age", "Income, yearly", "sex"]),
        ('"say ""when""",x', ['say "when"', "x"]),
    ],
)
def test_a_name_with_a_comma_can_be_asked_for(text: str, names: list[str]) -> None:
    assert column_names(text) == names
