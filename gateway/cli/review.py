"""The reviewer's work: list, show, approve, reject."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli.analyst import client_of, server_options
from gateway.cli.output import emit, json_option

__all__ = ["review"]


@click.group()
def review() -> None:
    """Releases that wait for people."""


@review.command("list")
@server_options
@json_option
def list_(*, server: str, principal: str, key_file: Path, as_json: bool) -> None:
    """What waits for reviewers."""
    found = client_of(server, principal, key_file).call("GET", "/v1/reviews")
    lines = [
        f"{item['id']}: {item['dataset']} for {item['principal']} ({item['voted']} of {item['approvers']} voted)"
        + (f"; the gate warns of {', '.join(item['warnings'])}" if item["warnings"] else "")
        for item in found["reviews"]
    ]
    emit(found, "\n".join(lines) or "Nothing waits.", as_json=as_json)


@review.command()
@click.argument("release")
@server_options
@json_option
def show(*, release: str, server: str, principal: str, key_file: Path, as_json: bool) -> None:
    """One release that waits, with its verdict."""
    found = client_of(server, principal, key_file).call("GET", f"/v1/releases/{release}")
    rules = (found.get("verdict") or {}).get("rules", [])
    lines = [f"{found['id']}: {found['status']}", *(f"  {rule['status']:14} {rule['metric']}" for rule in rules)]
    emit(found, "\n".join(lines), as_json=as_json)


def _vote(release: str, comment: str, *, approve: bool, server: str, principal: str, key_file: Path, as_json: bool) -> None:
    body = {"approve": approve, "comment": comment}
    found = client_of(server, principal, key_file).call("POST", f"/v1/reviews/{release}/decision", json=body)
    emit(found, f"{release}: {found['status']} ({found['voted']} of {found['approvers']} voted)", as_json=as_json)


@review.command()
@click.argument("release")
@click.option("--comment", required=True, help="Why; stands in the log.")
@server_options
@json_option
def approve(*, release: str, comment: str, server: str, principal: str, key_file: Path, as_json: bool) -> None:
    """Approve a release."""
    _vote(release, comment, approve=True, server=server, principal=principal, key_file=key_file, as_json=as_json)


@review.command()
@click.argument("release")
@click.option("--comment", required=True, help="Why; stands in the log.")
@server_options
@json_option
def reject(*, release: str, comment: str, server: str, principal: str, key_file: Path, as_json: bool) -> None:
    """Reject a release: nothing leaves."""
    _vote(release, comment, approve=False, server=server, principal=principal, key_file=key_file, as_json=as_json)
