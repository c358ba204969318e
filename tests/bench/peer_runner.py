"""Fit one peer and write its rows: a script of its own, run by the Python of the peer's environment (`tests.bench.peers`).

It imports nothing of this project. Bounds and values come from the dataset card as JSON, so that no peer has to read them off
the rows where it can be told. Prints one JSON object with CPU seconds of fit and sample (own and children's, imports not
counted) and the peak of memory; stops itself when it has used too many CPU seconds.

`mbi-mst` is the one peer that is assembled here: the package `mbi` holds inference, but no mechanism. Measurements and choices
follow McKenna, Miklau and Sheldon 2021, "Winning the NIST contest" (a third of ρ for one-way counts, a third for the
tree, a third for its pairs); estimation and rows are the package's.
"""

import argparse
import itertools
import json
import math
import resource
from pathlib import Path

import numpy as np
import pandas as pd

MISSING = "(missing)"
CELLS = 100
EPOCHS = 30


def read(path, columns):
    """The table with missing categories as a value of their own: peers differ in what they do with holes."""
    frame = pd.read_csv(path, keep_default_na=False)[list(columns)]
    for name, column in columns.items():
        if "values" in column:
            frame[name] = frame[name].astype(str).where(frame[name].astype(str) != "", MISSING)
        else:
            frame[name] = pd.to_numeric(frame[name], errors="coerce")
    return frame


def values_of(column):
    """Every value that the card publishes of a category."""
    return column["values"] + ([MISSING] if column["missing"] else [])


def dpmm(model):
    """dpmm's pipelines at their defaults: a tenth of ε bins the numbers, the rest fits the model."""

    def load():
        from dpmm import pipelines

        def fit(frame, columns, arguments):
            domain = {
                name: {"categories": values_of(column)}
                if "values" in column
                else {"lower": column["bounds"][0], "upper": column["bounds"][1]}
                for name, column in columns.items()
            }
            shares = {"epsilon": 0.9 * arguments.epsilon, "proc_epsilon": 0.1 * arguments.epsilon}
            pipeline = getattr(pipelines, model)(**shares, delta=arguments.delta, n_jobs=1)
            pipeline.fit(frame, domain, random_state=arguments.seed)
            return pipeline.generate(n_records=len(frame), random_state=arguments.seed)

        return fit

    return load


def rho_of(epsilon, delta):
    """The largest ρ of zCDP that implies (ε, δ), by the best Rényi order (Canonne, Kamath and Steinke 2020)."""
    orders = 1 + np.exp(np.linspace(math.log(1e-3), math.log(1e4), 20_000))
    low, high = 0.0, epsilon
    for _ in range(60):
        rho = (low + high) / 2
        logs = (orders - 1) * (orders * rho - epsilon) + orders * np.log1p(-1 / orders) - np.log(orders - 1)
        low, high = (rho, high) if logs.min() <= math.log(delta) else (low, rho)
    return low


def edges_of(column):
    """Edges of at most about a hundred cells between public bounds; whole numbers fall on whole edges, zero is its own cell."""
    low, high = column["bounds"]
    if column["whole"]:
        edges = np.unique(np.round(np.linspace(low, high + 1, min(CELLS, int(high - low) + 1) + 1)))
        return np.unique(np.r_[edges, 1.0]) if low == 0 else edges
    return np.linspace(low, high, CELLS + 1)


def encode(frame, columns):
    """Codes and sizes of all columns, from what the card publishes alone; a last code stands for a missing number."""
    codes, sizes = {}, {}
    for name, column in columns.items():
        if "values" in column:
            values = values_of(column)
            codes[name], sizes[name] = pd.Categorical(frame[name], categories=values).codes.astype(int), len(values)
            if (codes[name] < 0).any():
                raise ValueError(f"column {name} holds a value that its card does not list")
        else:
            edges, numbers = edges_of(column), frame[name].to_numpy(float)
            found = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, len(edges) - 2)
            codes[name] = np.where(np.isnan(numbers), len(edges) - 1, found)
            sizes[name] = len(edges) - 1 + bool(column["missing"])
    return codes, sizes


def decode(codes, columns, rng):
    """Rows of codes: a number is drawn evenly from its cell; the last code of a number with holes is a hole."""
    made = {}
    for name, column in columns.items():
        found = np.asarray(codes[name])
        if "values" in column:
            made[name] = np.array(values_of(column), dtype=object)[found]
        else:
            edges = np.r_[edges_of(column), np.nan]
            drawn = edges[found] + (edges[found + 1] - edges[found]) * rng.random(len(found))
            made[name] = np.floor(drawn) if column["whole"] else drawn
    return pd.DataFrame(made)


def mbi_mst():
    """MST: one-way counts, a tree of pairs chosen by the exponential mechanism, counts of its pairs; inference by `mbi`."""
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_enable_compilation_cache", False)
    import mbi
    import networkx as nx

    def measure(data, cliques, sigma, rng):
        counts = [np.asarray(data.project(clique).datavector()) for clique in cliques]
        return [
            mbi.LinearMeasurement(one + rng.normal(0, sigma, one.size), clique, sigma)
            for one, clique in zip(counts, cliques, strict=True)
        ]

    def compress(data, measured, sigma):
        """Merge the cells whose noisy count is below three standard deviations."""
        mapping = {}
        for one in measured:
            kept = np.asarray(one.noisy_measurement) >= 3 * sigma
            if not kept.all():
                mapping[one.clique[0]] = np.where(kept, np.cumsum(kept) - 1, kept.sum())
        return data.compress(mapping), [one.compress(mapping, data.domain) for one in measured], mapping

    def choose(data, measured, rho, rng):
        model = mbi.estimation.MirrorDescent().estimate(data.domain, measured, iters=1000)
        names = list(data.domain.attributes)
        wrong = {}
        for pair in itertools.combinations(names, 2):
            real, guess = (np.asarray(source.project(pair).datavector()) for source in (data, model))
            wrong[pair] = np.abs(real - guess).sum()
        tree = nx.Graph()
        tree.add_nodes_from(names)
        epsilon = math.sqrt(8 * rho / (len(names) - 1))
        for _ in names[1:]:
            part = {name: number for number, group in enumerate(nx.connected_components(tree)) for name in group}
            open_pairs = [(a, b) for a, b in wrong if part[a] != part[b]]
            scores = np.array([epsilon / 2 * wrong[pair] for pair in open_pairs])
            chances = np.exp(scores - scores.max())
            tree.add_edge(*open_pairs[rng.choice(len(open_pairs), p=chances / chances.sum())])
        return list(tree.edges)

    def fit(frame, columns, arguments):
        rng = np.random.default_rng(arguments.seed)
        codes, sizes = encode(frame, columns)
        whole = mbi.Dataset(codes, mbi.Domain(list(sizes), list(sizes.values())))
        rho = rho_of(arguments.epsilon, arguments.delta)
        sigma = math.sqrt(3 * len(sizes) / (2 * rho))
        ones = measure(whole, [(name,) for name in sizes], sigma, rng)
        data, ones, mapping = compress(whole, ones, sigma)
        pairs = choose(data, ones, rho / 3, rng)
        twos = measure(data, pairs, math.sqrt(3 * len(pairs) / (2 * rho)), rng)
        model = mbi.estimation.MirrorDescent().estimate(data.domain, ones + twos, iters=5000)
        made = model.synthetic_data(rows=len(frame)).decompress(mapping)
        return decode(made.to_dict(), columns, rng)

    return fit


def smartnoise():
    """smartnoise-synth's DPCTGAN at its defaults; numbers are scaled by the card's bounds, so that its preprocessor costs nothing."""
    from snsynth import Synthesizer
    from snsynth.transform import MinMaxTransformer

    def fit(frame, columns, arguments):
        names = [name for name, column in columns.items() if "values" in column]
        scales = {
            name: MinMaxTransformer(lower=column["bounds"][0], upper=column["bounds"][1], nullable=column["missing"])
            for name, column in columns.items()
            if name not in names
        }
        model = Synthesizer.create("dpctgan", epsilon=arguments.epsilon, delta=arguments.delta, verbose=False)
        model.fit(frame, transformer=scales, categorical_columns=names)
        return model.sample(len(frame))

    return fit


def argn(is_dp):
    """TabularARGN of mostlyai-engine; under DP a tenth of ε goes to its value ranges, for it cannot be told a card's."""

    def load():
        from mostlyai.engine import TabularARGN
        from mostlyai.engine.domain import DifferentialPrivacyConfig

        def fit(frame, columns, arguments):
            kinds = {
                name: "TABULAR_CATEGORICAL" if "values" in column else "TABULAR_NUMERIC_AUTO" for name, column in columns.items()
            }
            private = DifferentialPrivacyConfig(
                max_epsilon=arguments.epsilon, value_protection_epsilon=0.1 * arguments.epsilon, delta=arguments.delta
            )
            model = TabularARGN(
                tgt_encoding_types=kinds,
                differential_privacy=private if is_dp else None,
                random_state=arguments.seed,
                device="cpu",
            )
            model.fit(frame)
            return model.sample(n_samples=len(frame))

        return fit

    return load


def ctgan(name):
    """CTGAN or TVAE at 30 epochs, without any guarantee."""

    def load():
        import ctgan as package

        def fit(frame, columns, arguments):
            model = getattr(package, name)(epochs=EPOCHS)
            model.set_random_state(arguments.seed)
            model.fit(frame, [name for name, column in columns.items() if "values" in column])
            return model.sample(len(frame))

        return fit

    return load


LOADS = {
    "mbi-mst": mbi_mst,
    "dpmm-privbayes": dpmm("PrivBayesPipeline"),
    "dpmm-mst": dpmm("MSTPipeline"),
    "dpmm-aim": dpmm("AIMPipeline"),
    "smartnoise-dpctgan": smartnoise,
    "argn-dp": argn(is_dp=True),
    "argn": argn(is_dp=False),
    "ctgan": ctgan("CTGAN"),
    "tvae": ctgan("TVAE"),
}


def used():
    """CPU seconds of this process and of its children that ended."""
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in found)


def peak():
    """Megabytes of this process at most; not `ru_maxrss`, which a child inherits from its parent."""
    own = next(line for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
    return max(int(own.split()[1]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


def main():
    """Run one peer."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("peer", "train", "columns", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--delta", type=float, default=1e-5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cpu-limit", type=int, default=1800)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CPU, (arguments.cpu_limit, arguments.cpu_limit + 10))
    columns = json.loads(Path(arguments.columns).read_text(encoding="utf-8"))
    frame = read(arguments.train, columns)
    fit = LOADS[arguments.peer]()
    before = used()
    made = fit(frame, columns, arguments)
    cpu = used() - before
    made = pd.DataFrame(made)[list(columns)]
    for name, column in columns.items():
        if "values" in column:
            made[name] = made[name].astype(str).replace(MISSING, "")
        elif column["whole"]:
            made[name] = pd.to_numeric(made[name]).round().astype("Int64")
    made.to_csv(arguments.out, index=False)
    print(json.dumps({"cpu": cpu, "mb": peak()}))


if __name__ == "__main__":
    main()
