"""The battery: for every purpose more than eighty hostile messages, none of which may pass.

Most are signed with the right key, because what is being tested is what a signature does not say. Every purpose's own good
message is accepted first, so that nothing is refused for a wrong reason alone. As a control, `jwt.decode` with a pinned
algorithm and audience is shown the same messages: it accepts a number of them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import jwt
import pytest

from gateway.access import generate_keypair, reason_of
from gateway.access.refusal import WORDS
from gateway.errors import InvalidRequest, NotAuthenticated, PayloadTooLarge, TokenRefused

PURPOSES = ("request", "assertion", "access", "release", "proof")
REGISTERED = ("request", "assertion", "access", "release")
L = 2**252 + 27742317777372353535851937790883648493


def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def split(f):
    return f.token().split(b".")


def respell(part):
    """Another spelling of the same bytes: the spare bits of the last character set."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return part[:-1] + bytes([alphabet[alphabet.index(part[-1]) | 1]]) if len(part) % 4 else part + b"="


def hmac_signed(f, secret):
    signing_input = b".".join((b64(f.bytes_of({**f.header, "alg": "HS256"})), split(f)[1]))
    return signing_input + b"." + b64(hmac.new(secret, signing_input, hashlib.sha256).digest())


def flattened(f):
    head, body, signature = (part.decode() for part in split(f))
    return f.bytes_of({"protected": head, "payload": body, "signature": signature})


def general(f):
    head, body, signature = (part.decode() for part in split(f))
    return f.bytes_of({"payload": body, "signatures": [{"protected": head, "signature": signature}]})


def malleated(f):
    """S + L: the same signature to a verifier that does not reduce."""
    head, body, _ = split(f)
    signature = f.key.sign_bytes(head + b"." + body)
    s = int.from_bytes(signature[32:], "little") + L
    return head + b"." + body + b"." + b64(signature[:32] + s.to_bytes(32, "little"))


def header_text(f, text):
    return f.token(header=text if isinstance(text, bytes) else text.encode())


def claims_text(f, text):
    return f.token(claims=text if isinstance(text, bytes) else text.encode())


def doubled(document, name, value):
    """JSON in which one member stands twice, the good one last (what most parsers would take)."""
    return json.dumps({name: value})[:-1] + "," + json.dumps(document)[1:]


def in_header(name, value):
    return lambda f: f.token(header={name: value})


def in_claims(name, value):
    return lambda f: f.token(claims={name: value})


def without(name):
    return lambda f: f.token(drop=(name,))


SHAPE = {
    "empty": lambda _: b"",
    "only dots": lambda _: b"..",
    "one part": lambda f: split(f)[0],
    "two parts": lambda f: b".".join(split(f)[:2]),
    "no signature": lambda f: b".".join(split(f)[:2]) + b".",
    "no header": lambda f: b"." + b".".join(split(f)[1:]),
    "no payload": lambda f: b"..".join((split(f)[0], split(f)[2])),
    "four parts": lambda f: f.token() + b".AAAA",
    "five parts, as encrypted": lambda f: f.token() + b".AAAA.AAAA",
    "leading space": lambda f: b" " + f.token(),
    "trailing newline": lambda f: f.token() + b"\n",
    "trailing carriage return and newline": lambda f: f.token() + b"\r\n",
    "space inside": lambda f: f.token().replace(b".", b" .", 1),
    "padding": lambda f: f.token() + b"=",
    "double padding": lambda f: f.token() + b"==",
    "padded header": lambda f: f.token().replace(b".", b"=.", 1),
    "standard alphabet": lambda f: b".".join(split(f)[:2]) + b"." + b"+" + split(f)[2][1:],
    "slash": lambda f: b".".join(split(f)[:2]) + b"." + b"/" + split(f)[2][1:],
    "not ASCII": lambda f: f.token() + "é".encode(),
    "NUL": lambda f: f.token() + b"\x00",
    "byte order mark": lambda f: b"\xef\xbb\xbf" + f.token(),
    "UTF-16": lambda f: f.token().decode().encode("utf-16"),
    "flattened JSON": flattened,
    "general JSON": general,
    "with its scheme": lambda f: b"Bearer " + f.token(),
    "in quotes": lambda f: b'"' + f.token() + b'"',
    "twice": lambda f: f.token() + b"," + f.token(),
    "100 kB": lambda f: f.token(claims={"fill": "x" * 100_000}),
    "long header": lambda f: f.token(header={"fill": "x" * 3000}),
    "respelled header": lambda f: b".".join((respell(split(f)[0]), *split(f)[1:])),
    "respelled payload": lambda f: b".".join((split(f)[0], respell(split(f)[1]), split(f)[2])),
    "respelled signature": lambda f: b".".join((*split(f)[:2], respell(split(f)[2]))),
}

SIGNATURE = {
    "of a stranger": lambda f: f.token(key=f.stranger),
    "of a neighbour": lambda f: f.token(key=f.neighbour),
    "of zeros": lambda f: f.token(signature=bytes(64)),
    "of ones": lambda f: f.token(signature=b"\xff" * 64),
    "cut": lambda f: f.token()[:-2],
    "lengthened": lambda f: f.token() + b"AA",
    "empty but present": lambda f: f.token(signature=b""),
    "text": lambda f: f.token(signature=b"trust me"),
    "of other claims": lambda f: b".".join((*split(f)[:2], f.token(claims={"more": 1}).split(b".")[2])),
    "payload changed after": lambda f: b".".join((split(f)[0], b64(f.bytes_of({**f.claims, "x": 1})), split(f)[2])),
    "header changed after": lambda f: b".".join((b64(f.bytes_of({**f.header, "x": 1})), *split(f)[1:])),
    "S + L": malleated,
    "small-order R": lambda f: f.token(signature=b"\x01" + bytes(31) + bytes(32)),
    "of another message": lambda f: f.token(signature=f.key.sign_bytes(b"x")),
    "none, empty signature": lambda f: b64(f.bytes_of({**f.header, "alg": "none"})) + b"." + split(f)[1] + b".",
    "none, with the signature": lambda f: f.token(header={"alg": "none"}),
    "HS256 under the public PEM": lambda f: hmac_signed(f, f.key.public.pem().encode()),
    "HS256 under the public bytes": lambda f: hmac_signed(f, f.key.public.raw_bytes()),
    "HS256 under the JWK": lambda f: hmac_signed(f, json.dumps(dict(f.key.public.jwk)).encode()),
    "HS256 under nothing": lambda f: hmac_signed(f, b""),
}

HEADER = {
    **{f"alg {value!r}": in_header("alg", value) for value in (
        "", "None", "NONE", "nOnE", "HS256", "RS256", "PS256", "ES384", "ES512", "ES256K", "Ed448", "eddsa", " EdDSA", "EdDSA ", "EdDSA\u0000",
        1, True, None, ["EdDSA"], {"EdDSA": 1},
    )},
    "alg of the other kind of key": lambda f: f.token(header={"alg": "ES256"}),
    "no alg": lambda f: f.token(drop_header=("alg",)),
    "jku": lambda f: f.token(header={"jku": "https://attacker.example/jwks.json"}),
    "x5u": lambda f: f.token(header={"x5u": "https://attacker.example/cert.pem"}),
    "x5c": lambda f: f.token(header={"x5c": ["MIIB"]}),
    "x5t": lambda f: f.token(header={"x5t": "AAAA"}),
    "crit": lambda f: f.token(header={"crit": ["exp"]}),
    "empty crit": lambda f: f.token(header={"crit": []}),
    "b64 false": lambda f: f.token(header={"b64": False, "crit": ["b64"]}),
    "b64 true": lambda f: f.token(header={"b64": True}),
    "zip": lambda f: f.token(header={"zip": "DEF"}),
    "cty": lambda f: f.token(header={"cty": "JWT"}),
    "enc": lambda f: f.token(header={"enc": "A256GCM"}),
    "epk": lambda f: f.token(header={"epk": {}}),
    "p2c": lambda f: f.token(header={"p2c": 2**31}),
    "claims in the header": lambda f: f.token(header={"iss": "ana"}),
    "an unknown member": lambda f: f.token(header={"x": 1}),
    "a member without a name": lambda f: f.token(header={"": 1}),
    **{f"typ {value!r}": in_header("typ", value) for value in (
        "", "jwt", "JOSE", "application/jwt", "secevent+jwt", None, 1, ["JWT"],
    )},
    "typ in capitals": lambda f: f.token(header={"typ": f.header["typ"].upper() + "+"}),
    "typ with its prefix": lambda f: f.token(header={"typ": "application/" + f.header["typ"]}),
    "alg twice": lambda f: header_text(f, doubled(f.header, "alg", "none")),
    "typ twice": lambda f: header_text(f, doubled(f.header, "typ", "JOSE")),
    "an array": lambda f: header_text(f, "[]"),
    "a string": lambda f: header_text(f, '"EdDSA"'),
    "a number": lambda f: header_text(f, "1"),
    "null": lambda f: header_text(f, "null"),
    "an empty object": lambda f: header_text(f, "{}"),
    "not JSON": lambda f: header_text(f, "{alg: EdDSA}"),
    "JSON and more": lambda f: header_text(f, json.dumps(f.header) + "{}"),
    "JSON after a mark": lambda f: header_text(f, b"\xef\xbb\xbf" + f.bytes_of(f.header)),
    "UTF-16 inside": lambda f: header_text(f, json.dumps(f.header).encode("utf-16")),
    "UTF-8 broken": lambda f: header_text(f, f.bytes_of(f.header)[:-1] + b',"x":"\xff"}'),
    "deeply nested": lambda f: header_text(f, json.dumps(f.header)[:-1] + ',"x":' + "[" * 400 + "]" * 400 + "}"),
}  # fmt: skip

KEY_NAMES = {
    **{f"kid {value!r}": in_header("kid", value) for value in (
        "", "unknown", "../../etc/passwd", "' OR 1=1 --", "https://attacker.example/key", "/dev/null", "A" * 43, None, 0, ["a"], {"a": 1}, "ana",
    )},
    "kid of a neighbour": lambda f: f.token(header={"kid": f.neighbour.thumbprint}),
    "kid of a neighbour, who signed": lambda f: f.token(header={"kid": f.neighbour.thumbprint}, key=f.neighbour),
    "kid of a stranger, who signed": lambda f: f.token(header={"kid": f.stranger.thumbprint}, key=f.stranger),
    "kid twice": lambda f: header_text(f, doubled(f.header, "kid", "attacker")),
    "jwk beside kid": lambda f: f.token(header={"jwk": dict(f.stranger.public.jwk)}, key=f.stranger),
    "jwk of the right key beside kid": lambda f: f.token(header={"jwk": dict(f.key.public.jwk)}),
}  # fmt: skip

CLAIMS = {
    "no iss": lambda f: f.token(drop=("iss",)),
    **{f"iss {value!r}": in_claims("iss", value) for value in (
        "", "bob", "ANA", "ana ", "\u0430na", 1, None, ["ana"], {"ana": 1}, "a" * 5000, "ana\u0000", True,
    )},
    "no aud": lambda f: f.token(drop=("aud",)),
    **{f"aud {value!r}": in_claims("aud", value) for value in (
        "", "https://other.example", "https://gate.example/", "HTTPS://gate.example", "https://gate.example.evil.example", "gate.example", 1, None, [],
        ["https://gate.example"], ["https://gate.example", "https://other.example"], {"https://gate.example": 1},
    )},
    "no exp": lambda f: f.token(drop=("exp",)),
    "exp past": lambda f: f.token(claims={"iat": f.at(-200), "exp": f.at(-1)}),
    "exp long past": lambda f: f.token(claims={"iat": f.at(-90_000), "exp": f.at(-86_400)}),
    "exp now": lambda f: f.token(claims={"iat": f.at(-10), "exp": f.at(0)}),
    "exp before iat": lambda f: f.token(claims={"iat": f.at(50), "exp": f.at(40)}),
    "exp equal to iat": lambda f: f.token(claims={"iat": f.at(50), "exp": f.at(50)}),
    "exp as text": lambda f: f.token(claims={"exp": str(f.at(100))}),
    "exp with a fraction": lambda f: f.token(claims={"exp": f.at(100) + 0.5}),
    "exp as 1e10": lambda f: claims_text(f, json.dumps({**f.claims, "exp": 0}).replace('"exp": 0', '"exp": 1e10')),
    "exp ten years": lambda f: f.token(claims={"exp": f.at(315_360_000)}),
    "exp for ever": lambda f: f.token(claims={"exp": 2**63}),
    "exp beyond all digits": lambda f: claims_text(f, json.dumps({**f.claims, "exp": 0}).replace('"exp": 0', '"exp": ' + "9" * 5000)),
    "exp infinite": lambda f: f.token(claims={"exp": float("inf")}),
    "exp not a number": lambda f: f.token(claims={"exp": float("nan")}),
    **{f"exp {value!r}": in_claims("exp", value) for value in (None, True, -1, 0, [1], {})},
    "no iat": lambda f: f.token(drop=("iat",), claims={"exp": f.at(100_000)}),
    "iat in the future": lambda f: f.token(claims={"iat": f.at(62), "exp": f.at(200)}),
    "iat as text": lambda f: f.token(claims={"iat": str(f.at(0))}),
    "iat with a fraction": lambda f: f.token(claims={"iat": f.at(0) - 0.5}),
    "iat long ago": lambda f: f.token(claims={"iat": f.at(-86_400)}),
    **{f"iat {value!r}": in_claims("iat", value) for value in (None, True, -1, [1], 2**70)},
    "nbf in the future": lambda f: f.token(claims={"nbf": f.at(100)}),
    "nbf as text": lambda f: f.token(claims={"nbf": "now"}),
    "no jti": lambda f: f.token(drop=("jti",)),
    **{f"jti {value!r}": in_claims("jti", value) for value in (
        "", "short", "x" * 15, "x" * 65, "x" * 16 + "\n", "with a space in it", "ünïcödé-ünïcödé-ü", 12345678901234567890, None, ["x" * 20], {"x": 1},
    )},
    "iss twice": lambda f: claims_text(f, doubled(f.claims, "iss", "bob")),
    "aud twice": lambda f: claims_text(f, doubled(f.claims, "aud", "https://other.example")),
    "exp twice": lambda f: claims_text(f, doubled(f.claims, "exp", 1)),
    "an array of claims": lambda f: claims_text(f, json.dumps([f.claims])),
    "claims in a string": lambda f: claims_text(f, json.dumps(json.dumps(f.claims))),
    "claims null": lambda f: claims_text(f, "null"),
    "claims not JSON": lambda f: claims_text(f, "ana"),
    "claims and more": lambda f: claims_text(f, json.dumps(f.claims) + " {}"),
    "claims after a mark": lambda f: claims_text(f, b"\xef\xbb\xbf" + f.bytes_of(f.claims)),
    "claims broken UTF-8": lambda f: claims_text(f, f.bytes_of(f.claims)[:-1] + b',"x":"\xff"}'),
    "claims with half a character": lambda f: claims_text(f, json.dumps(f.claims)[:-1] + ',"x":"\\ud800"}'),
    "claims deeply nested": lambda f: claims_text(f, json.dumps(f.claims)[:-1] + ',"x":' + "[" * 3000 + "]" * 3000 + "}"),
    "claims with a long number": lambda f: claims_text(f, json.dumps(f.claims)[:-1] + ',"x":' + "9" * 5000 + "}"),
    "a nested token": lambda f: claims_text(f, f.token()),
    "an unknown claim": lambda f: f.token(claims={"admin": True}),
}  # fmt: skip

PROOF = {
    "typ of others": lambda f: f.token(header={"typ": "JWT"}),
    "kid beside jwk": lambda f: f.token(header={"kid": f.key.thumbprint}),
    "no jwk": lambda f: f.token(drop_header=("jwk",)),
    "kid for jwk": lambda f: f.token(drop_header=("jwk",), header={"kid": f.key.thumbprint}),
    **{f"jwk {value!r}": in_header("jwk", value) for value in (
        None, "x", 1, [], {}, {"kty": "oct", "k": "AAAA"}, {"kty": "RSA", "n": "AQAB", "e": "AQAB"}, {"kty": "OKP", "crv": "Ed25519"},
        {"kty": "OKP", "crv": "Ed448", "x": "A" * 76}, {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}, {"kty": "OKP", "crv": "Ed25519", "x": 5},
        {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43}, {"kty": ["OKP"], "crv": "Ed25519", "x": "A" * 43},
    )},
    "jwk with the private part": lambda f: f.token(header={"jwk": {**f.key.public.jwk, "d": "A" * 43}}),
    "jwk with more": lambda f: f.token(header={"jwk": {**f.key.public.jwk, "x5u": "https://attacker.example"}}),
    "jwk for encryption": lambda f: f.token(header={"jwk": {**f.key.public.jwk, "use": "enc"}}),
    "jwk of another algorithm": lambda f: f.token(header={"jwk": {**f.key.public.jwk, "alg": "ES256"}}),
    "key of a stranger who does not sign": lambda f: f.token(header={"jwk": dict(f.stranger.public.jwk)}),
    **{f"no {name}": without(name) for name in ("jti", "htm", "htu", "iat", "ath")},
    **{f"htm {value!r}": in_claims("htm", value) for value in ("POST", "get", "", "GET ", None, ["GET"], 1)},
    **{f"htu {value!r}": in_claims("htu", value) for value in (
        "", "/v1/releases/r-1/artifacts/data.csv", "https://other.example/v1/releases/r-1/artifacts/data.csv", "http://gate.example/v1/releases/r-1/artifacts/data.csv",
        "https://gate.example/v1/releases/r-2/artifacts/data.csv", "https://gate.example:444/v1/releases/r-1/artifacts/data.csv", "https://gate.example:99999/",
        "https://u:p@gate.example/v1/releases/r-1/artifacts/data.csv", "https://gate.example/v1/releases/r-1/artifacts/data.csv/", "https://[", None, 1, ["x"],
        "https://gate.example/V1/releases/r-1/artifacts/data.csv", "ftp://gate.example/v1/releases/r-1/artifacts/data.csv",
    )},
    **{f"ath {value!r}": in_claims("ath", value) for value in ("", "A" * 43, None, 1, "ü" * 43)},
    "iat old": lambda f: f.token(claims={"iat": f.at(-62)}),
    "iat ahead": lambda f: f.token(claims={"iat": f.at(62)}),
    "iat as text": lambda f: f.token(claims={"iat": str(f.at(0))}),
    "iat with a fraction": lambda f: f.token(claims={"iat": f.at(0) + 0.25}),
    **{f"jti {value!r}": in_claims("jti", value) for value in ("", "short", "x" * 65, 1, None, ["x" * 20])},
    "an unknown claim": lambda f: f.token(claims={"nonce": "x"}),
    "claims twice": lambda f: claims_text(f, doubled(f.claims, "htm", "POST")),
    "claims null": lambda f: claims_text(f, "null"),
}  # fmt: skip

OTHERS_TYPES = {
    f"typ {value}": in_header("typ", value)
    for value in ("release-request+jwt", "at+jwt", "release+jwt", "dpop+jwt", "entity-statement+jwt")
}

# Harmless in one purpose and therefore not hostile there.
NOT_HOSTILE = {
    ("request", "typ release-request+jwt"),
    ("access", "typ at+jwt"),
    ("release", "typ release+jwt"),
    ("proof", "typ dpop+jwt"),
}


def battery(purpose):
    table = {**{f"shape: {k}": v for k, v in SHAPE.items()}, **{f"signature: {k}": v for k, v in SIGNATURE.items()}}
    table |= {f"header: {k}": v for k, v in HEADER.items()}
    table |= {f"type: {k}": v for k, v in OTHERS_TYPES.items() if (purpose, k) not in NOT_HOSTILE}
    if purpose == "proof":
        return table | {f"proof: {k}": v for k, v in PROOF.items()}
    table |= {f"key: {k}": v for k, v in KEY_NAMES.items()}
    return table | {f"claims: {k}": v for k, v in CLAIMS.items()}


@pytest.mark.parametrize("purpose", PURPOSES)
def test_every_purpose_has_more_than_eighty_hostile_messages(purpose):
    assert len(battery(purpose)) > 80


@pytest.mark.parametrize("purpose", PURPOSES)
def test_the_good_message_is_accepted(forge, purpose):
    f = forge(purpose)
    assert f.open(f.token())


@pytest.mark.parametrize("purpose", ["request", "assertion", "proof"])
def test_the_good_message_of_a_p256_key_is_accepted(forge, purpose):
    f = forge(purpose, "ES256")
    assert f.open(f.token())


# Well signed requests that only name a member that does not exist: 422 with its name, not 401.
UNPROCESSABLE = {("request", "claims: an unknown claim")}


def refused(f, make):
    """The error that a message meets; None when it passes."""
    try:
        f.open(make(f))
    except (NotAuthenticated, PayloadTooLarge, InvalidRequest) as error:
        return error
    return None


@pytest.mark.parametrize("purpose", PURPOSES)
def test_no_hostile_message_passes(forge, purpose):
    f = forge(purpose)
    errors = {name: refused(f, make) for name, make in battery(purpose).items()}
    assert [name for name, error in errors.items() if error is None] == []
    assert {name for name, error in errors.items() if isinstance(error, InvalidRequest)} == {
        name for whose, name in UNPROCESSABLE if whose == purpose
    }
    silent = {name: error for name, error in errors.items() if isinstance(error, NotAuthenticated)}
    assert {(str(e), e.slug, e.unlock) for e in silent.values()} == {
        (WORDS, "invalid-token" if purpose == "release" else "not-authenticated", ())
    }
    assert [name for name, error in silent.items() if reason_of(error) == "unknown"] == []
    assert f.open(f.token()), "and the good one still is"


@pytest.mark.parametrize("purpose", ["request", "assertion", "proof"])
def test_no_hostile_message_of_a_p256_key_passes(forge, purpose):
    f = forge(purpose, "ES256")
    harmless = ("signature: S + L", "header: alg of the other kind of key", "proof: jwk of another algorithm")  # those are ES256
    table = {name: make for name, make in battery(purpose).items() if name not in harmless}
    table["alg of the other kind"] = lambda f: f.token(header={"alg": "EdDSA"})
    for name, make in table.items():
        with pytest.raises((NotAuthenticated, PayloadTooLarge, InvalidRequest)):
            pytest.fail(f"{name}: {f.open(make(f))}")


def library_accepts(f, raw):
    try:
        jwt.decode(raw, f.key.public.crypto_key(), algorithms=["EdDSA"], audience="https://gate.example")
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, OverflowError):
        return False
    return True


@pytest.mark.parametrize("purpose", REGISTERED)
def test_control_the_library_alone_accepts_several(forge, purpose, record_property):
    f = forge(purpose)
    accepted = [name for name, make in battery(purpose).items() if library_accepts(f, make(f))]
    record_property("accepted", len(accepted))
    print(f"{purpose}: the library alone accepts {len(accepted)} of {len(battery(purpose))}")
    assert len(accepted) >= 20


@pytest.mark.parametrize("purpose", PURPOSES)
def test_the_new_name_of_the_algorithm_is_taken_where_libraries_write_it(forge, purpose):
    f = forge(purpose)
    error = refused(f, lambda f: f.token(header={"alg": "Ed25519"}))
    assert (error is None) == (purpose in ("assertion", "proof"))
    if purpose in ("assertion", "proof"):
        other = forge(purpose, "ES256")
        assert refused(other, lambda f: f.token(header={"alg": "Ed25519"})) is not None, "a P-256 key has one name only"


def test_release_tokens_are_refused_as_their_own_kind(forge):
    f = forge("release")
    with pytest.raises(TokenRefused):
        f.open(b"x")


@pytest.mark.parametrize("purpose", PURPOSES)
def test_no_purpose_accepts_a_good_message_of_another(forge, house, purpose):
    f = forge(purpose)
    for other in PURPOSES:
        if other != purpose:
            with pytest.raises(NotAuthenticated):
                f.open(make_other(house, other))


def make_other(house, purpose):
    key = generate_keypair()
    house.principals.add_key("ana", key.public, now=house.now)
    header = {
        "request": {"typ": "release-request+jwt", "kid": key.thumbprint},
        "assertion": {"typ": "JWT", "kid": key.thumbprint},
        "access": {"typ": "at+jwt", "kid": key.thumbprint},
        "release": {"typ": "release+jwt", "kid": key.thumbprint},
        "proof": {"typ": "dpop+jwt", "jwk": dict(key.public.jwk)},
    }[purpose]
    second = int(house.now.timestamp())
    claims = {"iss": "ana", "sub": "ana", "aud": "https://gate.example", "iat": second, "exp": second + 100, "jti": "j" * 20}
    signing_input = b".".join(b64(json.dumps(part).encode()) for part in ({"alg": "EdDSA", **header}, claims))
    return signing_input + b"." + b64(key.sign_bytes(signing_input))
