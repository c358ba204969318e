"""The life of the gateway's keys, and how they are kept."""

from __future__ import annotations

import os
import stat
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from gateway.access import GatewayKeys, KmsSealing, PassphraseSealing, sealing_from_file
from gateway.access.gateway_keys import OVERLAP, SIGNS_FOR
from gateway.access.jws import RELEASE_TOKEN, sign, signature_holds
from gateway.db.tables.access import gateway_key
from gateway.errors import Conflict, InvalidRequest, NotFound, TokenRefused, Unavailable, VerificationFailed

DAY = timedelta(days=1)


def of(house, purpose, state):
    return [key for key in house.keys.list() if (key.purpose, key.state) == (purpose, state)]


def published(house, now):
    return {key["kid"] for key in house.keys.jwks(now)["keys"]}


def test_every_purpose_has_an_active_and_a_next_key(house):
    assert [(key.purpose, key.state) for key in house.keys.list()].__len__() == 6
    assert house.keys.ensure(house.now) == (), "a second start changes nothing"
    for purpose in ("token", "manifest", "log"):
        (active,), (following,) = of(house, purpose, "active"), of(house, purpose, "next")
        signer = house.keys.signer(purpose)
        assert signer.kid == active.kid != following.kid
        assert len(signer.sign(b"message")) == 64
        assert signer.public == active.public
        assert signer.public_bytes == active.public.raw_bytes()


def test_a_key_signs_for_its_purpose_only(house):
    message = sign(
        {"typ": "release+jwt", "kid": house.keys.signer("manifest").kid}, b"{}", house.keys.signer("manifest").private_key
    )
    assert signature_holds(house.keys.signer("manifest").public, message, name="EdDSA")
    assert house.keys.token_key(house.keys.signer("manifest").kid, house.now) is None
    assert house.keys.token_key(of(house, "token", "next")[0].kid, house.now) is None, "the next key does not sign yet"
    assert RELEASE_TOKEN.take_apart(message)


def test_rotation_overlaps(house):
    token, old = house.issue(), house.keys.signer("token").kid
    following = of(house, "token", "next")[0].kid
    assert following in published(house, house.now), "the next key is published before it signs"
    events = house.keys.rotate(house.now, "token")
    assert [(event.action, event.kid) for event in events][:2] == [("retired", old), ("activated", following)]
    assert house.keys.signer("token").kid == following
    assert house.check(token), "what the old key signed is still believed"
    assert old in published(house, house.now + OVERLAP - DAY / 24)
    assert old not in published(house, house.now + OVERLAP)
    assert house.keys.token_key(old, house.now + OVERLAP) is None


def test_a_leaked_key_is_retired_at_once(house):
    token, old = house.issue(), house.keys.signer("token").kid
    house.keys.retire(old, house.now)
    with pytest.raises(TokenRefused):
        house.check(token)
    assert house.keys.signer("token").kid != old
    with pytest.raises(Conflict):
        house.keys.retire(old, house.now)
    with pytest.raises(Conflict):
        house.keys.retire(of(house, "token", "next")[0].kid, house.now)


def test_a_key_that_leaks_during_its_overlap_ends_too(house):
    token, old = house.issue(), house.keys.signer("token").kid
    house.keys.rotate(house.now, "token")
    assert [event.action for event in house.keys.retire(old, house.now)] == ["retired"]
    with pytest.raises(TokenRefused):
        house.check(token)


def test_a_destroyed_key_has_no_private_part_but_its_signatures_stay_verifiable(house):
    old = house.keys.signer("manifest").kid
    with pytest.raises(Conflict):
        house.keys.destroy(old, house.now)
    house.keys.rotate(house.now, "manifest")
    assert [event.action for event in house.keys.destroy(old, house.now)] == ["destroyed"]
    assert house.work.execute(select(gateway_key.c.sealed).where(gateway_key.c.kid == old)).scalar() is None
    assert old in published(house, house.now + 1000 * DAY)
    token_key = house.keys.signer("token").kid
    house.keys.rotate(house.now, "token")
    house.keys.destroy(token_key, house.now)
    assert token_key not in published(house, house.now)
    assert house.keys.token_key(token_key, house.now) is None
    assert house.keys.get(token_key).state == "destroyed"


def test_token_keys_rotate_when_they_are_due_and_others_by_hand(house):
    old = {purpose: house.keys.signer(purpose).kid for purpose in ("token", "manifest", "log")}
    due = house.now + SIGNS_FOR["token"] - OVERLAP
    assert house.keys.ensure(due - DAY) == ()
    assert [event.action for event in house.keys.ensure(due)] == ["retired", "activated", "created"]
    assert {purpose for purpose, kid in old.items() if house.keys.signer(purpose).kid != kid} == {"token"}
    assert house.keys.signer("log").retires_at is None


def test_the_jwk_set_holds_public_members_only(house):
    found, now = house.keys.jwks(house.now)["keys"], house.now
    public = {"crv", "kty", "x", "kid", "alg", "use", "ticketgate_purpose"}
    assert all(set(key) == public | ({"ticketgate_origin"} if key["ticketgate_purpose"] == "log" else set()) for key in found)
    assert len(published(house, now)) == 6


def test_without_keys_there_is_no_signer(house):
    house.work.execute(update(gateway_key).values(slot=None))
    with pytest.raises(Unavailable):
        house.keys.signer("token")
    with pytest.raises(Conflict):
        house.keys.rotate(house.now, "token")
    with pytest.raises(NotFound):
        house.keys.get("nobody")
    with pytest.raises(NotFound):
        house.keys.retire("nobody", house.now)


def test_another_passphrase_does_not_open_a_key(house):
    with pytest.raises(VerificationFailed):
        GatewayKeys(house.work, PassphraseSealing(b"another passphrase", work_factor=2)).signer("token")


def test_sealed_keys_cannot_be_swapped_between_purposes(house):
    rows = {row.slot: row for row in house.work.execute(select(gateway_key)).all()}
    stolen = rows["manifest/active"].sealed
    house.work.execute(update(gateway_key).where(gateway_key.c.slot == "token/active").values(sealed=stolen))
    with pytest.raises(VerificationFailed):
        house.keys.signer("token")


def test_a_creation_that_another_process_won_makes_no_event(house):
    assert house.keys._create("token", "active", house.now) == ()


# Sealing -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", range(0, 60, 3))
def test_any_changed_byte_is_noticed(position):
    sealing = PassphraseSealing(b"correct horse battery", work_factor=2)
    sealed = bytearray(sealing.seal(b"a private key of some length", context={"kid": "a"}))
    sealed[position % len(sealed)] ^= 1
    with pytest.raises(VerificationFailed):
        sealing.open(bytes(sealed), context={"kid": "a"})


def test_sealing_opens_in_another_process_and_context_is_bound():
    sealed = PassphraseSealing(b"correct horse battery", work_factor=4).seal(b"secret", context={"kid": "a", "purpose": "log"})
    other = PassphraseSealing(b"correct horse battery")
    assert other.open(sealed, context={"purpose": "log", "kid": "a"}) == b"secret"
    for context in ({"kid": "b", "purpose": "log"}, {"kid": "a"}, {}):
        with pytest.raises(VerificationFailed):
            other.open(sealed, context=context)
    for broken in (b"", sealed[:20], b"\x02" + sealed[1:], sealed[:1] + b"\x40" + sealed[2:]):
        with pytest.raises(VerificationFailed):
            other.open(broken, context={"kid": "a", "purpose": "log"})
    assert "horse" not in repr(other)


def test_a_short_passphrase_is_refused():
    with pytest.raises(InvalidRequest):
        PassphraseSealing(b"short")


def test_a_key_management_service_wraps(house):
    kept = {}

    def wrap(secret, context):
        kept[len(kept)] = (secret, dict(context))
        return str(len(kept) - 1).encode()

    def unwrap(sealed, context):
        secret, bound = kept[int(sealed)]
        if bound != dict(context):
            raise VerificationFailed("refused")
        return secret

    sealing = KmsSealing(wrap, unwrap)
    house.work.execute(gateway_key.delete())
    keys = GatewayKeys(house.work, sealing)
    keys.ensure(house.now)
    assert keys.signer("token").sign(b"x")
    assert {context["purpose"] for _, context in kept.values()} == {"token", "manifest", "log"}
    with pytest.raises(VerificationFailed):
        sealing.open(b"\x01sealed by passphrase", context={})


def test_the_sealing_file_is_made_once_and_must_be_private(tmp_path):
    path = tmp_path / "keys" / "seal"
    with pytest.raises(InvalidRequest):
        sealing_from_file(path)
    first = sealing_from_file(path, create=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sealing_from_file(path, create=True).ring[0].secret == first.ring[0].secret
    assert len(first.ring[0].secret) >= 43
    path.chmod(0o644)
    with pytest.raises(InvalidRequest, match="others"):
        sealing_from_file(path)
    path.chmod(0o600)
    os.truncate(path, 3)
    with pytest.raises(InvalidRequest):
        sealing_from_file(path)
