"""Checkpoints in a bucket with Object Lock, on a real S3 server: nobody deletes or overwrites one before its time."""

from __future__ import annotations

import importlib.util
import secrets
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.audit import Checkpoint, Log, NoteSigner, Sequencer, install_guards, verify_log
from gateway.db.metadata import metadata
from gateway.db.tables.audit import audit_event, checkpoint, pseudonym_key, tile
from gateway.db.work import Database
from gateway.errors import VerificationFailed
from gateway.releases.origin import anchor_of
from gateway.settings import Settings
from gateway.storage.s3 import new_client

SERVER = Path(__file__).parents[1] / "services" / "s3_server.py"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SIGNER = NoteSigner("gate.example/log", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
pytestmark = [pytest.mark.services, pytest.mark.slow]


@pytest.fixture(scope="module")
def s3_server() -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("ticketgate_s3_server", SERVER)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    try:
        with module.running_s3() as server, pytest.MonkeyPatch.context() as environment:
            environment.setenv("AWS_ACCESS_KEY_ID", module.ACCESS_KEY)
            environment.setenv("AWS_SECRET_ACCESS_KEY", module.SECRET_KEY)
            environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
            yield server
    except module.NoServer as reason:
        pytest.skip(str(reason))


@pytest.fixture
def locked(s3_server: Any) -> Iterator[tuple[Any, str]]:
    """A bucket whose objects are kept for a day, whoever asks."""
    client = new_client(endpoint=s3_server.endpoint)
    name = f"log-{secrets.token_hex(6)}"
    client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}}
    client.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=rule)
    yield client, name
    client.close()


@pytest.fixture
def log(locked: tuple[Any, str], s3_server: Any, tmp_path: Path) -> Iterator[tuple[Database, Any, Sequencer]]:
    settings = Settings(home=tmp_path / "home", checkpoints=f"s3://{locked[1]}/gateway", s3_endpoint=s3_server.endpoint)
    database = Database(f"sqlite:///{tmp_path / 'log.db'}")
    with database.engine.begin() as connection:
        metadata.create_all(connection, tables=[audit_event, tile, checkpoint, pseudonym_key])
        install_guards(connection)
    anchor = anchor_of(settings)
    sequencer = Sequencer(database, signer=SIGNER, anchor=anchor)
    for number in range(3):
        with database.begin() as work:
            Log(work).append("release.requested", at=NOW + timedelta(seconds=number), release=f"r{number}")
            work.commit()
        sequencer.run_once(NOW)
    yield database, anchor, sequencer
    database.dispose()


def test_a_checkpoint_can_be_neither_deleted_nor_overwritten_before_its_time(
    locked: tuple[Any, str], log: tuple[Database, Any, Sequencer]
) -> None:
    client, bucket = locked
    database, anchor, _ = log
    versions = client.list_object_versions(Bucket=bucket)["Versions"]
    assert len(versions) == len(list(anchor.notes())) == 3
    for version in versions:
        where = {"Bucket": bucket, "Key": version["Key"], "VersionId": version["VersionId"]}
        retention = client.get_object_retention(**where)["Retention"]
        assert retention["Mode"] == "COMPLIANCE"
        assert retention["RetainUntilDate"] > datetime.now(UTC) + timedelta(hours=23)  # noqa: TID251 - the server's own clock
        with pytest.raises(ClientError, match="AccessDenied"):
            client.delete_object(**where)
        with pytest.raises(ClientError, match="AccessDenied"):
            client.delete_object(**where, BypassGovernanceRetention=True)
        client.put_object(Bucket=bucket, Key=version["Key"], Body=b"forged")  # a version above it, which does not count
    assert verify_log(database, keys=[SIGNER.verifier], anchor=anchor).ok


def test_a_fork_is_found_against_it(log: tuple[Database, Any, Sequencer]) -> None:
    """Whoever holds the log's key signs another tree of a size that was published."""
    database, anchor, _ = log
    forged = SIGNER.sign(Checkpoint("gate.example/log", 3, bytes(32)).to_text())
    with pytest.raises(VerificationFailed, match="does not continue"):
        anchor.publish(forged)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER checkpoint_guard_update")
        connection.exec_driver_sql("UPDATE checkpoint SET root = ?, note = ? WHERE size = 3", (bytes(32), forged))
    kinds = {finding.kind.value for finding in verify_log(database, keys=[SIGNER.verifier], anchor=anchor).findings}
    assert {"forked-checkpoint", "bad-anchor"} <= kinds


def test_a_fork_that_is_written_over_a_checkpoint_does_not_count(
    locked: tuple[Any, str], log: tuple[Database, Any, Sequencer]
) -> None:
    """Key and credentials of the bucket stolen: the first version of a name is what was published."""
    client, bucket = locked
    database, anchor, _ = log
    before = list(anchor.notes())
    newest = min(version["Key"] for version in client.list_object_versions(Bucket=bucket)["Versions"])
    forged = SIGNER.sign(Checkpoint("gate.example/log", 3, bytes(32)).to_text())
    client.put_object(Bucket=bucket, Key=newest, Body=forged.encode())
    assert list(anchor.notes()) == before
    assert anchor.newest() == before[-1]
    assert verify_log(database, keys=[SIGNER.verifier], anchor=anchor).ok


def test_a_deletion_hides_no_checkpoint(locked: tuple[Any, str], log: tuple[Database, Any, Sequencer]) -> None:
    """A deletion that names no version only puts a marker above it: an older backup of the database is still told from the log."""
    client, bucket = locked
    database, anchor, _ = log
    before = list(anchor.notes())
    newest = min(version["Key"] for version in client.list_object_versions(Bucket=bucket)["Versions"])
    client.delete_object(Bucket=bucket, Key=newest)
    assert list(anchor.notes()) == before
    with database.engine.begin() as connection:
        for name in ("audit_event", "checkpoint", "tile"):
            connection.exec_driver_sql(f"DROP TRIGGER {name}_guard_delete")
        connection.exec_driver_sql("DELETE FROM audit_event WHERE leaf_index = 2")
        connection.exec_driver_sql("DELETE FROM checkpoint WHERE size = 3")
    kinds = {
        (finding.kind.value, finding.index) for finding in verify_log(database, keys=[SIGNER.verifier], anchor=anchor).findings
    }
    assert ("truncated", 2) in kinds
