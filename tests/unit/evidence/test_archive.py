"""Evidence archives: the same bytes for the same members, and nothing hostile is unpacked."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import pytest

from gateway.errors import VerificationFailed
from gateway.evidence.archive import MAX_MEMBERS, read_archive, write_archive
from gateway.evidence.checks import Check, run_check
from gateway.evidence.frameworks import FRAMEWORKS
from policies.metric_catalogue import CATALOGUE

MEMBERS = {"b.json": b"{}", "a.json": b"[]", "proofs/000-x.tlog-proof": b"text"}


def zipped(add: Callable[[zipfile.ZipFile], None], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        add(archive)
    return stream.getvalue()


def test_what_is_written_is_read_and_is_the_same_in_any_order() -> None:
    raw = write_archive(MEMBERS)
    assert raw == write_archive(dict(reversed(MEMBERS.items())))
    assert read_archive(raw) == MEMBERS


@pytest.mark.parametrize(
    "name", ["../up", "/etc/passwd", "a/b.json", "proofs/../x", "c:x", ".hidden", "proofs/", "a\\b", "é.json"]
)
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(VerificationFailed):
        read_archive(zipped(lambda archive: archive.writestr(name, b"x")))


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    with pytest.raises(VerificationFailed, match="compressed"):
        read_archive(zipped(lambda archive: archive.writestr("bomb.json", bytes(50 << 20)), zipfile.ZIP_DEFLATED))


def test_too_many_members_and_twins_are_refused() -> None:
    def many(archive: zipfile.ZipFile) -> None:
        for place in range(MAX_MEMBERS + 1):
            archive.writestr(f"m{place}", b"")

    with pytest.raises(VerificationFailed, match="too many"):
        read_archive(zipped(many))

    def twins(archive: zipfile.ZipFile) -> None:
        archive.writestr("a.json", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.json", b"2")

    with pytest.raises(VerificationFailed, match="twice"):
        read_archive(zipped(twins))


@pytest.mark.parametrize("cut", [0, 1, 40, 100, 200])
def test_what_is_no_zip_is_refused(cut: int) -> None:
    with pytest.raises(VerificationFailed, match="cannot be read"):
        read_archive(write_archive(MEMBERS)[:cut])


def test_any_flipped_byte_is_refused_or_leaves_other_members() -> None:
    raw = write_archive(MEMBERS)
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= 0x41
        try:
            read_archive(bytes(changed))
        except VerificationFailed:
            continue


def test_a_hostile_document_fails_its_check_and_raises_nothing() -> None:
    checks: list[Check] = []
    assert run_check(checks, "shape", lambda: {}["missing"]) is None
    assert (checks[0].ok, checks[0].name) == (False, "shape")


def test_every_privacy_metric_serves_an_indicator_or_is_about_the_measurement_itself() -> None:
    about_the_measurement = {"privacy.holdout_contaminated", "privacy.exchangeability", "privacy.blind_attack.auc"}
    prefixes = [prefix.rstrip(".") for item in FRAMEWORKS["GDPR"].indicators for prefix in item.metrics]
    for name in CATALOGUE:
        if name.startswith("privacy.") and name not in about_the_measurement:
            assert any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes), name
    for framework in FRAMEWORKS.values():
        for item in framework.indicators:
            for prefix in item.metrics:
                assert any(name == prefix.rstrip(".") or name.startswith(prefix.rstrip(".") + ".") for name in CATALOGUE), prefix
