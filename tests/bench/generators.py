"""`python -m tests.bench.generators`: fidelity, usefulness and cost of generators on Adult, ours and peers in one run.

Figures are those of the independent tool beside the checkout (`shared/tools/fidelity.py`): two-way fidelity against train and
the AUC on test of gradient boosting trained on the synthetic table. The split is fixed: the first 32,561 rows, permuted by a
fixed seed, 26,049 for train. CPU seconds are those of fit and sample together, in a process of its own.

    python -m tests.bench.generators [--runs 5] [--generators dp-marginal,dp-aim,cart] [--epsilons 0.1,1,3]
    python -m tests.bench.generators --peers dpmm-privbayes,dpmm-mst --peer-runs 1

Peers are installed from the package index into environments under `--cache`; they get the same split, δ, bounds and values.
SDMetrics' quality score is that of the first `--quality-runs` runs. Rows are means ± standard deviations over runs.
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
SELF = [sys.executable, "-m", "tests.bench.generators"]
COLUMNS = {"w1": 3, "w2": 3, "w3": 3, "auc": 3, "sdmetrics": 3, "copies": 4, "cpu": 1, "mb": 0}
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


def quality(arguments: argparse.Namespace) -> None:
    """Print SDMetrics' quality score of a synthetic file."""
    import warnings

    import pandas as pd
    from sdmetrics.reports.single_table import QualityReport

    from policies.loader import load_card

    warnings.simplefilter("ignore")
    card = load_card(CARD)
    kinds = {name: "categorical" if column.type == "category" else "numerical" for name, column in card.learnt.items()}
    metadata = {"columns": {name: {"sdtype": kind} for name, kind in kinds.items()}}
    report = QualityReport()
    frames = [pd.read_csv(path)[list(kinds)] for path in (arguments.train, arguments.out)]
    report.generate(*frames, metadata, verbose=False)
    print(json.dumps({"sdmetrics": report.get_score()}))


def json_of(command: list[str]) -> dict[str, float]:
    """The JSON object that a command prints."""
    found: dict[str, float] = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    return found


def judge(out: Path, folder: Path, *, with_quality: bool) -> dict[str, float]:
    """Figures of the independent tool, and SDMetrics' score where it is wanted."""
    train, test = str(folder / "train.csv"), str(folder / "test.csv")
    tool = [sys.executable, str(SHARED / "tools" / "fidelity.py"), "--train", train, "--test", test]
    found = json_of([*tool, "--synthetic", str(out), "--target", "income"])
    if with_quality:
        found |= json_of([*SELF, "--quality", "--train", train, "--out", str(out)])
    return found


def ours(name: str, epsilon: str, arguments: argparse.Namespace, folder: Path) -> list[dict[str, float]]:
    """Figures of each run of one of our generators."""
    found = []
    for seed in range(arguments.runs):
        out = folder / "synthetic.csv"
        command = [*SELF, "--produce", "--generator", name, "--epsilon", epsilon, "--delta", arguments.delta]
        command += ["--seed", str(seed), "--train", str(folder / "train.csv"), "--out", str(out)]
        cost = json_of([*command, *(["--no-target"] if arguments.no_target else [])])
        found.append(judge(out, folder, with_quality=seed < arguments.quality_runs) | cost)
    return found


def theirs(name: str, epsilon: str, arguments: argparse.Namespace, folder: Path) -> list[dict[str, float]]:
    """Figures of each run of a peer."""
    from policies.loader import load_card
    from tests.bench.peers import produce as produce_peer

    found = []
    for seed in range(arguments.peer_runs):
        out = folder / "peer.csv"
        cost = produce_peer(
            name, epsilon=epsilon, delta=arguments.delta, seed=seed, train=folder / "train.csv", card=load_card(CARD), out=out,
            cache=arguments.cache,
        )  # fmt: skip
        found.append(judge(out, folder, with_quality=seed < arguments.quality_runs) | cost)
    return found


def line(name: str, epsilon: str, found: list[dict[str, float]]) -> str:
    """One row of the table."""
    cells = []
    for key, digits in COLUMNS.items():
        values = [one[key] for one in found if key in one]
        spread = f" ±{np.std(values):.{digits}f}" if len(values) > 1 and key in {"w2", "auc"} else ""
        cells.append(f"{np.mean(values):.{digits}f}{spread}" if values else "-")
    return "| " + " | ".join([f"`{name}`", epsilon or "none", str(len(found)), *cells]) + " |"


def main() -> None:
    """Print the table."""
    arguments = _arguments()
    if arguments.produce or arguments.quality:
        (produce if arguments.produce else quality)(arguments)
        return
    from generator.registry import info
    from tests.bench.peers import PEERS, PeerUnavailable

    print(f"command: python -m tests.bench.generators {' '.join(sys.argv[1:])}")
    print(f"| generator | ε | runs | {' | '.join(COLUMNS)} |\n|{'---|' * (3 + len(COLUMNS))}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        split(folder)
        for generator in filter(None, arguments.generators.split(",")):
            for epsilon in arguments.epsilons.split(",") if info(generator).is_dp else [""]:
                label = generator + (", no target" if arguments.no_target else "")
                print(line(label, epsilon, ours(generator, epsilon, arguments, folder)), flush=True)
        for peer in filter(None, arguments.peers.split(",")):
            for epsilon in arguments.peer_epsilons.split(",") if PEERS[peer].is_dp else [""]:
                try:
                    print(line(peer, epsilon, theirs(peer, epsilon, arguments, folder)), flush=True)
                except PeerUnavailable as error:
                    print(f"{peer}, ε {epsilon or 'none'}: not measured, {error}", flush=True)


def _arguments() -> argparse.Namespace:
    from tests.bench.peers import PEERS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quality-runs", type=int, default=1)
    parser.add_argument("--generators", default="dp-marginal,dp-aim,cart")
    parser.add_argument("--epsilons", default="0.1,1,3")
    parser.add_argument("--delta", default="1e-5")
    parser.add_argument("--no-target", action="store_true")
    parser.add_argument(
        "--peers", nargs="?", default="", const=",".join(PEERS), help="peers to run beside ours; all without a list"
    )
    parser.add_argument("--peer-runs", type=int, default=1)
    parser.add_argument("--peer-epsilons", default="1")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "ticketgate-bench")
    for name in ("--generator", "--epsilon", "--train", "--out"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--produce", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--quality", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
