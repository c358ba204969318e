"""Run the gateway: the web, the worker, or both."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any, Literal

import click
import httpx

from gateway.audit.witness import parse_witnesses
from gateway.cli.compose import open_house, require_home
from gateway.cli.output import Refused
from gateway.errors import EXIT_FAILED, EXIT_UNAVAILABLE
from gateway.releases.origin import check_log
from gateway.settings import Settings
from gateway.telemetry import configure_logs

__all__ = ["serve", "up", "worker"]

READY_SECONDS = 60.0
CONNECTIONS = 1000
Role = Literal["all", "downloads"]
UNSPECIFIED = ("", "::", ".".join("0000"))
"""Addresses that listen everywhere; a probe asks the local one."""


def settings_with(port: int | None, host: str | None) -> Settings:
    """Settings of the environment, with what the command line says."""
    given: dict[str, Any] = {}
    if port is not None:
        given["port"] = port
    if host is not None:
        given["host"] = host
    return Settings(**given)


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option("--host", help="Address to listen on.")
@click.option("--threads", type=click.IntRange(1, 256), default=16, show_default=True)
@click.option(
    "--role", type=click.Choice(["all", "downloads"]), default="all", show_default=True,
    help="downloads: the bytes of released artifacts and nothing else; signs nothing, needs no passphrase.",
)  # fmt: skip
def serve(*, port: int | None, host: str | None, threads: int, role: Role) -> None:
    """Serve HTTP (waitress); production puts gunicorn in front of the API, see deploy/."""
    import waitress

    from gateway.web import create_app, end_app

    settings = settings_with(port, host)
    configure_logs(level=settings.log_level)
    is_whole = role == "all"
    house = open_house(settings, with_queue=is_whole, signs=is_whole)
    check_log(house)
    app = create_app(house, role=role, threads=threads)
    try:
        server = waitress.create_server(
            app, host=settings.host, port=settings.port, threads=threads, ident="ticketgate",
            channel_request_lookahead=1, connection_limit=CONNECTIONS, asyncore_use_poll=True,
        )  # fmt: skip
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise Refused(f"cannot listen on {settings.host} port {settings.port}: {why}", EXIT_UNAVAILABLE) from None
    try:
        _run_until_stopped(server)
    finally:
        end_app(app)


def _run_until_stopped(server: Any) -> None:
    """Run a server in a thread of its own until a signal comes.

    A signal that raised in the middle of a transaction would take the connection with it, and the server would swallow it.
    """
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    thread = threading.Thread(target=server.run, name="server", daemon=True)
    thread.start()
    while thread.is_alive() and not stop.wait(0.5):
        pass
    server.task_dispatcher.shutdown(cancel_pending=True, timeout=5)
    if not stop.is_set():
        raise Refused("the server ended by itself", EXIT_FAILED)


@click.command()
def worker() -> None:
    """Produce releases: generate, evaluate, gate; grow the log's tree."""
    from gateway.jobs.worker import run_worker

    settings = Settings()
    configure_logs(level=settings.log_level)
    run_worker(open_house(settings))


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option("--host", help="Address to listen on.")
def up(*, port: int | None, host: str | None) -> None:
    """Web and worker in one: ready when /readyz answers 200."""
    settings = settings_with(port, host)
    require_home(settings)
    parse_witnesses(settings.witnesses)  # a worker that ended for it would be started for ever
    environment = {
        **os.environ, "TICKETGATE_PORT": str(settings.port), "TICKETGATE_HOST": settings.host,
        "TICKETGATE_ISSUER": settings.issuer_url,
    }  # fmt: skip
    children = {role: _start(role, environment) for role in ("serve", "worker")}
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    threading.Thread(target=_tell_when_ready, args=(settings, stop), daemon=True).start()
    try:
        _look_after(children, environment, stop)
    finally:
        _end(list(children.values()))


def _start(role: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from gateway.cli import main; main()", role]
    return subprocess.Popen(command, env=environment, start_new_session=True)


def _look_after(children: dict[str, subprocess.Popen[bytes]], environment: dict[str, str], stop: threading.Event) -> None:
    """Restart the worker when it dies; end when the web does."""
    while not stop.wait(0.3):
        if children["serve"].poll() is not None:
            raise Refused("the web process ended", children["serve"].returncode or EXIT_FAILED)
        if children["worker"].poll() is not None:
            click.echo("ticketgate: the worker ended; starting another", err=True)
            time.sleep(0.5)
            children["worker"] = _start("worker", environment)


def _tell_when_ready(settings: Settings, stop: threading.Event) -> None:
    end = time.monotonic() + READY_SECONDS
    host = "127.0.0.1" if settings.host in UNSPECIFIED else settings.host
    while not stop.wait(0.2) and time.monotonic() < end:
        try:
            if httpx.get(f"http://{host}:{settings.port}/readyz", timeout=2).status_code == httpx.codes.OK:
                click.echo(f"ticketgate: ready on {settings.issuer_url}", err=True)
                return
        except httpx.HTTPError:
            continue


def _end(children: list[subprocess.Popen[bytes]]) -> None:
    for child in children:
        child.terminate()
    for child in children:
        try:
            child.wait(timeout=8)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
