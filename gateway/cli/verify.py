"""Verify a bundle or an evidence file offline."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli.output import Refused, emit, json_option
from gateway.errors import EXIT_VERIFICATION
from gateway.evidence.checks import load_trusted, verify_bundle
from gateway.evidence.examine import verify_evidence
from gateway.settings import Settings

__all__ = ["find_keys", "verify"]


def find_keys(keys: Path | None) -> Path:
    """The pinned keys: as given, in this folder, or those of the gateway's home."""
    if keys is not None:
        return keys
    here = Path("trusted-keys.json")
    return here if here.exists() else Settings().home / "trusted-keys.json"


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--keys", type=click.Path(path_type=Path, dir_okay=False), help="Pinned keys; default: trusted-keys.json here or at home."
)
@json_option
def verify(*, bundle: Path, keys: Path | None, as_json: bool) -> None:
    """Check a bundle (a folder) or an evidence file (a zip), offline: signatures, every member, and the log's proofs."""
    trusted = load_trusted(find_keys(keys))
    checks = verify_evidence(bundle, trusted) if bundle.is_file() else verify_bundle(bundle, trusted)
    ok = all(check.ok for check in checks)
    lines = [f"{'ok  ' if check.ok else 'FAIL'}  {check.name}" + ("" if check.ok else f": {check.detail}") for check in checks]
    lines.append(f"{bundle}: {'verified' if ok else 'NOT VERIFIED'} against the keys of {trusted.issuer}")
    emit({"ok": ok, "issuer": trusted.issuer, "checks": [check.to_json() for check in checks]}, "\n".join(lines), as_json=as_json)
    if not ok:
        failed = next(check for check in checks if not check.ok)
        raise Refused(f"{failed.name}: {failed.detail}", EXIT_VERIFICATION)
