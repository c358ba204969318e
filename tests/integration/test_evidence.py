"""Evidence files: the same whenever they are built, checked offline, and every changed byte found; reports and narrative."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.audit import Log
from gateway.errors import Conflict, NotFound
from gateway.evidence.archive import read_archive, write_archive
from gateway.evidence.attestation import INDEX, INDEX_ENVELOPE
from gateway.evidence.bundle import evidence_zip
from gateway.evidence.checks import Check, load_trusted
from gateway.evidence.compliance import in_words
from gateway.evidence.examine import verify_evidence
from gateway.evidence.frameworks import FRAMEWORKS
from gateway.releases import Release, Status, withdraw
from gateway.releases.bundle import sha256_hex
from gateway.telemetry import utc_now

Released = tuple[Any, Callable[[], Release]]


LINE_BREAKS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\r\n"
"""All that some reader takes for the end of a line."""


def denied(town: Any, **changes: Any) -> str:
    answer = town.ask(purpose="marketing", **changes)
    assert answer.status_code == 403, answer.text
    town.sequence()
    with town.house.database.read() as work:
        from gateway.releases import Releases

        (release,) = Releases(work).all_of(status=Status.DENIED)
    return str(release.id)


def examined(town: Any, folder: Path, raw: bytes) -> tuple[Check, ...]:
    path = folder / "evidence.zip"
    path.write_bytes(raw)
    return verify_evidence(path, load_trusted(town.house.settings.home / "trusted-keys.json"))


def first_failure(checks: tuple[Check, ...]) -> str | None:
    return next((check.name for check in checks if not check.ok), None)


def assert_every_change_is_found(town: Any, folder: Path, raw: bytes) -> None:
    members = read_archive(raw)
    for name, content in members.items():
        changed = bytearray(content)
        changed[len(changed) // 2] ^= 1
        checks = examined(town, folder, write_archive({**members, name: bytes(changed)}))
        assert first_failure(checks) is not None, name
        without = {other: content for other, content in members.items() if other != name}
        assert first_failure(examined(town, folder, write_archive(without))) is not None, name


def forged(members: dict[str, bytes], name: str, content: bytes) -> dict[str, bytes]:
    """The member replaced, and the index made to agree."""
    index = json.loads(members[INDEX])
    for file in index["files"]:
        if file["name"] == name:
            file |= {"size": len(content), "sha256": sha256_hex(content)}
    return {**members, name: content, INDEX: json.dumps(index).encode()}


def test_line_breaks_in_what_was_asked_do_not_break_its_evidence(town: Any, tmp_path: Path) -> None:
    """A column named with them stands in the event as it was asked for, and is no end of a line."""
    release_id = denied(town, columns=[f"age{character}x" for character in LINE_BREAKS])
    with town.house.database.read() as work:
        payloads = "".join(entry.payload for entry in Log(work).of_release(release_id))
    assert {"\u2028", "\x85"} <= set(payloads)
    checks = examined(town, tmp_path, evidence_zip(town.house, release_id))
    assert [check for check in checks if not check.ok] == []


def test_a_refusal_has_evidence_that_rebuilds_and_verifies(town: Any, tmp_path: Path) -> None:
    release_id = denied(town)
    answer = town.get(f"/v1/releases/{release_id}/evidence", "carl")
    assert (answer.status_code, answer.mimetype) == (200, "application/zip")
    assert answer.data == evidence_zip(town.house, release_id)
    (event,) = town.events("evidence.exported")
    assert event.data["sha256"] == sha256_hex(answer.data)
    assert event.subjects.release == release_id
    checks = examined(town, tmp_path, answer.data)
    assert [check for check in checks if not check.ok] == []
    assert {"the request is signed by the requester's key", "the decision is the one that was recorded"} <= {
        c.name for c in checks
    }
    members = read_archive(answer.data)
    assert json.loads(members[INDEX])["outcome"] == "denied"
    assert "manifest.json" not in members
    assert b"transactions.parquet" not in answer.data
    assert_every_change_is_found(town, tmp_path, answer.data)


def test_a_forged_index_is_found(town: Any, tmp_path: Path) -> None:
    members = read_archive(evidence_zip(town.house, denied(town)))
    decision = members["decision.json"].replace(b'"permitted":false', b'"permitted":true')
    checks = examined(town, tmp_path, write_archive(forged(members, "decision.json", decision)))
    assert first_failure(checks) == "index is the one that was signed"


def test_even_a_signed_forgery_contradicts_the_log(town: Any, tmp_path: Path) -> None:
    """Whoever holds the manifest key but cannot rewrite the log."""
    from gateway.access import GatewayKeys
    from gateway.evidence.attestation import statement_about
    from gateway.releases.bundle import envelope_of

    members = read_archive(evidence_zip(town.house, denied(town)))
    with town.house.database.read() as work:
        signer = GatewayKeys(work, town.house.sealing).signer("manifest")
    expected = {
        "decision.json": (b'"permitted":false', b'"permitted":true', "the decision is the one that was recorded"),
        "request.jwt": (b"eyJ", b"eyK", "the request is the one that was recorded"),
        "policy.json": (b"lenient", b"another", "the policy is the one that decided"),
        "ticket.json": (b"Approved", b"Rejected", "the ticket is the one that was seen"),
        "events.jsonl": (b"release.decided", b"release.blocked", "every event stands in the log"),
    }
    for name, (old, new, check) in expected.items():
        assert old in members[name], name
        made = forged(members, name, members[name].replace(old, new, 1))
        made[INDEX_ENVELOPE] = envelope_of(statement_about(made[INDEX]), sign=signer.sign, key_id=signer.kid)
        assert first_failure(examined(town, tmp_path, write_archive(made))) == check


def test_another_gateways_keys_verify_nothing(town: Any, tmp_path: Path) -> None:
    from gateway.access import generate_keypair

    raw = evidence_zip(town.house, denied(town))
    document = json.loads((town.house.settings.home / "trusted-keys.json").read_text("utf-8"))
    for key in document["keys"]:
        key["x"] = generate_keypair().public.jwk["x"]
    (tmp_path / "keys.json").write_text(json.dumps(document), "utf-8")
    (tmp_path / "evidence.zip").write_bytes(raw)
    checks = verify_evidence(tmp_path / "evidence.zip", load_trusted(tmp_path / "keys.json"))
    assert first_failure(checks) == "index is signed by a trusted key"


def test_the_crate_is_one(town: Any) -> None:
    members = read_archive(evidence_zip(town.house, denied(town)))
    crate = json.loads(members["ro-crate-metadata.json"])
    graph = {item["@id"]: item for item in crate["@graph"]}
    assert len(graph) == len(crate["@graph"])
    assert graph["ro-crate-metadata.json"]["about"] == {"@id": "./"}
    root = graph["./"]
    assert root["conformsTo"] == {"@id": "https://w3id.org/5s-crate/0.4"}
    assert {"name", "description", "datePublished", "license", "sourceOrganization", "mainEntity"} <= set(root)
    assert {part["@id"] for part in root["hasPart"]} == set(members) - {"ro-crate-metadata.json"}
    references = [
        item["@id"] for value in root.values() for item in (value if isinstance(value, list) else [value]) if "@id" in item
    ]
    assert set(references) <= set(graph)


def test_who_may_and_when(town: Any) -> None:
    answer = town.ask()
    assert answer.status_code == 202
    pending = answer.get_json()["id"]
    assert town.get(f"/v1/releases/{pending}/evidence", "carl").status_code == 409
    assert town.get(f"/v1/releases/{pending}/evidence", "ana").status_code == 403
    assert town.get(f"/v1/releases/{pending}/narrative", "ana").status_code == 403
    assert town.get("/v1/releases/nowhere/evidence", "carl").status_code == 404
    assert town.get(f"/v1/releases/{pending}/compliance/ISO", "carl").status_code == 404
    assert town.client.post("/v1/trace/file", data=b"a", headers=town.login("sam")).status_code == 403
    with pytest.raises(NotFound):
        evidence_zip(town.house, "nowhere")


def test_evidence_waits_for_the_log(town: Any) -> None:
    answer = town.ask(purpose="marketing")
    assert answer.status_code == 403
    release_id = town.events("release.decided")[-1].subjects.release
    with pytest.raises(Conflict, match="checkpoint"):
        evidence_zip(town.house, release_id)


def test_a_refusal_is_told_in_plain_words(town: Any) -> None:
    story = town.get(f"/v1/releases/{denied(town)}/narrative", "carl").get_json()
    assert "ana asked, under ticket DATA-101" in story["text"]
    assert "The request was denied under policy lenient version 1; no data was read." in story["text"]
    assert "Because: " in story["text"]
    assert town.events("compliance.read")[-1].data["what"] == "narrative"


def test_nothing_measured_is_said(town: Any) -> None:
    report = town.get(f"/v1/releases/{denied(town)}/compliance/gdpr", "carl").get_json()
    assert report["not_measured"] == [item["name"] for item in report["indicators"]]
    assert "nothing was measured" in in_words(report)


@pytest.fixture(scope="module")
def two(released: Released) -> tuple[Any, Release, Release]:
    """One release that was let out, and one that the gate blocked."""
    town, another = released
    good = another()
    town.policy(version=2, line="0.0000001")
    blocked = another()
    town.policy(version=3)
    assert (good.status, blocked.status) == (Status.RELEASED, Status.BLOCKED), (good.failure, blocked.failure)
    return town, good, blocked


@pytest.mark.slow
def test_releases_and_blocked_ones_have_evidence(two: tuple[Any, Release, Release], tmp_path: Path) -> None:
    town, good, blocked = two
    for release, outcome in ((good, "released"), (blocked, "blocked")):
        raw = evidence_zip(town.house, release.id)
        checks = examined(town, tmp_path, raw)
        assert [check for check in checks if not check.ok] == []
        members = read_archive(raw)
        assert json.loads(members[INDEX])["outcome"] == outcome
        assert {"report-card.json", "verdict.json", "ledger.json", "policy.json", "card.json"} <= set(members)
        assert "the gate says the same again" in {check.name for check in checks}
        assert ("manifest.json" in members) == (outcome == "released")
        assert_every_change_is_found(town, tmp_path, raw)


@pytest.mark.slow
def test_what_happens_later_does_not_change_evidence(two: tuple[Any, Release, Release], tmp_path: Path) -> None:
    town, good, _ = two
    before = evidence_zip(town.house, good.id)
    assert town.post(f"/v1/releases/{good.id}/tokens", "ana").status_code == 201
    assert town.get(f"/v1/releases/{good.id}/evidence", "carl").status_code == 200
    assert town.ask(purpose="marketing").status_code == 403
    town.sequence()
    assert evidence_zip(town.house, good.id) == before


@pytest.mark.slow
@pytest.mark.parametrize("framework", list(FRAMEWORKS))
def test_a_report_lists_evidence_and_claims_nothing(two: tuple[Any, Release, Release], framework: str) -> None:
    town, good, _ = two
    report = town.get(f"/v1/releases/{good.id}/compliance/{framework}", "carl").get_json()
    assert "compliant" not in report
    assert report["judgement"]
    assert "No metric establishes compliance" in in_words(report)
    listed = {metric["metric"] for item in report["indicators"] for metric in item["metrics"]}
    assert listed <= set(good.report_card["metrics"])  # type: ignore[index]
    assert any(name.startswith("privacy.membership_inference") for name in listed)


@pytest.mark.slow
def test_a_release_is_told_from_request_to_withdrawal(two: tuple[Any, Release, Release], tmp_path: Path) -> None:
    town, good, blocked = two
    before = evidence_zip(town.house, good.id)
    withdraw(town.house, good.id, by="carl", reason="a person objected", now=utc_now())
    town.sequence()
    text = town.get(f"/v1/releases/{good.id}/narrative", "carl").get_json()["text"]
    for words in (
        "ana asked",
        "were held",
        "the gate passed it",
        "were charged",
        "It was released",
        "It was withdrawn: a person objected",
    ):
        assert words in text, text
    told = town.get(f"/v1/releases/{blocked.id}/narrative", "carl").get_json()["text"]
    assert "the gate refused it" in told
    assert "nothing was let out" in told
    assert evidence_zip(town.house, good.id) == before
    assert [check for check in examined(town, tmp_path, before) if not check.ok] == []


def test_a_rotated_or_destroyed_manifest_key_changes_no_evidence_that_was_handed_out(town: Any, tmp_path: Path) -> None:
    release_id = denied(town)
    first = town.get(f"/v1/releases/{release_id}/evidence", "carl").data
    pinned_before = load_trusted(town.house.settings.home / "trusted-keys.json")
    old, fresh = rotated_manifest_key(town)
    again = town.get(f"/v1/releases/{release_id}/evidence", "carl").data
    assert again == first
    signatures = json.loads(read_archive(again)[INDEX_ENVELOPE])["signatures"]
    assert [signature["keyid"] for signature in signatures] == [old] != [fresh]
    (tmp_path / "evidence.zip").write_bytes(again)
    pinned_now = load_trusted(town.house.settings.home / "trusted-keys.json")
    for pinned in (pinned_before, pinned_now):
        assert [check for check in verify_evidence(tmp_path / "evidence.zip", pinned) if not check.ok] == []
    forgotten = replace(pinned_now, manifest=tuple(key for key in pinned_now.manifest if key.thumbprint != old))
    assert first_failure(verify_evidence(tmp_path / "evidence.zip", forgotten)) == "index is signed by a trusted key"


def test_the_address_of_the_process_does_not_stand_in_evidence(town: Any, tmp_path: Path) -> None:
    release_id = denied(town)
    raw = evidence_zip(town.house, release_id)
    elsewhere = replace(town.house, settings=town.house.settings.model_copy(update={"port": 9191}))
    assert elsewhere.issuer != town.house.issuer
    assert evidence_zip(elsewhere, release_id) == raw
    document = json.loads((town.house.settings.home / "trusted-keys.json").read_text("utf-8"))
    (tmp_path / "keys.json").write_text(json.dumps({**document, "issuer": elsewhere.issuer}), "utf-8")
    (tmp_path / "evidence.zip").write_bytes(raw)
    checks = verify_evidence(tmp_path / "evidence.zip", load_trusted(tmp_path / "keys.json"))
    assert [check for check in checks if not check.ok] == []


def test_evidence_first_asked_for_after_a_rotation_verifies_with_the_keys_of_then_and_now(town: Any, tmp_path: Path) -> None:
    release_id = denied(town)
    rotated_manifest_key(town)
    raw = town.get(f"/v1/releases/{release_id}/evidence", "carl").data
    assert [check for check in examined(town, tmp_path, raw) if not check.ok] == []
    rotated_manifest_key(town)
    assert town.get(f"/v1/releases/{release_id}/evidence", "carl").data == raw


def rotated_manifest_key(town: Any) -> tuple[str, str]:
    """Rotate, destroy the old private part, pin the public keys anew; answers the old and the new key id."""
    from gateway.access import GatewayKeys
    from gateway.cli.setup import write_trusted

    with town.house.database.begin() as work:
        keys = GatewayKeys(work, town.house.sealing)
        old = keys.signer("manifest").kid
        keys.rotate(utc_now(), "manifest")
        keys.destroy(old, utc_now())
        fresh = keys.signer("manifest").kid
        jwks = keys.jwks(utc_now())
        work.commit()
    write_trusted(town.house.settings.home / "trusted-keys.json", town.house.issuer, jwks)
    return old, fresh


def test_a_zip_is_only_an_archive(town: Any, tmp_path: Path) -> None:
    raw = evidence_zip(town.house, denied(town))
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        assert archive.testzip() is None
        assert len({entry.date_time for entry in archive.infolist()}) == 1
    assert first_failure(examined(town, tmp_path, raw[: len(raw) // 2])) == "archive can be read"


def test_the_command_line_exports_verifies_and_ends_with_six(
    town: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gateway.cli.main import main

    def run(*arguments: str) -> tuple[int, Any]:
        with pytest.raises(SystemExit) as left:
            main([*arguments, "--json"])
        return int(str(left.value.code)), json.loads(capsys.readouterr().out)

    release_id = denied(town)
    monkeypatch.setenv("TICKETGATE_HOME", str(town.house.settings.home))
    monkeypatch.chdir(tmp_path)
    code, written = run("evidence", release_id, "--out", "evidence.zip")
    raw = (tmp_path / "evidence.zip").read_bytes()
    assert (code, written["sha256"]) == (0, sha256_hex(raw))
    code, answer = run("verify", "evidence.zip")
    assert (code, answer["ok"]) == (0, True)
    place = raw.index(b'"permitted"')
    (tmp_path / "evidence.zip").write_bytes(raw[:place] + b'"permittee"' + raw[place + 11 :])
    code, answer = run("verify", "evidence.zip")
    assert (code, answer["ok"]) == (6, False)
    code, report = run("compliance-report", release_id, "--framework", "hipaa")
    assert (code, report["framework"]) == (0, "HIPAA")
    code, story = run("narrative", release_id)
    assert (code, story["status"]) == (0, "denied")
    assert {event.data["what"] for event in town.events("compliance.read")} == {"compliance-report", "narrative"}
