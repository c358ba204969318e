"""The places where checkpoints are published: the same promises for the file and for the object store."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from gateway.audit import Anchor, Checkpoint, FileAnchor, NoteSigner, ObjectAnchor
from gateway.errors import NotRecorded, VerificationFailed


class Bucket:
    """A store that refuses to overwrite."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put_new(self, name: str, data: bytes) -> bool:
        if name in self.objects:
            return False
        self.objects[name] = data
        return True

    def anchor(self) -> ObjectAnchor:
        return ObjectAnchor(put_new=self.put_new, get=self.objects.get, list_names=lambda: iter(sorted(self.objects)))


@pytest.fixture(params=["file", "objects"])
def anchor(request: pytest.FixtureRequest, tmp_path: Path) -> Anchor:
    return FileAnchor(tmp_path / "deep" / "checkpoints.log") if request.param == "file" else Bucket().anchor()


def note(signer: NoteSigner, size: int, root: bytes = bytes(32)) -> str:
    return signer.sign(Checkpoint("gate.example/log", size, root).to_text())


def test_it_begins_empty(anchor: Anchor):
    assert anchor.newest() is None
    assert list(anchor.notes()) == []


def test_notes_come_back_in_order(anchor: Anchor, signer: NoteSigner):
    notes = [note(signer, size) for size in (1, 9, 10, 100)]
    for text in notes:
        with anchor.exclusive():
            anchor.publish(text)
        assert anchor.newest() == text
    assert list(anchor.notes()) == notes


def test_an_equal_note_is_published_once(anchor: Anchor, signer: NoteSigner):
    anchor.publish(note(signer, 5))
    anchor.publish(note(signer, 5))
    assert list(anchor.notes()) == [note(signer, 5)]


def test_smaller_and_other_trees_are_refused(anchor: Anchor, signer: NoteSigner):
    anchor.publish(note(signer, 5))
    for other in (note(signer, 4), note(signer, 5, bytes([1]) * 32)):
        with pytest.raises(VerificationFailed, match="does not continue"):
            anchor.publish(other)
    assert list(anchor.notes()) == [note(signer, 5)]


def test_half_a_line_is_no_note_and_hinders_nothing(tmp_path: Path, signer: NoteSigner):
    anchor = FileAnchor(tmp_path / "log")
    anchor.publish(note(signer, 1))
    with anchor.path.open("ab") as file:
        file.write(b'"gate.example/log\\n2\\nAAAA')
    assert anchor.newest() == note(signer, 1)
    anchor.publish(note(signer, 3))
    assert list(anchor.notes()) == [note(signer, 1), note(signer, 3)]


def test_a_line_that_is_no_json_is_no_note(tmp_path: Path, signer: NoteSigner):
    anchor = FileAnchor(tmp_path / "log")
    anchor.publish(note(signer, 1))
    with anchor.path.open("ab") as file:
        file.write(b'"bad \\x escape"\n"\xff"\n')
    assert list(anchor.notes()) == [note(signer, 1)]


def test_a_long_file_is_read_from_its_end(tmp_path: Path, signer: NoteSigner, monkeypatch):
    monkeypatch.setattr("gateway.audit.anchor.TAIL_BYTES", 600)
    anchor = FileAnchor(tmp_path / "log")
    for size in range(1, 20):
        anchor.publish(note(signer, size))
    assert anchor.newest() == note(signer, 19)


def test_a_disk_that_takes_nothing(tmp_path: Path, signer: NoteSigner, monkeypatch):
    def full(_handle: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("gateway.audit.anchor.os.write", full)
    anchor = FileAnchor(tmp_path / "log")
    with pytest.raises(NotRecorded, match="could not be published"):
        anchor.publish(note(signer, 1))
    monkeypatch.undo()
    assert anchor.newest() is None
    (tmp_path / "file").write_text("")
    with pytest.raises(NotRecorded, match="could not be published"):
        FileAnchor(tmp_path / "file" / "log").publish(note(signer, 1))


def test_a_disk_that_takes_a_little_at_a_time(tmp_path: Path, signer: NoteSigner, monkeypatch):
    write = os.write
    monkeypatch.setattr("gateway.audit.anchor.os.write", lambda handle, data: write(handle, data[:7]))
    anchor = FileAnchor(tmp_path / "log")
    anchor.publish(note(signer, 1))
    assert anchor.newest() == note(signer, 1)


def test_the_file_is_held_by_one(tmp_path: Path):
    anchor = FileAnchor(tmp_path / "log")
    with anchor.exclusive(), (tmp_path / "log.lock").open("a") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_race_for_one_object(signer: NoteSigner, monkeypatch):
    bucket = Bucket()
    anchor = bucket.anchor()
    monkeypatch.setattr(anchor, "newest", lambda: None)  # as if both looked before either wrote
    anchor.publish(note(signer, 5))
    anchor.publish(note(signer, 5))
    with pytest.raises(VerificationFailed, match="does not continue"):
        anchor.publish(note(signer, 5, bytes([1]) * 32))


def test_an_object_that_vanishes(signer: NoteSigner):
    bucket = Bucket()
    anchor = bucket.anchor()
    anchor.publish(note(signer, 5))
    anchor.publish(note(signer, 6))
    bucket.objects.update({name: None for name in bucket.objects if name.endswith("-6")})
    assert list(anchor.notes()) == [note(signer, 5)]
    with pytest.raises(VerificationFailed, match="cannot be read"):
        anchor.newest()


def test_only_the_first_name_is_asked_for(signer: NoteSigner):
    bucket = Bucket()
    for size in range(1, 200):
        bucket.anchor().publish(note(signer, size))
    asked = []

    def names():
        for name in sorted(bucket.objects):
            asked.append(name)
            yield name

    anchor = ObjectAnchor(put_new=bucket.put_new, get=bucket.objects.get, list_names=names)
    assert anchor.newest() == note(signer, 199)
    assert len(asked) == 1
