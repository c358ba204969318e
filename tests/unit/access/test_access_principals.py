"""Principals and their keys; roles and scopes; limits."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway.access import ACCESS, LIMITS, ROLES, SCOPES, address_key, generate_keypair, principal_key, scopes_of
from gateway.access.principals import MAX_KEYS
from gateway.access.scopes import SCOPES_OF_ROLE
from gateway.errors import Conflict, InvalidRequest, NotFound


def test_a_principal_has_an_account_roles_and_keys(house):
    rob = house.principals.add(
        "rob", roles=["reviewer", "reviewer"], key=generate_keypair().public.pem(), account_id="jira-17", now=house.now
    )
    assert (rob.account_id, rob.roles, len(rob.keys), rob.disabled_at) == ("jira-17", {"reviewer"}, 1, None)
    assert house.principals.get("ana").account_id == "ana"
    assert [principal.name for principal in house.principals.list()] == ["ana", "carl", "rob"]
    assert rob.facts().roles == {"reviewer"}
    assert not rob.facts().is_disabled
    assert house.principals.set_roles("rob", ["steward"]).roles == {"steward"}


@pytest.mark.parametrize("name", ["", "a b", ".hidden", "../x", "é", "a" * 129, "a\n", "-x"])
def test_names_that_cannot_be(house, name):
    with pytest.raises(InvalidRequest):
        house.principals.add(name, roles=["analyst"], key=generate_keypair().public, now=house.now)


@pytest.mark.parametrize("account", ["", "a b", "é", "x" * 129])
def test_accounts_that_cannot_be(house, account):
    with pytest.raises(InvalidRequest):
        house.principals.add("rob", roles=["analyst"], key=generate_keypair().public, account_id=account, now=house.now)


@pytest.mark.parametrize("roles", [[], ["root"], ["analyst", "Admin"]])
def test_roles_that_cannot_be(house, roles):
    with pytest.raises(InvalidRequest):
        house.principals.add("rob", roles=roles, key=generate_keypair().public, now=house.now)
    with pytest.raises(InvalidRequest):
        house.principals.set_roles("ana", roles)


@pytest.mark.parametrize("name", ["ana", "Ana", "ANA"])
def test_a_name_exists_once_in_any_case(house, name):
    with pytest.raises(Conflict):
        house.principals.add(name, roles=["analyst"], key=generate_keypair().public, now=house.now)


def test_a_key_has_one_owner_for_ever(house):
    house.principals.disable_key(house.ana.thumbprint, now=house.now)
    for name in ("ana", "carl"):
        with pytest.raises(Conflict):
            house.principals.add_key(name, house.ana.public, now=house.now)


def test_keys_expire_and_are_bounded_in_number(house):
    with pytest.raises(InvalidRequest):
        house.principals.add_key("ana", generate_keypair().public, expires_at=house.now, now=house.now)
    for _ in range(MAX_KEYS - 1):
        house.principals.add_key("ana", dict(generate_keypair().public.jwk), now=house.now)
    with pytest.raises(InvalidRequest):
        house.principals.add_key("ana", generate_keypair().public, now=house.now)
    house.principals.disable_key(house.ana.thumbprint, now=house.now)
    assert house.principals.add_key("ana", generate_keypair().public, now=house.now)


def test_disabling_is_final_and_keeps_its_first_moment(house):
    later = house.now + timedelta(hours=1)
    house.principals.disable("ana", now=house.now)
    assert house.principals.disable("ana", now=later).disabled_at == house.now
    assert house.principals.get("ana").facts().is_disabled
    house.principals.disable_key(house.carl.thumbprint, now=house.now)
    assert house.principals.disable_key(house.carl.thumbprint, now=later).key.disabled_at == house.now
    registered = house.principals.key_of(house.ana.thumbprint)
    assert not registered.is_usable(house.now)
    assert registered.key.is_usable(house.now), "the key is fine, its principal is not"


def test_the_unknown_is_not_found(house):
    assert house.principals.find("nobody") is None
    assert house.principals.key_of("nothing") is None
    for call in (
        lambda: house.principals.get("nobody"),
        lambda: house.principals.set_roles("nobody", ["analyst"]),
        lambda: house.principals.disable("nobody", now=house.now),
        lambda: house.principals.disable_key("nothing", now=house.now),
        lambda: house.principals.add_key("nobody", generate_keypair().public, now=house.now),
    ):
        with pytest.raises(NotFound):
            call()


def test_every_role_has_scopes_and_every_scope_a_role():
    assert set(SCOPES_OF_ROLE) == set(ROLES)
    assert frozenset().union(*SCOPES_OF_ROLE.values()) == set(SCOPES)
    assert scopes_of(["nobody"]) == scopes_of([]) == frozenset()
    assert scopes_of(["analyst", "reviewer"]) == SCOPES_OF_ROLE["analyst"] | SCOPES_OF_ROLE["reviewer"]


def test_only_reviewers_decide_and_only_analysts_obtain_release_tokens():
    assert [role for role in ROLES if "reviews:decide" in SCOPES_OF_ROLE[role]] == ["reviewer"]
    assert [role for role in ROLES if "releases:token" in SCOPES_OF_ROLE[role]] == ["analyst"]
    assert [role for role in ROLES if "leaks:trace" in SCOPES_OF_ROLE[role]] == ["compliance"]
    assert [role for role in ROLES if "datasets:inspect" in SCOPES_OF_ROLE[role]] == ["steward"]
    assert "audit:export" not in SCOPES_OF_ROLE["admin"]


def test_every_scope_is_an_access_level():
    assert {level.scope for level in ACCESS.values() if level.scope} == set(SCOPES)
    assert all(name == level.name for name, level in ACCESS.items())
    assert [name for name, level in ACCESS.items() if level.credential == "none"] == ["public"]


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "address:192.0.2.7"),
        ("::ffff:192.0.2.7", "address:192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "address:2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "address:2001:db8:1:2::/64"),
        ("fe80::1%eth0", "address:fe80::/64"),
        ("unix:", "address:unknown"),
        ("", "address:unknown"),
        (None, "address:unknown"),
    ],
)
def test_under_what_an_address_is_counted(address, key):
    assert address_key(address) == key


def test_limits_are_plain_data():
    assert principal_key("ana") == "principal:ana"
    assert {limit.text() for limit in LIMITS if limit.name == "credentials"} == {"30 per 300 second"}
    assert {limit.by for limit in LIMITS if limit.counts == "failures"} == {"address"}, (
        "nobody is locked out by another's guesses"
    )
