"""Draft cards: loadable once the TODOs are answered, and without a single value of the table."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from gateway.catalogue.draft import draft_card
from policies.loader import DocumentInvalid, load_card
from policies.tables import TableInvalid, read_table

SHARED = Path(__file__).parents[4] / "shared"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="the folder of tables beside the checkout (../shared) is missing")

SAMPLE = """account_id,full name,mail,age,region,amount,booked_at,note,=1+1
A1,Ann Ashby,ann@mail.example.com,31,northland,10.5,2024-03-05 10:00:00,called about the late parcel twice,7
A1,Ann Ashby,ann@mail.example.com,31,northland,11.25,2024-04-05 11:30:00,asked to move to another branch soon,8
A2,Bob Birch,bob@mail.example.com,58,southland,99.75,2024-05-06 12:45:00,says that the fee was never announced,9
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "Card Transactions.csv"
    path.write_text(SAMPLE)
    return path


def answered(draft: str) -> str:
    """What a steward might write for each TODO."""
    text = re.sub(
        r"type: (integer|number), role: ([a-z-]+), bounds: \[TODO, TODO\]", r"type: \1, role: \2, bounds: [0, 1000]", draft
    )
    text = re.sub(r"(type: date(?:time)?, role: [a-z-]+), bounds: \[TODO, TODO\]", r"\1, bounds: [2000-01-01, 2030-12-31]", text)
    text = text.replace("values: [TODO]", "values: [a, b]").replace(
        "budget: {epsilon: TODO, delta: TODO}", "budget: {epsilon: 10, delta: 1.0e-5}"
    )
    return text.replace("max_rows_per_unit: TODO", "max_rows_per_unit: 5").replace("TODO", "dana")


def test_types_roles_and_unit(table):
    draft = draft_card(table)
    assert "name: card-transactions" in draft
    assert "privacy_unit: account_id" in draft
    assert "time_index: booked_at" in draft
    for line in (
        "account_id: {type: id, role: identifier}",
        '"full name": {type: id, role: identifier}',
        "mail: {type: id, role: identifier}",
        "age: {type: integer, role: quasi-identifier, bounds: [TODO, TODO]}",
        "region: {type: category, role: quasi-identifier, values: [TODO]}",
        "amount: {type: number, role: sensitive, bounds: [TODO, TODO]}",
        "booked_at: {type: datetime, role: quasi-identifier, bounds: [TODO, TODO], parts: [trend, month, weekday, hour]}",
    ):
        assert line in draft


def test_a_draft_is_refused_until_its_todos_are_answered(table, tmp_path):
    (tmp_path / "card.yaml").write_text(draft_card(table))
    with pytest.raises(DocumentInvalid, match="TODO"):
        load_card(tmp_path / "card.yaml")
    (tmp_path / "card.yaml").write_text(answered(draft_card(table)))
    card = load_card(tmp_path / "card.yaml")
    assert list(card.columns) == read_table(table).table.column_names


def test_no_value_of_the_table_stands_in_the_draft(table):
    draft = draft_card(table)
    with table.open(newline="") as file:
        cells = {cell for row in list(csv.reader(file))[1:] for cell in row if len(cell) > 1}
    assert not [cell for cell in cells if cell in draft]


def test_two_tables_of_one_shape_have_one_draft(table, tmp_path):
    other = tmp_path / "other" / table.name
    other.parent.mkdir()
    other.write_text(SAMPLE.replace("31", "47").replace("northland", "eastland").replace("99.75", "1.00"))
    assert draft_card(other) == draft_card(table)


def test_a_table_without_rows_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n")
    with pytest.raises(TableInvalid, match="no rows"):
        draft_card(path)


@needs_shared
@pytest.mark.shared
@pytest.mark.parametrize(
    "file",
    [
        "awkward/hostile_column_names.csv",
        "awkward/pii_people.csv",
        "awkward/unicode_tricks.csv",
        "data/adult.csv",
        "data/heart_cleveland.csv",
        "data/synthea_patients.csv",
    ],
)
def test_drafts_of_real_and_hostile_tables_become_cards(file, tmp_path):
    draft = draft_card(SHARED / file)
    (tmp_path / "card.yaml").write_text(answered(draft), encoding="utf-8")
    assert list(load_card(tmp_path / "card.yaml").columns) == read_table(SHARED / file).table.column_names
