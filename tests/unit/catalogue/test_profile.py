"""Profiles hold aggregates: no extreme, no category that is not public, nothing that is not finite."""

from __future__ import annotations

import json

import pyarrow as pa

from gateway.catalogue.profile import profile, profile_file, scan_file
from policies.card import DatasetCard

CARD = DatasetCard.model_validate(
    {
        "apiVersion": "ticketgate/v1",
        "kind": "Dataset",
        "metadata": {"name": "d"},
        "spec": {
            "source": "t.csv",
            "privacy_unit": "uid",
            "max_rows_per_unit": 2,
            "columns": {
                "uid": {"type": "id", "role": "identifier"},
                "age": {"type": "integer", "role": "quasi-identifier", "bounds": [0, 100]},
                "town": {"type": "category", "role": "quasi-identifier"},
                "region": {"type": "category", "values": ["north", "south"]},
                "ok": {"type": "boolean"},
            },
        },
    }
)


def table_of(rows: int = 300) -> pa.Table:
    return pa.table(
        {
            "uid": [f"u{n // 3}" for n in range(rows)],
            "age": [n % 90 for n in range(rows - 1)] + [7654321],
            "town": ["A"] * (rows - 1) + ["Secretville"],
            "region": ["north", None, "south"] * (rows // 3),
            "ok": [True, False, None] * (rows // 3),
        }
    )


def test_aggregates():
    found = profile(table_of(), card=CARD)
    age, region = found["columns"]["age"], found["columns"]["region"]
    assert found["rows"] == 300
    assert age["outside_bounds"] == 1
    assert age["quantiles"]["0.5"] == 40.0
    assert region["values"] == {"north": 100, "south": 100}
    assert region["missing"] == 100
    assert found["columns"]["town"]["seen_once"] == 1
    assert found["columns"]["ok"]["true_share"] == 0.5
    assert found["units"] == {"column": "uid", "units": 100, "median_rows": 3.0, "above_limit": 100, "rows_beyond_limit": 100}
    assert found["uniqueness"]["columns"] == ["age", "town"]
    assert found["uniqueness"]["unique_rows"] >= 1


def test_no_extreme_and_no_unlisted_category():
    text = json.dumps(profile(table_of(), card=CARD), allow_nan=False)
    assert "7654321" not in text
    assert "Secretville" not in text


def test_small_tables_have_no_quantiles():
    assert "quantiles" not in profile(table_of(30), card=CARD)["columns"]["age"]


def test_without_rows_and_without_a_card():
    found = profile(table_of().slice(0, 0))
    assert (found["rows"], found["duplicate_rows"], found["units"], found["uniqueness"]) == (0, 0, None, None)
    json.dumps(found, allow_nan=False)


def test_files_for_the_bounded_child(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("uid,age,town,region,ok\na,5,X,north,true\nb,6,Y,south,false\n")
    card = CARD.model_dump(mode="json", by_alias=True)
    assert profile_file(str(path), card=card)["rows"] == 2
    assert scan_file(str(path), card=card)["identifiers"] == ["uid"]
    json.dumps([profile_file(str(path)), scan_file(str(path))], allow_nan=False)
