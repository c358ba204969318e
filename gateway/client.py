"""What an analyst imports in a notebook, and what the command line is made of.

    from gateway.client import Client
    client = Client("http://127.0.0.1:8080", principal="ana", key_file="ana.pem")
    answer = client.request(
        ticket="DATA-101", dataset="adult", rows=5000, purpose="testing", generator="dp-marginal", epsilon="1.0"
    )
    client.wait(answer["id"]); client.download(answer["id"], "bundle/")

Invariants:
    - Tokens travel in headers only and are never written to disk.
    - Nothing of a download counts until its size and SHA-256 are those of the manifest; a file is renamed into place last.
    - ε and δ are text all the way.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from gateway.access.private_keys import PrivateKey, load_private_key
from gateway.access.signing import client_assertion, dpop_proof, sign_request
from gateway.errors import EXIT_FAILED, EXIT_OF_STATUS, InvalidRequest, TicketgateError, Unavailable, VerificationFailed
from gateway.telemetry import utc_now

__all__ = ["FINAL_STATUSES", "Client", "RemoteProblem"]

FINAL_STATUSES = frozenset({"denied", "blocked", "released", "expired", "withdrawn", "cancelled", "failed", "in_review"})
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
TOKEN_MARGIN = 30
CHUNK = 1 << 20


class RemoteProblem(TicketgateError):
    """The gateway answered with a problem document.

    Attributes:
        status: HTTP status.
        document: The whole problem document: violations, unlock, request id.
    """

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        super().__init__(
            str(document.get("detail") or document.get("title") or _plain(status, document)),
            code=str(document.get("code", "unknown")),
            unlock=tuple(str(step) for step in document.get("unlock", ())) or _steps(document),
        )
        self.status = status
        self.document = document

    @property
    def exit_code(self) -> int:
        """What a command ends with: by the status that the gateway answered."""
        known = {int(http): code for http, code in EXIT_OF_STATUS.items()}
        return known.get(self.status, EXIT_FAILED)


def _plain(status: int, document: Mapping[str, Any]) -> str:
    """A sentence for an answer without one: the token endpoint speaks OAuth, which says no more than a code."""
    if document.get("error") == "invalid_client":
        return "the gateway does not accept this key for this principal"
    return f"the gateway answered {status}"


def _steps(document: Mapping[str, Any]) -> tuple[str, ...]:
    if document.get("error") != "invalid_client":
        return ()
    return (
        "check --as and --key: the key must be registered for that principal, in use, and not expired",
        "check --server: the gateway's issuer URL is what your signature is addressed to",
        "check the clock of this machine: a minute is forgiven",
    )


class Client:
    """One principal's view of one gateway."""

    def __init__(
        self,
        server: str,
        *,
        principal: str,
        key: PrivateKey | None = None,
        key_file: str | Path | None = None,
        timeout: float = 60.0,
    ) -> None:
        if key is None and key_file is None:
            raise ValueError("a client needs key or key_file")
        self.server = server.rstrip("/")
        self.principal = principal
        self._key = key or load_private_key(Path(str(key_file)))
        self._http = httpx.Client(base_url=self.server, timeout=timeout, follow_redirects=False)
        self._access: tuple[str, float] | None = None
        self._issuer: str | None = None

    @property
    def issuer(self) -> str:
        """The gateway's issuer URL, which is `aud` of everything signed for it."""
        if self._issuer is None:
            metadata = self.call("GET", "/.well-known/oauth-authorization-server", authenticated=False)
            self._issuer = str(metadata["issuer"])
        return self._issuer

    def access_token(self) -> str:
        """A short-lived access token, fetched with a client assertion when the last one is about to end."""
        if self._access is None or self._access[1] < time.monotonic():
            assertion = client_assertion(principal=self.principal, audience=self.issuer, private_key=self._key, now=utc_now())
            form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
            answer = self._checked(self._send("POST", "/oauth/token", data=form)).json()
            self._access = (str(answer["access_token"]), time.monotonic() + int(answer["expires_in"]) - TOKEN_MARGIN)
        return self._access[0]

    def call(
        self, method: str, path: str, *, json: Any = None, params: Mapping[str, Any] | None = None, authenticated: bool = True
    ) -> Any:
        """Call the gateway and give the JSON answer.

        Raises:
            RemoteProblem: it answered with a problem.
            Unavailable: it does not answer.
        """
        return self.raw(method, path, json=json, params=params, authenticated=authenticated).json()

    def raw(
        self, method: str, path: str, *, json: Any = None, params: Mapping[str, Any] | None = None, authenticated: bool = True
    ) -> httpx.Response:
        """Like `call`, with the whole answer."""
        headers = {"Authorization": f"Bearer {self.access_token()}"} if authenticated else {}
        return self._checked(self._send(method, path, json=json, params=params, headers=headers))

    def request(  # noqa: PLR0913 - the claims of a request
        self,
        *,
        ticket: str,
        dataset: str,
        rows: int,
        purpose: str,
        generator: str,
        epsilon: str | Decimal | None = None,
        delta: str | Decimal | None = None,
        format: str = "parquet",  # noqa: A002 - the claim's name
        hyperparameters: Mapping[str, Any] | None = None,
        **optional: Any,
    ) -> dict[str, Any]:
        """Sign and send a release request.

        Args:
            optional: `policy`, `columns`, `seed`.

        Returns:
            {id, status, decision_id, links}.

        Raises:
            RemoteProblem: denied (403), malformed (422), …; `document` holds violations and unlock.
        """
        made = {"name": generator, "epsilon": _text(epsilon), "delta": _text(delta), **(hyperparameters or {})}
        claims = {
            "ticket": ticket, "dataset": dataset, "rows": rows, "purpose": purpose, "format": format,
            "generator": {name: value for name, value in made.items() if value is not None}, **optional,
        }  # fmt: skip
        signed = sign_request(
            principal=self.principal, audience=self.issuer, request=claims, private_key=self._key, now=utc_now()
        )
        answer = self._send("POST", "/v1/release-requests", content=signed, headers={"Content-Type": "application/jwt"})
        return dict(self._checked(answer).json())

    def status(self, request_id: str) -> dict[str, Any]:
        """The status of a request: {id, status, progress, stage, verdict, links}."""
        return dict(self.call("GET", f"/v1/release-requests/{request_id}"))

    def wait(
        self, request_id: str, *, timeout: float = 3600.0, on_progress: Callable[[Mapping[str, Any]], None] | None = None
    ) -> dict[str, Any]:
        """Wait until a request has a final status or waits for reviewers.

        Raises:
            Unavailable: it took longer than `timeout` seconds.
        """
        end = time.monotonic() + timeout
        while True:
            answer = self.status(request_id)
            if on_progress is not None:
                on_progress(answer)
            if answer["status"] in FINAL_STATUSES:
                return answer
            if time.monotonic() > end:
                raise Unavailable(f"request {request_id} is still {answer['status']} after {timeout:.0f} s")
            time.sleep(0.4)

    def token(self, release_id: str, *, bound: bool = False) -> dict[str, Any]:
        """A release token: {token, token_type, expires_at, …}. Waits a moment for the log when it must.

        Args:
            release_id: The release.
            bound: Whether the token is bound to this client's key (DPoP).
        """
        path = f"/v1/releases/{release_id}/tokens"
        for attempt in range(40):
            headers = {"Authorization": f"Bearer {self.access_token()}"}
            if bound:
                headers["DPoP"] = dpop_proof(method="POST", url=self.issuer + path, private_key=self._key, now=utc_now())
            try:
                return dict(self._checked(self._send("POST", path, headers=headers)).json())
            except RemoteProblem as problem:
                if problem.slug != "not-included" or attempt == 39:  # noqa: PLR2004 - the last attempt
                    raise
                time.sleep(0.25)
        raise AssertionError("unreachable")

    def download(self, release_id: str, out: str | Path, *, bound: bool = False) -> Path:
        """Fetch the whole bundle of a release into a folder.

        Raises:
            VerificationFailed: a file is not what its digest says.
        """
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        issued = self.token(release_id, bound=bound)
        listing = self.call("GET", f"/v1/releases/{release_id}/artifacts")["artifacts"]
        for artifact in listing:
            self._fetch(release_id, artifact, issued, folder)
        return folder

    def _fetch(self, release_id: str, artifact: Mapping[str, Any], issued: Mapping[str, Any], folder: Path) -> None:
        name = str(artifact["name"])
        if not SAFE_NAME.match(name):
            raise VerificationFailed(f"the gateway names an artifact that is no file name: {name[:40]!r}")
        path = f"/v1/releases/{release_id}/artifacts/{name}"
        headers = {"Authorization": f"{issued['token_type']} {issued['token']}"}
        if issued["token_type"] == "DPoP":  # noqa: S105 - a kind of token
            headers["DPoP"] = dpop_proof(
                method="GET", url=self.issuer + path, private_key=self._key, now=utc_now(), token=str(issued["token"])
            )
        digest, size, partial = hashlib.sha256(), 0, folder / f".{name}.part"
        try:
            with self._http.stream("GET", path, headers=headers) as response, partial.open("wb") as file:
                if response.status_code != httpx.codes.OK:
                    response.read()
                    self._checked(response)
                for chunk in response.iter_bytes(CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
                    file.write(chunk)
        except httpx.HTTPError as error:
            raise Unavailable(f"the download of {name} broke off ({type(error).__name__})") from error
        if size != artifact["size"] or digest.hexdigest() != artifact["sha256"]:
            partial.unlink()
            raise VerificationFailed(f"{name} does not have the size and digest that the gateway names")
        os.replace(partial, folder / name)  # noqa: PTH105 - atomic, and it replaces

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **arguments)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise InvalidRequest(f"{self.server!r} is not the URL of a gateway: it begins with https:// or http://") from error
        except httpx.HTTPError as error:
            raise Unavailable(
                f"the gateway at {self.server} does not answer ({type(error).__name__})",
                unlock=("start it with `ticketgate up`, or name another with --server",),
            ) from error

    def _checked(self, response: httpx.Response) -> httpx.Response:
        if response.is_success:
            return response
        try:
            document = response.json()
        except ValueError:
            document = {}
        raise RemoteProblem(response.status_code, document if isinstance(document, dict) else {})


def _text(number: str | Decimal | None) -> str | None:
    return None if number is None else str(number)
