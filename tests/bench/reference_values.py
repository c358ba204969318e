"""What SDMetrics and anonymeter say of the reference tables; run in an environment that has them.

    python3.11 -m venv /tmp/peers && /tmp/peers/bin/pip install sdmetrics==0.32.0 anonymeter==1.1.0
    /tmp/peers/bin/python -P tests/bench/reference_values.py --out tests/unit/evaluator/agreement/reference.json

Nothing of this project but `reference_tables.py` is imported. What is written down are numbers that do not depend on a draw.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import itertools
import json
import platform
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve()
HALF = ("a", "b", "c")
PEERS = ("sdmetrics", "anonymeter", "numpy", "pandas")
KINDS = {"age": "numerical", "income": "numerical", "spend": "numerical", "town": "categorical", "job": "categorical"}


def tables() -> Any:
    spec = importlib.util.spec_from_file_location("reference_tables", HERE.with_name("reference_tables.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sdmetrics_values(world: dict[str, pd.DataFrame]) -> dict[str, Any]:
    from sdmetrics.column_pairs import ContingencySimilarity, CorrelationSimilarity
    from sdmetrics.reports.single_table import QualityReport
    from sdmetrics.single_column import CategoryCoverage, KSComplement, MissingValueSimilarity, RangeCoverage, TVComplement
    from sdmetrics.single_table import NewRowSynthesis

    real, made = world["train"], world["synthetic"]
    metadata = {"columns": {name: {"sdtype": kind} for name, kind in KINDS.items()}}
    numbers = [name for name, kind in KINDS.items() if kind == "numerical"]
    categories = [name for name, kind in KINDS.items() if kind == "categorical"]
    report = QualityReport()
    report.generate(real, made, metadata, verbose=False)
    properties = report.get_properties().set_index("Property")["Score"]
    rows = NewRowSynthesis.compute_breakdown(real, made, metadata, numerical_match_tolerance=1e-9)
    pairs = list(itertools.combinations(numbers, 2))
    return {
        "KSComplement": {name: KSComplement.compute(real[name], made[name]) for name in numbers},
        "TVComplement": {name: TVComplement.compute(real[name], made[name]) for name in categories},
        "MissingValueSimilarity": {name: MissingValueSimilarity.compute(real[name], made[name]) for name in KINDS},
        "CategoryCoverage": {name: CategoryCoverage.compute(real[name], made[name]) for name in categories},
        "RangeCoverage": {name: RangeCoverage.compute(real[name], made[name]) for name in numbers},
        "CorrelationSimilarity spearman": {
            " and ".join(pair): CorrelationSimilarity.compute(real[list(pair)].dropna(), made[list(pair)].dropna(), "Spearman")
            for pair in pairs
        },
        "ContingencySimilarity": ContingencySimilarity.compute(real[categories], made[categories]),
        "QualityReport": {
            "score": report.get_score(),
            "shapes": properties["Column Shapes"],
            "pair_trends": properties["Column Pair Trends"],
        },
        "NewRowSynthesis": rows["score"],
    }


def anonymeter_values(grid: dict[str, pd.DataFrame], names: dict[str, pd.DataFrame]) -> dict[str, Any]:
    import polars as pl
    from anonymeter.evaluators import InferenceEvaluator, LinkabilityEvaluator, SinglingOutEvaluator
    from anonymeter.evaluators.singling_out_evaluator import univariate_singling_out_queries

    train, holdout, made = grid["train"], grid["holdout"], grid["synthetic"]
    aux = (list(HALF), [name for name in train.columns if name not in HALF])
    linked = LinkabilityEvaluator(ori=train, syn=made, aux_cols=aux, n_attacks=len(train), control=holdout)
    guessed = InferenceEvaluator(
        ori=train, syn=made, control=holdout, aux_cols=list("abcdef"), secret="ill", regression=False, n_attacks=len(train)
    )
    queries = univariate_singling_out_queries(pl.DataFrame(names["synthetic"]), 10**6, np.random.default_rng(0))
    alone = SinglingOutEvaluator(
        ori=names["train"], syn=names["synthetic"], control=names["holdout"], n_attacks=len(queries), seed=0
    )
    found = {
        "Linkability": linked.evaluate(n_jobs=1),
        "Inference": guessed.evaluate(n_jobs=1),
        "SinglingOut univariate": alone.evaluate(mode="univariate"),
    }
    return {name: attacked(evaluator) for name, evaluator in found.items()} | {"halves": [list(half) for half in aux]}


def attacked(evaluator: Any) -> dict[str, Any]:
    results = evaluator.results(confidence_level=0.95)
    risk = results.risk()
    return {
        "attacks": int(results.n_attacks_ori),
        "control_attacks": int(results.n_attacks_control),
        "successes": int(results.n_success),
        "control_successes": int(results.n_control),
        "attack_rate": list(results.attack_rate),
        "control_rate": list(results.control_rate),
        "risk": {"value": risk.value, "interval": list(risk.ci)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    module = tables()
    frames = {name: {side: pd.DataFrame(columns) for side, columns in world.items()} for name, world in module.WORLDS.items()}
    document = {
        "tables": {name: module.digest(world) for name, world in module.WORLDS.items()},
        "versions": {name: importlib.metadata.version(name) for name in PEERS} | {"python": platform.python_version()},
        "sdmetrics": sdmetrics_values(frames["people"]),
        "anonymeter": anonymeter_values(frames["grid"], frames["names"]),
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
