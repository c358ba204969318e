"""A production that reads no table and takes no time: what is to be tried comes before or after it.

As a program it concludes a stand-in's production and kills itself on the way:
`python -m tests.integration.stand_in HOME PRODUCED.json POINT [POINT …]`, one forked process a point.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from evaluator.report_card import ReportCard
from gateway.evidence.leaks import FINGERPRINT
from gateway.jobs import conclude
from gateway.jobs.child import Progress
from gateway.jobs.order import Order, Outcome, ProducedFile
from gateway.releases import House
from policies.metrics import MetricResult
from policies.types import PrivacySpent

__all__ = ["NOT_DP", "run_stand_in"]

NOT_DP = {"generator": {"name": "cart"}, "rows": 3}
"""A request whose cost nobody has to compute."""
METRIC = "utility.marginals.ks.worst"
POINTS = ("model-card.md", "manifest.json", "manifest.dsse.json", "commit")


def run_stand_in(order: Order, *, progress: Progress, timeout: float) -> Outcome | None:
    """In the place of `run_production`: every file it would write, and a report card with the metric of the town's policy."""
    del timeout
    if not progress(0.8, "evaluating", "evaluating"):
        return None
    folder = Path(order.folder)
    found = MetricResult(value=0.1, direction="lower", method="stand-in", n=3)
    rows = {"train": 3, "holdout": 3, "synthetic": 3}
    card = ReportCard(dataset="card-transactions", rows=rows, seed=1, versions={"stand-in": "1"}, metrics={METRIC: found})
    contents = {
        f"data.{order.format}": b"age\n41\n42\n43\n",
        "report-card.json": b"{}\n",
        "report-card.html": b"<p>banded</p>\n",
        "full-report-card.json": card.to_bytes(),
        "full-report-card.html": b"<p>exact</p>\n",
    }
    for name, raw in contents.items():
        (folder / name).write_bytes(raw)
    (folder / FINGERPRINT).write_bytes(b"of no use")
    return Outcome(
        files=tuple(_described(name, raw) for name, raw in contents.items()),
        spent=PrivacySpent.none(unit="customer_id").to_json(),
        generator_version="cart/stand-in",
        rows=rows,
        report_card_digest=card.digest,
    )


def _described(name: str, raw: bytes) -> ProducedFile:
    audience: Any = "compliance" if name.startswith("full-") else "requester"
    digest = hashlib.sha256(raw).hexdigest()
    return ProducedFile(name=name, media_type="text/plain", size=len(raw), sha256=digest, audience=audience)


class Deadly:
    """A store whose user dies right after one file was stored."""

    def __init__(self, store: Any, after: str) -> None:
        self._store, self._after = store, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put(self, name: str, blocks: Any) -> int:
        written: int = self._store.put(name, blocks)
        if name.endswith(self._after):
            _die()
        return written


def _die(*_: object, **__: object) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def _conclude_until(house: House, produced: dict[str, Any], point: str) -> None:
    if point == "commit":
        conclude.conclude = _die
    else:
        object.__setattr__(house, "store", Deadly(house.store, point))
    conclude.conclude_production(house, produced)


def main() -> int:
    """Answers how many were not killed."""
    from gateway.cli.compose import open_house
    from gateway.settings import Settings

    home, document, *points = sys.argv[1:]
    produced = json.loads(Path(document).read_text("utf-8"))
    alive = 0
    for point in points:
        child = os.fork()
        if child == 0:
            _conclude_until(open_house(Settings(home=Path(home))), produced, point)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        alive += not os.WIFSIGNALED(status)
    return alive


if __name__ == "__main__":
    sys.exit(main())
