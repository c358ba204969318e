"""Personal data is found by form and check digits; what only looks like it is not."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from gateway.catalogue.pii import FINDABLE, find_pii, scan_pii
from policies.tables import read_table

SHARED = Path(__file__).parents[4] / "shared"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="the folder of tables beside the checkout (../shared) is missing")

# Kinds of the truth file → what the scan calls them; None where it stays silent on purpose.
TRUTH = {
    "direct id": "key", "name": "name", "birth date (quasi-identifier)": "birth-date", "email": "email", "phone": "phone",
    "address": "address", "postal code (quasi-identifier)": "postal-code", "quasi-identifier": None, "health value": None,
}  # fmt: skip
BY_WORDS = {
    "social security": "us-ssn",
    "payment card": "payment-card",
    "IP address": "ip-address",
    "IBAN": "iban",
    "NHS": "nhs-number",
    "free text": "free-text",
}


def kind_of(values: list[object], name: str = "column_7") -> str | None:
    finding, _ = find_pii(name, pa.chunked_array([pa.array(values)]))
    return finding.kind if finding else None


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["ann@example.com", "bob.b+x@mail.example.org"], "email"),
        (["900-12-3456", "987654321", "999-65-4320"], "us-ssn"),
        (
            ["4111 1111 1111 1111", "5105105105105100", "6011-1111-1111-1117", "378282246310005", "4012888888881881"],
            "payment-card",
        ),
        ([4111111111111111, 5105105105105100, 6011111111111117, 378282246310005, 4012888888881881], "payment-card"),
        (
            [
                "GB29 NWBK 6016 1331 9268 19",
                "DE89370400440532013000",
                "FR1420041010050500013M02606",
                "NL91ABNA0417164300",
                "ES9121000418450200051332",
            ],
            "iban",
        ),
        (["192.0.2.1", "198.51.100.255", "2001:db8::1"], "ip-address"),
        (["+44 20 7946 0000", "(415) 555-0100", "020 7946 0129"], "phone"),
        (["00:00:5e:00:53:01", "00-00-5E-00-53-FF"], "mac-address"),
        (["77 Rue Imaginaire", "16 Mill Road"], "address"),
        (["https://example.org/u/1", "http://example.com/2"], "url"),
        (["9436ac89-2499-2406-2a0b-e362bcc4eefd", "7e89f21d-ad08-95ba-f074-738662bb8ef0"], "uuid"),
        (["a@localhost", "b@localhost", "b@localhost"], None),
        (["4111111111111112"] * 2, None),
        (["GB00NWBK60161331926819"] * 2, None),
        (["v1.2.3", "v1.2.3"], None),
        (["300.1.1.1", "300.1.1.1"], None),
        (["777-34-524", "777-34-524"], None),
        (["June", "Rose", "June"], None),
        (["1/18", "5/8", "1/18"], None),
        ([1.5, 2.5], None),
        ([True, False], None),
        ([None, None], None),
    ],
)
def test_values_tell(values, kind):
    assert kind_of(values) == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("firstName", "name"), ("SURNAME", "name"), ("dob", "birth-date"), ("birthDate", "birth-date"), ("ZIP", "postal-code"),
        ("passport_no", "passport"), ("E-Mail", "email"), ("homePhone", None), ("phone_home", "phone"), ("lat", "coordinates"),
        ("amount", None), ("username_hash", None), ("city", "place"), ("MRN", "medical-record"),
    ],
)  # fmt: skip
def test_names_tell(name, kind):
    assert kind_of(["x", "x", "y"], name) == kind


def test_text_that_holds_personal_data_is_counted():
    texts = [
        "please write to ann@example.com or so",
        "nothing to see here at all",
        "her number is 987-65-4321 she says",
        "nothing to see here at all",
    ]
    scan = scan_pii(pa.table({"remarks": texts}))
    assert scan["columns"]["remarks"]["embedded"] == {"email": 1, "us-ssn": 1}
    assert scan["identifiers"] == ["remarks"]


def test_no_value_leaves_the_scan():
    scan = json.dumps(
        scan_pii(
            pa.table({"c": ["ann@example.com", "bob@example.com"], "t": ["mail to carl@example.com please", "x y z and no more"]})
        )
    )
    assert "ann" not in scan
    assert "carl" not in scan


def test_an_empty_table():
    assert scan_pii(pa.table({"a": pa.array([], pa.string())})) == {"rows": 0, "columns": {}, "identifiers": []}


@needs_shared
@pytest.mark.shared
def test_all_direct_identifiers_of_made_up_people_are_found():
    scan = scan_pii(read_table(SHARED / "awkward" / "pii_people.csv").table)
    truth = json.loads((SHARED / "awkward" / "pii_people.truth.json").read_text())
    for column, said in truth.items():
        expected = next((kind for words, kind in BY_WORDS.items() if words in said), TRUTH.get(said, "-"))
        if expected == "-":
            continue  # a staff code, "not personal by itself": unique, and so told as a key
        assert scan["columns"].get(column, {}).get("kind") == expected, column
    assert set(scan["columns"]["remarks"]["embedded"]) == {"email", "phone", "us-ssn"}


@needs_shared
@pytest.mark.shared
def test_decoys_are_no_more_than_keys():
    scan = scan_pii(read_table(SHARED / "awkward" / "pii_decoys.csv").table)
    assert {found["kind"] for found in scan["columns"].values()} <= {"key"}
    assert not {"ratio", "product", "version"} & set(scan["columns"])


@needs_shared
@pytest.mark.shared
def test_artificial_patients():
    found = {
        name: entry["kind"]
        for name, entry in scan_pii(read_table(SHARED / "data" / "synthea_patients.csv").table)["columns"].items()
    }
    assert found["SSN"] == "us-ssn"
    assert {found[name] for name in ("FIRST", "MIDDLE", "LAST", "MAIDEN")} == {"name"}
    assert found["ADDRESS"] == "address"
    assert not {"INCOME", "RACE", "GENDER", "MARITAL"} & set(found)


@needs_shared
@pytest.mark.shared
def test_a_census_table_without_identifiers_raises_no_alarm():
    assert scan_pii(read_table(SHARED / "data" / "adult.csv").table)["columns"] == {}


def test_kinds_are_listed():
    assert len(set(FINDABLE)) == len(FINDABLE) > 15
