"""Generate and evaluate one release in a process of its own: the only program that reads a confidential table.

Reads an `Order` on standard input, writes files into the order's scratch folder, tells progress as JSON lines on standard
output and ends with one line that is an `Outcome` or a `Failure`.

Invariants:
    - Nothing is sampled that is not evaluated, and what is evaluated is read back from the very file that will be handed over.
    - The process bounds its own memory and dies with its parent.
    - An error becomes one sentence without a cell of any table in it.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import resource
import secrets
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa

from evaluator import ReportCard, evaluate
from evaluator import disclosure as disclosing
from evaluator.dp_release import NoisyRefused, noisy_metrics
from evaluator.inputs import InputsInvalid, check_inputs
from evaluator.render import render_html
from gateway.evidence.cells import Hashes, cell_hashes
from gateway.evidence.fingerprints import fingerprint_of
from gateway.evidence.leaks import FINGERPRINT
from gateway.evidence.watermark import mark
from gateway.jobs.marking import Marked, with_mark
from gateway.jobs.order import Failure, Order, Outcome, ProducedFile
from gateway.storage.source import open_source
from gateway.storage.split import split_units
from generator.base import FittedGenerator, GeneratorError
from generator.registry import create
from policies.canonical import from_canonical
from policies.card import DatasetCard
from policies.gate import Verdict, gate
from policies.presets import expand
from policies.schema import ReleasePolicy
from policies.tables import TableInvalid, read_table, write_table
from policies.types import PrivacyTarget

__all__ = ["main", "produce"]

DATA_MEDIA = {"parquet": "application/vnd.apache.parquet", "csv": "text/csv; charset=utf-8"}
PR_SET_PDEATHSIG = 1
SHARE = {"read": 0.05, "generate": 0.55, "sample": 0.65, "evaluate": 0.98}


@dataclass(slots=True)
class Teller:
    """Writes progress lines; remembers whether the confidential table was opened."""

    channel: TextIO
    data_was_read: bool = False

    def tell(self, share: float, stage: str, phase: str) -> None:
        """One JSON line for the worker."""
        self.say({"progress": round(share, 4), "stage": stage, "phase": phase})

    def say(self, message: Mapping[str, Any]) -> None:
        """Any message, at once."""
        self.channel.write(json.dumps(message) + "\n")
        self.channel.flush()


def produce(order: Order, teller: Teller) -> Outcome:
    """Read, split, fit, sample, write, read back, evaluate, render."""
    folder = Path(order.folder)
    card = restricted(DatasetCard.model_validate(order.card), order.columns)
    policy = from_canonical(json.dumps(order.policy).encode(), ReleasePolicy)
    teller.tell(0.0, "reading", "generating")
    teller.data_was_read = True
    with open_source(card, root=Path(order.source), scratch=folder, endpoint=order.s3_endpoint) as path:
        table = read_table(path, card=card).table
    train, holdout = split_units(table, card=card, key=bytes.fromhex(order.split_key))
    del table
    fitted = _fit(order, card, train, teller)
    data = _write_sample(order, card, fitted, folder, teller)
    synthetic = read_table(data, card=card, identifiers="optional").table
    teller.tell(SHARE["sample"], "evaluating", "evaluating")
    judge = _judge(order, card, fitted, (train, holdout), teller)
    made = Marked(table=synthetic, report=judge(synthetic), marks={})
    if order.watermark_key is not None:
        made = _with_mark(order, policy, card, made, folder, judge)
    synthetic, report = made.table, made.report
    verdict = gate(report.metrics, expand(policy).spec.gate)
    _write_fingerprint(order, card, fitted, made, folder)
    noisy = _noisy(order, policy, card, (train, holdout, synthetic))
    _write_reports(report, verdict, folder, level=policy.spec.disclosure.metrics, noisy=noisy)
    return Outcome(
        files=tuple(_described(folder, name, media, audience) for name, media, audience in _names(order)),
        spent=fitted.spent.to_json(),
        generator_version=f"{order.generator}/{version('ticketgate')}",
        rows={"train": train.num_rows, "holdout": holdout.num_rows, "synthetic": synthetic.num_rows},
        report_card_digest=report.digest,
        notes=report.notes,
    )


def _judge(
    order: Order, card: DatasetCard, fitted: FittedGenerator, real: tuple[pa.Table, pa.Table], teller: Teller
) -> Callable[[pa.Table], ReportCard]:
    train, holdout = real

    def tell(stage: str, share: float) -> None:
        teller.tell(SHARE["sample"] + (SHARE["evaluate"] - SHARE["sample"]) * share, stage, "evaluating")

    return lambda synthetic: evaluate(
        train=train,
        holdout=holdout,
        synthetic=synthetic,
        card=card,
        seed=order.evaluation_seed,
        spent=fitted.spent,
        progress=tell,
    )


def _with_mark(
    order: Order, policy: ReleasePolicy, card: DatasetCard, made: Marked, folder: Path, judge: Callable[[pa.Table], ReportCard]
) -> Marked:
    def written(table: pa.Table) -> tuple[pa.Table, ReportCard]:
        data = folder / f"data.{order.format}"
        write_table(table, data, format=order.format, card=card)
        again = read_table(data, card=card, identifiers="optional").table
        return again, judge(again)

    gated = {result.metric for result in gate(made.report.metrics, expand(policy).spec.gate).rules}
    key = bytes.fromhex(order.watermark_key or "")
    return with_mark(made.table, card=card, key=key, report=made.report, gated=gated, judge=written)


def restricted(card: DatasetCard, columns: tuple[str, ...] | None) -> DatasetCard:
    """The card of the columns that were asked for; the privacy unit always stays."""
    if columns is None:
        return card
    wanted = set(columns) | {card.spec.privacy_unit}
    kept = {name: column for name, column in card.columns.items() if name in wanted}
    spec = card.spec.model_copy(
        update={
            "columns": kept,
            "targets": tuple(name for name in card.spec.targets if name in kept),
            "protected": tuple(name for name in card.spec.protected if name in kept),
            "constraints": tuple(rule for rule in card.spec.constraints if set(rule.columns) <= set(kept)),
            "time_index": card.spec.time_index if card.spec.time_index in kept else None,
        }
    )
    return DatasetCard.model_validate(card.model_copy(update={"spec": spec}).model_dump(by_alias=True))


def _fit(order: Order, card: DatasetCard, train: pa.Table, teller: Teller) -> FittedGenerator:
    target = None
    if order.epsilon is not None and order.delta is not None:
        target = PrivacyTarget(epsilon=order.epsilon, delta=order.delta)
    teller.tell(SHARE["read"], "fitting", "generating")

    def tell(share: float, stage: str) -> None:
        teller.tell(SHARE["read"] + (SHARE["generate"] - SHARE["read"]) * share, stage, "generating")

    # A non-DP fit may be reproducible; a DP one takes its noise from the operating system whatever this is.
    rng = np.random.default_rng(secrets.randbits(128))
    return create(order.generator, order.hyperparameters).fit(train, card=card, target=target, rng=rng, progress=tell)


def _write_sample(order: Order, card: DatasetCard, fitted: FittedGenerator, folder: Path, teller: Teller) -> Path:
    teller.tell(SHARE["generate"], "sampling", "generating")
    seed = secrets.randbits(63) if order.seed is None else order.seed
    data = folder / f"data.{order.format}"
    write_table(fitted.sample(order.rows, rng=np.random.default_rng(seed)), data, format=order.format, card=card)
    return data


def _write_fingerprint(order: Order, card: DatasetCard, fitted: FittedGenerator, made: Marked, folder: Path) -> None:
    """Fingerprint what will be released, beside further samples that nobody is given."""
    key, names = bytes.fromhex(order.fingerprint_key), made.table.column_names

    def sample(rows: int) -> Hashes:
        drawn = pa.Table.from_batches(list(fitted.sample(rows, rng=np.random.default_rng(secrets.randbits(63)))))
        if made.marks:  # as the release is, under a key of its own
            drawn = mark(drawn, card=card, key=secrets.token_bytes(32))
        return cell_hashes(drawn.select(names), key=key)

    found = fingerprint_of(cell_hashes(made.table, key=key), sample=sample, marks=made.marks)
    (folder / FINGERPRINT).write_bytes(found.to_bytes())


def _noisy(order: Order, policy: ReleasePolicy, card: DatasetCard, tables: tuple[pa.Table, ...]) -> dict[str, Any] | None:
    """Metrics with noise for the requester, at the ε that was reserved for them; noise comes from the operating system."""
    epsilon = policy.spec.disclosure.noisy_epsilon
    if epsilon is None or order.epsilon is None:
        return None
    train, holdout, synthetic = tables
    inputs = check_inputs(train=train, holdout=holdout, synthetic=synthetic, card=card, seed=order.evaluation_seed)
    try:
        return noisy_metrics(inputs, epsilon=epsilon).to_json()
    except NoisyRefused as refused:
        return {"epsilon": str(epsilon), "delta": "0", "metrics": {}, "refused": str(refused)}


def _write_reports(report: ReportCard, verdict: Verdict, folder: Path, *, level: str, noisy: dict[str, Any] | None) -> None:
    (folder / "full-report-card.json").write_bytes(report.to_bytes())
    (folder / "full-report-card.html").write_text(render_html(report, audience="auditor", verdict=verdict.to_json()), "utf-8")
    disclosed = disclosing.apply(report, level=level)  # type: ignore[arg-type]
    if noisy is not None:
        disclosed["noisy_metrics"] = noisy
    (folder / "report-card.json").write_text(json.dumps(disclosed, sort_keys=True, indent=1, ensure_ascii=False) + "\n", "utf-8")
    page = render_html(report, audience="recipient", verdict=verdict.to_json(), noisy=noisy)
    (folder / "report-card.html").write_text(page, "utf-8")


def _names(order: Order) -> tuple[tuple[str, str, str], ...]:
    return (
        (f"data.{order.format}", DATA_MEDIA[order.format], "requester"),
        ("report-card.json", "application/json", "requester"),
        ("report-card.html", "text/html; charset=utf-8", "requester"),
        ("full-report-card.json", "application/json", "compliance"),
        ("full-report-card.html", "text/html; charset=utf-8", "compliance"),
    )


def _described(folder: Path, name: str, media_type: str, audience: Any) -> ProducedFile:
    digest = hashlib.sha256()
    with (folder / name).open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    size = (folder / name).stat().st_size
    return ProducedFile(name=name, media_type=media_type, size=size, sha256=digest.hexdigest(), audience=audience)


def _bound_self(memory_mb: int) -> None:
    """Die with the parent; never take more memory than allowed; write no core file with rows in it."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    limit = memory_mb << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)


def main() -> int:
    """Entry point of `python -m gateway.jobs.production`."""
    order = Order.model_validate_json(sys.stdin.read())
    _bound_self(order.memory_mb)
    teller = Teller(_own_channel())
    try:
        answer: Outcome | Failure = produce(order, teller)
    except (TableInvalid, InputsInvalid, GeneratorError) as error:
        answer = Failure(code=_code(error), message=str(error), data_was_read=teller.data_was_read)
    except MemoryError:
        answer = Failure(code="out-of-memory", message="the production needed more memory than a release may take",
                         data_was_read=teller.data_was_read)  # fmt: skip
    kind = "outcome" if isinstance(answer, Outcome) else "failure"
    teller.say({kind: answer.model_dump(mode="json")})
    return 0


def _own_channel() -> TextIO:
    """Standard output for messages alone: what a library prints, from Python or not, goes nowhere."""
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return channel


def _code(error: Exception) -> str:
    if isinstance(error, TableInvalid):
        return "source-invalid"
    return "inputs-invalid" if isinstance(error, InputsInvalid) else "generator-failed"


if __name__ == "__main__":
    sys.exit(main())
