"""The file of master keys: replaced whole, read again when it changed, refused when it is anything else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.errors import VerificationFailed
from gateway.storage import FileKey, KeyUnavailable, create_key_file, key_id_of, new_data_key, read_ring, write_ring


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create_key_file(tmp_path / "master.key")
    return tmp_path / "master.key"


def test_a_process_that_runs_sees_a_rotation(path: Path) -> None:
    running = FileKey(path)
    key, before = new_data_key(), running.key_id
    old = running.wrap(key, release_id="r1")
    write_ring(path, (os.urandom(32), *read_ring(path)))
    assert running.key_id != before
    assert running.known_ids[1:] == (before,)
    assert running.unwrap(old, release_id="r1") == key
    fresh = running.wrap(key, release_id="r1")
    assert (running.wrapped_by(old), running.wrapped_by(fresh)) == (before, running.key_id)
    write_ring(path, read_ring(path)[:1])
    assert running.unwrap(fresh, release_id="r1") == key
    with pytest.raises(VerificationFailed, match="wrapped by a key that is not here"):
        running.unwrap(old, release_id="r1")


def test_the_file_is_private_and_nothing_else_is_left(path: Path) -> None:
    write_ring(path, (b"a" * 32, b"b" * 32))
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_ring(path) == (b"a" * 32, b"b" * 32)
    assert [found.name for found in path.parent.iterdir()] == ["master.key"]
    assert (b"a" * 32).hex() not in key_id_of(b"a" * 32)


def test_comments_are_no_keys_and_everything_else_is_refused(path: Path) -> None:
    key = "ab" * 32
    path.write_text(f"# of May\n\n{key}\n", "ascii")
    assert read_ring(path) == (bytes.fromhex(key),)
    for content in ("", "# nothing\n", f"{key}\nzz\n", f"{key}\nabcd\n", f"{key}\n" * 200):
        path.write_text(content, "ascii")
        with pytest.raises(KeyUnavailable, match="64 hex digits"):
            read_ring(path)


def test_a_ring_that_cannot_be_replaced_stays(tmp_path: Path) -> None:
    with pytest.raises(KeyUnavailable, match="cannot be replaced"):
        write_ring(tmp_path / "missing" / "master.key", (b"a" * 32,))
