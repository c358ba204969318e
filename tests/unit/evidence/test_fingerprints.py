"""A leaked file leads back to its release whatever was done to it, and no other table does."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import csv

from gateway.evidence.cells import cell_hashes
from gateway.evidence.fingerprints import Fingerprint, fingerprint_of
from gateway.evidence.leaks import hash_file
from gateway.evidence.matching import match
from gateway.storage.bounded import Bounds, Completed, run_bounded

KEY = bytes(range(16))
RELEASES = 100
LINE = 1e-9


def population(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Fresh rows of one distribution: what the real table, a release and another release have in common."""
    age = rng.integers(18, 100, rows)
    return pd.DataFrame(
        {
            "age": age,
            "region": rng.choice(["north", "south", "east", "west"], rows),
            "amount": np.round(rng.gamma(2, 80, rows) + age, 2),
            "balance": np.round(rng.normal(1000, 300, rows), 2),
            "booked": pd.Timestamp("2025-01-01") + pd.to_timedelta(rng.integers(0, 365 * 24 * 60, rows), unit="min"),
            "fraud": rng.random(rows) < 0.02,
        }
    )


def hashed(frame: pd.DataFrame, key: bytes = KEY) -> dict[str, np.ndarray]:
    return cell_hashes(pa.Table.from_pandas(frame, preserve_index=False), key=key)


def changed(frame: pd.DataFrame, rng: np.random.Generator, share: float = 0.2) -> pd.DataFrame:
    """Replace cells by those of fresh rows."""
    fresh, made = population(len(frame), rng), frame.copy()
    for name in made.columns:
        hit = rng.random(len(made)) < share
        made.loc[hit, name] = fresh.loc[hit, name].to_numpy()
    return made


def re_encoded(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    del rng
    return csv.read_csv(io.BytesIO(frame.to_csv(index=False).encode())).to_pandas()


CHANGES: dict[str, Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]] = {
    "whole": lambda frame, _rng: frame,
    "re-encoded": re_encoded,
    "columns in another order, rows shuffled": lambda frame, _rng: frame[list(frame)[::-1]].sample(frac=1, random_state=1),
    "three of six columns": lambda frame, _rng: frame[["age", "region", "amount"]],
    "two columns": lambda frame, _rng: frame[["age", "balance"]],
    "1 % of the rows": lambda frame, _rng: frame.sample(len(frame) // 100, random_state=2),
    "20 % of the cells changed": changed,
    "1 % of the rows, 20 % of their cells changed": lambda frame, rng: changed(
        frame.sample(len(frame) // 100, random_state=3).reset_index(drop=True), rng
    ),
}


def known_of(released: pd.DataFrame, draw: Callable[[int], pd.DataFrame]) -> Fingerprint:
    """The fingerprint of a release whose generator draws as `draw` does."""
    return fingerprint_of(hashed(released), sample=lambda rows: hashed(draw(rows)))


@pytest.fixture(scope="module")
def release() -> tuple[pd.DataFrame, Fingerprint]:
    rng = np.random.default_rng(0)
    released = population(5000, rng)
    return released, known_of(released, lambda rows: population(rows, rng))


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_changed_leak_is_found(release: tuple[pd.DataFrame, Fingerprint], change: str) -> None:
    released, fingerprint = release
    found = match(hashed(CHANGES[change](released, np.random.default_rng(7))), fingerprint, releases=RELEASES)
    assert found is not None
    assert found.is_ours
    assert found.chance < LINE
    print(f"| {change} | {found.share:.1%} | {found.expected:.2%} | {found.chance:.0e} |")


def assert_not_ours(tables: list[pd.DataFrame], fingerprint: Fingerprint, seed: int) -> None:
    for place, table in enumerate(tables):
        found = match(hashed(table), fingerprint, releases=RELEASES)
        assert found is not None
        assert not found.is_ours, (seed, place, found)


def test_other_tables_are_not_ours() -> None:
    """The real table and another release; ten comparisons, a false alarm each with probability < 1e-9."""
    for seed in range(5):
        rng = np.random.default_rng(100 + seed)
        real, released, other = (population(300, rng) for _ in range(3))
        fingerprint = known_of(released, lambda rows, rng=rng: population(rows, rng))  # type: ignore[misc]
        assert_not_ours([real, other], fingerprint, seed)
        assert match(hashed(released), fingerprint, releases=RELEASES).is_ours  # type: ignore[union-attr]


def repetitive(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Few common values and a long tail: rows of other tables repeat what is common."""
    names = {f"c{place}": np.minimum(rng.zipf(1.6, rows), 60) for place in range(5)}
    return pd.DataFrame({**names, "age": rng.integers(18, 90, rows)})


def test_repetitive_tables_accuse_nobody_with_or_without_their_repetitions() -> None:
    """A real table seven times as large as the release, another release, and both without duplicate rows."""
    for seed in range(4):
        rng = np.random.default_rng(500 + seed)
        real, released, other = (repetitive(rows, rng) for rows in (2100, 300, 300))
        fingerprint = known_of(released, lambda rows, rng=rng: repetitive(rows, rng))  # type: ignore[misc]
        assert_not_ours([real, other, real.drop_duplicates(), other.drop_duplicates()], fingerprint, seed)
        assert match(hashed(released), fingerprint, releases=RELEASES).is_ours  # type: ignore[union-attr]


def copied(real: pd.DataFrame, rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """A generator that copies: all rows of some real people, each person again and again."""
    people = real["person"].unique()
    parts = [real[real["person"] == person] for person in rng.choice(people, rows // 10)]
    return pd.concat(parts, ignore_index=True)[:rows]


def test_rows_of_one_person_depend_on_each_other_and_accuse_nobody() -> None:
    """Every row of every release is a real row, ten at a time: the real table holds them all and is still not the leak."""
    for seed in range(2):
        rng = np.random.default_rng(900 + seed)
        real = population(1500, rng).assign(person=np.arange(1500) // 10)
        released = copied(real, 300, rng)
        fingerprint = known_of(released, lambda rows, real=real, rng=rng: copied(real, rows, rng))  # type: ignore[misc]
        others = [real, copied(real, 300, rng), copied(real, 300, rng).drop_duplicates()]
        assert_not_ours([*others, *(table.drop(columns="person") for table in others)], fingerprint, seed)
        assert match(hashed(released), fingerprint, releases=RELEASES).is_ours  # type: ignore[union-attr]


def test_evidence_is_no_larger_than_fair_odds_allow() -> None:
    """The mean of an e-value is at most 1: of 60 comparisons with foreign tables, by Markov's inequality, few reach small odds.

    A single comparison says "chance below 1/40" with probability at most 1/40; more than 15 of 60 do so with probability < 1e-11.
    """
    rng = np.random.default_rng(77)
    odds = []
    for _ in range(6):
        released = repetitive(60, rng)
        fingerprint = known_of(released, lambda rows: repetitive(rows, rng))
        odds += [match(hashed(repetitive(60, rng)), fingerprint) for _ in range(10)]
    assert sum(found is not None and found.chance < 1 / 40 for found in odds) <= len(odds) // 4


def test_a_fingerprint_survives_being_stored_and_holds_no_value(release: tuple[pd.DataFrame, Fingerprint]) -> None:
    released, fingerprint = release
    raw = fingerprint.to_bytes()
    again = Fingerprint.from_bytes(raw)
    assert match(hashed(released), again, releases=1) == match(hashed(released), fingerprint, releases=1)
    assert all(str(value).encode() not in raw for value in [*released["balance"].head(200), "north", "2025-"])


def test_another_key_matches_nothing(release: tuple[pd.DataFrame, Fingerprint]) -> None:
    released, fingerprint = release
    found = match(hashed(released, key=bytes(16)), fingerprint, releases=1)
    assert found is not None
    assert not found.is_ours


def test_a_file_with_other_columns_is_compared_with_nothing(release: tuple[pd.DataFrame, Fingerprint]) -> None:
    _, fingerprint = release
    assert match(hashed(pd.DataFrame({"unknown": [1, 2, 3]})), fingerprint, releases=1) is None


def test_equal_values_have_one_spelling() -> None:
    texts = pd.DataFrame(
        {"a": ["1", "2.50", ""], "b": ["TRUE", "false", None], "c": ["2025-03-01", "2025-03-01 10:30", "2025-03-01T10:30:05.25Z"]}
    )
    typed = pd.DataFrame(
        {
            "a": [1.0, 2.5, None],
            "b": pd.array([True, False, None], dtype="boolean"),
            "c": pd.to_datetime(["2025-03-01T00:00:00", "2025-03-01T10:30:00", "2025-03-01T10:30:05.250"], format="ISO8601"),
        }
    )
    first, second = hashed(texts), hashed(typed)
    assert {name: list(values) for name, values in first.items()} == {name: list(values) for name, values in second.items()}


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_is_hashed_as_its_table(tmp_path: Path, ending: str) -> None:
    frame = population(50, np.random.default_rng(1))
    path = tmp_path / f"leak.{ending}"
    if ending == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    import base64

    found = {name: base64.b64decode(text) for name, text in hash_file(path=str(path), key=KEY.hex()).items()}
    assert found == {name: values.tobytes() for name, values in hashed(frame).items()}


@pytest.mark.parametrize(
    ("name", "content"),
    [("leak.parquet", b"PAR1" + bytes(500) + b"PAR1"), ("leak.csv", b"\x00\xff" * 500), ("leak.xlsx", b"PK\x03\x04 nothing")],
)
def test_a_hostile_file_is_refused_in_one_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    answer = run_bounded(
        "gateway.evidence.leaks:hash_file", {"path": str(path), "key": KEY.hex()}, bounds=Bounds(file_bytes=1 << 20)
    )
    assert not isinstance(answer, Completed)
    assert "\n" not in answer.sentence
    assert "Traceback" not in answer.sentence
