"""`python -m generator`: fit a generator to a table and write synthetic rows, without a gateway.

Responsible for arguments, files and exit codes: 0 done, 2 wrong usage, 4 bad input with one clear sentence, 130 stopped (Ctrl-C).

Invariants:
    - No traceback and no cell of the train table reaches the terminal.
    - The seed drives synthetic sampling alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from generator.base import BadHyperparameters, FittedGenerator, GeneratorError, Train
from generator.registry import create, info
from generator.zcdp import default_delta
from policies.card import DatasetCard
from policies.loader import DocumentInvalid, load_card
from policies.tables import TableInvalid, open_batches, read_table, write_table
from policies.types import GENERATORS, PrivacyTarget

__all__ = ["main"]

BAD_INPUT = 4
STOPPED = 130
LARGE_BYTES = 128 << 20
ENDINGS: dict[str, Literal["csv", "parquet"]] = {".csv": "csv", ".parquet": "parquet"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    target_format = ENDINGS.get(options.out.suffix)
    if target_format is None:
        parser.error("--out must end in .csv or .parquet")
    try:
        hyperparameters = _hyperparameters(options.set)
        generator = create(options.generator, hyperparameters)
    except (BadHyperparameters, ValueError) as error:
        parser.error(str(error))
    except GeneratorError as error:
        return _refuse(error)
    if info(options.generator).is_dp == (options.epsilon is None):
        parser.error(
            f"{options.generator} {'needs --epsilon' if options.epsilon is None else 'is not DP and takes no --epsilon'}"
        )
    try:
        card = load_card(options.card)
        train = _train(options.train, card)
        target = None if options.epsilon is None else _target(options, card)
        fit_rng, sample_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(options.seed).spawn(2))
        bar = _progress(is_shown=not options.json)
        fitted = generator.fit(train, card=card, target=target, rng=fit_rng, progress=bar, checkpoint=options.checkpoint)
        batches = fitted.sample(options.rows, rng=sample_rng, where=dict(options.where))
        written = write_table(batches, options.out, format=target_format, card=card)
    except (GeneratorError, DocumentInvalid, TableInvalid, OSError) as error:
        return _refuse(error)
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped: what was read until now is spent\n")
        return STOPPED
    _report(fitted, written, options.out, is_json=options.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m generator", description="Fit a generator and write synthetic rows.")
    parser.add_argument("--train", type=Path, required=True, help="table to learn from (CSV or Parquet)")
    parser.add_argument("--card", type=Path, required=True, help="dataset card (YAML)")
    parser.add_argument("--generator", required=True, choices=list(GENERATORS), help="name of the generator")
    parser.add_argument("--epsilon", type=_decimal, help="privacy target of a DP generator")
    parser.add_argument("--delta", type=_decimal, help="default: min(1e-6, 1/(10 public rows))")
    parser.add_argument("--rows", type=_count, required=True, help="how many rows to write")
    parser.add_argument("--out", type=Path, required=True, help="where to: .csv or .parquet")
    parser.add_argument("--seed", type=_count, default=None, help="drives synthetic sampling only")
    parser.add_argument("--where", type=_equation, action="append", default=[], metavar="COLUMN=VALUE", help="condition on rows")
    parser.add_argument("--set", type=_equation, action="append", default=[], metavar="NAME=VALUE", help="hyper-parameter")
    parser.add_argument("--checkpoint", type=Path, help="folder from which a killed fit of a network goes on")
    parser.add_argument("--json", action="store_true", help="print PrivacySpent as JSON")
    return parser


def _decimal(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from error
    if not value.is_finite() or value <= 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive number")
    return value


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 0")
    return int(text)


def _equation(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form NAME=VALUE")
    return name, value


def _hyperparameters(pairs: Sequence[tuple[str, str]]) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, text in pairs:
        try:
            values[name] = json.loads(text)
        except json.JSONDecodeError:
            values[name] = text
    return values


def _target(options: argparse.Namespace, card: DatasetCard) -> PrivacyTarget:
    try:
        return PrivacyTarget(epsilon=options.epsilon, delta=options.delta or default_delta(card.spec.public_rows))
    except ValueError as error:
        raise GeneratorError(str(error)) from error


def _train(path: Path, card: DatasetCard) -> Train:
    """The whole table, or for a large file its batches, read again in every round."""
    if path.is_file() and path.stat().st_size > LARGE_BYTES:
        return _Batches(path, card)
    return read_table(path, card=card).table


@dataclass(frozen=True, slots=True)
class _Batches:
    path: Path
    card: DatasetCard

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return open_batches(self.path, card=self.card)


def _progress(*, is_shown: bool) -> _Bar:
    return _Bar(is_shown=is_shown and sys.stderr.isatty())


class _Bar:
    def __init__(self, *, is_shown: bool) -> None:
        self._is_shown = is_shown

    def __call__(self, share: float, stage: str) -> None:
        if self._is_shown:
            sys.stderr.write(f"\r{share:4.0%} {stage:<40}" + ("" if share < 1 else "\n"))
            sys.stderr.flush()


def _refuse(error: Exception) -> int:
    sys.stderr.write(f"error: {error}\n")
    return BAD_INPUT


def _report(fitted: FittedGenerator, rows: int, out: Path, *, is_json: bool) -> None:
    if is_json:
        sys.stdout.write(json.dumps(fitted.spent.to_json(), sort_keys=True) + "\n")
        return
    spent = fitted.spent
    guarantee = f"epsilon {spent.epsilon}, delta {spent.delta}, one {spent.unit}" if spent.is_dp else "no privacy guarantee"
    sys.stdout.write(f"{rows} rows written to {out} by {fitted.info.name}: {guarantee}\n")
    outside = fitted.notes.get("values_outside_domains")
    if isinstance(outside, Mapping):
        told = ", ".join(f"{name} {one['count']} (± {one['noise']})" for name, one in outside.items())
        sys.stdout.write(f"values outside the card's domains, with noise: {told}\n")


if __name__ == "__main__":
    sys.exit(main())
