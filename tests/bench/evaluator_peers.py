"""One question asked of one peer on given files: what it answers and what it costs.

    PEER_PYTHON -P tests/bench/evaluator_peers.py QUESTION FOLDER ROWS ATTACKS

FOLDER holds train.parquet, holdout.parquet and synthetic.parquet of Adult; ROWS and ATTACKS bound what a peer may not be asked in
full without taking an hour. Imports nothing of this project: it runs in an
environment that has SDMetrics and anonymeter (`tests/bench/evaluator.py` makes one). Prints one JSON line.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

NUMBERS = ("age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week")
QUASI = ["age", "education", "marital_status", "race", "sex"]
ROWS, ATTACKS = (int(given) for given in sys.argv[3:5])


def metadata(frame: pd.DataFrame) -> dict[str, Any]:
    return {"columns": {name: {"sdtype": "numerical" if name in NUMBERS else "categorical"} for name in frame.columns}}


def sdmetrics_quality(train: pd.DataFrame, _: pd.DataFrame, made: pd.DataFrame) -> dict[str, Any]:
    from sdmetrics.reports.single_table import QualityReport

    report = QualityReport()
    report.generate(train, made, metadata(train), verbose=False)
    return {"found": report.get_score()}


def sdmetrics_dcr_overfitting(train: pd.DataFrame, holdout: pd.DataFrame, made: pd.DataFrame) -> dict[str, Any]:
    from sdmetrics.single_table import DCROverfittingProtection

    answer = DCROverfittingProtection.compute_breakdown(
        real_training_data=train,
        synthetic_data=made,
        real_validation_data=holdout,
        metadata=metadata(train),
        table_name=None,
        num_rows_subsample=ROWS,
    )
    return {"found": answer["score"], "note": f"{ROWS:,} rows a table"}


def sdmetrics_dcr_baseline(train: pd.DataFrame, _: pd.DataFrame, made: pd.DataFrame) -> dict[str, Any]:
    from sdmetrics.single_table import DCRBaselineProtection

    answer = DCRBaselineProtection.compute_breakdown(
        real_data=train, synthetic_data=made, metadata=metadata(train), table_name=None, num_rows_subsample=ROWS
    )
    return {"found": answer["score"], "note": f"{ROWS:,} rows a table"}


def sdmetrics_new_row(train: pd.DataFrame, _: pd.DataFrame, made: pd.DataFrame) -> dict[str, Any]:
    from sdmetrics.single_table import NewRowSynthesis

    answer = NewRowSynthesis.compute(train, made, metadata(train), synthetic_sample_size=ROWS)
    return {"found": answer, "note": f"{ROWS:,} synthetic rows"}


def sdmetrics_disclosure(train: pd.DataFrame, _: pd.DataFrame, made: pd.DataFrame) -> dict[str, Any]:
    from sdmetrics.single_table import DisclosureProtection

    answer = DisclosureProtection.compute_breakdown(
        train.head(ROWS), made.tail(ROWS), known_column_names=QUASI, sensitive_column_names=["income"]
    )
    return {"found": answer["score"], "note": f"{ROWS:,} rows a table, one secret"}


def anonymeter_singling_out(train: pd.DataFrame, holdout: pd.DataFrame, made: pd.DataFrame) -> dict[str, Any]:
    from anonymeter.evaluators import SinglingOutEvaluator

    train = train.sample(len(holdout), random_state=0)
    evaluator = SinglingOutEvaluator(ori=train, syn=made, control=holdout, n_attacks=ATTACKS, n_cols=4, seed=0)
    risk = evaluator.evaluate(mode="multivariate").risk().value
    return {"found": risk, "note": f"{ATTACKS} predicates, train sampled to the holdout's size"}


def anonymeter_linkability(train: pd.DataFrame, holdout: pd.DataFrame, made: pd.DataFrame) -> dict[str, Any]:
    from anonymeter.evaluators import LinkabilityEvaluator

    rest = [name for name in train.columns if name not in QUASI]
    evaluator = LinkabilityEvaluator(ori=train, syn=made, control=holdout, aux_cols=(QUASI, rest), n_attacks=ATTACKS)
    return {"found": evaluator.evaluate(n_jobs=1).risk().value, "note": f"{ATTACKS} people"}


def anonymeter_inference(train: pd.DataFrame, holdout: pd.DataFrame, made: pd.DataFrame) -> dict[str, Any]:
    from anonymeter.evaluators import InferenceEvaluator

    known = [name for name in train.columns if name != "income"]
    evaluator = InferenceEvaluator(ori=train, syn=made, control=holdout, aux_cols=known, secret="income", n_attacks=ATTACKS)
    return {"found": evaluator.evaluate(n_jobs=1).risk().value, "note": f"{ATTACKS} people, one secret"}


QUESTIONS = {
    "sdmetrics-quality": sdmetrics_quality,
    "sdmetrics-dcr-overfitting": sdmetrics_dcr_overfitting,
    "sdmetrics-dcr-baseline": sdmetrics_dcr_baseline,
    "sdmetrics-new-row": sdmetrics_new_row,
    "sdmetrics-disclosure": sdmetrics_disclosure,
    "anonymeter-singling-out": anonymeter_singling_out,
    "anonymeter-linkability": anonymeter_linkability,
    "anonymeter-inference": anonymeter_inference,
}


def filled(frame: pd.DataFrame) -> pd.DataFrame:
    """Missing categories as a value of their own: anonymeter's encoder knows no missing one."""
    return frame.fillna({name: "missing" for name in frame.columns if name not in NUMBERS})


def main() -> None:
    question, folder = sys.argv[1], Path(sys.argv[2])
    frames = tuple(pd.read_parquet(folder / f"{side}.parquet") for side in ("train", "holdout", "synthetic"))
    if question.startswith("anonymeter"):
        frames = tuple(filled(frame) for frame in frames)
    warnings.simplefilter("ignore")
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    answer = QUESTIONS[question](*frames)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    figures = {"wall_s": round(wall, 1), "cpu_s": round(cpu, 1), "peak_mib": round(after.ru_maxrss / 1024)}
    print(json.dumps({"what": question, "rows": [len(frame) for frame in frames], **figures, **answer}))


if __name__ == "__main__":
    main()
