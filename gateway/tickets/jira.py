"""Jira (REST v3) as a source of tickets.

Responsible for fetching an issue and the changelog that says who approved it and when, and for commenting back.

Invariants:
    - Fail closed: whatever is not a complete, readable answer within the deadline is a `TicketProblem`.
    - No redirect is followed and no more than `MAX_BODY` bytes are read of any answer; keys are checked before they enter a URL.
    - Only GET is repeated after a failure of unknown effect; a comment is repeated only when Jira said that it did not take it.
    - Credentials are sent to the configured base URL alone and never stand in a detail or a log line.
"""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import httpx

from gateway.tickets.jira_issue import IssueUnreadable, JiraFields, ticket_from_issue
from gateway.tickets.port import KEY, Fetched, Problem, TicketProblem

__all__ = ["Jira", "JiraSettings"]

MAX_BODY: Final = 4 * 1024 * 1024
MAX_PAGES: Final = 50
PAGE: Final = 100
BACKOFF: Final = 0.25
REFUSED: Final = frozenset({401, 403})
AGAIN: Final = frozenset({429, 500, 502, 503, 504})
DID_NOT_TAKE_IT: Final = frozenset({429, 503})


@dataclass(frozen=True, slots=True, kw_only=True)
class JiraSettings:
    """Where Jira is, who we are there, and how patient we are.

    Attributes:
        url: As in `https://example.atlassian.net`.
        email: The account that reads tickets.
        token: Its API token; does not stand in the repr.
        dataset_field: Id of the custom field that names the dataset; None or empty: no ticket names one.
        approver_field: Id of the custom field that names the approver, or None.
        approved_statuses: Moving an issue into one of these is an approval.
        automations: Account ids that may move an issue on behalf of the named approver.
        deadline: Seconds for everything that one fetch does, pages and repetitions counted.
        timeout: Seconds for one call.
    """

    url: str
    email: str
    token: str = field(repr=False)
    dataset_field: str | None = None
    approver_field: str | None = None
    approved_statuses: tuple[str, ...] = ("Approved",)
    automations: frozenset[str] = frozenset()
    deadline: float = 10.0
    timeout: float = 5.0

    @property
    def fields(self) -> JiraFields:
        """Which of Jira's fields mean what."""
        return JiraFields(
            dataset=self.dataset_field or None,
            approver=self.approver_field or None,
            approved_statuses=self.approved_statuses,
            automations=self.automations,
        )


class _Failed(Exception):
    def __init__(self, kind: Problem, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


class Jira:
    """Jira as a source of tickets (see `port.TicketSource`)."""

    def __init__(
        self,
        settings: JiraSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._client = httpx.Client(
            base_url=settings.url,
            auth=httpx.BasicAuth(settings.email, settings.token),
            headers={"Accept": "application/json"},
            timeout=settings.timeout,
            follow_redirects=False,
            transport=transport,
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def fetch(self, key: str, *, now: datetime) -> Fetched:
        """The issue as it is now, or why there is none."""
        if not KEY.match(key):
            return TicketProblem(key=key[:40], kind="not-found", detail="this is not a ticket key, as in DATA-101")
        until = self._clock() + self._settings.deadline
        try:
            wanted = ",".join(self._settings.fields.wanted)
            issue = self._get(f"/rest/api/3/issue/{key}", {"fields": wanted}, until)
            history = list(self._history(key, until))
            return ticket_from_issue(issue, history, fields=self._settings.fields, now=now)
        except _Failed as failure:
            return TicketProblem(key=key, kind=failure.kind, detail=failure.detail)
        except IssueUnreadable as error:
            return TicketProblem(key=key, kind="malformed", detail=str(error))

    def comment(self, key: str, text: str, *, now: datetime) -> TicketProblem | None:  # noqa: ARG002 - Jira dates it itself
        """Write a comment on the issue; None when it was written."""
        if not KEY.match(key):
            return TicketProblem(key=key[:40], kind="not-found", detail="this is not a ticket key, as in DATA-101")
        paragraph = {"type": "paragraph", "content": [{"type": "text", "text": text[:4000]}]}
        body = {"body": {"type": "doc", "version": 1, "content": [paragraph]}}
        until = self._clock() + self._settings.deadline
        try:
            self._call("POST", f"/rest/api/3/issue/{key}/comment", until, again=DID_NOT_TAKE_IT, json=body)
        except _Failed as failure:
            return TicketProblem(key=key, kind=failure.kind, detail=failure.detail)
        return None

    def _history(self, key: str, until: float) -> Iterator[dict[str, Any]]:
        """Every entry of the changelog; a changelog that does not end is refused, not cut."""
        start = 0
        for _ in range(MAX_PAGES):
            page = self._get(f"/rest/api/3/issue/{key}/changelog", {"startAt": str(start), "maxResults": str(PAGE)}, until)
            values, total = page.get("values"), page.get("total")
            if not isinstance(values, list) or not isinstance(total, int) or not all(isinstance(v, dict) for v in values):
                raise _Failed("malformed", "Jira's changelog cannot be read")
            yield from values
            start += len(values)
            if start >= total:
                return
            if not values:
                raise _Failed("malformed", "Jira's changelog ends before the total that it states")
        raise _Failed("malformed", f"the changelog has more than {MAX_PAGES} pages")

    def _get(self, path: str, query: dict[str, str], until: float) -> dict[str, Any]:
        body = self._call("GET", path, until, again=AGAIN, params=query)
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise _Failed("malformed", "Jira answered with something that is not JSON") from error
        if not isinstance(document, dict):
            raise _Failed("malformed", "Jira answered with JSON that is not an object")
        return document

    def _call(self, method: str, path: str, until: float, *, again: frozenset[int], **arguments: Any) -> bytes:
        """One call, repeated while it may help and there is time."""
        attempt = 0
        while True:
            left = until - self._clock()
            if left <= 0:
                raise _Failed("unreachable", "Jira did not answer in time")
            pause = BACKOFF * 2**attempt
            try:
                status, headers, body = self._send(method, path, until, **arguments)
            except httpx.TransportError as error:
                if method != "GET" or self._clock() + pause >= until:
                    raise _Failed("unreachable", f"Jira did not answer ({type(error).__name__})") from error
            else:
                if status < 300:  # noqa: PLR2004 - HTTP: success
                    return body
                pause = max(pause, _retry_after(headers))
                if status not in again or self._clock() + pause >= until:
                    raise _failure(status)
            self._sleep(pause)
            attempt += 1

    def _send(self, method: str, path: str, until: float, **arguments: Any) -> tuple[int, httpx.Headers, bytes]:
        timeout = max(0.05, min(self._settings.timeout, until - self._clock()))
        with self._client.stream(method, path, timeout=timeout, **arguments) as response:
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MAX_BODY:
                    raise _Failed("malformed", f"Jira answered with more than {MAX_BODY} bytes")
                if self._clock() > until:
                    raise _Failed("unreachable", "Jira answered too slowly")
            return response.status_code, response.headers, bytes(body)


def _failure(status: int) -> _Failed:
    if status in REFUSED:
        return _Failed("refused", f"Jira refused the gateway's credentials (HTTP {status})")
    if status == 404:  # noqa: PLR2004 - HTTP: not found
        return _Failed("not-found", "Jira has no such issue, or the gateway's account may not see it")
    if status in AGAIN:
        return _Failed("unreachable", f"Jira answered with HTTP {status} until there was no time left")
    return _Failed("malformed", f"Jira answered with HTTP {status}")


def _retry_after(headers: httpx.Headers) -> float:
    """Seconds that Jira asks us to wait; a date is read as the distance from the answer's own `Date`."""
    asked = headers.get("Retry-After", "").strip()
    if asked.isdigit():
        return float(asked[:6])
    try:
        then = email.utils.parsedate_to_datetime(asked)
        sent = email.utils.parsedate_to_datetime(headers.get("Date", ""))
    except ValueError:
        return 0.0
    return max(0.0, (then - sent).total_seconds())
