"""From production to the socket: gate, bundle, tokens, downloads, revocation, withdrawal, review, trace, leaks."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.audit import Log
from gateway.budget import Ledgers
from gateway.errors import NotFound
from gateway.evidence.checks import load_trusted, verify_bundle
from gateway.evidence.leaks import trace_file
from gateway.releases import Release, Status
from gateway.releases.artifacts import Artifacts
from gateway.telemetry import utc_now
from gateway.tickets import Tickets

pytestmark = pytest.mark.slow

Released = tuple[Any, Callable[[], Release]]


def token_of(town: Any, release_id: str, who: str = "ana") -> str:
    answer = town.post(f"/v1/releases/{release_id}/tokens", who)
    assert answer.status_code == 201, answer.text
    return str(answer.get_json()["token"])


def fetch(town: Any, release_id: str, token: str, name: str = "data.csv", **headers: str) -> Any:
    given = {"Authorization": f"Bearer {token}", **headers}
    return town.client.get(f"/v1/releases/{release_id}/artifacts/{name}", headers=given)


def test_no_token_before_the_release_stands_in_the_tree(released: Released) -> None:
    town, _ = released
    release = town.produced()
    assert release.status is Status.RELEASED, release.failure
    answer = town.post(f"/v1/releases/{release.id}/tokens", "ana")
    assert (answer.status_code, answer.get_json()["code"]) == (409, "not-included")
    town.sequence()
    assert token_of(town, release.id)
    assert town.post(f"/v1/releases/{release.id}/tokens", "eve").status_code == 404


def test_the_bundle_is_what_was_evaluated_and_verifies_offline(released: Released, tmp_path: Path) -> None:
    town, another = released
    release = another()
    token = token_of(town, release.id)
    listing = town.get(f"/v1/releases/{release.id}/artifacts", "ana").get_json()["artifacts"]
    for artifact in listing:
        answer = fetch(town, release.id, token, artifact["name"])
        assert answer.status_code == 200
        assert hashlib.sha256(answer.data).hexdigest() == artifact["sha256"]
        assert answer.headers["ETag"] == f'"{artifact["sha256"]}"'
        assert answer.headers["Cache-Control"] == "private, no-store"
        assert answer.headers["Repr-Digest"].startswith("sha-256=:")
        (tmp_path / artifact["name"]).write_bytes(answer.data)
    checks = verify_bundle(tmp_path, load_trusted(town.house.settings.home / "trusted-keys.json"))
    assert all(check.ok for check in checks), checks
    assert {item["name"] for item in listing} >= {
        "data.csv",
        "report-card.json",
        "report-card.html",
        "model-card.md",
        "manifest.json",
        "manifest.dsse.json",
        "audit.tlog-proof",
    }


@pytest.mark.parametrize("name", ["data.csv", "manifest.json", "manifest.dsse.json", "audit.tlog-proof", "report-card.json"])
def test_one_byte_changed_anywhere_in_a_bundle_is_found(released: Released, tmp_path: Path, name: str) -> None:
    town, another = released
    release = another() if not hasattr(town, "bundle") else town.bundle
    town.bundle = release
    with town.house.database.read() as work:
        from gateway.releases import requester_artifacts

        for artifact in requester_artifacts(work, release):
            raw = (
                Artifacts(work).read(town.house, artifact)
                if artifact.location
                else fetch(town, release.id, token_of(town, release.id), artifact.name).data
            )
            (tmp_path / artifact.name).write_bytes(raw)
    trusted = load_trusted(town.house.settings.home / "trusted-keys.json")
    assert all(check.ok for check in verify_bundle(tmp_path, trusted))
    raw = bytearray((tmp_path / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (tmp_path / name).write_bytes(raw)
    assert not all(check.ok for check in verify_bundle(tmp_path, trusted))


def test_the_requester_sees_bands_and_compliance_sees_figures(released: Released) -> None:
    town, another = released
    release = another()
    mine = town.get(f"/v1/releases/{release.id}/report-card", "ana").get_json()
    banded = [metric for metric in mine["metrics"].values() if metric.get("band")]
    assert banded
    assert all(metric["value"] is None for metric in banded)
    exact = town.get(f"/v1/releases/{release.id}/report-card", "carl").get_json()
    assert any(isinstance(metric["value"], float) for metric in exact["metrics"].values())
    shown = town.get(f"/v1/release-requests/{release.id}", "ana").get_json()
    assert all(rule["observed"] is None for rule in shown["verdict"]["rules"])


def test_a_resumed_download_is_one_download_and_the_last_one_is_the_last(released: Released) -> None:
    town, another = released
    release = another()
    token = token_of(town, release.id)
    first = fetch(town, release.id, token, Range="bytes=0-99")
    assert (first.status_code, first.headers["Content-Range"].split("/")[0], len(first.data)) == (206, "bytes 0-99", 100)
    rest = fetch(town, release.id, token, Range="bytes=100-")
    whole = fetch(town, release.id, token)
    assert first.data + rest.data == whole.data
    assert fetch(town, release.id, token).status_code == 401
    assert fetch(town, release.id, token, name="manifest.json").status_code == 200
    assert fetch(town, release.id, token, Range="rows=0-4", name="manifest.json").status_code == 200, "no unit of ours"
    for header in ("bytes=0-1,5-6", f"bytes={len(whole.data)}-"):
        beyond = fetch(town, release.id, token, Range=header)
        assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{len(whole.data)}")
        with town.house.database.read() as work:
            last = Log(work).of_release(release.id)[-1]
        assert (last.kind, last.data) == ("download.refused", {"artifact": "data.csv", "reason": "range-not-satisfiable"})
    other = fetch(town, release.id, token, name="manifest.json", Range="bytes=0-9", **{"If-Range": '"another"'})
    assert (other.status_code, len(other.data) > 10) == (200, True)
    kinds = [entry.kind for entry in town.events("download.")]
    assert "download.refused" in kinds
    assert town.events("download.finished")[-1].data["outcome"] == "complete"


def test_revocation_bites_the_next_range(released: Released) -> None:
    town, another = released
    release = another()
    token = token_of(town, release.id)
    assert fetch(town, release.id, token, Range="bytes=0-9").status_code == 206
    assert town.post("/v1/tokens/revocation", "carl", data={"release": release.id, "reason": "test"}).status_code == 200
    refused = fetch(town, release.id, token, Range="bytes=10-19")
    assert (refused.status_code, refused.get_json()["detail"]) == (401, "invalid_token")


def test_revocations_are_found_by_what_they_name_and_by_each_token_that_died(released: Released) -> None:
    town, another = released
    release = another()
    before = len(town.events("token.revoked"))
    tokens = [town.post(f"/v1/releases/{release.id}/tokens", "ana").get_json()["token"] for _ in range(2)]
    town.post("/v1/tokens/revocation", "ana", data={"token": tokens[0], "reason": "lost my notebook"})
    for form in ({"ticket": "DATA-101"}, {"principal": "eve"}, {"key": "k" * 43}, {"token": "nobody's"}):
        town.post("/v1/tokens/revocation", "carl", data={**form, "reason": "a leak is suspected"})
    own, *others = town.events("token.revoked")[before:]
    assert (own.subjects.release, own.subjects.ticket, own.data["reason"]) == (release.id, "DATA-101", "lost my notebook")
    assert own.data["tokens"] == [own.subjects.token]
    calls = [entry for entry in others if entry.subjects.token is None]
    died = [entry for entry in others if entry.subjects.token is not None]
    assert [entry.data["kind"] for entry in calls] == ["ticket", "principal", "key", "token"]
    assert [entry.data.get("reason") for entry in calls] == ["a leak is suspected"] * 3 + [None]
    assert [entry.data["known"] for entry in calls] == [True, True, True, False]
    assert (calls[0].subjects.ticket, calls[2].data["key"]) == ("DATA-101", "k" * 43)
    with town.house.database.read() as work:
        log = Log(work)
        assert calls[1].data["principal"] == log.pseudonym_of("eve")
        assert calls[0] in log.search(ticket="DATA-101", kind="token.revoked")
        for entry in died:
            assert log.search(token=entry.subjects.token, kind="token.revoked") == [entry], "a token dies once"
        assert {own.id, *(entry.id for entry in died)} >= {
            entry.id for entry in log.of_release(release.id) if entry.kind == "token.revoked"
        }
    assert own.subjects.token not in {entry.subjects.token for entry in died}
    assert {entry.data["kind"] for entry in died} == {"ticket"}
    assert release.id in {entry.subjects.release for entry in died}


def test_a_revoked_access_token_opens_nothing_and_its_end_is_in_the_log(town: Any) -> None:
    lost = town.login("ana")
    assert town.client.get("/v1/releases", headers=lost).status_code == 200
    raw = lost["Authorization"].split()[1]
    assert town.post("/v1/tokens/revocation", "sam", data={"token": raw, "reason": "seen in a chat"}).status_code == 200
    assert town.client.get("/v1/releases", headers=lost).status_code == 401
    (event,) = town.events("access-token.revoked")
    (issued,) = (entry for entry in town.events("access-token.issued") if entry.subjects.token == event.subjects.token)
    assert (event.data["reason"], event.data["principal"]) == ("seen in a chat", issued.subjects.actor)
    del town.tokens["ana"]
    again = town.login("ana")
    own = town.client.post("/v1/tokens/revocation", headers=again, data={"token": again["Authorization"].split()[1]})
    assert own.status_code == 200
    assert town.client.get("/v1/releases", headers=again).status_code == 401
    del town.tokens["ana"]
    third = town.login("ana")
    jti = town.events("access-token.issued")[-1].subjects.token
    assert town.post("/v1/tokens/revocation", "sam", data={"token": jti}).status_code == 200
    assert town.client.get("/v1/releases", headers=third).status_code == 401
    assert len(town.events("access-token.revoked")) == 3


def test_a_ticket_that_moves_stops_tokens_and_downloads(released: Released) -> None:
    town, another = released
    release = another()
    token = token_of(town, release.id)
    with town.house.database.begin() as work:
        Tickets(work).set("DATA-101", now=utc_now(), status="Reopened")
        from gateway.releases import Releases

        Releases(work).put(release.id, ticket_checked_at=release.requested_at)
        work.commit()
    try:
        with_old_snapshot = town.house.settings.model_copy(update={"ticket_snapshot_max_age": 0})
        object.__setattr__(town.house, "settings", with_old_snapshot)
        assert fetch(town, release.id, token).status_code == 401
        answer = town.post(f"/v1/releases/{release.id}/tokens", "ana")
        assert (answer.status_code, answer.get_json()["code"]) == (409, "ticket-invalid")
    finally:
        with town.house.database.begin() as work:
            Tickets(work).set("DATA-101", now=utc_now(), status="Approved")
            work.commit()


def test_swapped_bytes_in_the_store_never_reach_anybody(released: Released) -> None:
    town, another = released
    release = another()
    token = token_of(town, release.id)
    with town.house.database.read() as work:
        location = Artifacts(work).get(release.id, "data.csv").location
    path = next(
        path for path in (town.house.settings.home / "artifacts").rglob("data.csv") if location.split("/")[2] in str(path)
    )
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(raw)
    answer = fetch(town, release.id, token)
    assert (answer.status_code, answer.get_json()["code"]) == (500, "verification-failed")


def test_withdrawal_kills_tokens_and_bytes_and_keeps_the_proof(released: Released, tmp_path: Path) -> None:
    town, another = released
    release = another()
    token = token_of(town, release.id)
    leaked = fetch(town, release.id, token).data
    answer = town.post(f"/v1/releases/{release.id}/withdrawal", "carl", json={"reason": "a data subject objected"})
    assert (answer.status_code, answer.get_json()["recipients"]) == (200, ["ana"])
    assert fetch(town, release.id, token).status_code == 401
    assert town.release(release.id).status is Status.WITHDRAWN
    with town.house.database.read() as work, pytest.raises(NotFound):
        Artifacts(work).read(town.house, Artifacts(work).get(release.id, "data.csv"))
    (tmp_path / "leak.csv").write_bytes(leaked)
    assert trace_file(town.house, tmp_path / "leak.csv")["matches"][0]["release_id"] == release.id
    assert town.post(f"/v1/releases/{release.id}/withdrawal", "ana", json={"reason": "mine"}).status_code == 403


def test_a_leak_is_traced_through_changes_and_other_tables_are_not_ours(released: Released, tmp_path: Path) -> None:
    import numpy as np
    import pandas as pd
    import pyarrow.parquet as pq

    town, another = released
    release, other = another(), another()
    with town.house.database.read() as work:
        artifacts = Artifacts(work)
        table = pd.read_csv(
            io.BytesIO(artifacts.read(town.house, artifacts.get(release.id, "data.csv"))), parse_dates=["booked_at"]
        )
    rng = np.random.default_rng(5)

    def changed() -> pd.DataFrame:
        frame = table.copy()
        for name in frame.columns:
            hit = rng.random(len(frame)) < 0.2
            frame.loc[hit, name] = frame[name].sample(frac=1, random_state=1).to_numpy()[hit]
        return frame

    variants = {
        "whole.csv": table,
        "whole.parquet": table,
        "semicolon.csv": table,
        "reordered.csv": table[list(table.columns)[::-1]].sample(frac=1, random_state=2),
        "subset.csv": table[["age", "amount", "booked_at"]],
        "tenth.csv": table.sample(30, random_state=3),
        "changed.csv": changed(),
    }
    for name, frame in variants.items():
        path = tmp_path / name
        if name.endswith(".parquet"):
            frame.to_parquet(path)
        else:
            frame.to_csv(path, index=False, sep=";" if name.startswith("semicolon") else ",")
        answer = trace_file(town.house, path)
        assert [item["release_id"] for item in answer["matches"]] == [release.id], (name, answer)
    assert other.id != release.id
    real = tmp_path / "real.parquet"
    pq.write_table(pq.read_table(town.folder / "transactions.parquet"), real)
    assert trace_file(town.house, real)["matches"] == []


def test_a_gate_that_fails_blocks_charges_and_leaves_nothing(released: Released) -> None:
    town, _ = released
    town.policy(version=2, line="0.0000001")
    try:
        release = town.produced()
    finally:
        town.policy(version=3)
    assert release.status is Status.BLOCKED
    with town.house.database.read() as work:
        assert Artifacts(work).of(release.id) == []
        (charge,) = Ledgers(work).charges_of_release(release.id)
    assert charge.settlement is not None
    assert charge.settlement.outcome == "spent"
    assert town.post(f"/v1/releases/{release.id}/tokens", "ana").status_code == 409
    stored = [path for path in (town.house.settings.home / "artifacts").rglob("*") if path.is_file() and release.id in str(path)]
    assert stored == []


def test_a_broken_source_fails_charges_and_is_recorded(released: Released) -> None:
    town, _ = released
    source = town.folder / "transactions.parquet"
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) // 2])
    try:
        release = town.produced()
    finally:
        source.write_bytes(whole)
    assert release.status is Status.FAILED
    assert release.failure is not None
    assert release.failure["code"] == "source-invalid"
    with town.house.database.read() as work:
        (charge,) = Ledgers(work).charges_of_release(release.id)
        assert Artifacts(work).of(release.id) == []
    assert charge.is_settled
    assert town.events("release.failed")[-1].subjects.release == release.id


def test_reviewers_decide_and_the_requester_never_does(released: Released) -> None:
    town, _ = released
    town.policy(version=4, review="{approvers: 2, roles: [reviewer], when: [always]}")
    try:
        release = town.produced()
    finally:
        town.policy(version=5)
    assert release.status is Status.IN_REVIEW
    body = {"approve": True, "comment": "looks sound"}
    assert town.post(f"/v1/reviews/{release.id}/decision", "ana", json=body).status_code == 403
    first = town.post(f"/v1/reviews/{release.id}/decision", "rob", json=body)
    assert first.get_json() == {"approvers": 2, "id": release.id, "status": "in_review", "voted": 1}
    assert town.post(f"/v1/reviews/{release.id}/decision", "rob", json=body).status_code == 409
    assert town.post(f"/v1/reviews/{release.id}/decision", "rita", json=body).get_json()["status"] == "released"
    town.sequence()
    assert token_of(town, release.id)


def test_trace_tells_the_whole_story(released: Released) -> None:
    town, another = released
    release = another()
    token = token_of(town, release.id)
    fetch(town, release.id, token)
    for question in (f"release={release.id}", f"sha256={release.manifest_digest}"):
        (story,) = town.get(f"/v1/trace?{question}", "carl").get_json()["releases"]
        assert (story["release_id"], story["ticket"], story["principal"]) == (release.id, "DATA-101", "ana")
        kinds = [event["kind"] for event in story["events"]]
        assert kinds[:2] == ["release.requested", "release.decided"]
        assert {"release.generating", "release.evaluated", "release.released", "token.issued", "download.finished"} <= set(kinds)
    assert town.get(f"/v1/trace?release={release.id}", "ana").status_code == 403
    assert town.get("/v1/trace", "carl").status_code == 422
