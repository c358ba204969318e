"""Public and private keys, and what is not one."""

from __future__ import annotations

import json
import stat

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from gateway.access import generate_keypair, load_private_key, load_public_key, thumbprint, write_keypair
from gateway.access.private_keys import private_key_of_pem
from gateway.access.public_keys import FIELD, SMALL_ORDER_Y, encode_segment, public_key_of
from gateway.errors import Conflict, InvalidRequest

RFC8037 = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
RFC7515_EC = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}


def pem_of(key):
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(encoding, form)


def private_pem_of(key, password=None):
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def test_thumbprint_of_rfc_8037():
    assert thumbprint(RFC8037) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert load_public_key(RFC8037).algorithm == "EdDSA"


def test_the_algorithm_follows_from_the_key():
    key = load_public_key(json.dumps({**RFC7515_EC, "alg": "ES256", "use": "sig", "key_ops": ["verify"], "kid": "mine"}))
    assert key.algorithm == "ES256"
    assert dict(key.jwk) == RFC7515_EC, "nothing but the required members is kept"
    assert len(key.raw_bytes()) == 64


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256"])
def test_pem_and_jwk_are_the_same_key(algorithm):
    key = generate_keypair(algorithm).public
    assert load_public_key(key.pem()) == load_public_key(key.pem().encode()) == load_public_key(key.jwk) == key


@pytest.mark.parametrize(
    "patch",
    [
        {"kty": "RSA"},
        {"kty": ["OKP"]},
        {"crv": "Ed448"},
        {"crv": "X25519"},
        {"x": None},
        {"x": "short"},
        {"x": RFC8037["x"] + "A"},
        {"x": RFC8037["x"][:-1] + "p"},  # another spelling of the same bytes
        {"x": "+" + RFC8037["x"][1:]},
        {"d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"},
        {"k": "AAAA"},
        {"alg": "ES256"},
        {"use": "enc"},
        {"key_ops": ["sign", "verify"]},
        {"kid": 5},
        {"x5u": "https://attacker.example"},
        {"y": RFC8037["x"]},
    ],
)
def test_what_is_no_public_signing_key_is_refused(patch):
    with pytest.raises(InvalidRequest):
        public_key_of({**RFC8037, **patch})


def test_a_point_off_the_curve_is_refused():
    with pytest.raises(InvalidRequest):
        public_key_of({**RFC7515_EC, "y": RFC7515_EC["x"]})
    for number in range(2, 40):
        jwk = {**RFC8037, "x": encode_segment(number.to_bytes(32, "little"))}
        squared = (number**2 - 1) * pow(-121665 * pow(121666, FIELD - 2, FIELD) * number**2 + 1, FIELD - 2, FIELD) % FIELD
        if pow(squared, (FIELD - 1) // 2, FIELD) == 1:
            assert public_key_of(jwk)
        else:
            with pytest.raises(InvalidRequest):
                public_key_of(jwk)


@pytest.mark.parametrize("sign", [0, 1 << 255])
@pytest.mark.parametrize("y", sorted(SMALL_ORDER_Y | {FIELD, FIELD + 1, 2**255 - 1}))
def test_points_of_small_order_and_second_spellings_are_refused(y, sign):
    with pytest.raises(InvalidRequest):
        public_key_of({**RFC8037, "x": encode_segment((y | sign).to_bytes(32, "little"))})


@pytest.mark.parametrize(
    "material",
    [
        "",
        "ssh-ed25519 AAAA",
        "{",
        '{"kty":"OKP","kty":"OKP"}',
        "x" * 5000,
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        pem_of(ed448.Ed448PrivateKey.generate()),
        pem_of(ec.generate_private_key(ec.SECP384R1())),
        pem_of(ec.generate_private_key(ec.SECP256K1())),
        pem_of(rsa.generate_private_key(65537, 2048)),
        private_pem_of(ed25519.Ed25519PrivateKey.generate()),
    ],
)
def test_other_material_is_refused(material):
    with pytest.raises(InvalidRequest):
        load_public_key(material)


def test_a_key_pair_is_written_for_its_owner_alone(tmp_path):
    key = write_keypair(tmp_path / "keys" / "ana.pem")
    private, public = tmp_path / "keys" / "ana.pem", tmp_path / "keys" / "ana.pub.pem"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert load_private_key(private).thumbprint == key.thumbprint == load_public_key(public.read_text()).thumbprint
    assert "PRIVATE" not in repr(key)
    assert repr(key) == f"PrivateKey({key.thumbprint})"
    with pytest.raises(Conflict):
        write_keypair(private)
    private.unlink()
    with pytest.raises(Conflict):
        write_keypair(private)


def test_a_key_file_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "ana.pem"
    write_keypair(path, generate_keypair("ES256"))
    assert load_private_key(path).algorithm == "ES256"
    path.chmod(0o640)
    with pytest.raises(InvalidRequest, match="others") as refused:
        load_private_key(path)
    assert refused.value.unlock == (f"chmod 600 {path}",)
    with pytest.raises(InvalidRequest):
        load_private_key(tmp_path / "missing.pem")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not a key",
        private_pem_of(ed25519.Ed25519PrivateKey.generate(), b"password"),
        private_pem_of(rsa.generate_private_key(65537, 2048)),
        private_pem_of(ec.generate_private_key(ec.SECP384R1())),
    ],
)
def test_other_private_material_is_refused(raw):
    with pytest.raises(InvalidRequest):
        private_key_of_pem(raw)


def test_a_thumbprint_never_looks_like_an_option(monkeypatch):
    from gateway.access import private_keys

    made, names = [], iter(["-looks-like-an-option", "fine"])

    class Named(private_keys.PrivateKey):
        @property
        def thumbprint(self):
            made.append(next(names))
            return made[-1]

    monkeypatch.setattr(private_keys, "PrivateKey", Named)
    assert generate_keypair()
    assert made == ["-looks-like-an-option", "fine"]
