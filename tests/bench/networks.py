"""`python -m tests.bench.networks`: DP-SGD steps per second of our GAN, and of a peer at equal batch, width and input.

Both get the same coded Adult table (every column in at most 32 bins, one-hot inside), batches of 500 (ours: 500 expected, by
Poisson), two hidden layers of 256 in the discriminator and the generator, and one generator step after each discriminator step.
One step is that pair. CPU seconds between the first step and the last, data handling included, one thread; set-up does not
count, nor does what the peer's accountant takes once an epoch as long as `--steps` is at most an epoch. Runs of both
alternate, because what a CPU second is worth depends on what else the machine does; the ratio is that of the sums.

    python -m tests.bench.networks [--rows 20000] [--steps 20] [--runs 3] [--peers] [--cache ~/.cache/ticketgate-bench]

The peer is installed from the package index into an environment of its own under the cache, on first use.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from decimal import Decimal
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
ADULT = ROOT.parent / "shared" / "data" / "adult.csv"
CARD = ROOT / "tests" / "realdata" / "cards" / "adult.yaml"
BATCH, WIDTH = 500, 256
PEER = ("smartnoise-synth==1.0.8", "packaging")
"""The second is imported by the first and not asked for in its metadata."""

PEER_SCRIPT = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import pandas as pd, torch
torch.set_num_threads(1)
from snsynth.pytorch.nn import DPCTGAN, dpctgan
table, batch, width, steps = pd.read_csv(sys.argv[1], dtype=str), *(int(given) for given in sys.argv[2:5])
class Enough(Exception): pass
honest, marks = dpctgan.DataSampler.sample_data, []
def marked(*arguments, **named):  # asked for real rows once a step
    marks.append(time.process_time())
    if len(marks) > steps: raise Enough
    return honest(*arguments, **named)
dpctgan.DataSampler.sample_data = marked
model = DPCTGAN(epsilon=1e6, batch_size=batch, epochs=1000, generator_dim=(width, width), discriminator_dim=(width, width),
                cuda=False, verbose=False, sigma=1.0)
try:
    model.train(table, categorical_columns=list(table.columns))
except Enough:
    print(json.dumps({"seconds": marks[-1] - marks[0], "torch": torch.__version__}))
"""


def coded(folder: Path, rows: int) -> tuple[Path, object]:
    """The table in bins as CSV for the peer, and the same rows as an Arrow table for us."""
    from generator.sgd.prepare import measure
    from policies.loader import load_card
    from policies.tables import read_table
    from policies.types import PrivacyTarget

    with ADULT.open(newline="") as source:
        header, *lines = csv.reader(source)
    with (folder / "adult.csv").open("w", newline="") as target:
        csv.writer(target).writerows([header, *lines[:rows]])
    card = load_card(CARD)
    table = read_table(folder / "adult.csv", card=card).table
    wide = PrivacyTarget(epsilon=Decimal(100), delta=Decimal("1e-5"))
    measured, private, _ = measure(table, card=card, target=wide, share=0.5)
    path = folder / "coded.csv"
    with path.open("w", newline="") as target:
        csv.writer(target).writerows([[v.name for v in measured.variables], *private.codes.tolist()])
    return path, (table, card)


def our_seconds(given: object, rows: int, steps: int) -> float:
    """CPU seconds of so many steps."""
    import torch

    from generator.registry import create
    from policies.types import PrivacyTarget

    torch.set_num_threads(1)
    table, card = given  # type: ignore[misc]
    values = {
        "sampling_rate": BATCH / rows, "generator_width": WIDTH, "discriminator_width": WIDTH, "noise_width": 128,
        "generator_steps": 1, "device": "cpu", "steps": steps + 1,
    }  # fmt: skip
    target = PrivacyTarget(epsilon=Decimal(3), delta=Decimal("1e-5"))
    clock = _Clock()
    create("dp-ctgan", values).fit(table, card=card, target=target, rng=np.random.default_rng(0), progress=clock)
    return clock.trained


class _Clock:
    """CPU seconds between the first and the last step."""

    def __init__(self) -> None:
        self._first: float | None = None
        self.trained = 0.0

    def __call__(self, _share: float, stage: str) -> None:
        if stage == "training":
            now = time.process_time()
            self._first = now if self._first is None else self._first
            self.trained = now - self._first


def peer_python(cache: Path) -> Path:
    """The Python of the peer's environment, made and filled once."""
    folder = cache / "smartnoise-steps"
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PEER], check=True, timeout=3600, env=clean())
        done.write_text("\n".join(PEER))
    return python


def clean() -> dict[str, str]:
    """The environment of a peer's process: one thread, nothing of this project."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}


def peer_seconds(python: Path, path: Path, steps: int) -> tuple[float, str]:
    """CPU seconds of so many steps of the peer, and its version of torch."""
    command = [str(python), "-c", PEER_SCRIPT, str(path), str(BATCH), str(WIDTH), str(steps)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=3600, env=clean())
    found = json.loads(done.stdout.splitlines()[-1])
    return float(found["seconds"]), str(found["torch"])


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peers", action="store_true", help="measure the peer too")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "ticketgate-bench")
    arguments = parser.parse_args()
    steps = arguments.steps
    ours: list[float] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        path, given = coded(Path(name), arguments.rows)
        python = peer_python(arguments.cache) if arguments.peers else None
        for run in range(arguments.runs):
            ours.append(our_seconds(given, arguments.rows, steps))
            print(f"run {run + 1}: dp-ctgan {steps / ours[-1]:.2f} steps per CPU second", flush=True)
            if python is not None:
                taken, version = peer_seconds(python, path, steps)
                theirs.append(taken)
                print(f"run {run + 1}: {PEER[0]} DPCTGAN {steps / taken:.2f}, torch {version}", flush=True)
    many = steps * arguments.runs
    print(f"dp-ctgan {many / sum(ours):.2f} steps per CPU second, batch {BATCH}, width {WIDTH}")
    if theirs:
        print(f"{PEER[0]} DPCTGAN {many / sum(theirs):.2f}; ours are {sum(theirs) / sum(ours):.1f} times as fast")
    return 0


if __name__ == "__main__":
    sys.exit(main())
