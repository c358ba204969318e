"""The sealed form of an artifact: every manipulation is found, every range is right."""

from __future__ import annotations

import io
import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import VerificationFailed
from gateway.storage import envelope
from gateway.storage.envelope import DecryptingReader, encrypt, new_data_key, sealed_size

KEY = bytes(range(32))
CHUNK = 64


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(envelope, "CHUNK", CHUNK)


class Held:
    """Stored bytes in memory."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.fetched: list[tuple[int, int]] = []

    def size(self) -> int:
        return len(self.content)

    def fetch(self, start: int, length: int) -> bytes:
        self.fetched.append((start, length))
        return self.content[start : start + length]


def sealed(plain: bytes, name: str = "a") -> bytes:
    return b"".join(encrypt([plain], data_key=KEY, name=name))


def opened(content: bytes, name: str = "a", key: bytes = KEY) -> bytes:
    return DecryptingReader(Held(content), data_key=key, name=name).read()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 5 * CHUNK + 7])
def test_round_trip_and_size(size):
    plain = secrets.token_bytes(size)
    content = sealed(plain)
    assert len(content) == sealed_size(size)
    assert opened(content) == plain


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(1, 90), max_size=8), st.integers(0, 450), st.integers(0, 450))
def test_any_pieces_in_any_range_out(plain, cuts, start, length):
    pieces, rest = [], plain
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    content = b"".join(encrypt([*pieces, rest], data_key=KEY, name="a"))
    reader = DecryptingReader(Held(content), data_key=KEY, name="a")
    assert reader.plain_size == len(plain)
    assert b"".join(reader.blocks(start, length)) == plain[start : start + length]
    reader.seek(min(start, len(plain)))
    assert io.BufferedReader(reader).read(length) == plain[start : start + length]


def test_every_flipped_byte_is_found():
    content = sealed(secrets.token_bytes(2 * CHUNK + 5))
    for index in range(len(content)):
        damaged = bytearray(content)
        damaged[index] ^= 1
        with pytest.raises(VerificationFailed):
            opened(bytes(damaged))


def test_every_truncation_and_extension_is_found_on_opening():
    content = sealed(secrets.token_bytes(3 * CHUNK))
    for length in range(len(content)):
        with pytest.raises(VerificationFailed):
            DecryptingReader(Held(content[:length]), data_key=KEY, name="a")
    for extra in (b"\0", secrets.token_bytes(16), secrets.token_bytes(CHUNK + 16), content[-(CHUNK + 16) :]):
        with pytest.raises(VerificationFailed):
            DecryptingReader(Held(content + extra), data_key=KEY, name="a")


def test_dropped_swapped_and_repeated_chunks_are_found():
    content = sealed(secrets.token_bytes(4 * CHUNK))
    head, step = content[: envelope.HEADER], CHUNK + 16
    chunks = [content[envelope.HEADER + n * step :][:step] for n in range(4)]
    for order in ([1, 0, 2, 3], [0, 2, 3], [0, 1, 1, 2, 3], [3, 1, 2, 0], [0, 0, 0, 3]):
        with pytest.raises(VerificationFailed):
            opened(head + b"".join(chunks[n] for n in order))


def test_chunks_of_another_artifact_another_name_and_another_key_are_found():
    one, other = sealed(b"x" * 100, "a"), sealed(b"y" * 100, "a")
    with pytest.raises(VerificationFailed):
        opened(one[: envelope.HEADER] + other[envelope.HEADER :])
    with pytest.raises(VerificationFailed):
        opened(one, name="b")
    with pytest.raises(VerificationFailed):
        opened(one, key=new_data_key())


def test_a_range_reads_only_what_it_needs():
    held = Held(sealed(secrets.token_bytes(100 * CHUNK)))
    reader = DecryptingReader(held, data_key=KEY, name="a")
    held.fetched.clear()
    assert len(b"".join(reader.blocks(10 * CHUNK + 3, 5))) == 5
    assert len(held.fetched) == 1


def test_equal_plaintexts_are_sealed_differently():
    assert sealed(b"same") != sealed(b"same")


def test_seek():
    reader = DecryptingReader(Held(sealed(b"0123456789")), data_key=KEY, name="a")
    assert reader.seek(-3, io.SEEK_END) == 7
    assert reader.read() == b"789"
    assert reader.seek(0) == 0
    assert reader.seek(2, io.SEEK_CUR) == 2
    assert (reader.tell(), reader.readable(), reader.seekable(), reader.writable()) == (2, True, True, False)
    with pytest.raises(ValueError, match="before the start"):
        reader.seek(-1)
    reader.seek(100)
    assert reader.read() == b""
