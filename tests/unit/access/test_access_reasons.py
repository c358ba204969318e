"""Every reason that can stand in the log is explained, and the words outside stay the same."""

from __future__ import annotations

import re
from pathlib import Path

import gateway.access
from gateway.access import reason_of
from gateway.access.refusal import WORDS, refusal, token_refusal
from gateway.errors import NotAuthenticated, TokenRefused

ROOT = Path(__file__).resolve().parents[3]
RAISED = re.compile(r'refusal\(f?"([^"]+)"|_NoToken\("\w+", "([^"]+)"')


def reasons():
    folder = Path(gateway.access.__file__).parent
    found = {slug for path in folder.glob("*.py") for pair in RAISED.findall(path.read_text()) for slug in pair if slug}
    return found - {"time-{name}"} | {"time-iat", "time-exp", "time-nbf"}


def test_every_reason_is_explained():
    page = (ROOT / "docs" / "explanation" / "access.md").read_text()
    explained = set(re.findall(r"`([a-z0-9-]+)`", page))
    assert reasons() <= explained
    assert len(reasons()) > 40


def test_a_reason_is_for_the_log_only():
    for error in (refusal("revoked"), token_refusal("revoked")):
        assert reason_of(error) == "revoked"
        assert str(error) == error.detail == WORDS
    assert isinstance(token_refusal("x"), TokenRefused)
    assert reason_of(NotAuthenticated("made elsewhere")) == "unknown"
    noted = NotAuthenticated("made elsewhere")
    noted.add_note("something else")
    assert reason_of(noted) == "unknown"
