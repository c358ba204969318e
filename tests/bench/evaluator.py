"""Time and memory of a full report card on Adult beside what SDMetrics takes for its share of the questions.

    python tests/bench/evaluator.py [--rows N] [--peers/--no-peers] [--data ../shared/data/adult.csv]

Prints one JSON line per run. The synthetic table is independent columns with 5 % rows copied from train. Every run is a child
process with a peak of its own; peers run on the same rows. `cpu_s` is what a run costs whatever else the machine does.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from policies.card import DatasetCard

HERE = Path(__file__).resolve()
ADULT = HERE.parents[3] / "shared" / "data" / "adult.csv"
NUMBERS = ("age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week")
QUASI = ("age", "education", "marital_status", "race", "sex")
PEERS = ("sdmetrics-quality", "sdmetrics-dcr-overfitting", "sdmetrics-new-row-1000")
TRAIN_ROWS = 32_561


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
    copies, quality = card.metrics["privacy.copies.excess_share"], card.metrics["utility.overall"]
    found = {"copies_p": copies.p_value, "overall": quality.value, "metrics": len(card.metrics)}
    return {"found": found, "wall_by_family": families}


def peer(name: str, train: pa.Table, holdout: pa.Table, synthetic: pa.Table) -> dict[str, object]:
    real, fresh, made = train.to_pandas(), holdout.to_pandas(), synthetic.to_pandas()
    kinds = {column: {"sdtype": "numerical" if column in NUMBERS else "categorical"} for column in real.columns}
    metadata = {"columns": kinds}
    warnings.simplefilter("ignore")
    if name == "sdmetrics-quality":
        from sdmetrics.reports.single_table import QualityReport

        report = QualityReport()
        report.generate(real, made, metadata, verbose=False)
        return {"found": report.get_score()}
    if name == "sdmetrics-dcr-overfitting":
        from sdmetrics.single_table import DCROverfittingProtection

        answer = DCROverfittingProtection.compute_breakdown(
            real_training_data=real,
            synthetic_data=made,
            real_validation_data=fresh,
            metadata={"tables": {"adult": metadata}},
            table_name="adult",
            num_rows_subsample=2000,
        )
        return {"found": answer["score"], "note": "2,000 rows a table"}
    from sdmetrics.single_table import NewRowSynthesis

    answer = NewRowSynthesis.compute(real, made, metadata, synthetic_sample_size=1000)
    return {"found": answer, "note": "1,000 synthetic rows"}


def child(what: str, path: Path, rows: int) -> None:
    train, holdout, synthetic = tables(path, rows)
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    answer = ours(train, holdout, synthetic) if what == "ticketgate" else peer(what, train, holdout, synthetic)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    sizes = [train.num_rows, holdout.num_rows, synthetic.num_rows]
    figures = {"wall_s": round(wall, 1), "cpu_s": round(cpu, 1), "peak_mib": round(after.ru_maxrss / 1024)}
    print(json.dumps({"what": what, "rows": sizes, **figures, **answer}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=TRAIN_ROWS)
    parser.add_argument("--data", type=Path, default=ADULT)
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not given.data.exists():
        raise SystemExit(f"{given.data} is missing: give Adult as a CSV with --data")
    if given.only:
        child(given.only, given.data, given.rows)
        return
    for what in ("ticketgate", *(PEERS if given.peers else ())):
        arguments = [sys.executable, "-P", str(HERE), "--only", what, "--rows", str(given.rows), "--data", str(given.data)]
        subprocess.run(arguments, check=True)  # -P: this file's name must not hide the package


if __name__ == "__main__":
    main()
