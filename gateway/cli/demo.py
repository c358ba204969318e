"""`ticketgate demo`: one governed release end to end on this machine, with no network, no ticket system and no cloud.

It runs the real program: a server is started by `ticketgate up` in a fresh home, and every step is a command that a user
would type, through the same entry point. What it prints happened.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import httpx
from rich.console import Console

from gateway.cli.output import Refused
from gateway.errors import EXIT_FAILED, EXIT_OK, EXIT_REFUSED, EXIT_VERIFICATION

__all__ = ["demo"]

CUSTOMERS = 9_000
SEED = 7
READY_SECONDS = 60.0
LEAK_SHARE = 50
ASKED = 2


@dataclass(slots=True)
class Stage:
    """Where the demo plays: a folder, a server, and a console to tell it on."""

    folder: Path
    port: int
    console: Console
    dataset: str = "card-transactions"
    columns: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    @property
    def environment(self) -> dict[str, str]:
        """What every command of the demo runs with."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TICKETGATE_")}
        return {
            **kept, "TICKETGATE_HOME": str(self.folder / "home"), "TICKETGATE_PORT": str(self.port),
            "TICKETGATE_SERVER": f"http://127.0.0.1:{self.port}", "TICKETGATE_LOG_LEVEL": "ERROR",
        }  # fmt: skip

    def title(self, text: str) -> None:
        """Say what comes next, and when."""
        self.console.print(f"\n[bold]{text}[/bold]  [dim]({time.monotonic() - self.started:.1f} s)[/dim]")

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(f"  {text}", markup=False)

    def run(self, *arguments: str, expect: int | Collection[int] = 0) -> dict[str, Any]:
        """Run a command of this program with `--json`; anything but an expected exit code ends the demo."""
        self.console.print(f"  $ ticketgate {' '.join(arguments)}", style="cyan", markup=False)
        code, out, err = self._call([*arguments, "--json"])
        if code not in ({expect} if isinstance(expect, int) else expect):
            reason = (err or out).strip()[-600:]
            raise Refused(f"`ticketgate {arguments[0]}` ended with {code} instead of {expect}: {reason}", EXIT_FAILED)
        document: dict[str, Any] = json.loads(out) if out.strip() else {}
        return document

    def _call(self, arguments: list[str]) -> tuple[int, str, str]:
        """The command line's own entry point, in this process: every command alike, without loading the program again."""
        from gateway.cli.main import main

        out, err, before, place = io.StringIO(), io.StringIO(), dict(os.environ), Path.cwd()
        os.environ.clear()
        os.environ.update(self.environment)
        os.chdir(self.folder)
        try:
            with redirect_stdout(out), redirect_stderr(err):
                main(arguments)
        except SystemExit as end:
            return int(end.code or 0), out.getvalue(), err.getvalue()
        finally:
            os.chdir(place)
            os.environ.clear()
            os.environ.update(before)
        return 0, out.getvalue(), err.getvalue()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@click.command()
@click.option(
    "--data", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Your own table instead of the sample."
)
@click.option("--card", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="The dataset card of --data.")
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Play in this folder and leave everything there.")
@click.option("--json", "as_json", is_flag=True, help="The facts as one JSON document at the end.")
def demo(*, data: Path | None, card: Path | None, keep: Path | None, as_json: bool) -> None:
    """Play one governed release: permit, deny, block, download, verify, trace, tamper."""
    if (data is None) != (card is None):
        raise click.UsageError("--data and --card belong together")
    folder = (keep or Path(tempfile.mkdtemp(prefix="ticketgate-demo-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    stage = Stage(folder=folder, port=_free_port(), console=Console(stderr=as_json, highlight=False, soft_wrap=True))
    server: subprocess.Popen[bytes] | None = None
    try:
        _set_up(stage, data, card)
        server = _start(stage)
        _play(stage)
    finally:
        if server is not None:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=20)
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    seconds = time.monotonic() - stage.started
    stage.console.print(f"\n[bold green]Done in {seconds:.1f} s.[/bold green] Everything above was the real program.")
    if as_json:
        click.echo(json.dumps({**stage.facts, "seconds": round(seconds, 1)}, indent=1, sort_keys=True))


def _set_up(stage: Stage, data: Path | None, card: Path | None) -> None:
    from gateway.cli.demo_files import write_inputs

    stage.title("1. A gateway, its people, its ticket, its data, its policy")
    stage.dataset, stage.columns = write_inputs(stage.folder, data=data, card=card, customers=CUSTOMERS, seed=SEED)
    stage.run("init")
    stage.run("keygen", "--out", "ana.pem")
    stage.run("principal", "add", "ana", "--role", "analyst", "--key", "ana.pub.pem")
    stage.run(
        "ticket", "add", "DATA-101", "--dataset", stage.dataset, "--assignee", "ana", "--approver", "rob", "--status", "Approved"
    )
    made = stage.run("dataset", "register", "card.yaml")
    stage.say(f"{made['name']} version {made['version']}: {made['rows']:,} rows, card {made['digest'][:12]}…")
    stage.run("policy", "apply", "policy.yaml")


def _start(stage: Stage) -> subprocess.Popen[bytes]:
    stage.console.print(f"  $ ticketgate up --port {stage.port}", style="cyan", markup=False)
    server = subprocess.Popen(
        [sys.executable, "-c", "from gateway.cli import main; main()", "up", "--port", str(stage.port)],
        env=stage.environment, cwd=stage.folder, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        try:
            if httpx.get(f"http://127.0.0.1:{stage.port}/readyz", timeout=2).status_code == httpx.codes.OK:
                stage.say(f"ready on http://127.0.0.1:{stage.port}")
                return server
        except httpx.HTTPError:
            time.sleep(0.1)
    server.kill()
    raise Refused(f"the server was not ready within {READY_SECONDS:.0f} s", EXIT_FAILED)


def _request(stage: Stage, *, generator: str, epsilon: str | None, expect: int | Collection[int]) -> dict[str, Any]:
    arguments = [
        "request", "--ticket", "DATA-101", "--dataset", stage.dataset, "--rows", "5000", "--purpose", "testing",
        "--generator", generator, "--as", "ana", "--key", "ana.pem", "--wait",
    ]  # fmt: skip
    if epsilon is not None:
        arguments += ["--epsilon", epsilon, "--out", "bundle", "--format", "csv"]
    return stage.run(*arguments, expect=expect)


def _released(stage: Stage) -> dict[str, Any]:
    """A release by a private generator; a gate that errs at a stated rate is asked twice, one that cannot decide once."""
    for _ in range(ASKED):
        answer = _request(stage, generator="dp-marginal", epsilon="1.0", expect={EXIT_OK, EXIT_REFUSED})
        if answer["status"] == "released":
            return answer
        _show_violations(stage, answer)
        if any(item["code"] == "metric-inconclusive" for item in answer["violations"]):
            break
        stage.say("The gate errs about once in two hundred clean tables; a new request is a new draw, judged and charged anew.")
    raise Refused("nothing may leave of this table, for the reasons above, so the demo ends here", EXIT_REFUSED)


def _play(stage: Stage) -> None:
    stage.title("2. Permit: a differentially private generator, checked by the gate, handed over behind a token")
    released = _released(stage)
    stage.facts["released"] = released["release_id"]
    stage.say(f"{released['release_id']} is released; the bundle is in {released['bundle']}/")
    _show_report(stage)

    stage.title("3. Deny: more privacy loss than the policy allows")
    denied = _request(stage, generator="dp-marginal", epsilon="8.0", expect=EXIT_REFUSED)
    stage.facts["denied"] = denied["release_id"]
    _show_violations(stage, denied)

    stage.title("4. Block: a generator that memorises; the policy lets it try, the gate does not let it out")
    blocked = _request(stage, generator="cart", epsilon=None, expect=EXIT_REFUSED)
    stage.facts["blocked"] = blocked["release_id"]
    _show_violations(stage, blocked)

    stage.title("5. Download again with a fresh token, and verify offline with pinned keys")
    stage.run("download", released["release_id"], "--as", "ana", "--key", "ana.pem", "--out", "again")
    verified = stage.run("verify", "again")
    stage.say(f"{sum(check['ok'] for check in verified['checks'])} of {len(verified['checks'])} checks hold")

    stage.title("6. Trace: by ticket, and a leaked file of every fiftieth row and half of the columns")
    traced = stage.run("trace", "--ticket", "DATA-101")
    for story in traced["releases"]:
        stage.say(f"{story['release_id']}  {story['status']:9} asked by {story['principal']}, {len(story['events'])} events")
    _trace_leak(stage, released["release_id"])

    stage.title("7. Tamper: one byte in the bundle, one byte in the log")
    _tamper_bundle(stage)
    _tamper_log(stage)


def _show_report(stage: Stage) -> None:
    card = json.loads((stage.folder / "bundle" / "report-card.json").read_text("utf-8"))
    shown = (
        "privacy.dp.epsilon", "privacy.copies.excess_share", "privacy.membership_inference.auc", "privacy.outlier_exposure",
        "utility.marginals.ks.worst", "utility.seasonality.weekly", "utility.overall",
    )  # fmt: skip
    for name in shown:
        metric: Mapping[str, Any] | None = card["metrics"].get(name)
        if metric is not None:
            words = metric.get("band") or metric.get("value") or metric["status"]
            stage.say(f"{name:36} {words}")


def _show_violations(stage: Stage, answer: Mapping[str, Any]) -> None:
    stage.say(f"{answer['release_id']} is {answer['status']}:")
    for item in answer["violations"][:6]:
        stage.say(f"  ✗ {item['message']}")
    for step in answer["unlock"][:3]:
        stage.say(f"  → {step}")


def _trace_leak(stage: Stage, release_id: str) -> None:
    with (stage.folder / "bundle" / "data.csv").open(encoding="utf-8", newline="") as file:
        names, *rows = list(csv.reader(file))
    # Whoever leaks a table leaks its telling columns: the half with the most different values.
    telling = sorted(range(len(names)), key=lambda place: -len({row[place] for row in rows}))[: max(2, len(names) // 2)]
    with (stage.folder / "leak.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerows([row[place] for place in telling] for row in (names, *rows[::LEAK_SHARE]))
    found = stage.run("trace", "--file", "leak.csv")
    best = found["matches"][0] if found["matches"] else None
    if best is None or best["release_id"] != release_id:
        raise Refused("the leaked file was not traced to its release", EXIT_FAILED)
    stage.facts["leak"] = best
    stage.say(
        f"→ {best['release_id']}, ticket {best['ticket']}, {best['principal']}: {best['share']:.0%} of the rows match; "
        f"odds of a chance match {best['chance']:.0e}"
    )


def _flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def _tamper_bundle(stage: Stage) -> None:
    _flip(stage.folder / "again" / "data.csv")
    broken = stage.run("verify", "again", expect=EXIT_VERIFICATION)
    failed = next(check for check in broken["checks"] if not check["ok"])
    stage.facts["tampered_bundle"] = failed["detail"]
    stage.say(f"found: {failed['detail']}")


def _tamper_log(stage: Stage) -> None:
    stage.run("audit", "verify")
    with sqlite3.connect(stage.folder / "home" / "ticketgate.db", timeout=30) as database:
        # Whoever owns the database can drop its guards; that is why the tree and the published checkpoints exist.
        database.execute("DROP TRIGGER audit_event_guard_update")
        row = database.execute("SELECT id, payload FROM audit_event WHERE kind = 'release.decided' LIMIT 1").fetchone()
        changed = row[1].replace('"permitted":', '"permitteb":', 1)
        database.execute("UPDATE audit_event SET payload = ? WHERE id = ?", (changed, row[0]))
    broken = stage.run("audit", "verify", expect=EXIT_VERIFICATION)
    finding = broken["findings"][0]
    stage.facts["tampered_log"] = finding
    stage.say(f"found: {finding['kind']} at leaf {finding['index']}: {finding['detail']}")
