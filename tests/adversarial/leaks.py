"""Plant leaks in fresh rows of real tables and see which metric finds them: the acceptance of the privacy metrics.

    python tests/adversarial/leaks.py --out docs/reference/leak-matrix.md [--seeds 3] [--splits 200] [--tables adult,bike]

Writes the matrix plant x metric x detection rate, the rate at which fresh real rows are refused, and the run's settings. Rows of
real tables stay in memory; only rates are written.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from evaluator.inputs import check_inputs
from evaluator.privacy import FAMILIES, PrivacyOptions
from policies.card import DatasetCard
from policies.gate import Verdict, gate
from policies.gate_rule import GateRule
from policies.metric_catalogue import DEFAULT_LINES
from policies.metrics import MetricResult

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
Rng = np.random.Generator
RULES = tuple(
    GateRule.model_validate(
        {
            "metric": line.metric,
            "max": None if line.max is None else Decimal(line.max),
            "min": None if line.min is None else Decimal(line.min),
            "p_min": None if line.p_min is None else Decimal(line.p_min),
            "use": "value" if line.metric.startswith("privacy.pii") else "interval",
            "severity": "block" if line.blocks else "warn",
            "if_not_applicable": "pass",
        }
    )
    for line in DEFAULT_LINES
)


@dataclass(frozen=True)
class Subject:
    """A real table, its card, and how many rows train, holdout and synthetic get each."""

    name: str
    table: pa.Table
    card: DatasetCard
    rows: int

    def split(self, rng: Rng) -> tuple[pa.Table, pa.Table, pa.Table]:
        """Three disjoint random parts: by privacy unit where the card has one."""
        unit = self.card.spec.privacy_unit
        if unit is None:
            order = rng.permutation(self.table.num_rows)
            return tuple(self.table.take(pa.array(order[k * self.rows : (k + 1) * self.rows])) for k in range(3))
        codes = self.table.column(unit).combine_chunks().dictionary_encode().indices.to_numpy()
        place = rng.permutation(int(codes.max()) + 1)[codes]
        bounds = np.searchsorted(np.cumsum(np.bincount(place)), [self.rows, 2 * self.rows, 3 * self.rows])
        edges = [0, *(int(bound) + 1 for bound in bounds)]
        return tuple(self.table.take(pa.array(np.flatnonzero((place >= low) & (place < high)))) for low, high in pairwise(edges))


def subject(
    name: str, table: pa.Table, rows: int, *, quasi: tuple[str, ...], sensitive: tuple[str, ...], unit: str | None = None
) -> Subject:
    """A subject with types read off the table; roles as given."""
    columns = {}
    for field in table.schema:
        kind = "number" if pa.types.is_floating(field.type) else "integer" if pa.types.is_integer(field.type) else "category"
        kind = "date" if pa.types.is_date(field.type) else "datetime" if pa.types.is_timestamp(field.type) else kind
        role = "quasi-identifier" if field.name in quasi else "sensitive" if field.name in sensitive else "other"
        columns[field.name] = {"type": "id", "role": "identifier"} if field.name == unit else {"type": kind, "role": role}
    spec = {"source": "x", "columns": columns}
    if unit is not None:
        spec |= {"privacy_unit": unit, "max_rows_per_unit": 100}
    card = DatasetCard.model_validate(
        {"apiVersion": "ticketgate/v1", "kind": "Dataset", "metadata": {"name": name}, "spec": spec}
    )
    return Subject(name, table, card, rows)


def subjects() -> Iterator[Subject]:
    """The three real tables; Adult with and without its near-unique column; hospital stays with patients as units."""
    text = pyarrow.csv.ConvertOptions(strings_can_be_null=True)
    adult = pyarrow.csv.read_csv(DATA / "adult.csv", convert_options=text)
    quasi = ("age", "sex", "race", "marital_status", "native_country")
    yield subject("adult", adult, 16_000, quasi=quasi, sensitive=("income",))
    yield subject("adult-plain", adult.drop_columns(["fnlwgt"]), 16_000, quasi=quasi, sensitive=("income",))
    bike = pyarrow.csv.read_csv(DATA / "bike_hour.csv").drop_columns(["instant"])
    yield subject("bike-hour", bike, 5_700, quasi=("dteday", "hr", "weathersit"), sensitive=("casual",))
    stays = pyarrow.parquet.read_table(DATA / "diabetes130.parquet").drop_columns(["encounter_id"])
    yield subject(
        "hospital-stays",
        stays,
        16_000,
        quasi=("race", "gender", "age", "medical_specialty"),
        sensitive=("diag_1", "readmitted"),
        unit="patient_nbr",
    )


# plants: (train, holdout, fresh, card, rng) -> synthetic


@dataclass(frozen=True)
class Scene:
    """What a plant is made from."""

    train: pa.Table
    holdout: pa.Table
    fresh: pa.Table
    card: DatasetCard
    rng: Rng

    @property
    def learnt(self) -> tuple[str, ...]:
        return tuple(self.card.learnt)

    @property
    def numbers(self) -> tuple[str, ...]:
        return tuple(name for name, column in self.card.learnt.items() if column.is_numeric)

    def victims(self, share: float, table: pa.Table | None = None) -> pa.Table:
        """Rows of train (or of another table), a share of the synthetic table in number."""
        chosen = self.train if table is None else table
        n = round(share * self.fresh.num_rows)
        return chosen.take(pa.array(self.rng.choice(chosen.num_rows, n, replace=n > chosen.num_rows)))

    def among(self, planted: pa.Table) -> pa.Table:
        """The planted rows among fresh ones, in random order."""
        mixed = pa.concat_tables(
            [self.fresh.slice(planted.num_rows), planted.select(self.fresh.column_names).cast(self.fresh.schema)]
        )
        return mixed.take(pa.array(self.rng.permutation(mixed.num_rows)))


def jitter(table: pa.Table, name: str, width: float, rng: Rng) -> pa.Table:
    """Add uniform noise of so many standard deviations to a numeric column; whole numbers stay whole and change."""
    field = table.schema.field(name)
    values = table.column(name).to_numpy(zero_copy_only=False).astype(float)
    noise = rng.uniform(-1, 1, len(values)) * width * np.nanstd(values)
    moved = values + (np.sign(noise) * np.ceil(np.abs(noise)) if pa.types.is_integer(field.type) else noise)
    array = pa.array(moved, from_pandas=True)
    array = array.cast(field.type, safe=False) if pa.types.is_integer(field.type) else array
    return table.set_column(table.schema.get_field_index(name), field, array)


def resampled(table: pa.Table, names: tuple[str, ...], source: pa.Table, rng: Rng) -> pa.Table:
    """Replace columns by random values of a source."""
    for name in names:
        values = source.column(name).take(pa.array(rng.integers(0, source.num_rows, table.num_rows)))
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)
    return table


def copies(share: float) -> Callable[[Scene], pa.Table]:
    return lambda scene: scene.among(scene.victims(share))


def jittered(share: float) -> Callable[[Scene], pa.Table]:
    return lambda scene: scene.among(jitter(scene.victims(share), str(scene.rng.choice(scene.numbers)), 0.1, scene.rng))


def two_resampled(share: float) -> Callable[[Scene], pa.Table]:
    def plant(scene: Scene) -> pa.Table:
        names = tuple(str(name) for name in scene.rng.choice(scene.learnt, 2, replace=False))
        return scene.among(resampled(scene.victims(share), names, scene.fresh, scene.rng))

    return plant


def secret_swapped(scene: Scene) -> pa.Table:
    victims = scene.victims(0.05)
    return scene.among(resampled(victims, scene.card.with_role("sensitive"), victims, scene.rng))


def outliers_only(scene: Scene) -> pa.Table:
    """The hundredth of train with the rarest values, copied."""
    surprise = np.zeros(scene.train.num_rows)
    for name in scene.learnt:
        codes = scene.train.column(name).combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy() + 1
        surprise -= np.log(np.bincount(codes)[codes])
    return scene.among(scene.train.take(pa.array(np.argsort(-surprise)[: round(0.01 * scene.fresh.num_rows)])))


def raw_bootstrap(scene: Scene) -> pa.Table:
    return resampled(scene.fresh, scene.learnt, scene.train, scene.rng)


def units_shuffled(scene: Scene) -> pa.Table:
    """All rows of some units of train, each column shuffled within the unit."""
    unit = scene.card.spec.privacy_unit
    if unit is None:
        return scene.among(scene.victims(0.05))
    codes = scene.train.column(unit).combine_chunks().dictionary_encode().indices.to_numpy()
    order = scene.rng.permutation(int(codes.max()) + 1)[codes]
    chosen = scene.train.take(pa.array(np.argsort(order, kind="stable")[: round(0.05 * scene.fresh.num_rows)]))
    owner = chosen.column(unit).combine_chunks().dictionary_encode().indices.to_numpy()
    for name in scene.learnt:
        within = np.lexsort((scene.rng.random(len(owner)), owner))
        home = np.lexsort((np.arange(len(owner)), owner))
        place = np.empty(len(owner), dtype=np.int64)
        place[home] = within
        chosen = chosen.set_column(chosen.schema.get_field_index(name), name, chosen.column(name).take(pa.array(place)))
    return scene.among(chosen)


def overfitted(scene: Scene) -> pa.Table:
    """A generator that knows 500 rows of train by heart and varies one column of each."""
    known = scene.train.take(pa.array(scene.rng.choice(scene.train.num_rows, 500, replace=False)))
    rows = known.take(pa.array(scene.rng.integers(0, 500, scene.fresh.num_rows)))
    return resampled(rows, (str(scene.rng.choice(scene.learnt)),), scene.fresh, scene.rng)


def noisy_train(scene: Scene) -> pa.Table:
    table = scene.train
    for name in scene.numbers:
        table = jitter(table, name, 0.1, scene.rng)
    return table.take(pa.array(scene.rng.permutation(table.num_rows)))


PLANTS: dict[str, Callable[[Scene], pa.Table]] = {
    "0.25 % verbatim": copies(0.0025),
    "1 % verbatim": copies(0.01),
    "5 % verbatim": copies(0.05),
    "5 % near, one number jittered": jittered(0.05),
    "20 % near, one number jittered": jittered(0.2),
    "5 % near, two columns resampled": two_resampled(0.05),
    "20 % near, two columns resampled": two_resampled(0.2),
    "5 % with the secret swapped": secret_swapped,
    "1 %, outliers only": outliers_only,
    "columns bootstrapped from raw values": raw_bootstrap,
    "5 %, rows of units shuffled": units_shuffled,
    "over-fitted on 500 rows": overfitted,
    "train plus noise": noisy_train,
    "train itself": lambda scene: scene.train.take(pa.array(scene.rng.permutation(scene.train.num_rows))),
    "5 % of the holdout copied": lambda scene: scene.among(scene.victims(0.05, scene.holdout)),
}
FRESH = "fresh rows"


def measured(scene: Scene, synthetic: pa.Table, seed: int, options: PrivacyOptions) -> dict[str, MetricResult]:
    """All privacy metrics of one synthetic table."""
    rows = synthetic.select(list(scene.learnt))  # keys would give a copy away too easily
    inputs = check_inputs(train=scene.train, holdout=scene.holdout, synthetic=rows, card=scene.card, seed=seed)
    results: dict[str, MetricResult] = {}
    for family in FAMILIES:
        results |= family.run(inputs, options)
    return results


def scene_of(one: Subject, seed: int) -> Scene:
    """The split of a seed."""
    rng = np.random.default_rng([seed, sum(one.name.encode())])
    return Scene(*one.split(rng), one.card, rng)


def verdict_of(one: Subject, plant: str, seed: int, options: PrivacyOptions) -> Verdict:
    """Plant, measure, and hold against the default lines."""
    scene = scene_of(one, seed)
    synthetic = scene.fresh if plant == FRESH else PLANTS[plant](scene)
    return gate(measured(scene, synthetic, seed, options), RULES)


def found_by(verdict: Verdict) -> set[str]:
    """Metrics that fail (not: inconclusive) beyond their line, short names."""
    return {short(rule.metric) for rule in verdict.rules if rule.code in ("p-below-line", "beyond-line")}


def short(metric: str) -> str:
    """A metric's name in the matrix."""
    name = metric.removeprefix("privacy.").replace("membership_inference", "mia").replace(".excess_share", "")
    return "attribute_inference" if name.startswith("attribute_inference") else "pii" if name.startswith("pii.") else name


COLUMNS = tuple(dict.fromkeys(short(line.metric) for line in DEFAULT_LINES))


def matrix(one: Subject, seeds: int, options: PrivacyOptions) -> Iterator[tuple[str, dict[str, float], float]]:
    """Each plant with the detection rate of every metric, and the rate at which the gate refuses."""
    for plant in PLANTS:
        hits: Counter[str] = Counter()
        refused = 0
        for seed in range(seeds):
            verdict = verdict_of(one, plant, seed, options)
            hits.update(found_by(verdict))
            refused += not verdict.passed
        yield plant, {name: hits[name] / seeds for name in COLUMNS}, refused / seeds


def false_refusals(one: Subject, splits: int, options: PrivacyOptions) -> tuple[int, Counter[str]]:
    """How many of so many fresh splits are refused (inconclusive counted), and by which metrics."""
    refused, why = 0, Counter[str]()
    for seed in range(1000, 1000 + splits):
        verdict = verdict_of(one, FRESH, seed, options)
        refused += not verdict.passed
        why.update(f"{rule.metric}: {rule.code}" for rule in verdict.blocking)
    return refused, why


def main() -> int:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--tables", default="")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    options = PrivacyOptions(workers=arguments.workers)
    wanted = [one for one in subjects() if not arguments.tables or one.name in arguments.tables.split(",")]
    lines = [
        "# The leak matrix",
        "",
        "Leaks planted in fresh rows of real tables, and the rate at which each metric fails its default line (`python tests/adversarial/leaks.py`).",
        "Detection is at the lines of `policies.metric_catalogue.DEFAULT_LINES`; a blank is 0. `refused` is the gate's verdict, inconclusive counted.",
    ]
    for one in wanted:
        lines += ["", f"## {one.name}: {one.rows:,} rows each of train, holdout and synthetic, {arguments.seeds} seeds", ""]
        lines += ["| plant | refused | " + " | ".join(f"`{name}`" for name in COLUMNS) + " |", "|---" * (len(COLUMNS) + 2) + "|"]
        for plant, rates, refused in matrix(one, arguments.seeds, options):
            lines.append(
                f"| {plant} | {refused:.2f} | "
                + " | ".join(f"{rates[name]:.2f}" if rates[name] else "" for name in COLUMNS)
                + " |"
            )
            print(lines[-1], file=sys.stderr, flush=True)
        if arguments.splits:
            began = time.monotonic()
            refused_splits, why = false_refusals(one, arguments.splits, options)
            took = (time.monotonic() - began) / arguments.splits
            reasons = ", ".join(f"`{name}` ({count})" for name, count in why.most_common())
            lines += [
                "",
                f"Fresh real rows: {refused_splits} of {arguments.splits} splits refused ({took:.1f} s each). {reasons}".rstrip(),
            ]
            print(lines[-1], file=sys.stderr, flush=True)
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
