"""The `.tlog-proof` of an event, and its offline verification."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime

import pytest

from gateway.audit import Checkpoint, tlog_proof, verify_tlog_proof
from gateway.audit.merkle import leaf_hash
from gateway.audit.proof import format_tlog_proof
from gateway.errors import NotFound, VerificationFailed

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def proof_of(world, identifier: str, **given: bool) -> str:
    with world.database.read() as work:
        text = tlog_proof(work, identifier, **given)
    assert text is not None
    return text


def test_a_proof_verifies_offline(world):
    identifiers = world.grow(5, 4)
    for number, identifier in enumerate(identifiers):
        text = proof_of(world, identifier)
        leaf = verify_tlog_proof(text, keys=world.keys)
        assert (leaf.index, leaf.document["id"]) == (number, identifier)
        assert leaf.checkpoint.size == (5 if number < 5 else 9)
        assert text.startswith("c2sp.org/tlog-proof@v1\nextra ")


def test_a_proof_never_changes(world):
    (identifier, *_) = world.grow(3)
    before = proof_of(world, identifier)
    world.append(5, start=3)
    world.sequencer.run_once(NOW)
    assert proof_of(world, identifier) == before


def test_a_proof_without_its_payload_needs_it(world):
    (identifier, *_) = world.grow(3)
    text = proof_of(world, identifier, with_payload=False)
    payload = verify_tlog_proof(proof_of(world, identifier), keys=world.keys).payload
    assert verify_tlog_proof(text, keys=world.keys, payload=payload).index == 0
    with pytest.raises(VerificationFailed, match="does not say which"):
        verify_tlog_proof(text, keys=world.keys)
    with pytest.raises(VerificationFailed, match="not where"):
        verify_tlog_proof(text, keys=world.keys, payload=payload + " ")
    with pytest.raises(VerificationFailed, match="another event"):
        verify_tlog_proof(proof_of(world, identifier), keys=world.keys, payload=payload + " ")


def test_no_proof_before_inclusion(world):
    (identifier,) = world.append(1)
    with world.database.read() as work:
        assert tlog_proof(work, identifier) is None
        with pytest.raises(NotFound):
            tlog_proof(work, "unknown")


def test_any_changed_line_fails(world):
    identifiers = world.grow(7)
    text = proof_of(world, identifiers[3])
    lines = text.split("\n")
    for number, line in enumerate(lines):
        for changed in (line + "x", line[:-1], "0" + line):
            broken = "\n".join([*lines[:number], changed, *lines[number + 1 :]])
            if changed != line:
                with pytest.raises(VerificationFailed):
                    verify_tlog_proof(broken, keys=world.keys)


@pytest.mark.parametrize(
    "head",
    [
        "",
        "c2sp.org/tlog-proof@v2\nindex 0",
        "c2sp.org/tlog-proof@v1",
        "c2sp.org/tlog-proof@v1\nextra AA==",
        "c2sp.org/tlog-proof@v1\nextra !\nindex 0",
        "c2sp.org/tlog-proof@v1\nextra " + b64encode(b"\xff").decode() + "\nindex 0",
        "c2sp.org/tlog-proof@v1\nindex 00",
        "c2sp.org/tlog-proof@v1\nindex -1",
        "c2sp.org/tlog-proof@v1\nindex 0\nAA==",
        "c2sp.org/tlog-proof@v1\nindex 0\n!",
        "c2sp.org/tlog-proof@v1\nindex 0\n" + "\n".join([b64encode(bytes(32)).decode()] * 64),
    ],
)
def test_what_is_no_proof(head: str, signer):
    note = signer.sign(Checkpoint("gate.example/log", 1, leaf_hash(b"x")).to_text())
    with pytest.raises(VerificationFailed):
        verify_tlog_proof(head + "\n\n" + note, keys=[signer.verifier], payload="x")


def test_a_proof_of_a_one_leaf_log(signer):
    note = signer.sign(Checkpoint("gate.example/log", 1, leaf_hash(b"{}")).to_text())
    text = format_tlog_proof(index=0, proof=[], note=note)
    assert text == "c2sp.org/tlog-proof@v1\nindex 0\n\n" + note
    assert verify_tlog_proof(text, keys=[signer.verifier], payload="{}").document == {}
    with pytest.raises(VerificationFailed, match="not a log proof"):
        verify_tlog_proof(text + "x" * (1 << 20), keys=[signer.verifier], payload="{}")
