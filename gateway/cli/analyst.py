"""The analyst's day: keygen, login, request, status, wait, cancel, download."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
import httpx
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from gateway.access import write_keypair
from gateway.cli.output import Refused, emit, json_option, stderr
from gateway.cli.setup import trusted_keys
from gateway.client import Client, RemoteProblem
from gateway.errors import EXIT_FAILED, EXIT_REFUSED, Unavailable

__all__ = ["cancel", "client_of", "download", "keygen", "login", "request", "server_options", "status", "wait"]

F = TypeVar("F", bound=Callable[..., Any])
REFUSED = frozenset({"denied", "blocked", "cancelled", "withdrawn", "expired"})


def server_options(command: F) -> F:
    """`--server`, `--as` and `--key`, which every call to a gateway needs."""
    for option in (
        click.option(
            "--key", "key_file", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Your private key."
        ),
        click.option("--as", "principal", required=True, help="The name under which your key is registered."),
        click.option(
            "--server", envvar="TICKETGATE_SERVER", default="http://127.0.0.1:8080", show_default=True, help="The gateway."
        ),
    ):
        command = option(command)
    return command


def client_of(server: str, principal: str, key_file: Path) -> Client:
    """A client for what the options say."""
    return Client(server, principal=principal, key_file=key_file)


@click.command()
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="File of the private key (0600).")
@json_option
def keygen(*, out: Path, as_json: bool) -> None:
    """Make an Ed25519 key pair: NAME.pem (0600) and NAME.pub.pem."""
    key, public = write_keypair(out), out.with_suffix(".pub.pem")
    document = {"private": str(out), "public": str(public), "thumbprint": key.thumbprint}
    emit(document, f"private key  {out} (0600)\npublic key   {public}\nthumbprint   {key.thumbprint}", as_json=as_json)


@click.command()
@click.option("--server", envvar="TICKETGATE_SERVER", default="http://127.0.0.1:8080", show_default=True)
@click.option(
    "--keys", "out", default=Path("trusted-keys.json"), type=click.Path(path_type=Path, dir_okay=False), show_default=True
)
@json_option
def login(*, server: str, out: Path, as_json: bool) -> None:
    """Fetch the gateway's public keys once and pin them, for offline verification."""
    if out.exists():
        raise Refused(
            f"{out} pins keys already; compare its fingerprints with your operator and remove it to pin anew", EXIT_REFUSED
        )
    try:
        issuer = httpx.get(f"{server}/.well-known/oauth-authorization-server", timeout=30).raise_for_status().json()["issuer"]
        jwks = httpx.get(f"{server}/.well-known/jwks.json", timeout=30).raise_for_status().json()
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise Unavailable(f"the gateway at {server} does not answer ({type(error).__name__})") from error
    document = trusted_keys(issuer, jwks)
    out.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", "utf-8")
    lines = [f"{key['ticketgate_purpose']:9} {key['kid']}" for key in document["keys"]]
    emit(document, "\n".join([f"pinned in {out}; compare with your operator:", *lines]), as_json=as_json)


def column_names(text: str) -> list[str]:
    """Names separated by commas; a name with a comma in it stands in double quotes, as in a CSV file."""
    return [name.strip() for name in next(csv.reader([text], skipinitialspace=True))]


@click.command()
@click.option("--ticket", required=True, help="The ticket that justifies the release.")
@click.option("--dataset", required=True)
@click.option("--rows", required=True, type=click.IntRange(min=1))
@click.option("--purpose", required=True)
@click.option("--generator", required=True)
@click.option("--epsilon", help="Privacy loss of the release; exact, as in 1.0.")
@click.option("--delta", help="Default: that of the dataset.")
@click.option("--format", "format_", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True)
@click.option("--policy", help="Needed when several policies cover the dataset.")
@click.option("--columns", help='Comma-separated, quoted as in CSV where a name has a comma: id,"Income, yearly". Default: all.')
@click.option("--seed", type=int, help="Drives the synthetic sampling, never the privacy noise.")
@click.option("--param", "params", multiple=True, help="Hyper-parameter as NAME=VALUE (JSON value); may be given several times.")
@click.option("--wait", "is_waiting", is_flag=True, help="Wait for the end; with --out, fetch the bundle.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the bundle.")
@click.option("--timeout", type=float, default=3600.0, show_default=True)
@server_options
@json_option
def request(  # noqa: PLR0913 - the options of the contract
    *,
    ticket: str,
    dataset: str,
    rows: int,
    purpose: str,
    generator: str,
    epsilon: str | None,
    delta: str | None,
    format_: str,
    policy: str | None,
    columns: str | None,
    seed: int | None,
    params: tuple[str, ...],
    is_waiting: bool,
    out: Path | None,
    timeout: float,
    server: str,
    principal: str,
    key_file: Path,
    as_json: bool,
) -> None:
    """Ask for a release: sign, send, and with --wait see it through."""
    client = client_of(server, principal, key_file)
    try:
        answer = client.request(
            ticket=ticket, dataset=dataset, rows=rows, purpose=purpose, generator=generator, epsilon=epsilon, delta=delta,
            format=format_, policy=policy, columns=None if columns is None else column_names(columns),
            seed=seed, hyperparameters=dict(_parameter(text) for text in params),
        )  # fmt: skip
    except RemoteProblem as problem:
        if "violations" not in problem.document:
            raise
        _refused_at_once(problem, as_json=as_json)
    if not is_waiting:
        emit(
            answer,
            f"request {answer['id']} is {answer['status']}; watch it with `ticketgate wait {answer['id']}`",
            as_json=as_json,
        )
        return
    final = _wait(client, str(answer["id"]), timeout)
    bundle = None
    if final["status"] == "released" and out is not None:
        bundle = str(client.download(str(answer["id"]), out))
    _finish(final, bundle, as_json=as_json)


def _parameter(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator:
        raise click.UsageError(f"--param takes NAME=VALUE, not '{text}'")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _refused_at_once(problem: RemoteProblem, *, as_json: bool) -> NoReturn:
    document = problem.document
    shown = {
        "request_id": document.get("id"), "release_id": document.get("id"), "status": "denied", "code": problem.slug,
        "decision_id": document.get("decision_id"), "violations": document.get("violations", []),
        "unlock": document.get("unlock", []), "bundle": None,
    }  # fmt: skip
    title = "denied by policy; no data was read, and no budget was spent"
    emit(shown, _violations(title, shown), as_json=as_json)
    raise Refused("", EXIT_REFUSED)


def _violations(title: str, shown: Mapping[str, Any]) -> str:
    lines = [f"{shown['release_id']}: {title}"]
    for item in shown["violations"]:
        rule, message = item["rule"], str(item["message"])
        lines.append(f"  ✗ {message if message.startswith(f'{rule}:') else f'{rule}: {message}'}")
        required = f"required: {_told(item.get('required'))}"
        if item.get("observed") is not None:
            lines.append(f"      observed: {_told(item['observed'])}; {required}")
        elif item.get("required") is not None:  # of a gate's metric the requester may see the line, not always the figure
            lines.append(f"      {required}")
    if shown["unlock"]:
        lines += ["what you can do:", *(f"  → {step}" for step in shown["unlock"])]
    return "\n".join(lines)


def _told(value: Any) -> str:
    """A value of a rule as people read it."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "nothing"
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return "nothing" if value is None else str(value)


def _wait(client: Client, request_id: str, timeout: float) -> dict[str, Any]:
    if not stderr.is_terminal:
        return client.wait(request_id, timeout=timeout)
    columns = (TextColumn("{task.description:24}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn())
    with Progress(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task("queued", total=1.0)

        def tell(answer: Mapping[str, Any]) -> None:
            words = f"{answer['status']}: {answer['stage']}" if answer["stage"] else str(answer["status"])
            bar.update(task, completed=float(answer["progress"]), description=words)

        return client.wait(request_id, timeout=timeout, on_progress=tell)


def _finish(final: Mapping[str, Any], bundle: str | None, *, as_json: bool) -> None:
    """Say how it ended, and leave with the exit code of the contract."""
    document = {
        "request_id": final["id"], "release_id": final["id"], "status": final["status"], "violations": final["violations"],
        "unlock": final["unlock"], "bundle": bundle,
    }  # fmt: skip
    state = str(final["status"])
    if state in REFUSED:
        titles = {"blocked": "blocked by the gate"}
        emit(document, _violations(titles.get(state, state), document), as_json=as_json)
        raise Refused("", EXIT_REFUSED)
    if state == "failed":
        emit({**document, "failure": final["failure"]}, "", as_json=as_json)
        raise Refused(f"release {final['id']} failed: {(final['failure'] or {}).get('message', 'no reason given')}", EXIT_FAILED)
    words = {"in_review": "waits for reviewers", "released": "released"}
    where = f"; bundle in {bundle}" if bundle else ""
    emit(document, f"{final['id']}: {words.get(state, state)}{where}", as_json=as_json)


@click.command()
@click.argument("request_id")
@server_options
@json_option
def status(*, request_id: str, server: str, principal: str, key_file: Path, as_json: bool) -> None:
    """Where a request stands."""
    found = client_of(server, principal, key_file).status(request_id)
    under_way = found["status"] in ("queued", "generating", "evaluating")
    lines = [f"{found['id']}: {found['status']}" + (f", {found['stage']}, {found['progress']:.0%}" if under_way else "")]
    if found.get("notice"):
        lines.append(f"  {found['notice']}")
    emit(found, "\n".join(lines), as_json=as_json)


@click.command()
@click.argument("request_id")
@click.option("--timeout", type=float, default=3600.0, show_default=True)
@server_options
@json_option
def wait(*, request_id: str, timeout: float, server: str, principal: str, key_file: Path, as_json: bool) -> None:
    """Wait until a request is decided."""
    _finish(_wait(client_of(server, principal, key_file), request_id, timeout), None, as_json=as_json)


@click.command()
@click.argument("request_id")
@server_options
@json_option
def cancel(*, request_id: str, server: str, principal: str, key_file: Path, as_json: bool) -> None:
    """Take a request back."""
    found = client_of(server, principal, key_file).call("POST", f"/v1/release-requests/{request_id}/cancellation")
    emit(found, f"{found['id']}: {found['status']}", as_json=as_json)


@click.command()
@click.argument("release")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the bundle.")
@click.option("--bound", is_flag=True, help="Ask for a token that is bound to your key (DPoP).")
@server_options
@json_option
def download(*, release: str, out: Path, bound: bool, server: str, principal: str, key_file: Path, as_json: bool) -> None:
    """Fetch the bundle of a release."""
    folder = client_of(server, principal, key_file).download(release, out, bound=bound)
    names = sorted(path.name for path in folder.iterdir())
    emit({"release_id": release, "bundle": str(folder), "files": names}, f"{folder}: {', '.join(names)}", as_json=as_json)
