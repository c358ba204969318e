"""The folder store beyond the contract: links, crashes, permissions."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from gateway.settings import Settings
from gateway.storage import LocalStore, StoreUnavailable, artifact_name, create_key_file, key_of, store_of
from gateway.storage.store import ArtifactMissing

FAR_FUTURE = datetime(2200, 1, 1, tzinfo=UTC)


def test_files_are_private(tmp_path):
    store = LocalStore(tmp_path / "artifacts")
    store.put("releases/r1/a", [b"x"])
    assert (tmp_path / "artifacts" / "releases" / "r1" / "a").stat().st_mode & 0o077 == 0
    assert (tmp_path / "artifacts" / "releases").stat().st_mode & 0o077 == 0


def test_links_in_the_store_are_not_followed(tmp_path):
    store = LocalStore(tmp_path / "artifacts")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (tmp_path / "artifacts" / "a").symlink_to(outside / "secret")
    (tmp_path / "artifacts" / "folder").symlink_to(outside)
    with pytest.raises(ArtifactMissing):
        store.fetch("a", 0, 10)
    for act in (lambda: store.fetch("folder/secret", 0, 10), lambda: store.put("folder/new", [b"x"])):
        with pytest.raises(StoreUnavailable, match="link"):
            act()
    assert list(store.names()) == []
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_a_killed_writer_leaves_no_name_and_its_rest_is_swept(tmp_path):
    code = (
        "import os, sys, pathlib; from gateway.storage import LocalStore\n"
        "def blocks():\n    yield b'x' * 100000\n    os.kill(os.getpid(), 9)\n"
        f"LocalStore(pathlib.Path({str(tmp_path / 'artifacts')!r})).put('releases/r1/a', blocks())"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == -9
    store = LocalStore(tmp_path / "artifacts")
    assert list(store.names()) == []
    assert store.sweep_incoming(older_than=datetime(2000, 1, 1, tzinfo=UTC)) == 0
    assert store.sweep_incoming(older_than=FAR_FUTURE) == 1


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(tmp_path, monkeypatch):
    store = LocalStore(tmp_path / "artifacts")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailable, match="No space left"):
        store.put("releases/r1/a", [b"x"])
    with pytest.raises(StoreUnavailable, match="No space left"):
        store.check()
    monkeypatch.undo()
    assert list(store.names()) == []
    assert list((tmp_path / "artifacts" / ".incoming").iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot be made"):
        LocalStore(tmp_path / "file" / "artifacts")


def test_names_carry_fence_and_digest():
    digest = "ab" * 32
    assert (
        artifact_name(release_id="r1", fence=12, digest=digest, filename="data.csv") == f"releases/r1/00000012-{digest}/data.csv"
    )
    for bad in ({"fence": -1}, {"digest": "AB" * 32}, {"filename": "../x"}, {"release_id": ".."}):
        with pytest.raises(ValueError, match=r"artifact name|fence"):
            artifact_name(**({"release_id": "r1", "fence": 1, "digest": digest, "filename": "x"} | bad))


def test_settings_choose_the_store_and_the_key(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    settings = Settings(home=tmp_path)
    assert isinstance(store_of(settings), LocalStore)
    create_key_file(settings.keys_folder / "master.key")
    assert len(key_of(settings).key_id) == 16
    store = store_of(
        Settings(home=tmp_path, artifacts="s3://bucket/some/prefix/", s3_endpoint="http://127.0.0.1:9", s3_encryption="AES256")
    )
    assert (store.bucket, store.prefix, store.encryption) == ("bucket", "some/prefix/", "AES256")
    store.client.close()
    assert key_of(Settings(home=tmp_path, kms_key="alias/x")).key_id == "alias/x"
