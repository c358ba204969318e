"""Source tables: below the source folder and nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.storage.source import open_source, resolve_source
from policies.card import DatasetCard
from policies.tables import TableInvalid

NAMES = Path(__file__).parents[4] / "shared" / "awkward" / "malicious_names.json"


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "sources"
    (folder / "deep").mkdir(parents=True)
    (folder / "t.csv").write_text("a\n1\n")
    (folder / "deep" / "u.csv").write_text("a\n1\n")
    (tmp_path / "secret.csv").write_text("a\n1\n")
    return folder


def test_files_below_the_root(root):
    assert resolve_source("t.csv", root=root) == root / "t.csv"
    assert resolve_source("deep/u.csv", root=root) == root / "deep" / "u.csv"


@pytest.mark.parametrize(
    "source",
    ["../secret.csv", "/etc/passwd", "deep/../../secret.csv", "deep", "none.csv", ".", "a\0b", "..\\secret.csv", "deep/../t.csv"],
)
def test_everything_else_is_refused_in_the_same_words(root, source):
    with pytest.raises(TableInvalid, match="not a file below the source folder") as refused:
        resolve_source(source, root=root)
    assert "passwd" not in str(refused.value)


def test_links_do_not_lead_out(root, tmp_path):
    (root / "link.csv").symlink_to(tmp_path / "secret.csv")
    (root / "up").symlink_to(tmp_path)
    (root / "loop").symlink_to(root / "loop")
    (root / "inside.csv").symlink_to(root / "t.csv")
    os.mkfifo(root / "pipe")
    for source in ("link.csv", "up/secret.csv", "loop", "pipe"):
        with pytest.raises(TableInvalid):
            resolve_source(source, root=root)
    assert resolve_source("inside.csv", root=root) == root / "t.csv"


@pytest.mark.shared
@pytest.mark.skipif(not NAMES.exists(), reason="the folder of hostile inputs beside the checkout is missing")
def test_hostile_names_find_nothing(root):
    for name in json.loads(NAMES.read_text(encoding="utf-8")):
        with pytest.raises(TableInvalid):
            resolve_source(str(name), root=root)


def test_an_incomplete_s3_address_is_refused(root, tmp_path):
    document = {
        "apiVersion": "ticketgate/v1",
        "kind": "Dataset",
        "metadata": {"name": "d"},
        "spec": {"source": "s3://bucket", "columns": {"a": {"type": "integer"}}},
    }
    with (
        pytest.raises(TableInvalid, match="s3://bucket/key"),
        open_source(DatasetCard.model_validate(document), root=root, scratch=tmp_path),
    ):
        pass


def test_the_front_door_loads_no_reader_of_source_tables():
    code = "import sys, gateway.storage; print([m for m in ('pyarrow', 'policies.tables', 'gateway.storage.source', 'boto3') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
