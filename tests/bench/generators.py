"""`python -m tests.bench.generators`: fidelity, usefulness and cost of generators on Adult, in one run.

Figures are those of the independent tool beside the checkout (`shared/tools/fidelity.py`): two-way fidelity against train and
the AUC on test of gradient boosting trained on the synthetic table. The split is fixed: the first 32,561 rows, permuted by a
fixed seed, 26,049 for train. CPU seconds are those of fit and sample together, in a process of its own.

    python -m tests.bench.generators [--runs 5] [--generators dp-marginal,dp-aim,cart] [--epsilons 0.1,1,3]
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
CARD = ROOT / "tests" / "realdata" / "cards" / "adult.yaml"
TRAIN_ROWS, UCI_ROWS, SPLIT_SEED = 26_049, 32_561, 20240601


def split(folder: Path) -> tuple[Path, Path]:
    """Write train.csv and test.csv of the fixed split."""
    with (SHARED / "data" / "adult.csv").open(newline="") as source:
        header, *rows = csv.reader(source)
    order = np.random.default_rng(SPLIT_SEED).permutation(UCI_ROWS)
    paths = folder / "train.csv", folder / "test.csv"
    for path, part in zip(paths, (order[:TRAIN_ROWS], order[TRAIN_ROWS:]), strict=True):
        with path.open("w", newline="") as target:
            csv.writer(target).writerows([header, *(rows[i] for i in part)])
    return paths


def produce(arguments: argparse.Namespace) -> None:
    """Fit one generator, write its rows, print what it cost."""
    from generator.registry import create
    from generator.zcdp import default_delta
    from policies.loader import load_card
    from policies.tables import read_table, write_table
    from policies.types import PrivacyTarget

    card = load_card(CARD)
    if arguments.no_target:
        card = card.model_copy(update={"spec": card.spec.model_copy(update={"targets": ()})})
    train = read_table(arguments.train, card=card).table
    target = None
    if arguments.epsilon:
        target = PrivacyTarget(epsilon=Decimal(arguments.epsilon), delta=Decimal(arguments.delta) or default_delta(None))
    start = time.process_time()
    fitted = create(arguments.generator).fit(train, card=card, target=target, rng=np.random.default_rng(arguments.seed))
    batches = list(fitted.sample(train.num_rows, rng=np.random.default_rng(arguments.seed)))
    cpu = time.process_time() - start
    write_table(batches, arguments.out, format="csv", card=card)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu": cpu, "mb": peak, "epsilon": str(fitted.spent.epsilon)}))


def measure(name: str, epsilon: str, *, runs: int, folder: Path, no_target: bool) -> dict[str, float]:
    """Means over runs."""
    train, test = folder / "train.csv", folder / "test.csv"
    found = []
    for seed in range(runs):
        out = folder / "synthetic.csv"
        command = [sys.executable, "-m", "tests.bench.generators", "--produce", "--generator", name, "--epsilon", epsilon]
        command += ["--seed", str(seed), "--train", str(train), "--out", str(out), *(["--no-target"] if no_target else [])]
        cost = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
        tool = [sys.executable, str(SHARED / "tools" / "fidelity.py"), "--train", str(train), "--test", str(test)]
        tool += ["--synthetic", str(out), "--target", "income"]
        quality = json.loads(subprocess.run(tool, check=True, capture_output=True, text=True).stdout)
        found.append({**quality, **cost})
    return {key: float(np.mean([one[key] for one in found])) for key in ("w1", "w2", "w3", "auc", "copies", "cpu", "mb")}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--generators", default="dp-marginal,dp-aim,cart")
    parser.add_argument("--epsilons", default="0.1,1,3")
    parser.add_argument("--delta", default="1e-5")
    parser.add_argument("--no-target", action="store_true")
    for name in ("--generator", "--epsilon", "--train", "--out"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--produce", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.produce:
        produce(arguments)
        return
    from generator.registry import info

    print(f"{'generator':<12} {'epsilon':>7} {'w1':>7} {'w2':>7} {'w3':>7} {'AUC':>7} {'copies':>8} {'CPU s':>7} {'MB':>6}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        split(folder)
        for generator in arguments.generators.split(","):
            for epsilon in arguments.epsilons.split(",") if info(generator).is_dp else [""]:
                row = measure(generator, epsilon, runs=arguments.runs, folder=folder, no_target=arguments.no_target)
                numbers = " ".join(f"{row[key]:7.4f}" for key in ("w1", "w2", "w3", "auc"))
                print(
                    f"{generator:<12} {epsilon or 'none':>7} {numbers} {row['copies']:8.4f} {row['cpu']:7.2f} {row['mb']:6.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
