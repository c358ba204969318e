"""Wrapped data keys: bound to release and key; a file others may read is refused; a KMS is spoken to in its own words."""

from __future__ import annotations

import boto3
import pytest
from botocore.stub import Stubber

from gateway.errors import VerificationFailed
from gateway.storage import FileKey, KeyUnavailable, KmsKey, create_key_file, new_data_key


@pytest.fixture
def path(tmp_path):
    create_key_file(tmp_path / "keys" / "master.key")
    return tmp_path / "keys" / "master.key"


def test_round_trip(path):
    key = new_data_key()
    wrapped = FileKey(path).wrap(key, release_id="r1")
    assert key not in wrapped
    assert FileKey(path).unwrap(wrapped, release_id="r1") == key


def test_a_key_file_is_private_and_never_replaced(path):
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    create_key_file(path)
    assert path.read_bytes() == before


def test_another_release_and_every_changed_byte_are_found(path):
    wrapper = FileKey(path)
    wrapped = wrapper.wrap(new_data_key(), release_id="r1")
    with pytest.raises(VerificationFailed):
        wrapper.unwrap(wrapped, release_id="r2")
    for index in range(len(wrapped)):
        damaged = bytearray(wrapped)
        damaged[index] ^= 1
        with pytest.raises(VerificationFailed):
            wrapper.unwrap(bytes(damaged), release_id="r1")
    with pytest.raises(VerificationFailed):
        wrapper.unwrap(b"", release_id="r1")


def test_rotation_keeps_old_releases_readable(path, tmp_path):
    key = new_data_key()
    wrapped = FileKey(path).wrap(key, release_id="r1")
    create_key_file(tmp_path / "new.key")
    assert FileKey(tmp_path / "new.key", retired=(path,)).unwrap(wrapped, release_id="r1") == key
    with pytest.raises(VerificationFailed, match="wrapped by a key that is not here"):
        FileKey(tmp_path / "new.key").unwrap(wrapped, release_id="r1")


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [("zz", 0o600, "64 hex digits"), ("ab" * 31, 0o600, "64 hex digits"), ("ab" * 32, 0o640, "0600")],
)
def test_unfit_key_files_are_refused_without_their_content(tmp_path, content, mode, words):
    path = tmp_path / "k"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(KeyUnavailable, match=words) as refused:
        FileKey(path)
    assert content not in str(refused.value)
    with pytest.raises(KeyUnavailable, match="cannot be read"):
        FileKey(tmp_path / "none")


@pytest.fixture
def kms():
    client = boto3.session.Session().client("kms", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="y")
    with Stubber(client) as stub:
        yield KmsKey("alias/gateway", client=client), stub


def test_kms_binds_the_release(kms):
    wrapper, stub = kms
    context = {"ticketgate:release": "r1"}
    stub.add_response(
        "encrypt",
        {"CiphertextBlob": b"wrapped"},
        {"KeyId": "alias/gateway", "Plaintext": b"k" * 32, "EncryptionContext": context},
    )
    stub.add_response(
        "decrypt",
        {"Plaintext": b"k" * 32},
        {"KeyId": "alias/gateway", "CiphertextBlob": b"wrapped", "EncryptionContext": context},
    )
    assert wrapper.wrap(b"k" * 32, release_id="r1") == b"wrapped"
    assert wrapper.unwrap(b"wrapped", release_id="r1") == b"k" * 32
    assert wrapper.key_id == "alias/gateway"


@pytest.mark.parametrize(
    ("code", "kind"), [("InvalidCiphertextException", VerificationFailed), ("DisabledException", KeyUnavailable)]
)
def test_kms_refusals_are_told_apart(kms, code, kind):
    wrapper, stub = kms
    stub.add_client_error("decrypt", code)
    with pytest.raises(kind):
        wrapper.unwrap(b"wrapped", release_id="r1")


def test_a_dead_kms_is_unavailable():
    with pytest.raises(KeyUnavailable, match="did not answer"):
        KmsKey("k", client=_dead()).wrap(b"k" * 32, release_id="r1")


def _dead():
    from botocore.config import Config

    config = Config(connect_timeout=1, retries={"total_max_attempts": 1})
    session = boto3.session.Session(aws_access_key_id="x", aws_secret_access_key="y", region_name="eu-west-1")
    return session.client("kms", endpoint_url="http://127.0.0.1:9", config=config)
