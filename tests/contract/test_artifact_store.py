"""What every artifact store keeps to: the same tests on a folder and on a real S3 server."""

from __future__ import annotations

import importlib.util
import secrets
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.errors import VerificationFailed
from gateway.storage import (
    ArtifactExists,
    ArtifactMissing,
    ArtifactStore,
    EncryptionRefused,
    LocalStore,
    artifact_name,
    new_data_key,
    open_artifact,
    seal_artifact,
    sweep,
)
from gateway.storage.s3 import S3Store, new_client
from gateway.storage.source import open_source
from gateway.storage.store import StoreUnavailable
from policies.card import DatasetCard
from policies.tables import TableInvalid

SERVER = Path(__file__).parents[1] / "services" / "s3_server.py"
FAR_FUTURE = datetime(2200, 1, 1, tzinfo=UTC)


def _server_module():
    spec = importlib.util.spec_from_file_location("ticketgate_s3_server", SERVER)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def s3_server():
    module = _server_module()
    try:
        with module.running_s3() as server, pytest.MonkeyPatch.context() as environment:
            environment.setenv("AWS_ACCESS_KEY_ID", module.ACCESS_KEY)
            environment.setenv("AWS_SECRET_ACCESS_KEY", module.SECRET_KEY)
            environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
            yield server
    except module.NoServer as reason:
        pytest.skip(str(reason))


@pytest.fixture
def bucket(s3_server) -> Iterator[tuple[str, object]]:
    client = new_client(endpoint=s3_server.endpoint)
    name = f"tests-{secrets.token_hex(6)}"
    client.create_bucket(Bucket=name)
    yield name, client
    client.close()


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.services)])
def store(request, tmp_path) -> ArtifactStore:
    if request.param == "local":
        return LocalStore(tmp_path / "artifacts")
    name, client = request.getfixturevalue("bucket")
    return S3Store(client=client, bucket=name, prefix="gateway/")


def test_what_was_put_is_fetched_in_any_range(store):
    body = secrets.token_bytes(300_000)
    assert store.put("releases/r1/a", [body[:100_000], body[100_000:]]) == len(body)
    assert store.size("releases/r1/a") == len(body)
    assert store.fetch("releases/r1/a", 0, len(body)) == body
    assert store.fetch("releases/r1/a", 123, 456) == body[123:579]
    assert store.fetch("releases/r1/a", len(body) - 5, 100) == body[-5:]
    assert store.fetch("releases/r1/a", len(body) + 5, 100) == b""


def test_an_empty_artifact_is_an_artifact(store):
    assert store.put("releases/r1/empty", []) == 0
    assert store.size("releases/r1/empty") == 0


def test_a_name_is_written_once(store):
    store.put("releases/r1/a", [b"first"])
    with pytest.raises(ArtifactExists):
        store.put("releases/r1/a", [b"second"])
    assert store.fetch("releases/r1/a", 0, 10) == b"first"


def test_of_many_writers_of_one_name_one_wins(store):
    outcomes: list[str] = []

    def write(body: bytes) -> None:
        try:
            store.put("releases/r1/raced", [body])
            outcomes.append(body.decode())
        except ArtifactExists:
            outcomes.append("lost")

    threads = [threading.Thread(target=write, args=(f"writer-{index}".encode(),)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [outcome for outcome in outcomes if outcome != "lost"]
    assert len(outcomes) == 8
    assert len(winners) == 1
    assert store.fetch("releases/r1/raced", 0, 100).decode() == winners[0]


def test_what_is_not_there_is_missing(store):
    with pytest.raises(ArtifactMissing):
        store.size("releases/r1/none")
    with pytest.raises(ArtifactMissing):
        store.fetch("releases/r1/none", 0, 1)


def test_delete_is_repeatable(store):
    store.put("releases/r1/a", [b"x"])
    store.delete("releases/r1/a")
    store.delete("releases/r1/a")
    with pytest.raises(ArtifactMissing):
        store.size("releases/r1/a")


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".hidden", "a/.b", "a b", "a\0b", "a\\b", "ü", "x" * 200]
)
def test_a_name_that_is_not_plain_is_refused(store, name):
    with pytest.raises(ValueError, match="artifact name"):
        store.put(name, [b"x"])
    with pytest.raises(ValueError, match="artifact name"):
        store.fetch(name, 0, 1)


def test_names_are_listed_by_prefix(store):
    for name in ("releases/r1/a", "releases/r1/b", "releases/r2/a", "other/x"):
        store.put(name, [b"12345"])
    assert [found.name for found in store.names("releases/r1/")] == ["releases/r1/a", "releases/r1/b"]
    assert {found.size for found in store.names()} == {5}
    assert all(abs(found.modified_at - datetime.now(tz=UTC)) < timedelta(minutes=5) for found in store.names())  # noqa: TID251


def test_sweep_removes_old_orphans_only(store):
    for name in ("releases/r1/known", "releases/r1/orphan"):
        store.put(name, [b"x"])
    assert sweep(store, older_than=datetime(2000, 1, 1, tzinfo=UTC), known={"releases/r1/known"}) == ()
    assert sweep(store, older_than=FAR_FUTURE, known={"releases/r1/known"}) == ("releases/r1/orphan",)
    assert [found.name for found in store.names()] == ["releases/r1/known"]


def test_a_write_that_breaks_off_leaves_nothing(store):
    def blocks() -> Iterator[bytes]:
        yield b"x" * 1000
        raise RuntimeError("the worker was stopped")

    with pytest.raises(RuntimeError):
        store.put("releases/r1/half", blocks())
    assert list(store.names()) == []
    store.put("releases/r1/half", [b"whole"])
    assert store.fetch("releases/r1/half", 0, 100) == b"whole"


def test_sealed_artifact_round_trip_and_ranges(store, tmp_path):
    plain = secrets.token_bytes(3 * (1 << 20) + 77)
    path = tmp_path / "data.parquet"
    path.write_bytes(plain)
    key = new_data_key()
    sealed = seal_artifact(store, path, release_id="rel-1", fence=3, filename="data.parquet", data_key=key)
    assert sealed.name == artifact_name(release_id="rel-1", fence=3, digest=sealed.digest, filename="data.parquet")
    with open_artifact(store, sealed.name, data_key=key) as reader:
        assert reader.plain_size == len(plain)
        assert reader.read() == plain
        assert b"".join(reader.blocks(1_048_570, 20)) == plain[1_048_570:1_048_590]
    assert plain[:64] not in store.fetch(sealed.name, 0, 1 << 20)
    with pytest.raises(VerificationFailed):
        open_artifact(store, sealed.name, data_key=new_data_key())
    with pytest.raises(ArtifactExists):
        seal_artifact(store, path, release_id="rel-1", fence=3, filename="data.parquet", data_key=key)
    seal_artifact(store, path, release_id="rel-1", fence=4, filename="data.parquet", data_key=key)


def test_the_store_answers(store):
    store.check()


@pytest.mark.services
def test_encryption_that_the_server_confirms_is_kept(bucket):
    name, client = bucket
    store = S3Store(client=client, bucket=name, encryption="aws:kms", kms_key="testkey-1")
    store.put("releases/r1/a", [b"body"])
    assert client.head_object(Bucket=name, Key="releases/r1/a")["ServerSideEncryption"] == "aws:kms"
    assert store.fetch("releases/r1/a", 0, 10) == b"body"


@pytest.mark.services
def test_encryption_that_the_server_ignores_is_found_and_the_object_removed(bucket):
    name, client = bucket
    store = S3Store(client=client, bucket=name, encryption="AES256")
    with pytest.raises(EncryptionRefused, match="AES256"):
        store.put("releases/r1/a", [b"body"])
    assert list(store.names()) == []


@pytest.mark.services
def test_a_key_that_the_server_does_not_have_is_a_clear_error(bucket):
    name, client = bucket
    with pytest.raises(StoreUnavailable, match="refused to write"):
        S3Store(client=client, bucket=name, encryption="aws:kms", kms_key="no-such-key").put("releases/r1/a", [b"body"])


@pytest.mark.services
def test_a_bucket_that_is_not_there_is_a_clear_error(bucket):
    _, client = bucket
    store = S3Store(client=client, bucket="no-such-bucket")
    for act in (store.check, lambda: store.put("a", [b"x"]), lambda: list(store.names())):
        with pytest.raises(StoreUnavailable, match="NoSuchBucket"):
            act()


@pytest.mark.services
def test_wrong_credentials_are_a_clear_error_without_them(bucket, s3_server, monkeypatch):
    name, _ = bucket
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-wrong-wrong")
    client = new_client(endpoint=s3_server.endpoint)
    with pytest.raises(StoreUnavailable) as refused:
        S3Store(client=client, bucket=name).check()
    assert "wrong-wrong" not in str(refused.value)
    client.close()


@pytest.mark.services
def test_large_artifacts_go_up_in_parts_and_are_create_only(bucket, monkeypatch):
    name, client = bucket
    monkeypatch.setattr("gateway.storage.s3.ONE_PUT", 1 << 20)
    monkeypatch.setattr("gateway.storage.s3.PART", 5 << 20)
    store = S3Store(client=client, bucket=name)
    body = secrets.token_bytes(11 << 20)
    assert store.put("releases/r1/large", [body]) == len(body)
    assert store.fetch("releases/r1/large", (5 << 20) - 3, 6) == body[(5 << 20) - 3 : (5 << 20) + 3]
    with pytest.raises(ArtifactExists):
        store.put("releases/r1/large", [secrets.token_bytes(6 << 20)])
    assert store.fetch("releases/r1/large", 0, 100) == body[:100]


@pytest.mark.services
def test_a_source_table_is_copied_from_s3_and_removed(bucket, tmp_path):
    name, client = bucket
    client.put_object(Bucket=name, Key="in/table.csv", Body=b"age\n1\n")
    card = _card(f"s3://{name}/in/table.csv")
    with open_source(card, root=tmp_path, scratch=tmp_path, client=client) as path:
        assert path.read_bytes() == b"age\n1\n"
        assert path.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []
    with (
        pytest.raises(TableInvalid, match="cannot be read from S3"),
        open_source(_card(f"s3://{name}/none"), root=tmp_path, scratch=tmp_path, client=client),
    ):
        pass


def _card(source: str) -> DatasetCard:
    document = {
        "apiVersion": "ticketgate/v1",
        "kind": "Dataset",
        "metadata": {"name": "d"},
        "spec": {"source": source, "columns": {"age": {"type": "integer"}}},
    }
    return DatasetCard.model_validate(document)
