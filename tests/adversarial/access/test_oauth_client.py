"""An OAuth client that knows nothing of us (Authlib) obtains a token, as its documentation says to."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from urllib.parse import parse_qs

import pytest
from authlib.oauth2.rfc7523 import PrivateKeyJWT, private_key_jwt_sign
from httpx import MockTransport, Request, Response
from joserfc.jwk import ECKey, OKPKey

from gateway.access import (
    GatewayKeys,
    PassphraseSealing,
    Principals,
    ReplayGuard,
    Revocations,
    TokenGranted,
    answer_token_request,
    generate_keypair,
    verify_access_token,
)
from gateway.db import Database, Work, create_schema
from gateway.telemetry import utc_now

with warnings.catch_warnings():  # the import says which HTTP library it would rather have
    warnings.simplefilter("ignore")
    from authlib.integrations.httpx_client import OAuth2Client

pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # the client's word: RFC 9864 calls it Ed25519
ISSUER = "https://gate.example"
ENDPOINT = f"{ISSUER}/oauth/token"
SEALING = PassphraseSealing(b"correct horse battery", work_factor=2)


@pytest.fixture
def work(tmp_path) -> Iterator[Work]:
    database = Database(f"sqlite:///{tmp_path / 'oauth.db'}")
    create_schema(database)
    with database.begin() as opened:
        GatewayKeys(opened, SEALING).ensure(utc_now())
        yield opened
    database.dispose()


def endpoint(work):
    """Our token endpoint as a transport, without a web server."""

    def respond(request: Request) -> Response:
        assert str(request.url) == ENDPOINT
        answer = answer_token_request(
            parse_qs(request.content.decode(), keep_blank_values=True),
            find_principal=Principals(work).find,
            replay=ReplayGuard(work),
            signer=GatewayKeys(work, SEALING).signer("token"),
            issuer=ISSUER,
            endpoint=ENDPOINT,
            now=utc_now(),
        )
        return Response(200 if isinstance(answer, TokenGranted) else answer.status, json=answer.body())

    return MockTransport(respond)


def register(work, algorithm):
    key = generate_keypair("ES256" if algorithm == "ES256" else "EdDSA")
    Principals(work).add("ana", roles=["analyst"], key=key.public.pem(), now=utc_now())
    return (ECKey if algorithm == "ES256" else OKPKey).import_key(key.pem()), key


@pytest.mark.parametrize("algorithm", ["EdDSA", "Ed25519", "ES256"])
def test_a_client_library_obtains_a_token(work, algorithm):
    key, _ = register(work, algorithm)
    with OAuth2Client("ana", key, token_endpoint_auth_method="private_key_jwt", transport=endpoint(work)) as client:
        client.register_client_auth_method(PrivateKeyJWT(ENDPOINT, alg=algorithm))
        for _ in range(2):
            token = client.fetch_token(ENDPOINT, grant_type="client_credentials", scope="requests:read")
    facts = verify_access_token(
        token["access_token"],
        issuer=ISSUER,
        keys=GatewayKeys(work, SEALING),
        find_principal=Principals(work).find,
        revocations=Revocations(work),
        replay=ReplayGuard(work),
        now=utc_now(),
    )
    assert (facts.principal.name, facts.scopes, token["token_type"]) == ("ana", {"requests:read"}, "Bearer")


@pytest.mark.parametrize("header", [{}, {"typ": "JWT"}, {"typ": "client-authentication+jwt"}])
@pytest.mark.parametrize("has_kid", [True, False])
@pytest.mark.parametrize("audience", [ENDPOINT, ISSUER])
def test_assertions_of_libraries_differ_and_are_accepted(work, header, has_kid, audience):
    key, ours = register(work, "ES256")
    named = {**header, "kid": ours.thumbprint} if has_kid else header
    form = {
        "grant_type": ["client_credentials"],
        "client_assertion_type": ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"],
        "client_assertion": [private_key_jwt_sign(key, "ana", audience, alg="ES256", header=named)],
    }
    answer = answer_token_request(
        form,
        find_principal=Principals(work).find,
        replay=ReplayGuard(work),
        signer=GatewayKeys(work, SEALING).signer("token"),
        issuer=ISSUER,
        endpoint=ENDPOINT,
        now=utc_now(),
    )
    assert isinstance(answer, TokenGranted), answer


def test_a_client_with_another_key_gets_nothing(work):
    register(work, "EdDSA")
    stranger = OKPKey.import_key(generate_keypair().pem())
    with OAuth2Client("ana", stranger, token_endpoint_auth_method="private_key_jwt", transport=endpoint(work)) as client:
        client.register_client_auth_method(PrivateKeyJWT(ENDPOINT, alg="EdDSA"))
        with pytest.raises(Exception, match="invalid_client"):
            client.fetch_token(ENDPOINT, grant_type="client_credentials")
