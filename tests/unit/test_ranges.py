"""Byte ranges as RFC 9110 has them, with the size in every refusal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import RangeNotSatisfiable
from gateway.releases.ranges import RangeAsked, part_of

ETAG = '"abc"'


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, None),
        ("bytes=0-", (0, 10)),
        ("bytes=2-4", (2, 3)),
        ("Bytes = 2-4", None),
        ("BYTES=2-4", (2, 3)),
        ("bytes=9-99", (9, 1)),
        ("bytes=-3", (7, 3)),
        ("bytes=-99", (0, 10)),
        ("items=0-4", None),
        ("rows=0-1,5-6", None),
        ("nonsense", None),
    ],
)
def test_one_range_of_bytes_or_the_whole(header: str | None, part: tuple[int, int] | None) -> None:
    assert part_of(RangeAsked(header), size=10, etag=ETAG) == part


@pytest.mark.parametrize(
    "header", ["bytes=10-", "bytes=5-4", "bytes=-0", "bytes=-", "bytes=", "bytes", "bytes=0-1,5-6", "bytes=x-y", "bytes=٣-"]
)
def test_what_cannot_be_served_is_refused_with_the_size(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as refused:
        part_of(RangeAsked(header), size=10, etag=ETAG)
    assert refused.value.size == 10


@pytest.mark.parametrize(("version", "part"), [(ETAG, (0, 5)), ('"other"', None), (f"W/{ETAG}", None), ("abc", None), ("", None)])
def test_a_range_of_another_version_is_the_whole(version: str, part: tuple[int, int] | None) -> None:
    assert part_of(RangeAsked("bytes=0-4", version), size=10, etag=ETAG) == part
    assert part_of(RangeAsked("bytes=99-", "other"), size=10, etag=ETAG) is None, "it is not even looked at"


def test_nothing_has_no_ranges() -> None:
    for header in ("bytes=0-", "bytes=-5"):
        with pytest.raises(RangeNotSatisfiable):
            part_of(RangeAsked(header), size=0, etag=ETAG)


@given(header=st.text(max_size=30), size=st.integers(0, 1 << 40))
def test_no_header_leads_outside_the_artifact(header: str, size: int) -> None:
    for text in (header, f"bytes={header}"):
        try:
            part = part_of(RangeAsked(text), size=size, etag=ETAG)
        except RangeNotSatisfiable:
            continue
        assert part is None or (0 <= part[0] < size and 1 <= part[1] <= size - part[0])
