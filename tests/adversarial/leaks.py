"""Plant leaks in rows of real tables and see which metric finds them: the acceptance of the privacy metrics.

    python -m tests.adversarial.leaks --out docs/reference/leak-matrix.md [--seeds 3] [--splits 200] [--tables adult,bike-hour]

Measures plant x metric x detection rate, distortions x metric, and the rate at which fresh real rows are refused. Every measured
cell is a line of the file of `--results`, with a digest of the code that measured it: an interrupted run goes on where it was,
other code starts anew, and the page is drawn from the lines of one digest alone. Rows of real tables stay in memory.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if not __package__:
    sys.path.insert(0, str(ROOT))  # run as a file: `tests` lies beside the packages, it is not installed

from evaluator.inputs import check_inputs  # noqa: E402 - after the path is set
from evaluator.privacy import FAMILIES, PrivacyOptions  # noqa: E402
from evaluator.suite import Step, run_steps  # noqa: E402
from evaluator.utility import FAMILIES as UTILITY_FAMILIES  # noqa: E402
from policies.gate import Verdict, gate  # noqa: E402
from policies.gate_rule import GateRule  # noqa: E402
from policies.metric_catalogue import DEFAULT_LINES  # noqa: E402
from policies.metric_catalogue_utility import UTILITY_LINES  # noqa: E402
from policies.metrics import MetricResult  # noqa: E402
from tests.adversarial.leak_page import page  # noqa: E402
from tests.adversarial.leak_tables import Subject, shaped_subjects, smaller_subjects, subjects  # noqa: E402
from tests.adversarial.plants import DISTORTIONS, PLANTS, WHERE, Scene, scene_of  # noqa: E402

RULES = tuple(
    GateRule.model_validate(
        {
            "metric": line.metric,
            "max": None if line.max is None else Decimal(line.max),
            "min": None if line.min is None else Decimal(line.min),
            "p_min": None if line.p_min is None else Decimal(line.p_min),
            "use": "value" if line.metric.startswith("privacy.pii") else "interval",
            "severity": "block" if line.blocks else "warn",
            "if_not_applicable": "pass",
        }
    )
    for line in DEFAULT_LINES
)
SHAPE_RULES = tuple(
    GateRule.model_validate(
        {
            "metric": line.metric,
            "max": None if line.max is None else Decimal(line.max),
            "min": None if line.min is None else Decimal(line.min),
            "use": "value",
            "severity": "warn",
            "if_not_applicable": "pass",
        }
    )
    for line in UTILITY_LINES
    if line.metric.startswith("utility.")
)
FRESH = "fresh rows"
TABLES = "adult,adult-plain,bike-hour,hospital-stays,web-shop,adult 80/20,adult 50/50,adult-plain 80/20,adult-plain 50/50"
SPLIT_SEEDS = 1000
"""Seeds of the fresh splits start here, so that none of them is a split that plants were measured on."""
SHAPED = ("0.25 % verbatim", "1 % verbatim", "5 % verbatim", "5 % near, one number jittered", FRESH)
"""What is planted where train, holdout and output differ in size: a share of the output's rows."""
WARN = 0.05
MEASURED = (
    "evaluator/*.py", "evaluator/privacy/*.py", "evaluator/utility/*.py", "policies/gate*.py", "policies/metric*.py",
    "tests/adversarial/leak_tables.py", "tests/adversarial/plants.py",
)  # fmt: skip
"""What a figure depends on: the metrics, the lines they are held against, the tables and the leaks."""


def measured(
    scene: Scene, synthetic: Any, seed: int, options: PrivacyOptions, *, columns: tuple[str, ...] | None = None
) -> dict[str, MetricResult]:
    """All privacy metrics of one synthetic table, of some columns where a request asks for no more."""
    rows = synthetic.select(list(columns or scene.learnt))  # keys would give a copy away too easily
    inputs = check_inputs(train=scene.train, holdout=scene.holdout, synthetic=rows, card=scene.card, seed=seed, columns=columns)
    results: dict[str, MetricResult] = {}
    for family in FAMILIES:
        results |= family.run(inputs, options)
    return results


def results_of(one: Subject, plant: str, seed: int, options: PrivacyOptions) -> dict[str, MetricResult]:
    """Plant and measure."""
    scene = scene_of(one, seed)
    return measured(scene, scene.fresh if plant == FRESH else PLANTS[plant](scene), seed, options)


def verdict_of(one: Subject, plant: str, seed: int, options: PrivacyOptions) -> Verdict:
    """Plant, measure, and hold against the default lines."""
    return gate(results_of(one, plant, seed, options), RULES)


def shape_verdict(one: Subject, distortion: str, seed: int) -> Verdict:
    """Distort fresh rows, measure what they are good for, and hold that against the utility lines."""
    scene = scene_of(one, seed)
    table = scene.fresh if distortion == FRESH else DISTORTIONS[distortion](scene, **WHERE[one.name][distortion])
    rows = table.select(list(scene.learnt))
    inputs = check_inputs(train=scene.train, holdout=scene.holdout, synthetic=rows, card=scene.card, seed=seed)
    steps = [Step(name=f.name, names=f.names, run=f.run, cost=f.cost) for f in UTILITY_FAMILIES if "tstr" not in f.name]
    return gate(run_steps(inputs, steps).metrics, SHAPE_RULES)


def found_by(verdict: Verdict) -> set[str]:
    """Metrics that fail (not: inconclusive) beyond their line, short names."""
    return {short(rule.metric) for rule in verdict.rules if rule.code in ("p-below-line", "beyond-line")}


def short(metric: str) -> str:
    """A metric's name in the matrix."""
    name = metric.removeprefix("privacy.").removeprefix("utility.").replace("membership_inference", "mia")
    name = name.replace(".excess_share", "")
    return "attribute_inference" if name.startswith("attribute_inference") else "pii" if name.startswith("pii.") else name


def warned_by(results: dict[str, MetricResult]) -> set[str]:
    """Metrics tested at 0.001 whose p lies below 0.05: what a reviewer is told of."""
    tested = [rule.metric for rule in RULES if rule.p_min == Decimal("0.001")]
    return {short(name) for name in tested if (p := results[name].p_value) is not None and p < WARN}


def cells(arguments: argparse.Namespace) -> Iterator[tuple[Subject, str, str, int]]:
    """Everything that is asked for: table, kind of cell, plant, seed; what matters most first."""
    listed = {one.name: one for one in (*subjects(), *smaller_subjects(), *shaped_subjects())}

    def chosen(names: str, rows: int) -> list[Subject]:
        return [replace(one, rows=min(one.rows, rows)) for name, one in listed.items() if name in names.split(",")]

    for seed in range(arguments.seeds):
        for one in chosen(arguments.tables, arguments.rows):
            yield from ((one, "plant", plant, seed) for plant in (*PLANTS, FRESH) if one.sizes is None or plant in SHAPED)
    for one in chosen(arguments.shape_tables, arguments.rows):
        yield from ((one, "shape", distortion, 0) for distortion in (FRESH, *WHERE[one.name]))
    for seed in range(SPLIT_SEEDS, SPLIT_SEEDS + arguments.splits):
        yield from ((one, "split", FRESH, seed) for one in chosen(arguments.split_tables, arguments.split_rows))


def measure(one: Subject, kind: str, plant: str, seed: int, options: PrivacyOptions) -> dict[str, Any]:
    """One cell, as a line of the results file."""
    began = time.process_time()
    if kind == "shape":
        verdict, warned = shape_verdict(one, plant, seed), set[str]()
    else:
        results = results_of(one, plant, seed, options)
        verdict, warned = gate(results, RULES), warned_by(results)
    return {
        "found": sorted(found_by(verdict)),
        "warned": sorted(warned),
        "refused": not verdict.passed,
        "blocking": sorted(f"{rule.metric}: {rule.code}" for rule in verdict.blocking),
        "sizes": list(one.sizes or (one.rows,) * 3),
        "cpu_s": round(time.process_time() - began, 2),
    }


def digest() -> str:
    """Of the code that the privacy figures come from."""
    files = sorted(path for pattern in MEASURED for path in ROOT.glob(pattern))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def main() -> int:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "reference" / "leak-matrix.md")
    parser.add_argument("--results", type=Path, default=ROOT / ".ticketgate" / "leak-results.jsonl")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--splits", type=int, default=200, help="fresh splits a table")
    parser.add_argument("--tables", default=TABLES)
    parser.add_argument("--shape-tables", default="adult,bike-hour,hospital-stays,web-shop-rows")
    parser.add_argument("--split-tables", default="adult,bike-hour,hospital-stays")
    parser.add_argument("--rows", type=int, default=16_000, help="most rows of each part")
    parser.add_argument("--split-rows", type=int, default=16_000, help="the same for fresh splits")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop measuring after so long")
    parser.add_argument("--digest", action="store_true", help="print the digest of the measuring code, and stop")
    parser.add_argument("--draw", type=Path, nargs="+", help="draw the page from these files of measured cells, and stop")
    arguments = parser.parse_args()
    columns = tuple(dict.fromkeys(short(line.metric) for line in DEFAULT_LINES))
    if arguments.digest:
        print(digest())
        return 0
    if arguments.draw:
        arguments.out.write_text(page([line for file in arguments.draw for line in _lines(file)], columns), encoding="utf-8")
        return 0
    version, options, stop = digest(), PrivacyOptions(workers=arguments.workers), time.monotonic() + 60 * arguments.minutes
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    arguments.results.touch()
    lines = [line for line in _lines(arguments.results) if line["code"] == version]
    done = {(line["table"], line["rows"], line["kind"], line["plant"], line["seed"]) for line in lines}
    with arguments.results.open("a", encoding="utf-8") as file:
        for one, kind, plant, seed in cells(arguments):
            if (one.name, one.rows, kind, plant, seed) in done or time.monotonic() > stop:
                continue
            key = {"code": version, "table": one.name, "rows": one.rows, "kind": kind, "plant": plant, "seed": seed}
            lines.append(key | measure(one, kind, plant, seed, options))
            file.write(json.dumps(lines[-1]) + "\n")
            file.flush()
    arguments.out.write_text(page(lines, columns), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
