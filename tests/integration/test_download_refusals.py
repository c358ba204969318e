"""The one data route without a token: every refusal is recorded, and none says what exists."""

from __future__ import annotations

from itertools import product
from typing import Any

from gateway.releases.artifacts import Artifacts

SHA = "ab" * 32
CREDENTIALS: tuple[dict[str, str], ...] = (
    {}, {"Authorization": "Basic YW5hOmFuYQ=="}, {"Authorization": "Bearer"}, {"Authorization": "Bearer x.y.z"},
)  # fmt: skip
RANGES = (None, "bytes=0-9", "bytes=x", "bytes=9999-")


def with_artifact(town: Any) -> str:
    release_id = str(town.ask().get_json()["id"])
    row = {"name": "data.csv", "media_type": "text/csv", "size": 1000, "sha256": SHA, "location": "x", "audience": "requester"}
    with town.house.database.begin() as work:
        Artifacts(work).add_all(release_id, [row])
        work.commit()
    return release_id


def refusals(town: Any) -> int:
    return sum(len(town.events(kind)) for kind in ("call.unauthenticated", "download.refused", "calls.aggregated"))


def test_a_call_without_a_token_is_recorded_and_learns_nothing(town: Any) -> None:
    known = with_artifact(town)
    for credential, header in product(CREDENTIALS, RANGES):
        told = set()
        for release_id, version in ((known, SHA), (known, "cd" * 32), ("f" * 32, SHA)):
            before = refusals(town)
            headers = {**credential, "If-Range": f'"{version}"', **({} if header is None else {"Range": header})}
            answer = town.client.get(f"/v1/releases/{release_id}/artifacts/data.csv", headers=headers)
            assert refusals(town) == before + 1, (credential, header)
            document = {key: value for key, value in answer.get_json().items() if key != "request_id"}
            told.add((answer.status_code, "Content-Range" in answer.headers, str(document)))
        assert [found[:2] for found in told] == [(401, False)], (credential, header)
