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

from gateway.evidence.fingerprints import Fingerprint, Match, cell_hashes, fingerprint_of, match
from gateway.evidence.leaks import hash_file
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
    "1 % of the rows": lambda frame, _rng: frame.sample(len(frame) // 100, random_state=2),
    "20 % of the cells changed": changed,
    "1 % of the rows, 20 % of their cells changed": lambda frame, rng: changed(
        frame.sample(len(frame) // 100, random_state=3).reset_index(drop=True), rng
    ),
}


@pytest.fixture(scope="module")
def release() -> tuple[pd.DataFrame, Fingerprint]:
    rng = np.random.default_rng(0)
    real, released, second = (population(5000, rng) for _ in range(3))
    return released, fingerprint_of(hashed(released), others=[hashed(real), hashed(second)])


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_changed_leak_is_found(release: tuple[pd.DataFrame, Fingerprint], change: str) -> None:
    released, fingerprint = release
    found = match(hashed(CHANGES[change](released, np.random.default_rng(7))), fingerprint, releases=RELEASES)
    assert found is not None
    assert found.is_ours
    assert found.chance < LINE
    print(f"| {change} | {found.share:.1%} | {found.expected:.2%} | {found.chance:.0e} |")


def test_other_tables_are_not_ours_over_twenty_seeds() -> None:
    """The real table, a second sample and another release; 60 comparisons, a false alarm each with probability < 1e-9."""
    worst: list[Match] = []
    for seed in range(20):
        rng = np.random.default_rng(100 + seed)
        real, released, second, other = (population(1200, rng) for _ in range(4))
        fingerprint = fingerprint_of(hashed(released), others=[hashed(real), hashed(second)])
        for table in (real, second, other):
            found = match(hashed(table), fingerprint, releases=RELEASES)
            assert found is not None
            assert not found.is_ours, (seed, found)
            worst.append(found)
        assert match(hashed(released), fingerprint, releases=RELEASES).is_ours  # type: ignore[union-attr]
    print(f"smallest chance over {len(worst)} foreign tables: {min(item.chance for item in worst):.2g}")


def repetitive(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Few common values and a long tail: rows of other tables repeat what is common."""
    names = {f"c{place}": np.minimum(rng.zipf(1.6, rows), 60) for place in range(5)}
    return pd.DataFrame({**names, "age": rng.integers(18, 90, rows)})


def test_repetitive_tables_accuse_nobody_with_or_without_their_repetitions() -> None:
    """A real table seven times as large as the release, another release, and both without duplicate rows, over ten seeds."""
    for seed in range(10):
        rng = np.random.default_rng(500 + seed)
        real, released, second, other = (repetitive(rows, rng) for rows in (7000, 1000, 1000, 1000))
        fingerprint = fingerprint_of(hashed(released), others=[hashed(real), hashed(second)])
        for table in (real, second, other, real.drop_duplicates(), other.drop_duplicates()):
            found = match(hashed(table), fingerprint, releases=RELEASES)
            assert found is not None
            assert not found.is_ours, (seed, found)
        assert match(hashed(released), fingerprint, releases=RELEASES).is_ours  # type: ignore[union-attr]


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
