"""An S3 store whose server is dead, lies, forgets or breaks off: a clear error each time, and never half an artifact."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from botocore.config import Config

from gateway.storage import ArtifactExists, EncryptionRefused, StoreUnavailable, new_data_key
from gateway.storage.artifacts import open_artifact, seal_artifact
from gateway.storage.s3 import S3Store


class FaultyServer(ThreadingHTTPServer):
    """Keeps objects in memory and misbehaves as told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), FaultyHandler)
        self.objects: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.faults: set[str] = set()
        self.calls: list[str] = []


class FaultyHandler(BaseHTTPRequestHandler):
    """Just enough of S3."""

    protocol_version = "HTTP/1.1"
    server: FaultyServer

    def log_message(self, *_args: object) -> None:
        pass

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _break_off(self) -> None:
        self.close_connection = True
        self.connection.close()

    def do_PUT(self) -> None:
        self.server.calls.append("PUT")
        length = int(self.headers.get("Content-Length", 0))
        if "cut-upload" in self.server.faults:
            self.rfile.read(length // 2)
            self._break_off()
            return
        body = self.rfile.read(length)
        if "slow-down" in self.server.faults:
            self._answer(503, b"<Error><Code>SlowDown</Code></Error>")
            return
        if self.headers.get("If-None-Match") == "*" and self.path in self.server.objects:
            self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            return
        metadata = {name: value for name, value in self.headers.items() if name.lower().startswith("x-amz-meta-")}
        self.server.objects[self.path] = (body, metadata)
        if "lose-answer" in self.server.faults:
            self.server.faults.discard("lose-answer")
            self._break_off()
            return
        extra = {"x_amz_server_side_encryption": "aws:kms"} if "other-key" in self.server.faults else {}
        if "other-key" in self.server.faults:
            extra["x_amz_server_side_encryption_aws_kms_key_id"] = "another-key"
        self._answer(200, ETag='"x"', **extra)

    def do_HEAD(self) -> None:
        if self.path not in self.server.objects:
            self._answer(404)
            return
        body, metadata = self.server.objects[self.path]
        self._answer(200, Content_Length=str(len(body)), **{name.replace("-", "_"): value for name, value in metadata.items()})

    def do_GET(self) -> None:
        if "hang" in self.server.faults:
            time.sleep(3)
        if self.path.split("?")[0] not in self.server.objects:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        body, _ = self.server.objects[self.path.split("?")[0]]
        first, last = map(int, re.match(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())
        part = body[first : last + 1]
        if "cut-download" in self.server.faults:
            self._answer(206, part[: len(part) // 2], Content_Length=str(len(part)))
            self._break_off()
        elif "short-download" in self.server.faults:
            self._answer(206, part[: len(part) // 2])
        elif "flip" in self.server.faults:
            self._answer(206, bytes([part[0] ^ 1]) + part[1:])
        else:
            self._answer(206, part)

    def do_DELETE(self) -> None:
        self.server.objects.pop(self.path, None)
        self._answer(204)


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer() as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def client_for(endpoint: str):
    config = Config(
        connect_timeout=1, read_timeout=1, retries={"mode": "standard", "total_max_attempts": 3}, s3={"addressing_style": "path"},
        request_checksum_calculation="when_required", response_checksum_validation="when_required",
    )  # fmt: skip
    session = boto3.session.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")
    return session.client("s3", endpoint_url=endpoint, config=config)


@pytest.fixture
def store(server) -> Iterator[S3Store]:
    client = client_for(f"http://127.0.0.1:{server.server_address[1]}")
    yield S3Store(client=client, bucket="b")
    client.close()


def test_a_dead_server_is_unavailable():
    client = client_for("http://127.0.0.1:9")
    store = S3Store(client=client, bucket="b")
    for act in (
        lambda: store.put("a", [b"x"]),
        lambda: store.fetch("a", 0, 1),
        lambda: store.size("a"),
        lambda: store.delete("a"),
        store.check,
    ):
        with pytest.raises(StoreUnavailable, match="did not finish"):
            act()
    client.close()


def test_an_upload_that_is_cut_off_leaves_nothing(server, store):
    server.faults.add("cut-upload")
    with pytest.raises(StoreUnavailable):
        store.put("releases/r1/a", [b"x" * 1_000_000])
    assert server.objects == {}


def test_a_server_that_is_overloaded_is_unavailable(server, store):
    server.faults.add("slow-down")
    with pytest.raises(StoreUnavailable, match="SlowDown"):
        store.put("releases/r1/a", [b"x"])


def test_a_lost_answer_is_not_another_writer(server, store):
    server.faults.add("lose-answer")
    assert store.put("releases/r1/a", [b"mine"]) == 4
    assert server.calls == ["PUT", "PUT"]
    with pytest.raises(ArtifactExists):
        store.put("releases/r1/a", [b"mine"])


@pytest.mark.parametrize("fault", ["cut-download", "short-download"])
def test_a_download_that_is_cut_off_is_never_a_shorter_artifact(server, store, fault, tmp_path):
    path = tmp_path / "data"
    path.write_bytes(b"x" * 5000)
    key = new_data_key()
    sealed = seal_artifact(store, path, release_id="r1", fence=1, filename="data", data_key=key)
    reader = open_artifact(store, sealed.name, data_key=key)
    assert b"".join(reader.blocks()) == b"x" * 5000
    server.faults.add(fault)
    with pytest.raises(Exception, match=r"did not finish|not what was written"):
        open_artifact(store, sealed.name, data_key=key).read()


def test_a_byte_changed_by_the_server_is_found(server, store, tmp_path):
    path = tmp_path / "data"
    path.write_bytes(b"x" * 5000)
    key = new_data_key()
    sealed = seal_artifact(store, path, release_id="r1", fence=1, filename="data", data_key=key)
    server.faults.add("flip")
    with pytest.raises(Exception, match="not what was written"):
        open_artifact(store, sealed.name, data_key=key)


def test_a_server_that_hangs_is_unavailable(server, store):
    store.put("releases/r1/a", [b"x"])
    server.faults.add("hang")
    with pytest.raises(StoreUnavailable, match="ReadTimeout"):
        store.fetch("releases/r1/a", 0, 1)


@pytest.mark.parametrize("fault", ["none", "other-key"])
def test_a_server_that_does_not_encrypt_as_asked_keeps_nothing(server, store, fault):
    server.faults.add(fault)
    asking = S3Store(client=store.client, bucket="b", encryption="aws:kms", kms_key="our-key")
    with pytest.raises(EncryptionRefused, match="aws:kms"):
        asking.put("releases/r1/a", [b"x"])
    assert server.objects == {}
