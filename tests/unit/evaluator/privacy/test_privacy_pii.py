from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from evaluator.inputs import check_inputs
from evaluator.privacy import PrivacyOptions
from evaluator.privacy.pii import PII, is_card, is_iban, kinds_in

AWKWARD = Path(__file__).resolve().parents[5] / "shared" / "awkward"
needs_awkward = pytest.mark.skipif(not AWKWARD.is_dir(), reason="the folder of awkward files is not beside the checkout")


def found(text: str, column: str = "remarks") -> set[str]:
    return {kind for kind, hits in kinds_in(column, [text]).items() if hits[0]}


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("write to jo.doe+x@mail.example.org today", {"email"}),
        ("user@localhost", set()),
        ("+44 20 7946 0958", {"phone"}),
        ("(555) 010-4477", {"phone"}),
        ("555-010-4477", {"phone"}),
        ("020 7946 0129", {"phone"}),
        ("2021-03-04 10:11", set()),
        ("192.0.2.45", set()),
        ("ssn 987-65-4321", {"ssn"}),
        ("123-45-6789", {"ssn"}),
        ("777-34-524", set()),
        ("4111 1111 1111 1111", {"card"}),
        ("4111 1111 1111 1112", set()),
        ("DE89 3704 0044 0532 0130 00", {"iban"}),
        ("DE88 3704 0044 0532 0130 00", set()),
        ("v3.16.3", set()),
        ("3.14159265358979", set()),
        ("01-02-2024 10:30", set()),
        ("04.05.2023 12", set()),
        ("(0.999 - 25.12345]", set()),
        ("0 - 100 000 000", set()),
        ("0.123456789 - 0.5", set()),
        ("010.020.030.040", set()),
        ("00012-345-6789", set()),
        ("01.02.03.04.05", {"phone"}),
        ("+49 301-234567", {"phone"}),
        ("(212 555-1234)", {"phone"}),
        ("call 555-010-4477 on 01-02-2024", {"phone"}),
        ("de89 3704 0044 0532 0130 00", {"iban"}),
        ("es9121000418450200051332 paid here", {"iban"}),
        ("de88370400440532013000", set()),
        ("ab12 cdef ghij", set()),
    ],
)
def test_kinds_of_a_text(text: str, kinds: set[str]) -> None:
    assert found(text) == kinds


def test_columns_named_for_names_phones_or_ssns_are_read_more_strictly() -> None:
    assert found("Maria", "first_name") == {"names"}
    assert found("Maria", "city") == set()
    assert found("2079460129", "mobile") == {"phone"}
    assert found("900192937", "SSN") == {"ssn"}
    assert found("900192937", "part_no") == set()


def test_check_digits() -> None:
    assert is_card("5105-1051-0510-5100")
    assert not is_card("0000 0000 0000 0000")
    assert is_iban("GB95WEST12345607683168")
    assert not is_iban("GB95")


def test_long_numbers_that_pass_luhn_by_chance_are_no_cards() -> None:
    numbers = [f"4{k:015d}" for k in range(0, 4000, 7)]
    assert any(is_card(number) for number in numbers)
    assert not any(kinds_in("tracking", numbers)["card"])


def test_counts_stand_on_the_card_and_no_value_does(make_card) -> None:
    columns = {"note": {"type": "text"}, "n": {"type": "integer"}, "key": {"type": "id", "role": "identifier"}}
    train = pa.table({"note": ["a"] * 30, "n": range(30), "key": [f"k{i}" for i in range(30)]})
    holdout = pa.table({"note": ["a"] * 30, "n": range(30), "key": [f"h{i}" for i in range(30)]})
    synthetic = pa.table({"note": ["x@y.example.org"] * 2 + ["b"] * 28, "n": range(30), "key": train["key"]})
    inputs = check_inputs(train=train, holdout=holdout, synthetic=synthetic, card=make_card(columns), seed=0)
    results = PII.run(inputs, PrivacyOptions())
    assert results["privacy.pii.email"].value == 2
    assert results["privacy.pii.email"].detail == {"columns": {"note": 2}}
    assert results["privacy.pii.identifiers"].value == 30
    assert "x@y" not in json.dumps({name: result.to_json() for name, result in results.items()})


def test_numbered_keys_that_also_meet_the_holdout_are_no_reuse(make_card) -> None:
    columns = {"n": {"type": "integer"}, "key": {"type": "id", "role": "identifier"}}
    train, holdout = (pa.table({"n": range(k, k + 400), "key": [str(i) for i in range(k % 2, 800, 2)]}) for k in (0, 401))
    synthetic = pa.table({"n": range(400), "key": [str(i) for i in range(400)]})
    inputs = check_inputs(train=train, holdout=holdout, synthetic=synthetic, card=make_card(columns), seed=0)
    assert PII.run(inputs, PrivacyOptions())["privacy.pii.identifiers"].value == 0


def keyed(train: list[str], holdout: list[str], synthetic: list[str], make_card) -> float:
    columns = {"n": {"type": "integer"}, "key": {"type": "id", "role": "identifier"}}
    tables = [
        pa.table({"n": range(k * 10_000, k * 10_000 + len(keys)), "key": keys})
        for k, keys in enumerate((train, holdout, synthetic))
    ]
    inputs = check_inputs(train=tables[0], holdout=tables[1], synthetic=tables[2], card=make_card(columns), seed=0)
    return PII.run(inputs, PrivacyOptions())["privacy.pii.identifiers"].value


@pytest.mark.parametrize("reused", [1, 30, 60])
@pytest.mark.parametrize("holdout", [10, 200])
def test_one_reused_key_of_a_wide_space_is_one_too_many(make_card, reused: int, holdout: int) -> None:
    """UUIDs, and random numbers of 12 digits from two hits on: at 80/20 no binomial test against the holdout could say so."""
    rng = np.random.default_rng(reused)
    uuids = [f"{rng.integers(2**62):016x}-{rng.integers(2**62):016x}" for _ in range(1400 + holdout)]
    train, other, fresh = uuids[:800], uuids[800 : 800 + holdout], uuids[800 + holdout :]
    assert keyed(train, other, [*train[:reused], *fresh[reused:600]], make_card) == reused
    assert keyed(train, other, fresh[:600], make_card) == 0
    numbers = [f"C{number:012d}" for number in rng.choice(10**12, 1400 + holdout, replace=False)]
    train, other, fresh = numbers[:800], numbers[800 : 800 + holdout], numbers[800 + holdout :]
    assert keyed(train, other, [*train[: reused + 1], *fresh[reused + 1 : 600]], make_card) == reused + 1


def test_keys_in_a_row_meet_those_of_train_by_chance_and_copied_ones_do_not(make_card) -> None:
    order = np.random.default_rng(0).permutation(1000)
    train, holdout = [f"C{k:05d}" for k in order[:800]], [f"C{k:05d}" for k in order[800:]]
    assert keyed(train, holdout, [f"C{k:05d}" for k in range(600)], make_card) == 0
    assert keyed(train, holdout, [f"C{k:05d}" for k in range(3)], make_card) == 0
    assert keyed([*train, "C99999999"], holdout, [f"C{k:05d}" for k in range(3)], make_card) == 0
    assert keyed(train, holdout, train[:600], make_card) == 600


def test_card_numbers_stored_as_whole_numbers_are_found(make_card) -> None:
    columns = {"n": {"type": "integer"}, "code": {"type": "integer"}}
    cards = [4111111111111111, 5105105105105100, 4000000000000002]

    def scanned(values: list[int]) -> float:
        table = pa.table({"n": range(len(values)), "code": values})
        other = pa.table({"n": range(1000, 1000 + len(values)), "code": [0] * len(values)})
        inputs = check_inputs(train=other, holdout=other.set_column(0, "n", pa.array(range(5000, 5000 + len(values)))), synthetic=table,
                              card=make_card(columns), seed=0)  # fmt: skip
        return PII.run(inputs, PrivacyOptions())["privacy.pii.card"].value

    assert scanned([*cards, 7, 8]) == 3
    assert scanned([4111111111111112, 4111111111111113, 4111111111111111]) == 0  # most miss their check digit
    assert scanned(list(range(10**15 * 4, 10**15 * 4 + 40))) == 0


@needs_awkward
@pytest.mark.shared
def test_all_direct_identifiers_of_made_up_people_are_found() -> None:
    truth = json.loads((AWKWARD / "pii_people.truth.json").read_text())
    options = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(truth, pa.string()))
    table = pyarrow.csv.read_csv(AWKWARD / "pii_people.csv", convert_options=options)
    for column, kind in (("contact_1", "email"), ("contact_2", "phone"), ("ref_a", "ssn"), ("ref_b", "card"), ("bank_ref", "iban"),
                         ("given_name", "names"), ("surname", "names")):  # fmt: skip
        hits = kinds_in(column, [text for text in table[column].to_pylist() if text])[kind]
        assert sum(hits) >= 0.99 * len(hits), column
    assert sum(kinds_in("remarks", [t for t in table["remarks"].to_pylist() if t])["email"]) > 0
    assert sum(sum(hits) for hits in kinds_in("staff_code", table["staff_code"].to_pylist()).values()) == 0


@needs_awkward
@pytest.mark.shared
def test_decoys_raise_few_false_alarms() -> None:
    table = pyarrow.csv.read_csv(AWKWARD / "pii_decoys.csv")
    for column in table.column_names:
        if pa.types.is_string(table.schema.field(column).type):
            alarms = sum(sum(hits) for hits in kinds_in(column, table[column].to_pylist()).values())
            assert alarms <= 5, column
