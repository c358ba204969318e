"""Public vectors (Project Wycheproof) against the door and the key parser.

Applicable are all vectors whose key is Ed25519 or P-256 for signing: each is accepted or refused as marked. Every vector
that is marked invalid must be refused, whatever its algorithm. Not applicable are the valid vectors of what is not offered
here; those are refused too, and the reasons are listed and counted below.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import jwt
import pytest

from gateway.access.jws import Profile
from gateway.access.public_keys import load_public_key, public_key_of, thumbprint
from gateway.errors import InvalidRequest, NotAuthenticated

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "vectors" / "wycheproof"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="the folder of public vectors does not stand beside this checkout"),
]

# As the vectors name their key: any `kid`, no `typ`. The shape, spelling, size and signature rules are those of every purpose.
VECTORS = Profile(purpose="vectors", types=frozenset({"JWT"}), needs_type=False, key="optional-kid", max_bytes=16_384)
LEFT_OUT = {
    367: "byte-identical to the valid 357, yet labelled invalid",
    370: "byte-identical to the valid 357, yet labelled invalid",
    372: "holds `?`, which is outside the base64url alphabet, yet labelled valid",
    373: "holds `?`, which is outside the base64url alphabet, yet labelled valid",
}


def groups(name):
    return json.loads((FOLDER / name).read_text())["testGroups"]


def accepts(jwk, raw):
    """Whether our door opens a message with a key; both as raw as they come."""
    try:
        key = public_key_of({name: value for name, value in jwk.items() if name != "d"})
        message = VECTORS.take_apart(raw if isinstance(raw, str) else json.dumps(raw))
        VECTORS_OPEN(message, key)
    except (InvalidRequest, NotAuthenticated):
        return False
    return True


def VECTORS_OPEN(message, key):  # noqa: N802 - reads as the method whose place it takes
    """`Profile.open` up to the claims: the vectors sign plain text, not claims."""
    try:
        VECTORS.open(message, key)
    except NotAuthenticated as error:
        if "reason: payload-not-json" not in error.__notes__:
            raise


def is_ours(jwk):
    return (jwk.get("kty"), jwk.get("crv")) in {("EC", "P-256"), ("OKP", "Ed25519")}


def outcome(file, *, leave_out=()):
    counts, wrong = Counter(), []
    for group in groups(file):
        document = group.get("public") or group["private"]
        keys = document.get("keys", [document])
        jwk = keys[0] if len(keys) == 1 else document
        for test in group["tests"]:
            if test["tcId"] in leave_out:
                counts["left out"] += 1
                continue
            accepted, valid = accepts(jwk, test.get("jws", test.get("jwe"))), test["result"] == "valid"
            applicable = (is_ours(jwk) and "jws" in test) or not valid
            counts["accepted" if accepted else "refused" if applicable else f"not applicable: {reason(jwk, group)}"] += 1
            if applicable and accepted != valid:
                wrong.append((test["tcId"], test["comment"]))
            if not applicable and accepted:
                wrong.append((test["tcId"], "accepted although not offered"))
    return counts, wrong


def reason(jwk, group):
    if "keys" in jwk:
        return "a set of keys where one key is registered"
    if "jwe" in group["tests"][0]:
        return "encryption (JWE) is not offered"
    return {"oct": "HMAC is not offered", "RSA": "RSA is not offered", "EC": "P-521 is not offered"}[jwk["kty"]]


def test_json_web_signatures():
    counts, wrong = outcome("json_web_signature_test.json", leave_out=LEFT_OUT)
    print(dict(counts))
    assert wrong == []
    assert counts == {
        "accepted": 2,
        "refused": 353,
        "left out": 4,
        "not applicable: RSA is not offered": 32,
        "not applicable: HMAC is not offered": 8,
        "not applicable: P-521 is not offered": 2,
    }


def test_json_web_crypto():
    counts, wrong = outcome("json_web_crypto_test.json")
    print(dict(counts))
    assert wrong == []
    assert counts == {
        "accepted": 1,
        "refused": 77,
        "not applicable: HMAC is not offered": 1,
        "not applicable: RSA is not offered": 1,
        "not applicable: a set of keys where one key is registered": 1,
        "not applicable: encryption (JWE) is not offered": 2,
    }


def test_json_web_keys():
    counts, wrong = outcome("json_web_key_test.json")
    print(dict(counts))
    assert wrong == []
    assert counts == {
        "refused": 21,
        "not applicable: HMAC is not offered": 3,
        "not applicable: RSA is not offered": 1,
        "not applicable: a set of keys where one key is registered": 1,
    }


def test_keys_that_are_marked_invalid_are_refused_as_keys_too():
    bad = {"wrong_algorithm", "invalid_algorithm", "invalid_use", "invalid_point", "wrong_curve", "wrong_kty"}
    refused = 0
    for group in groups("json_web_key_test.json"):
        if group["comment"] in bad:
            document = {name: value for name, value in (group.get("public") or group["private"]).items() if name != "d"}
            with pytest.raises(InvalidRequest):
                public_key_of(document)
            refused += 1
    assert refused == len(bad)


def test_ed25519_signatures():
    counts = Counter()
    algorithm = jwt.get_algorithm_by_name("EdDSA")
    for group in groups("ed25519_test.json"):
        key = load_public_key(group["publicKeyJwk"])
        assert load_public_key(group["publicKeyPem"]) == key
        assert thumbprint(group["publicKeyJwk"]) == key.thumbprint
        for test in group["tests"]:
            holds = algorithm.verify(bytes.fromhex(test["msg"]), key.crypto_key(), bytes.fromhex(test["sig"]))
            assert holds == (test["result"] == "valid"), test
            counts[test["result"]] += 1
    print(dict(counts))
    assert sum(counts.values()) == 151
