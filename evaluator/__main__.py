"""Evaluate three table files from the command line, and apply a gate if asked.

Responsible for `python -m evaluator`: reading files, progress, writing report-card.json, report-card.html, the
evaluation section of a model card (banded), verdict.json and, where a privacy loss for it was stated, noisy-metrics.json.

Exit codes: 0 done, 2 wrong usage, 3 the gate refused, 4 bad input, 1 anything unforeseen. A person sees one sentence, never a
traceback unless `--debug` is given; no value of a table is printed.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from evaluator import ReportCard, evaluate
from evaluator.dp_release import NoisyRefused, NoisyRelease, noisy_metrics
from evaluator.inputs import InputsInvalid, check_inputs
from evaluator.render import render_html, render_model_card_section, render_text
from evaluator.report_card import MAX_SEED
from policies.gate import gate
from policies.gate_rule import GateRule
from policies.loader import DocumentInvalid, load_card, load_policy
from policies.presets import PRESETS, expand
from policies.tables import TableInvalid, TableRead, read_table

__all__ = ["main"]

DONE, UNFORESEEN, REFUSED, BAD_INPUT = 0, 1, 3, 4
BAR: Final = 24


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        return _run(options)
    except (TableInvalid, DocumentInvalid, InputsInvalid, NoisyRefused, OSError) as error:
        if options.debug:
            raise
        print(f"cannot evaluate: {_sentence(error)}", file=sys.stderr)  # noqa: T201 - a command speaks on its streams
        return BAD_INPUT
    except Exception as error:
        if options.debug:
            raise
        print(f"the evaluator broke ({type(error).__name__}); run again with --debug for particulars", file=sys.stderr)  # noqa: T201
        return UNFORESEEN


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m evaluator",
        description="Measure privacy, utility and fairness of a synthetic table against the data it was made from.",
        epilog="exit codes: 0 done, 2 wrong usage, 3 refused by the gate, 4 bad input, 1 anything unforeseen",
    )
    for name, what in (
        ("train", "the rows a generator was fitted on"),
        ("holdout", "rows it never saw"),
        ("synthetic", "its output"),
    ):
        parser.add_argument(f"--{name}", required=True, type=Path, metavar="FILE", help=f"{what} (CSV or Parquet)")
    parser.add_argument("--card", required=True, type=Path, metavar="FILE", help="the dataset card (YAML)")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder for report-card.json, report-card.html and others"
    )
    parser.add_argument("--policy", metavar="NAME_OR_FILE", help=f"apply a gate: {', '.join(PRESETS)}, or a policy file")
    parser.add_argument("--seed", type=_seed, default=0, metavar="N", help="where every random choice starts (default 0)")
    parser.add_argument(
        "--noisy-epsilon",
        type=_epsilon,
        metavar="E",
        help="also write noisy-metrics.json: distances and means with Laplace noise that costs this much privacy loss (OpenDP)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    parser.add_argument("--debug", action="store_true", help="show a traceback when something breaks")
    return parser


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > MAX_SEED:
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0 to {MAX_SEED}")
    return int(text)


def _epsilon(text: str) -> Decimal:
    try:
        epsilon = Decimal(text)
    except InvalidOperation:
        epsilon = Decimal(0)
    if not (epsilon.is_finite() and epsilon > 0):
        raise argparse.ArgumentTypeError("a privacy loss is a positive number, such as 0.5")
    return epsilon


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: {error.strerror or type(error).__name__}"
    return str(error)


def _run(options: argparse.Namespace) -> int:
    card = load_card(options.card)
    rules = _rules(options.policy)
    reads = {
        "train": read_table(options.train, card=card),
        "holdout": read_table(options.holdout, card=card),
        "synthetic": read_table(options.synthetic, card=card, identifiers="optional"),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    train, holdout, synthetic = (reads[side].table for side in ("train", "holdout", "synthetic"))
    noisy = None
    if options.noisy_epsilon is not None:  # refused before the long work, not after it
        inputs = check_inputs(train=train, holdout=holdout, synthetic=synthetic, card=card, seed=options.seed)
        noisy = noisy_metrics(inputs, epsilon=options.noisy_epsilon)
    progress = None if options.json else _progress()
    report = evaluate(train=train, holdout=holdout, synthetic=synthetic, card=card, seed=options.seed, progress=progress)
    verdict = None if rules is None else gate(report.metrics, rules).to_json()
    paths = _write(options.out, report, verdict) | _write_noisy(options.out, noisy)
    _answer(options, report, verdict, paths, [*_notes(reads, report), *_said_of(noisy)])
    return DONE if verdict is None or verdict["passed"] else REFUSED


def _rules(name_or_file: str | None) -> Sequence[GateRule] | None:
    if name_or_file is None:
        return None
    for name, rules in PRESETS.items():
        if name_or_file == name:
            return rules
    return expand(load_policy(Path(name_or_file))).spec.gate


def _write(folder: Path, report: ReportCard, verdict: dict[str, Any] | None) -> dict[str, str]:
    paths = {
        "report_card": folder / "report-card.json",
        "html": folder / "report-card.html",
        "model_card": folder / "model-card-section.md",
    }
    paths["report_card"].write_bytes(report.to_bytes())
    paths["html"].write_text(render_html(report, audience="auditor", verdict=verdict), encoding="utf-8")
    paths["model_card"].write_text(render_model_card_section(report, level="banded"), encoding="utf-8")
    if verdict is not None:
        paths["verdict"] = folder / "verdict.json"
        paths["verdict"].write_text(json.dumps(verdict, indent=1, ensure_ascii=False), encoding="utf-8")
    return {name: str(path) for name, path in paths.items()}


def _write_noisy(folder: Path, noisy: NoisyRelease | None) -> dict[str, str]:
    if noisy is None:
        return {}
    path = folder / "noisy-metrics.json"
    path.write_text(json.dumps(noisy.to_json(), indent=1, ensure_ascii=False), encoding="utf-8")
    return {"noisy": str(path)}


def _said_of(noisy: NoisyRelease | None) -> list[str]:
    """What the noise is good for and what it is not."""
    if noisy is None:
        return []
    return [
        f"noisy-metrics.json: epsilon {noisy.epsilon} covers its {len(noisy.metrics)} numbers and nothing else",
        "the synthetic table, the exact report card and the verdict are outside of that epsilon; book it before you show it",
    ]


def _notes(reads: dict[str, TableRead], report: ReportCard) -> list[str]:
    return [*(f"{side}: {note}" for side, read in reads.items() for note in read.notes), *report.notes]


def _answer(
    options: argparse.Namespace, report: ReportCard, verdict: dict[str, Any] | None, paths: dict[str, str], notes: list[str]
) -> None:
    if options.json:
        answer = {"digest": report.digest, "rows": dict(report.rows), "seed": report.seed, "files": paths, "notes": notes}
        document = answer | ({} if verdict is None else {"passed": verdict["passed"], "rules": verdict["rules"]})
        print(json.dumps(document, ensure_ascii=False))  # noqa: T201 - a command speaks on its streams
        return
    lines = [render_text(report, verdict=verdict), "", *(f"note: {note}" for note in notes), *paths.values()]
    print("\n".join(lines))  # noqa: T201


def _progress() -> Callable[[str, float], None]:
    started, terminal = time.monotonic(), sys.stderr.isatty()

    def show(name: str, share: float) -> None:
        seconds = time.monotonic() - started
        if terminal:
            filled = round(share * BAR)
            end = "\n" if share >= 1 else ""
            sys.stderr.write(f"\r\x1b[K[{'#' * filled}{'.' * (BAR - filled)}] {seconds:5.1f} s  {name}{end}")
        else:
            sys.stderr.write(f"{seconds:6.1f} s  {share:4.0%}  {name}\n")
        sys.stderr.flush()

    return show


if __name__ == "__main__":
    sys.exit(main())
