"""The worker process: runs jobs, grows the log's tree, closes what has expired, removes orphans.

Invariants:
    - Only this process, and the children it starts, read confidential tables.
    - Housekeeping that fails is logged and tried again; it never stops the worker.
    - A worker that is told to stop finishes nothing half: its jobs are taken up again.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from dbos import DBOS

from gateway.access import GatewayKeys, ReplayGuard
from gateway.audit import Log, NoteSigner, Sequencer
from gateway.audit.witness import http_witnesses
from gateway.errors import TicketgateError
from gateway.jobs import workflows
from gateway.jobs.engine import QUEUE, configure
from gateway.jobs.heartbeat import BEAT_EVERY, beat, leave, take_over
from gateway.jobs.idle import LOOK_EVERY, Caretaker
from gateway.jobs.scratch import remove_leftovers, scratch_folder
from gateway.releases import House, expire_due
from gateway.releases.artifacts import Artifacts
from gateway.releases.notice import tell_again
from gateway.releases.origin import anchor_of, check_log, log_keys
from gateway.releases.uploads import sweep_uploads
from gateway.releases.used_up import close_used_up
from gateway.storage import sweep
from gateway.telemetry import logger, utc_now

__all__ = ["Worker", "make_sequencer", "run_worker"]

SEQUENCE_EVERY = 0.2
SWEEP_EVERY = 300.0
EXPIRE_EVERY = 5.0
KEYS_EVERY = 3600.0
TELL_EVERY = 60.0
ORPHAN_AGE = timedelta(hours=24)
UPLOAD_AGE = timedelta(hours=1)
"""How old an upload without a job may become; a leaked file may hold real people's data."""


def make_sequencer(house: House) -> Sequencer:
    """The sequencer with the log's active key; older keys of the log are trusted for what they signed."""
    with house.database.read() as work:
        keys = GatewayKeys(work, house.sealing)
        signer = keys.signer("log")
        origin = keys.log_origin()
    return Sequencer(
        house.database,
        signer=NoteSigner(origin, signer.private_key.crypto_key),  # type: ignore[arg-type]  # the gateway's keys are Ed25519
        anchor=anchor_of(house.settings),
        trusted=log_keys(house),
        witness=http_witnesses(house.settings.witnesses),
    )


class Worker:
    """One worker: its threads and its name."""

    def __init__(self, house: House, *, executor: str | None = None) -> None:
        self.house = house
        self.executor = executor or f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._log = logger("jobs").bind(executor=self.executor)

    def start(self) -> None:
        """Launch the engine and the housekeeping threads.

        Raises:
            VerificationFailed: the database does not continue the published log.
        """
        check_log(self.house)
        now = utc_now()
        with self.house.database.begin() as work:
            for event in GatewayKeys(work, self.house.sealing).ensure(now):
                Log(work).append(f"gateway-key.{event.action}", at=now, data={"kid": event.kid, "purpose": event.purpose})
            Log(work).append("gateway.started", at=now, data={"role": "worker", "executor": self.executor})
            work.commit()
        remove_leftovers(self.house)
        configure(self.house.database, executor=self.executor)
        workflows.declare(self.house)
        beat(self.house.database, self.executor, now=now)
        DBOS.launch()
        DBOS.register_queue(QUEUE, worker_concurrency=self.house.settings.workers, polling_interval_sec=0.25)
        sequencer, caretaker = make_sequencer(self.house), Caretaker(self.house, self.executor)
        self._every(SEQUENCE_EVERY, "sequence", lambda: sequencer.run_once(utc_now()))
        self._every(BEAT_EVERY.total_seconds(), "heartbeat", self._beat)
        self._every(EXPIRE_EVERY, "expire", lambda: expire_due(self.house, now=utc_now()))
        self._every(EXPIRE_EVERY, "used-up", lambda: close_used_up(self.house, now=utc_now()))
        self._every(SWEEP_EVERY, "sweep", self._sweep)
        self._every(LOOK_EVERY, "idle", lambda: caretaker.look(utc_now()))
        self._every(TELL_EVERY, "notices", lambda: tell_again(self.house, now=utc_now()))
        self._every(KEYS_EVERY, "keys", self._ensure_keys)

    def stop(self) -> None:
        """End the threads and the engine."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5)
        DBOS.destroy(workflow_completion_timeout_sec=0)
        leave(self.house.database, self.executor)

    def wait(self) -> None:
        """Until somebody says stop."""
        self._stop.wait()

    def ask_to_stop(self) -> None:
        """From a signal handler."""
        self._stop.set()

    def _beat(self) -> None:
        now = utc_now()
        beat(self.house.database, self.executor, now=now)
        take_over(self.house.database, self.executor, now=now)

    def _ensure_keys(self) -> None:
        """Rotate what is due: a token key serves ninety days."""
        now = utc_now()
        with self.house.database.begin() as work:
            events = GatewayKeys(work, self.house.sealing).ensure(now)
            for event in events:
                Log(work).append(f"gateway-key.{event.action}", at=now, data={"kid": event.kid, "purpose": event.purpose})
            if events:
                work.commit()

    def _sweep(self) -> None:
        now = utc_now()
        with self.house.database.read() as work:
            known = Artifacts(work).locations()
        remove_leftovers(self.house)
        sweep_uploads(self.house, older_than=now - UPLOAD_AGE, now=now)
        for prefix in ("releases/", "proofs/"):
            sweep(self.house.store, older_than=now - ORPHAN_AGE, known=known, prefix=prefix)
        with self.house.database.begin() as work:
            ReplayGuard(work).forget(now)
            work.commit()
        self.house.database.scrub()

    def _every(self, seconds: float, name: str, act: Callable[[], object]) -> None:
        def loop() -> None:
            while not self._stop.is_set():
                started = time.monotonic()
                try:
                    act()
                except TicketgateError as error:
                    self._log.error("housekeeping failed", task=name, code=error.slug, detail=error.detail)
                except Exception as error:  # noqa: BLE001 - the rim of a thread: it must go on, and says what happened
                    self._log.error("housekeeping broke", task=name, kind=type(error).__name__)
                self._stop.wait(max(0.0, seconds - (time.monotonic() - started)))

        thread = threading.Thread(target=loop, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)


def run_worker(house: House) -> None:
    """Run until SIGTERM or SIGINT."""
    worker = Worker(house)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: worker.ask_to_stop())
    with scratch_folder(house, prefix="worker-") as folder:
        # Copies of source tables that bounded children fetch lie here too, so a killed worker leaves none behind.
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
        worker.start()
        worker.wait()
        worker.stop()
    # A production may still run in a thread of the engine. Waiting for it would hold the shutdown up for as long as it takes;
    # its child dies with this process, and whoever takes the release up next has a newer fence.
    sys.stderr.flush()
    os._exit(0)
