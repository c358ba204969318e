"""`python -m tests.bench.generators`: fidelity, usefulness and cost of generators, ours and peers in one run.

Figures are those of the independent tool beside the checkout (`shared/tools/fidelity.py`): w1, w2, w3 are fidelities against
train of one, two and three columns, auc is that on test of gradient boosting trained on the synthetic table, copies the share of
rows that stand in train. CPU seconds are those of fit and sample together, imports not counted, in a process of its own; MB is
its peak. Splits are fixed (`tests.bench.generator_tables`): Adult is the UCI train part, 26,049 rows for train and 6,512 for test.

    python -m tests.bench.generators [--runs 5] [--generators dp-marginal,dp-aim,cart] [--epsilons 0.1,1,3] [--table adult]
    python -m tests.bench.generators --peers dpmm-aim,mbi-mst --peer-runs 1 --peer-epsilons 1,10

Peers are installed from the package index into environments under `--cache`; they get the same split, δ, bounds and values.
What fails gives a row that says why. SDMetrics' quality score is that of the first `--quality-runs` runs. Rows are means
± standard deviations over runs.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.generator_tables import ROOT, TABLES
from tests.bench.peers import PEERS, NotMeasured
from tests.bench.peers import produce as produce_peer

TOOL = ROOT.parent / "shared" / "tools" / "fidelity.py"
SELF = [sys.executable, "-m", "tests.bench.generators"]
COLUMNS = {"w1": 3, "w2": 3, "w3": 3, "auc": 3, "sdmetrics": 3, "copies": 4, "cpu": 1, "mb": 0}
CLAIM = ("delta", "neighbours")
Figures = dict[str, Any]


def produce(arguments: argparse.Namespace) -> None:
    """Fit one generator, write its rows, print what it cost and what it claims."""
    from generator.registry import create
    from generator.zcdp import default_delta
    from policies.loader import load_card
    from policies.tables import read_table, write_table
    from policies.types import PrivacyTarget

    card = load_card(TABLES[arguments.table].card)
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
    claim = {"delta": f"{fitted.spent.delta:.0e}", "neighbours": fitted.spent.neighbours} if fitted.spent.is_dp else {}
    print(json.dumps({"cpu": cpu, "mb": peak, **claim}))


def quality(arguments: argparse.Namespace) -> None:
    """Print SDMetrics' quality score of a synthetic file."""
    import warnings

    import pandas as pd
    from sdmetrics.reports.single_table import QualityReport

    from policies.loader import load_card

    warnings.simplefilter("ignore")
    card = load_card(TABLES[arguments.table].card)
    kinds = {name: "categorical" if column.type == "category" else "numerical" for name, column in card.learnt.items()}
    metadata = {"columns": {name: {"sdtype": kind} for name, kind in kinds.items()}}
    report = QualityReport()
    frames = [pd.read_csv(path)[list(kinds)] for path in (arguments.train, arguments.out)]
    report.generate(*frames, metadata, verbose=False)
    print(json.dumps({"sdmetrics": report.get_score()}))


def json_of(command: list[str]) -> Figures:
    """The JSON object that a command prints.

    Raises:
        NotMeasured: with the last line of what it complained about.
    """
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise NotMeasured(f"exit status {done.returncode}: {(done.stderr.strip().splitlines() or ['no message'])[-1][:200]}")
    found: Figures = json.loads(done.stdout.splitlines()[-1])
    return found


def judge(out: Path, folder: Path, arguments: argparse.Namespace, *, with_quality: bool) -> Figures:
    """Figures of the independent tool, and SDMetrics' score where it is wanted."""
    train, test = str(folder / "train.csv"), str(folder / "test.csv")
    target = TABLES[arguments.table].target
    found = json_of([sys.executable, str(TOOL), "--train", train, "--test", test, "--synthetic", str(out), "--target", target])
    if with_quality:
        found |= json_of([*SELF, "--quality", "--table", arguments.table, "--train", train, "--out", str(out)])
    return found


def ours(name: str, epsilon: str, arguments: argparse.Namespace, folder: Path) -> list[Figures]:
    """Figures of each run of one of our generators."""
    found = []
    for seed in range(arguments.runs):
        out = folder / "synthetic.csv"
        command = [*SELF, "--produce", "--generator", name, "--epsilon", epsilon, "--delta", arguments.delta]
        command += ["--table", arguments.table, "--seed", str(seed), "--train", str(folder / "train.csv"), "--out", str(out)]
        cost = json_of([*command, *(["--no-target"] if arguments.no_target else [])])
        found.append(judge(out, folder, arguments, with_quality=seed < arguments.quality_runs) | cost)
    return found


def theirs(name: str, epsilon: str, arguments: argparse.Namespace, folder: Path) -> list[Figures]:
    """Figures of each run of a peer."""
    from policies.loader import load_card

    found = []
    for seed in range(arguments.peer_runs):
        out = folder / "peer.csv"
        cost = produce_peer(
            name, epsilon=epsilon, delta=arguments.delta, seed=seed, train=folder / "train.csv",
            card=load_card(TABLES[arguments.table].card), out=out, cache=arguments.cache,
        )  # fmt: skip
        found.append(judge(out, folder, arguments, with_quality=seed < arguments.quality_runs) | cost)
        found[-1] |= {"delta": arguments.delta, "neighbours": PEERS[name].neighbours} if epsilon else {}
    return found


def line(name: str, epsilon: str, found: list[Figures]) -> str:
    """One row of the table."""
    cells = [str(found[0].get(key, "-")) for key in CLAIM]
    cells.append(str(len(found)))
    for key, digits in COLUMNS.items():
        values = [one[key] for one in found if key in one]
        spread = f" ±{np.std(values):.{digits}f}" if len(values) > 1 and key in {"w2", "auc"} else ""
        cells.append(f"{np.mean(values):.{digits}f}{spread}" if values else "-")
    return "| " + " | ".join([f"`{name}`", epsilon or "none", *cells]) + " |"


def row(name: str, epsilon: str, measure: Callable[[], list[Figures]]) -> None:
    """Print one row; a generator that fails says why in its row, and the next ones still run."""
    try:
        print(line(name, epsilon, measure()), flush=True)
    except NotMeasured as error:
        said = str(error).replace("|", "/")
        print(f"| `{name}` | {epsilon or 'none'} | not measured: {said} |", flush=True)


def main() -> None:
    """Print the table."""
    arguments = _arguments()
    if arguments.produce or arguments.quality:
        (produce if arguments.produce else quality)(arguments)
        return
    from generator.registry import info

    print(f"command: python -m tests.bench.generators {' '.join(sys.argv[1:])}")
    print(f"table: {arguments.table}, card {TABLES[arguments.table].card.relative_to(ROOT)}")
    print(f"| generator | ε | δ | neighbours | runs | {' | '.join(COLUMNS)} |\n|{'---|' * (5 + len(COLUMNS))}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        TABLES[arguments.table].split(folder)
        for generator in filter(None, arguments.generators.split(",")):
            for epsilon in arguments.epsilons.split(",") if info(generator).is_dp else [""]:
                label = generator + (", no target" if arguments.no_target else "")
                row(label, epsilon, lambda g=generator, e=epsilon: ours(g, e, arguments, folder))  # type: ignore[misc]
        for peer in filter(None, arguments.peers.split(",")):
            for epsilon in arguments.peer_epsilons.split(",") if PEERS[peer].is_dp else [""]:
                row(peer, epsilon, lambda p=peer, e=epsilon: theirs(p, e, arguments, folder))  # type: ignore[misc]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=TABLES, default="adult")
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
