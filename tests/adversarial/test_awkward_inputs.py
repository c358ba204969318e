"""Every hostile or odd file ends in a table or in one clear sentence: bounded, without a trace, without a cell in it."""

from __future__ import annotations

import json
import os
import resource
import tarfile
from functools import cache
from pathlib import Path

import pyarrow as pa
import pytest

from gateway.storage.bounded import Bounds, Completed, run_bounded
from policies.tables import TableInvalid, read_table, write_table

AWKWARD = Path(__file__).parents[3] / "shared" / "awkward"
MANIFEST = AWKWARD / "manifest.json"

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(
        not MANIFEST.exists(), reason="the folder of hostile inputs beside the checkout (../shared/awkward) is missing"
    ),
]
FACTS = {fact["file"]: fact for fact in json.loads(MANIFEST.read_text(encoding="utf-8"))} if MANIFEST.exists() else {}
BOUNDS = Bounds(memory_bytes=2048 << 20, cpu_seconds=60, wall_seconds=100)

# File → words of the sentence that refuses it. What is not here is read.
REFUSED = {
    "bare_cr_in_field.csv": "line 2 has a carriage return inside a field",
    "bomb_10GB_text.parquet": "in memory it is larger than the limit",
    "bomb_300MB.csv.gz": "a decompression bomb is not read",
    "bomb_50M_constant.parquet": "50,000,000 rows, the limit is 20,000,000",
    "comment_preamble.csv": "line 1 is a comment",
    "csv_named.parquet": "the name says Parquet, the content does not",
    "dup_column_names.csv": "the column name 'value' stands twice",
    "enc_cp1252.csv": "line 2 holds bytes that are not UTF-8",
    "enc_invalid_utf8.csv": "line 3 holds bytes that are not UTF-8",
    "enc_latin1.csv": "line 4 holds bytes that are not UTF-8",
    "enc_nul_bytes.csv": "line 2 holds a NUL byte",
    "malicious_names.json": "line 2 has",
    "malicious_names.tar.gz": "NUL byte",
    "no_header.csv": "line 1 looks like data",
    "pq_dup_columns.parquet": "two columns have the name 'x'",
    "pq_flipped_bytes.parquet": "damaged or cut off",
    "pq_footer_length_lie.parquet": "damaged or cut off",
    "pq_truncated.parquet": "damaged or cut off",
    "pq_truncated_head.parquet": "damaged or cut off",
    "ragged_rows.csv": "line 3 has 2 fields, the header has 3",
    "unbalanced_quote.csv": "line 2 opens a quote that is never closed",
    "wide_2000_columns.csv": "2,000 columns, the limit is 1,000",
    "zero_bytes.csv": "the file is empty",
    "zip_slip.zip": "a zip archive",
}
TRUE_SHAPE = {
    "bare_cr_in_field.csv": (2, 2),
    "trailing_delimiter.csv": (2, 3),
    "pq_all_types.parquet": (1000, 12),
    "parquet_named.csv": (20_000, 2),
}


def describe(paths: list[str]) -> list[dict[str, object]]:
    """Runs in the child: what each table is, without a cell of it, or the sentence that refused it."""
    found: list[dict[str, object]] = []
    for path in paths:
        try:
            read = read_table(path)
        except TableInvalid as refused:
            found.append({"refused": str(refused)})
        else:
            shape = (read.table.num_rows, read.table.num_columns)
            found.append({"shape": shape, "types": dict(read.types), "notes": list(read.notes)})
        found[-1]["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return found


def bounded(files: tuple[str, ...]) -> dict[str, dict[str, object]]:
    """What became of some files in one child of 2 GiB."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
        done = run_bounded("test_awkward_inputs:describe", {"paths": [str(AWKWARD / file) for file in files]}, bounds=BOUNDS)
    assert isinstance(done, Completed), done
    return dict(zip(files, done.value, strict=True))


@cache
def harmless() -> dict[str, dict[str, object]]:
    """All files that cannot hurt a reader, in one child: starting one takes longer than reading them."""
    return bounded(tuple(sorted(file for file in FACTS if not file.startswith(("bomb_", "pq_")))))


@cache
def outcome(file: str) -> dict[str, object]:
    return bounded((file,))[file] if file.startswith(("bomb_", "pq_")) else harmless()[file]


@pytest.mark.parametrize("file", sorted(FACTS))
def test_success_or_one_sentence(file):
    done = outcome(file)
    assert done["peak"] < 1400 << 20
    if file in REFUSED:
        sentence = done["refused"]
        assert REFUSED[file] in sentence
        assert sentence.startswith(f"'{file}': ")
        assert "\n" not in sentence
        assert len(sentence) < 300
        return
    assert "refused" not in done, done
    assert tuple(done["shape"]) == TRUE_SHAPE.get(file, (FACTS[file].get("rows"), FACTS[file].get("cols")))


def test_every_file_is_expected():
    assert set(REFUSED) <= set(FACTS)
    present = {path.name for path in AWKWARD.iterdir()} - {"manifest.json", "README.md", "pii_people.truth.json"}
    assert present == set(FACTS)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("dialect_semicolon_decimal_comma.csv", ["semicolons", "the decimal sign is a comma", "DD.MM.YYYY"]),
        ("dialect_tab.tsv", ["tabs"]),
        ("dialect_pipe.txt", ["pipes"]),
        ("enc_utf16le_bom.csv", ["utf-16"]),
        ("line_ends_cr_only.csv", ["carriage return"]),
        ("trailing_delimiter.csv", ["unnamed last column"]),
        ("kinds_mixed_types.csv", ["'mixed': read as category", "'num_or_text': read as text"]),
        ("dates_many_formats.csv", ["'mixed': read as text", "whether day or month comes first", "do not exist"]),
        ("dates_mixed_time_zones.csv", ["'at': read as text"]),
        ("bools_many_spellings.csv", ["'yes' was read as true", "'oui' was read as true", "'mixed': read as category"]),
        ("numbers_huge_ints.csv", ["'big': read as text", "more than 64 bits"]),
        ("numbers_inf_nan.csv", ["infinite"]),
        ("numbers_as_text.csv", ["leading zeros", "rounded to double precision"]),
        (
            "pq_all_types.parquet",
            ["'list' is left out", "'struct' is left out", "'bin' is left out", "NaN", "wall time of Europe/Paris"],
        ),
    ],
)
def test_no_choice_is_silent(file, words):
    notes = "\n".join(outcome(file)["notes"])
    for word in words:
        assert word in notes


def column(file: str, name: str) -> list[object]:
    return read_table(AWKWARD / file).table.column(name).to_pylist()


def test_digits_and_leading_zeros_are_kept():
    assert column("numbers_huge_ints.csv", "account_no")[:2] == [9007199254740993, 9007199254740995]
    assert {"1000000000000000000000000000000", "18446744073709551615", "-9223372036854775808"} <= set(
        column("numbers_huge_ints.csv", "big")
    )
    zeros = column("numbers_as_text.csv", "leading_zero")
    assert all(isinstance(cell, str) and len(cell) == 5 for cell in zeros)
    assert any(cell.startswith("0") for cell in zeros)


def test_names_and_texts_come_as_they_are():
    assert read_table(AWKWARD / "enc_utf8_bom.csv").table.column_names[0] == "id"
    names = read_table(AWKWARD / "hostile_column_names.csv").table.column_names
    assert " lead and trail " in names
    assert "a\u200bb" in names
    assert any("\r\n" in (cell or "") for cell in column("quoted_newlines.csv", "address"))
    assert len(set(column("unicode_tricks.csv", "status"))) > 3


def test_injected_formulas_are_read_whole_and_written_harmless(tmp_path):
    import csv

    table = read_table(AWKWARD / "injection_cells.csv").table
    write_table(table, tmp_path / "out.csv", format="csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        cells = [cell for row in csv.DictReader(file) for cell in (row["comment"], row["city"])]
    assert {"-5", "+44 20 7946 0000"} <= set(cells)
    for cell in set(cells) - {"-5", "+44 20 7946 0000"}:
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d"))
    assert read_table(tmp_path / "out.csv").table.equals(table)


def test_personal_metadata_is_not_copied(tmp_path):
    table = read_table(AWKWARD / "pq_bad_metadata.parquet").table
    write_table(table, tmp_path / "out.parquet", format="parquet")
    assert pa.parquet.read_schema(tmp_path / "out.parquet").metadata is None


def test_files_under_hostile_names_are_read_and_named_harmlessly(tmp_path):
    with tarfile.open(AWKWARD / "malicious_names.tar.gz") as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
        for number, member in enumerate(members):
            name = member.name.replace("/", "_")[-200:] or str(number)
            path = tmp_path / name
            path.write_bytes(archive.extractfile(member).read() + b"one field too many,,,,\n")
            with pytest.raises(TableInvalid) as refused:
                read_table(path)
            assert str(refused.value).isprintable()
    assert members
