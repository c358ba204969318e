"""Time and memory of a full report card on Adult beside what peers take for their share of the questions, on the same files.

    python -m tests.bench.evaluator [--rows N] [--no-peers] [--peer-python PATH]
        [--peer-rows N] [--peer-attacks N] [--out FILE.md] [--data ../shared/data/adult.csv]

Prints one JSON line per run, and at the end (or into a file) a table. The synthetic table is independent columns with 5 % rows copied from train. Every
run is a child process with a peak of its own; `cpu_s` is what it costs whatever else the machine does. Peers live in an environment
of their own, `build/evaluator-peers`, made on first use from the package index; each has ten minutes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from policies.card import DatasetCard

HERE = Path(__file__).resolve()
ADULT = HERE.parents[3] / "shared" / "data" / "adult.csv"
NUMBERS = ("age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week")
QUASI = ("age", "education", "marital_status", "race", "sex")
PINS = ("sdmetrics==0.32.0", "anonymeter==1.1.0")
PEER_ENVIRONMENT = HERE.parents[2] / "build" / "evaluator-peers"
QUESTIONS = (
    "sdmetrics-quality", "sdmetrics-dcr-overfitting", "sdmetrics-dcr-baseline", "sdmetrics-new-row", "sdmetrics-disclosure",
    "anonymeter-singling-out", "anonymeter-linkability", "anonymeter-inference",
)  # fmt: skip
PATIENCE_S = 600
SHOWN = (
    "utility.overall", "privacy.copies.excess_share", "privacy.membership_inference.tpr_at_fpr_1pct",
    "privacy.singling_out.multivariate", "privacy.linkability", "privacy.attribute_inference.income",
)  # fmt: skip
TRAIN_ROWS = 32_561
SIDES = ("train", "holdout", "synthetic")


def adult_card(names: list[str]) -> DatasetCard:
    columns = {}
    for name in names:
        role = "sensitive" if name == "income" else "quasi-identifier" if name in QUASI else "other"
        columns[name] = {"type": "integer" if name in NUMBERS else "category", "role": role}
    spec = {"source": "adult.csv", "columns": columns, "targets": ["income"], "protected": ["sex", "race"]}
    document = {"apiVersion": "ticketgate/v1", "kind": "Dataset", "metadata": {"name": "adult"}, "spec": spec}
    return DatasetCard.model_validate(document)


def tables(path: Path, rows: int) -> tuple[pa.Table, pa.Table, pa.Table]:
    options = pyarrow.csv.ConvertOptions(strings_can_be_null=True, null_values=[""])
    table = pyarrow.csv.read_csv(path, convert_options=options)
    rng = np.random.default_rng(0)
    train, holdout = table.slice(0, min(rows, TRAIN_ROWS)), table.slice(TRAIN_ROWS).slice(0, max(rows // 2, 1))
    many = train.num_rows
    synthetic = pa.table({name: train[name].take(rng.permutation(many)) for name in train.column_names})
    copied = rng.permutation(many)[: many // 20]
    return train, holdout, pa.concat_tables([synthetic.slice(0, many - len(copied)), train.take(copied)])


def ours(train: pa.Table, holdout: pa.Table, synthetic: pa.Table) -> dict[str, object]:
    from evaluator import evaluate
    from evaluator.render import render_html

    seconds: list[tuple[str, float]] = []
    card = evaluate(
        train=train, holdout=holdout, synthetic=synthetic, card=adult_card(train.column_names), seed=0,
        progress=lambda name, _: seconds.append((name, time.perf_counter())),
    )  # fmt: skip
    render_html(card, audience="auditor")
    families = {name: round(end - start, 2) for (name, start), (_, end) in itertools.pairwise(seconds)}
    found = {"metrics": len(card.metrics)} | {name: card.metrics[name].value for name in SHOWN}
    return {"found": found, "wall_by_family": families}


def child(folder: Path) -> None:
    """Measure one report card of the tables in a folder."""
    train, holdout, synthetic = (pq.read_table(folder / f"{side}.parquet") for side in SIDES)
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    answer = ours(train, holdout, synthetic)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    sizes = [train.num_rows, holdout.num_rows, synthetic.num_rows]
    figures = {"wall_s": round(wall, 1), "cpu_s": round(cpu, 1), "peak_mib": round(after.ru_maxrss / 1024)}
    print(json.dumps({"what": "ticketgate", "rows": sizes, **figures, **answer}))


def peer_python(given: Path | None) -> Path:
    """An interpreter that has the peers; the environment is made on first use."""
    if given is not None:
        return given
    python = PEER_ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEER_ENVIRONMENT)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PINS], check=True)
    return python


def told(arguments: list[str], what: str) -> dict[str, Any]:
    """Run a child and read its last line; a peer that takes too long or breaks is a result too."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            arguments, check=True, capture_output=True, text=True, timeout=PATIENCE_S, env=environment, cwd=HERE.parents[2]
        )
    except subprocess.TimeoutExpired:
        return {"what": what, "note": f"stopped after {PATIENCE_S} s"}
    except subprocess.CalledProcessError as error:
        return {"what": what, "note": f"broke: {error.stderr.strip().splitlines()[-1][:120]}"}
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def as_table(results: list[dict[str, Any]]) -> str:
    """The results in Markdown."""
    lines = ["| asked | CPU s | wall s | peak MiB | answer |", "|---|---|---|---|---|"]
    for result in results:
        found = result.get("found", "")
        words = (
            f"{found:.4g}" if isinstance(found, float) else "; ".join(f"{k} {v:.4g}" for k, v in found.items()) if found else ""
        )
        note = f" ({result['note']})" if "note" in result else ""
        cells = (str(result.get(key, "")) for key in ("cpu_s", "wall_s", "peak_mib"))
        lines.append(f"| {result['what']} | {' | '.join(cells)} | {words}{note} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=TRAIN_ROWS)
    parser.add_argument("--data", type=Path, default=ADULT)
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--peer-python", type=Path, help="an interpreter that has the peers already")
    parser.add_argument("--peer-rows", type=int, default=2_000, help="rows a table where a peer compares all with all")
    parser.add_argument("--peer-attacks", type=int, default=500, help="attacks a peer makes (its own default)")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child)
        return
    if not given.data.exists():
        raise SystemExit(f"{given.data} is missing: give Adult as a CSV with --data")
    results = []
    with tempfile.TemporaryDirectory() as name:
        for side, table in zip(SIDES, tables(given.data, given.rows), strict=True):
            pq.write_table(table, Path(name) / f"{side}.parquet")
        asked = [
            ("ticketgate", [sys.executable, "-P", str(HERE), "--child", name])
        ]  # -P: no file beside this one may hide a package
        if given.peers:
            python = str(peer_python(given.peer_python))
            asked += [
                (
                    what,
                    [
                        python,
                        "-P",
                        str(HERE.with_name("evaluator_peers.py")),
                        what,
                        name,
                        str(given.peer_rows),
                        str(given.peer_attacks),
                    ],
                )
                for what in QUESTIONS
            ]
        for what, arguments in asked:
            results.append(told(arguments, what))
            print(json.dumps(results[-1]), flush=True)
    if given.out:
        given.out.write_text(as_table(results))
    print(as_table(results))


if __name__ == "__main__":
    main()
