"""Whoever owns the database can change every column of every row: each change is found, and located.

The attacker of this file has dropped all triggers and constraints and may write anything. What the attacker does not have
is the log's private key, or (in the last tests) the anchor.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.audit import Checkpoint, FileAnchor, Findings, Log, NoteSigner, Sequencer, verify_log
from gateway.audit.merkle import leaf_hash, range_hash
from gateway.audit.tiles import grow, subtree_hash, tile_key
from gateway.db.metadata import metadata
from gateway.db.tables.audit import audit_event, checkpoint, pseudonym_key, tile
from gateway.db.work import Database

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SIZES = [5, 261, 300]
SIGNER = NoteSigner("gate.example/log", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
THIEF = NoteSigner("gate.example/log", Ed25519PrivateKey.from_private_bytes(bytes(32)))
KINDS = ["release.requested", "release.decided", "budget.reserved", "token.issued", "download.finished", "principal.added"]


@dataclass
class Victim:
    path: Path
    anchor: FileAnchor

    def execute(self, statement: str, *values: object) -> None:
        with sqlite3.connect(self.path) as connection:
            assert connection.execute(statement, values).rowcount != 0
        connection.close()

    def rows(self, statement: str, *values: object) -> list[tuple]:
        connection = sqlite3.connect(self.path)
        found = connection.execute(statement, values).fetchall()
        connection.close()
        return found

    def verify(self, progress: Callable[[int, int], None] | None = None) -> Findings:
        database = Database(f"sqlite:///{self.path}")
        found = verify_log(database, keys=[SIGNER.verifier], anchor=self.anchor, progress=progress)
        database.dispose()
        return found

    def found(self) -> set[tuple[str, int | None]]:
        return {(finding.kind.value, finding.index) for finding in self.verify().findings}

    def edit_lines(self, change: Callable[[list[str]], list[str]]) -> None:
        lines = self.anchor.path.read_text().splitlines(keepends=True)
        self.anchor.path.write_text("".join(change(lines)))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 300 leaves under three checkpoints, without triggers and constraints."""
    folder = tmp_path_factory.mktemp("log")
    database = Database(f"sqlite:///{folder / 'log.db'}")
    tables = [audit_event, tile, checkpoint, pseudonym_key]
    metadata.create_all(database.engine, tables=tables)
    running = Sequencer(database, signer=SIGNER, anchor=FileAnchor(folder / "checkpoints.log"))
    done = 0
    for size in SIZES:
        with database.begin() as work:
            for number in range(done, size):
                Log(work).append(
                    KINDS[number % len(KINDS)],
                    at=NOW + timedelta(seconds=number),
                    actor=f"p{number % 3}",
                    release=f"rel-{number}",
                    ticket="T-1",
                    dataset="adult",
                    token=f"tok-{number}",
                    data={"number": number, "approver": "rob"},
                )
            work.commit()
        assert running.run_once(NOW) == size - done
        done = size
    database.dispose()
    with sqlite3.connect(folder / "log.db") as connection:
        for name in ("audit_event", "tile", "checkpoint"):
            connection.execute(f"CREATE TABLE copy AS SELECT * FROM {name}")  # noqa: S608 - our own names
            connection.execute(f"DROP TABLE {name}")
            connection.execute(f"ALTER TABLE copy RENAME TO {name}")
        connection.execute("CREATE INDEX by_leaf ON audit_event (leaf_index)")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return folder


@pytest.fixture
def victim(original: Path, tmp_path: Path) -> Iterator[Victim]:
    shutil.copytree(original, tmp_path / "log")
    yield Victim(tmp_path / "log" / "log.db", FileAnchor(tmp_path / "log" / "checkpoints.log"))
    shutil.rmtree(tmp_path / "log")


def test_the_untouched_log_is_good(victim: Victim):
    found = victim.verify()
    assert (found.ok, found.leaves, found.signed_size, found.pending) == (True, 300, 300, 0)


# --- every column of an event row ---------------------------------------------------------------------------------------

PLACES = [4, 256, 299, *(pytest.param(place, marks=pytest.mark.slow) for place in (0, 5, 255))]
CHANGES: dict[str, list[Callable[[object], object]]] = {
    "id": [
        lambda value: "1" + str(value)[1:],
        lambda value: str(value)[:-1] + ("1" if str(value).endswith("0") else "0"),
        lambda _: "",
    ],
    "kind": [lambda _: "release.read", lambda _: ""],
    "at": [
        lambda value: str(value).replace("12:0", "12:1"),
        lambda value: str(value)[:-1] + "1",
        # Other spellings, which one reader takes for the same moment and another one for another.
        lambda value: f"{value}+05:00",
        lambda value: f"{value}+00:00",
        lambda value: f"{value}Z",
        lambda value: f"{value}000",
        lambda value: str(value).replace(" ", "T"),
        lambda value: str(value).partition(".")[0],
        lambda value: str(value).replace("-", ""),
        lambda value: str(value).replace("1", "\N{FULLWIDTH DIGIT ONE}"),
        lambda value: f"{value}\n",
    ],
    "actor": [lambda _: None, lambda value: str(value)[:-1] + "x", lambda _: "ana"],
    "release": [lambda _: None, lambda _: "rel-1000", lambda _: ""],
    "ticket": [lambda _: None, lambda _: "T-2"],
    "dataset": [lambda _: None, lambda _: "other"],
    "token": [lambda _: None, lambda _: "tok"],
    "payload": [
        lambda value: str(value).replace('"number":', '"numbers":'),
        lambda value: str(value).replace("T-1", "T-2"),
        lambda value: str(value) + " ",
        lambda value: str(value)[:-1],
        lambda _: "",
        lambda _: "null",
        lambda _: "[]",
        lambda _: '{"subjects":[]}',
    ],
    "leaf_hash": [lambda value: bytes([value[0] ^ 1]) + value[1:], lambda value: value[:-1], lambda _: b""],
    "leaf_index": [],
}


def test_every_column_has_its_changes():
    assert set(CHANGES) == {column.name for column in audit_event.columns}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("column", [name for name in CHANGES if name != "leaf_index"])
def test_a_changed_column_is_found_at_its_leaf(victim: Victim, column: str, place: int):
    ((value,),) = victim.rows(f"SELECT {column} FROM audit_event WHERE leaf_index = ?", place)  # noqa: S608
    for change in CHANGES[column]:
        assert change(value) != value
        victim.execute(f"UPDATE audit_event SET {column} = ? WHERE leaf_index = ?", change(value), place)  # noqa: S608
        assert victim.found() == {("edited", place)}
        victim.execute(f"UPDATE audit_event SET {column} = ? WHERE leaf_index = ?", value, place)  # noqa: S608
    assert victim.found() == set()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("index", "also"),
    [(None, set()), (10_000, {("inserted", 10_000)}), (-1, {("inserted", -1)}), (2**62, {("inserted", 2**62)})],
)
def test_a_row_taken_from_its_place(victim: Victim, place: int, index: int | None, also: set):
    victim.execute("UPDATE audit_event SET leaf_index = ? WHERE leaf_index = ?", index, place)
    gone = ("truncated", place) if place == 299 else ("deleted", place)
    assert victim.found() == {gone} | also


@pytest.mark.parametrize("place", PLACES)
def test_an_edit_that_carries_its_hash_along(victim: Victim, place: int):
    ((payload,),) = victim.rows("SELECT payload FROM audit_event WHERE leaf_index = ?", place)
    changed = payload.replace("T-1", "T-2")
    victim.execute(
        "UPDATE audit_event SET payload = ?, leaf_hash = ?, ticket = 'T-2' WHERE leaf_index = ?",
        changed,
        leaf_hash(changed.encode()),
        place,
    )
    assert victim.found() == {("edited", place)}


# --- deleted, inserted, reordered, truncated rows --------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_a_deleted_row(victim: Victim, place: int):
    victim.execute("DELETE FROM audit_event WHERE leaf_index = ?", place)
    assert victim.found() == {("truncated", 299) if place == 299 else ("deleted", place)}


def test_several_deleted_rows(victim: Victim):
    victim.execute("DELETE FROM audit_event WHERE leaf_index IN (7, 8, 260, 298, 299)")
    assert victim.found() == {("deleted", 7), ("deleted", 8), ("deleted", 260), ("truncated", 298)}


@pytest.mark.parametrize("place", [0, 100, 256, 298])
def test_a_deleted_row_whose_successors_move_up(victim: Victim, place: int):
    victim.execute("DELETE FROM audit_event WHERE leaf_index = ?", place)
    victim.execute("UPDATE audit_event SET leaf_index = leaf_index - 1 WHERE leaf_index > ?", place)
    found = victim.found()
    assert ("deleted", place) in found
    assert ("truncated", 299) in found
    assert {kind for kind, _ in found} == {"deleted", "truncated", "reordered"}


@pytest.mark.parametrize("place", [0, 100, 256, 299])
def test_an_inserted_row_whose_successors_move_down(victim: Victim, place: int):
    victim.execute("UPDATE audit_event SET leaf_index = leaf_index + 1 WHERE leaf_index >= ?", place)
    forge(victim, place)
    found = victim.found()
    assert ("inserted", place) in found or ("edited", place) in found
    assert ("inserted", 300) in found


@pytest.mark.parametrize("place", [300, 500, -5])
def test_a_row_behind_the_tree(victim: Victim, place: int):
    forge(victim, place)
    assert victim.found() == {("inserted", place)}


def test_a_second_row_at_one_place(victim: Victim):
    forge(victim, 17)
    assert ("inserted", 17) in victim.found()


def forge(victim: Victim, place: object) -> None:
    ((payload,),) = victim.rows("SELECT payload FROM audit_event LIMIT 1")
    document = json.loads(payload) | {"id": "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"}
    forged = json.dumps(document, sort_keys=True, separators=(",", ":"))
    victim.execute(
        "INSERT INTO audit_event SELECT ?, kind, at, actor, release, ticket, dataset, token, ?, ?, ? FROM audit_event LIMIT 1",
        document["id"],
        forged,
        leaf_hash(forged.encode()),
        place,
    )


@pytest.mark.parametrize(("one", "two"), [(0, 1), (3, 290), (255, 256)])
def test_two_rows_change_places(victim: Victim, one: int, two: int):
    victim.execute(
        "UPDATE audit_event SET leaf_index = CASE leaf_index WHEN ? THEN ? ELSE ? END WHERE leaf_index IN (?, ?)",
        one, two, one, one, two,
    )  # fmt: skip
    assert victim.found() == {("reordered", one), ("reordered", two)}


def test_three_rows_go_round(victim: Victim):
    victim.execute(
        "UPDATE audit_event SET leaf_index = CASE leaf_index WHEN 5 THEN 6 WHEN 6 THEN 7 ELSE 5 END WHERE leaf_index IN (5, 6, 7)"
    )
    assert victim.found() == {("reordered", 5), ("reordered", 6), ("reordered", 7)}


@pytest.mark.parametrize("size", [1, 5, 260, 261, 299])
def test_truncated_rows(victim: Victim, size: int):
    victim.execute("DELETE FROM audit_event WHERE leaf_index >= ?", size)
    assert victim.found() == {("truncated", size)}


def test_no_rows_at_all(victim: Victim):
    victim.execute("DELETE FROM audit_event")
    assert victim.found() == {("truncated", 0)}


@pytest.mark.parametrize("size", [5, 261])
def test_an_old_backup_restored(victim: Victim, size: int):
    restore(victim, size)
    found = victim.verify()
    assert [(finding.kind.value, finding.index) for finding in found.findings] == [("truncated", size)]


def restore(victim: Victim, size: int) -> None:
    """Exactly what the database held at a size."""
    victim.execute("DELETE FROM audit_event WHERE leaf_index >= ?", size)
    victim.execute("DELETE FROM checkpoint WHERE size > ?", size)
    rebuild_tiles(victim)


def rebuild_tiles(victim: Victim) -> bytes:
    """Tiles as the rows want them; gives the root."""
    leaves = [bytes(row[0]) for row in victim.rows("SELECT leaf_hash FROM audit_event ORDER BY leaf_index")]
    tiles = grow(lambda _level, _index: b"", 0, leaves)
    victim.execute("DELETE FROM tile")
    for address, data in tiles.items():
        victim.execute("INSERT INTO tile VALUES (?, ?)", tile_key(*address), data)
    return range_hash(lambda level, index: subtree_hash(lambda *address: tiles.get(address, b""), level, index), 0, len(leaves))


# --- values that the column cannot hold (SQLite takes any type) ---------------------------------------------------------------

STRANGE = ["abc", 3.5, b"\x00\xff", -7, None]


@pytest.mark.parametrize("value", STRANGE)
@pytest.mark.parametrize("column", [column.name for column in audit_event.columns if column.name != "leaf_index"])
def test_a_strange_value_in_a_row(victim: Victim, column: str, value: object):
    victim.execute(f"UPDATE audit_event SET {column} = ? WHERE leaf_index = 17", value)  # noqa: S608
    assert victim.found() == {("edited", 17)}


@pytest.mark.parametrize("value", STRANGE[:4])
def test_a_strange_place(victim: Victim, value: object):
    forge(victim, value)
    assert victim.found() == {("inserted", value if isinstance(value, int) else None)}


def test_a_payload_that_nests_for_ever(victim: Victim):
    victim.execute("UPDATE audit_event SET payload = ? WHERE leaf_index = 17", "[" * 200_000)
    assert victim.found() == {("edited", 17)}


@pytest.mark.parametrize("value", STRANGE)
@pytest.mark.parametrize(
    ("table", "column"),
    [("tile", "key"), ("tile", "data"), ("checkpoint", "size"), ("checkpoint", "root"), ("checkpoint", "note")],
)
def test_a_strange_value_elsewhere(victim: Victim, table: str, column: str, value: object):
    place = "key = 0" if table == "tile" else "size = 261"
    victim.execute(f"UPDATE {table} SET {column} = ? WHERE {place}", value)  # noqa: S608
    assert victim.found() != set()


# --- tiles ------------------------------------------------------------------------------------------------------------------

TILES = {tile_key(0, 0): 0, tile_key(0, 1): 256, tile_key(1, 0): 0}


def test_these_are_all_tiles(victim: Victim):
    assert {key for (key,) in victim.rows("SELECT key FROM tile")} == set(TILES)


@pytest.mark.parametrize(("key", "hash_number", "index"), [
    (tile_key(0, 0), 0, 0), (tile_key(0, 0), 200, 200), (tile_key(0, 1), 0, 256), (tile_key(0, 1), 43, 299), (tile_key(1, 0), 0, 0),
])  # fmt: skip
def test_a_flipped_bit_in_a_tile(victim: Victim, key: int, hash_number: int, index: int):
    ((data,),) = victim.rows("SELECT data FROM tile WHERE key = ?", key)
    changed = bytearray(data)
    changed[32 * hash_number] ^= 1
    victim.execute("UPDATE tile SET data = ? WHERE key = ?", bytes(changed), key)
    found = victim.found()
    assert ("tampered-tile", index) in found
    assert {kind for kind, _ in found} == {"tampered-tile"}


@pytest.mark.parametrize(("key", "first"), TILES.items())
@pytest.mark.parametrize("change", ["shorter", "longer", "empty", "gone", "moved"])
def test_a_tile_of_another_shape(victim: Victim, key: int, first: int, change: str):
    ((data,),) = victim.rows("SELECT data FROM tile WHERE key = ?", key)
    if change == "gone":
        victim.execute("DELETE FROM tile WHERE key = ?", key)
    elif change == "moved":
        victim.execute("UPDATE tile SET key = ? WHERE key = ?", tile_key(5, 9), key)
    else:
        other = {"shorter": data[:-1], "longer": data + bytes(32), "empty": b""}[change]
        victim.execute("UPDATE tile SET data = ? WHERE key = ?", other, key)
    found = victim.found()
    assert any(kind == "tampered-tile" and index is not None and first <= index < first + 256 for kind, index in found)
    assert {kind for kind, _ in found} == {"tampered-tile"}


def test_a_tile_too_many(victim: Victim):
    victim.execute("INSERT INTO tile VALUES (?, ?)", tile_key(0, 2), bytes(32))
    assert victim.found() == {("tampered-tile", 512)}


@pytest.mark.parametrize("key", [-1, -(2**63), -(2**57), tile_key(100, 0), 2**63 - 1])
def test_a_tile_of_a_level_that_cannot_be(victim: Victim, key: int):
    victim.execute("INSERT INTO tile VALUES (?, ?)", key, bytes(8192))
    assert victim.found() == {("tampered-tile", None)}


def test_two_tiles_change_places(victim: Victim):
    victim.execute("UPDATE tile SET key = 1 - key WHERE key IN (0, 1)")
    assert {kind for kind, _ in victim.found()} >= {"tampered-tile"}


# --- checkpoints --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_another_root_in_a_checkpoint(victim: Victim, size: int):
    victim.execute("UPDATE checkpoint SET root = ? WHERE size = ?", bytes(32), size)
    assert any(kind == "forked-checkpoint" and index < size for kind, index in victim.found())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("other", [0, 3, 100, 299, 10_000])
def test_another_size_in_a_checkpoint(victim: Victim, size: int, other: int):
    victim.execute("UPDATE checkpoint SET size = ? WHERE size = ?", other, size)
    assert {kind for kind, _ in victim.found()} & {"forked-checkpoint", "truncated"}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda note: note.replace("\n\n", "\n1\n\n", 1), "bad-signature"),
        (lambda note: note[:-8] + note[-8:].swapcase(), "bad-signature"),
        (lambda _: "nonsense", "bad-signature"),
        (lambda _: "", "bad-signature"),
        (lambda note: note.partition("\n\n")[0] + "\n\n" + THIEF.sign("x\n").partition("\n\n")[2], "swapped-key"),
        (lambda note: THIEF.sign(note.partition("\n\n")[0] + "\n"), "swapped-key"),
    ],
)
def test_another_note(victim: Victim, size: int, change: Callable[[str], str], kind: str):
    ((note,),) = victim.rows("SELECT note FROM checkpoint WHERE size = ?", size)
    victim.execute("UPDATE checkpoint SET note = ? WHERE size = ?", change(note), size)
    assert kind in {kind for kind, _ in victim.found()}


def test_the_note_of_another_row(victim: Victim):
    ((note,),) = victim.rows("SELECT note FROM checkpoint WHERE size = 5")
    victim.execute("UPDATE checkpoint SET note = ? WHERE size = 261", note)
    assert ("forked-checkpoint", 4) in victim.found()


def test_a_note_taken_away(victim: Victim):
    victim.execute("UPDATE checkpoint SET note = NULL WHERE size = 261")
    assert victim.found() == {("missing-checkpoint", 260)}


@pytest.mark.parametrize("size", [5, 261])
def test_a_checkpoint_deleted(victim: Victim, size: int):
    victim.execute("DELETE FROM checkpoint WHERE size = ?", size)
    assert victim.found() == {("missing-checkpoint", size - 1)}


def test_the_newest_checkpoint_deleted(victim: Victim):
    """The anchor still covers all 300 leaves, so nothing is lost and nothing can be changed: the row is merely missing."""
    victim.execute("DELETE FROM checkpoint WHERE size = 300")
    assert {kind for kind, _ in victim.found()} == {"missing-checkpoint"}


def test_all_checkpoints_deleted(victim: Victim):
    victim.execute("DELETE FROM checkpoint")
    assert {("missing-checkpoint", 4), ("missing-checkpoint", 260), ("missing-checkpoint", 299)} <= victim.found()


def test_a_checkpoint_too_many(victim: Victim):
    victim.execute("INSERT INTO checkpoint VALUES (100, ?, NULL)", sha256(b"").digest())
    assert victim.found() == {("forked-checkpoint", 5)}


@pytest.mark.parametrize("size", [301, 10**6, 10**12, 2**62, 2**63 - 1])
def test_a_checkpoint_of_a_log_that_nobody_holds(victim: Victim, size: int):
    """Whoever may write checkpoint rows must not make a verification endless: it walks over what is there, not what is claimed."""
    victim.execute("INSERT INTO checkpoint VALUES (?, ?, NULL)", size, bytes(32))
    done = []
    found = victim.verify(progress=lambda *state: done.append(state))
    assert [(item.kind.value, item.index) for item in found.findings] == [("truncated", 300)]
    assert "without a trusted signature" in found.findings[0].detail
    assert len(done) <= 2
    victim.execute("UPDATE tile SET data = CAST(data || ? AS BLOB) WHERE key = 1", bytes(32))
    assert ("truncated", 300) in victim.found()


def test_a_signed_checkpoint_of_a_log_that_nobody_holds(victim: Victim):
    """The same with the stolen key, in the database and in the anchor."""
    note = SIGNER.sign(Checkpoint("gate.example/log", 10**15, bytes(32)).to_text())
    victim.execute("INSERT INTO checkpoint VALUES (?, ?, ?)", 10**15, bytes(32), note)
    victim.edit_lines(lambda lines: [*lines, json.dumps(note) + "\n"])
    assert victim.found() == {("truncated", 300)}


def test_a_row_and_a_tile_far_behind_the_log(victim: Victim):
    """A forged row or tile at the claimed end makes the walk neither long nor blind for what lies before it."""
    victim.execute("INSERT INTO checkpoint VALUES (?, ?, NULL)", 10**12, bytes(32))
    forge(victim, 10**12 - 1)
    victim.execute("INSERT INTO tile VALUES (?, ?)", tile_key(0, 10**9), bytes(32))
    done = []
    found = victim.verify(progress=lambda *state: done.append(state))
    told = {(item.kind.value, item.index) for item in found.findings}
    assert len(done) <= 6
    assert ("deleted", 300) in told
    assert found.left_out > 0


# --- history rewritten as a whole ------------------------------------------------------------------------------------------------


def rewrite(victim: Victim, place: int, signer: NoteSigner | None) -> None:
    """Edit a leaf, and carry hash, column, tiles, roots and (with a key) notes along."""
    ((payload,),) = victim.rows("SELECT payload FROM audit_event WHERE leaf_index = ?", place)
    changed = payload.replace("T-1", "T-2")
    values = (changed, leaf_hash(changed.encode()), place)
    victim.execute("UPDATE audit_event SET payload = ?, leaf_hash = ?, ticket = 'T-2' WHERE leaf_index = ?", *values)
    rebuild_tiles(victim)
    leaves = [bytes(row[0]) for row in victim.rows("SELECT leaf_hash FROM audit_event ORDER BY leaf_index")]
    for size in [size for size in SIZES if size > place]:
        tiles = grow(lambda _level, _index: b"", 0, leaves[:size])
        root = range_hash(lambda level, index, t=tiles: subtree_hash(lambda *a: t.get(a, b""), level, index), 0, size)
        victim.execute("UPDATE checkpoint SET root = ? WHERE size = ?", root, size)
        if signer is not None:
            note = signer.sign(Checkpoint("gate.example/log", size, root).to_text())
            victim.execute("UPDATE checkpoint SET note = ? WHERE size = ?", note, size)


@pytest.mark.parametrize(("place", "index"), [(2, 0), (100, 5), (299, 261)])
def test_rows_tiles_and_roots_rewritten(victim: Victim, place: int, index: int):
    rewrite(victim, place, None)
    assert ("forked-checkpoint", index) in victim.found()


@pytest.mark.parametrize("place", [2, 100, 299])
def test_rewritten_and_signed_by_another_key(victim: Victim, place: int):
    rewrite(victim, place, THIEF)
    assert {"swapped-key", "forked-checkpoint"} <= {kind for kind, _ in victim.found()}


@pytest.mark.parametrize("place", [2, 100, 299])
def test_rewritten_and_signed_by_another_key_in_the_anchor_too(victim: Victim, place: int):
    rewrite(victim, place, THIEF)
    notes = [note for (note,) in victim.rows("SELECT note FROM checkpoint ORDER BY size")]
    victim.edit_lines(lambda _: [json.dumps(note) + "\n" for note in notes])
    assert "swapped-key" in {kind for kind, _ in victim.found()}


@pytest.mark.parametrize(("place", "index"), [(2, 0), (100, 5), (299, 261)])
def test_rewritten_with_the_stolen_key_but_not_the_anchor(victim: Victim, place: int, index: int):
    rewrite(victim, place, SIGNER)
    found = victim.found()
    assert ("forked-checkpoint", index) in found
    assert "bad-anchor" in {kind for kind, _ in found}


def test_rewritten_with_the_stolen_key_and_the_anchor_needs_a_witness(victim: Victim):
    """The documented limit: who owns database, key and anchor is stopped only by copies that others hold."""
    ours = [note for (note,) in victim.rows("SELECT note FROM checkpoint ORDER BY size")]
    rewrite(victim, 100, SIGNER)
    notes = [note for (note,) in victim.rows("SELECT note FROM checkpoint ORDER BY size")]
    victim.edit_lines(lambda _: [json.dumps(note) + "\n" for note in notes])
    assert victim.verify().ok
    victim.edit_lines(lambda _: [json.dumps(note) + "\n" for note in ours])  # the copy of a witness
    assert not victim.verify().ok


# --- the anchor ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda _: [], ("bad-anchor", 4)),
        (lambda lines: lines[:-1], ("bad-anchor", 299)),
        (lambda lines: [lines[0], lines[2]], ("bad-anchor", 260)),
        (lambda lines: lines[1:], ("bad-anchor", 4)),
        (lambda lines: [lines[0], lines[2], lines[1]], ("bad-anchor", 260)),
        (lambda lines: [*lines, lines[0]], ("bad-anchor", 4)),
        (lambda lines: [lines[0].replace("n5\\n", "n6\\n"), *lines[1:]], ("bad-anchor", 5)),
        (lambda lines: ['"nonsense"\n', *lines], ("bad-anchor", None)),
        (lambda lines: [lines[0][:40] + "\n", *lines[1:]], ("bad-anchor", 4)),
        (lambda lines: [json.dumps(THIEF.sign(Checkpoint("gate.example/log", 5, bytes(32)).to_text())) + "\n", *lines], ("swapped-key", 4)),
        (lambda lines: [*lines, json.dumps(SIGNER.sign(Checkpoint("gate.example/log", 400, bytes(32)).to_text())) + "\n"], ("truncated", 300)),
        (lambda lines: [json.dumps(SIGNER.sign(Checkpoint("gate.example/log", 3, bytes(32)).to_text())) + "\n", *lines], ("forked-checkpoint", 0)),
    ],
)  # fmt: skip
def test_a_changed_anchor(victim: Victim, change: Callable[[list[str]], list[str]], finding: tuple[str, int | None]):
    victim.edit_lines(change)
    assert finding in victim.found()


def test_without_the_anchor_an_old_backup_looks_good(victim: Victim):
    """Why there is an anchor."""
    restore(victim, 261)
    database = Database(f"sqlite:///{victim.path}")
    assert verify_log(database, keys=[SIGNER.verifier], anchor=None).ok
    database.dispose()


# --- rows that wait -----------------------------------------------------------------------------------------------------------------


def test_a_waiting_row_is_checked_against_itself(victim: Victim):
    victim.execute("UPDATE audit_event SET leaf_index = NULL, ticket = 'T-2' WHERE leaf_index = 299")
    found = victim.verify()
    assert found.pending == 1
    assert {(finding.kind.value, finding.index) for finding in found.findings} == {("edited", None), ("truncated", 299)}


def test_findings_are_bounded_and_the_rest_is_counted(victim: Victim, monkeypatch):
    monkeypatch.setattr("gateway.audit.findings.MAX_FINDINGS", 10)
    victim.execute("UPDATE audit_event SET kind = 'release.read'")
    found = victim.verify()
    assert len(found.findings) == 10
    assert found.left_out == 290
    document = found.to_json()
    assert (document["ok"], document["left_out"], document["leaves"]) == (False, 290, 300)
    assert document["findings"][0]["kind"] == "edited"


def test_progress_is_told(victim: Victim):
    told: list[tuple[int, int]] = []
    database = Database(f"sqlite:///{victim.path}")
    verify_log(database, keys=[SIGNER.verifier], anchor=victim.anchor, progress=lambda done, size: told.append((done, size)))
    database.dispose()
    assert told == [(300, 300)]
