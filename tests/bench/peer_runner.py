"""Fit one peer and write its rows: a script of its own, run by the Python of the peer's environment (`tests.bench.peers`).

It imports nothing of this project. Bounds and values come from the dataset card as JSON, so that no peer has to read them off
the rows where it can be told. Prints one JSON object with CPU seconds (own and children's) and the peak of memory.
"""

import argparse
import json
import os
import resource
from pathlib import Path

import pandas as pd

MISSING = "(missing)"


def read(path, columns):
    """The table with missing categories as a value of their own: peers differ in what they do with holes."""
    frame = pd.read_csv(path, keep_default_na=False)[list(columns)]
    for name, column in columns.items():
        if "values" in column:
            frame[name] = frame[name].astype(str).where(frame[name].astype(str) != "", MISSING)
    return frame


def dpmm(model):
    """dpmm's pipelines at their defaults: a tenth of ε bins the numbers, the rest fits the model."""

    def fit(frame, columns, arguments):
        from dpmm import pipelines

        domain = {
            name: {"categories": column["values"] + ([MISSING] if column["missing"] else [])}
            if "values" in column
            else {"lower": column["bounds"][0], "upper": column["bounds"][1]}
            for name, column in columns.items()
        }
        epsilon = arguments.epsilon
        pipeline = getattr(pipelines, model)(epsilon=0.9 * epsilon, delta=arguments.delta, proc_epsilon=0.1 * epsilon, n_jobs=1)
        pipeline.fit(frame, domain, random_state=arguments.seed)
        return pipeline.generate(n_records=len(frame), random_state=arguments.seed)

    return fit


def smartnoise(frame, columns, arguments):
    """smartnoise-synth's DPCTGAN at its defaults; a tenth of ε for its preprocessor, as its documentation does."""
    from snsynth import Synthesizer

    names = [name for name, column in columns.items() if "values" in column]
    numbers = [name for name in columns if name not in names]
    model = Synthesizer.create("dpctgan", epsilon=arguments.epsilon, delta=arguments.delta)
    model.fit(
        frame, preprocessor_eps=0.1 * arguments.epsilon, categorical_columns=names, continuous_columns=numbers
    )  # fmt: skip
    return model.sample(len(frame))


def ctgan(frame, columns, arguments):
    """CTGAN at 30 epochs, without any guarantee."""
    from ctgan import CTGAN

    model = CTGAN(epochs=30)
    model.fit(frame, [name for name, column in columns.items() if "values" in column])
    return model.sample(len(frame))


FITS = {
    "dpmm-privbayes": dpmm("PrivBayesPipeline"),
    "dpmm-mst": dpmm("MSTPipeline"),
    "dpmm-aim": dpmm("AIMPipeline"),
    "smartnoise-dpctgan": smartnoise,
    "ctgan": ctgan,
}


def main():
    """Run one peer."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("peer", "train", "columns", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--delta", type=float, default=1e-5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    columns = json.loads(Path(arguments.columns).read_text(encoding="utf-8"))
    frame = read(arguments.train, columns)
    before = sum(os.times()[:4])
    made = FITS[arguments.peer](frame, columns, arguments)
    cpu = sum(os.times()[:4]) - before
    made = pd.DataFrame(made)[list(columns)]
    for name, column in columns.items():
        if "values" in column:
            made[name] = made[name].astype(str).replace(MISSING, "")
        elif column["whole"]:
            made[name] = pd.to_numeric(made[name]).round().astype("int64")
    made.to_csv(arguments.out, index=False)
    used = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({"cpu": cpu, "mb": max(used) / 1024}))


if __name__ == "__main__":
    main()
