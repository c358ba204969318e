"""Singling out: isolating one person by a predicate that the synthetic table suggests.

Responsible for `privacy.singling_out.univariate` and `.multivariate` (Giomi et al. 2023; WP216, first risk).

Invariants:
    - A predicate is taken when exactly one synthetic row satisfies it; it succeeds on train when exactly one person of a
      sample of train does. The control asks the same of a sample of the holdout with as many people.
    - Predicates are made from synthetic rows and public types only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from evaluator.distances import Coded, Encoding
from evaluator.inputs import Inputs
from evaluator.privacy.family import Family, PrivacyOptions
from evaluator.privacy.neighbours import Pool, pool_of
from evaluator.privacy.predicates import Predicates, drawn, satisfied_by_one
from evaluator.statistics import Rate, risk_over_control
from policies.metric_catalogue import LEAST_SYNTHETIC_ROWS
from policies.metrics import MetricResult

__all__ = ["SINGLING_OUT"]

Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
PREFIX = "privacy.singling_out"
ONE = f"{PREFIX}.univariate"
MANY = f"{PREFIX}.multivariate"
ATTEMPTS = 20_000
MOST_SYNTHETIC = 32_768
PILOT = 512
LEAST_UNIVARIATE = LEAST_MULTIVARIATE = 2_000
"""Fewer predicates say nothing to within the line of 5 %: where one in ten succeeds by chance, 2,000 have a standard error of
one point, and an honest table keeps the line 995 times in a thousand. Other tests cover such tables: rare values, copies."""
LEAST_ROWS = LEAST_SYNTHETIC_ROWS[MANY]
"""Synthetic rows that predicates are made from: those of one row succeed together, and 100 rows have that standard error."""
LEAST_SEEDS = 80
"""Of these rows some have no predicate that is true of them alone."""
PER_ROW = 100
"""Attempts that one synthetic row may be asked for, so that a small release is attacked as hard as a large one."""
LEAST_PEOPLE = 200
WIDTHS = (2, 3, 4, 5, 6, 8, 12, 16, 24, 32)
ENOUGH_UNIQUE = 0.6


def _singling_out(inputs: Inputs, options: PrivacyOptions) -> dict[str, MetricResult]:
    pool = pool_of(inputs, options)
    return {ONE: _univariate(inputs, pool, options), MANY: _multivariate(inputs, pool, options)}


def _result(
    attack: Rate, control: Rate, method: str, options: PrivacyOptions, *, spread: float = 0.0, **detail: object
) -> MetricResult:
    """The residual risk; its interval is no narrower than `spread` standard errors allow, where attempts are not independent."""
    value, (low, high) = risk_over_control(attack, control, options.confidence)
    half = float(ndtri(0.5 + options.confidence / 2)) * spread
    interval = max(-1.0, min(low, value - half)), min(1.0, max(high, value + half))
    return MetricResult(
        value=value,
        interval=interval,
        confidence=options.confidence,
        n=attack.trials,
        direction="lower",
        method=method,
        detail={
            "attack": attack.share,
            "control": control.share,
            "detection_limit": (3.09 + 1.28) * (interval[1] - interval[0]) / (2 * 1.96),
            **detail,
        },
    )


def _univariate(inputs: Inputs, pool: Pool, options: PrivacyOptions) -> MetricResult:
    """Values that one synthetic row alone has: does one person of train alone have them?"""
    method = "values unique in the synthetic table; residual risk over control, Newcombe interval"
    hits, misses, total = 0, 0, 0
    by_column: dict[str, list[int]] = {}
    for name in inputs.columns:
        size = len(inputs.domain(name)) + 1
        unique = np.bincount(inputs.synthetic.codes(name) + 1, minlength=size)[1:] == 1
        people = [
            _people(table.codes(name)[rows] + 1, pool.unit[side], size)[1:]
            for table, rows, side in (
                (inputs.train, pool.train_rows, pool.member),
                (inputs.holdout, pool.holdout_rows, ~pool.member),
            )
        ]
        mine, theirs = int((unique & (people[0] == 1)).sum()), int((unique & (people[1] == 1)).sum())
        by_column[name] = [mine, theirs, int(unique.sum())]
        hits, misses, total = hits + mine, misses + theirs, total + int(unique.sum())
    if total < LEAST_UNIVARIATE:
        why = f"only {total} values stand in the synthetic table once; the rare-value test covers them exactly"
        return MetricResult.not_applicable(direction="lower", method=method, why=why, train_hits=hits, control_hits=misses)
    worst = sorted(by_column, key=lambda name: by_column[name][1] - by_column[name][0])[:3]
    columns = [{"column": name, "train": by_column[name][0], "control": by_column[name][1]} for name in worst]
    return _result(Rate(hits, total), Rate(misses, total), method, options, columns=columns)


def _people(codes: npt.NDArray[np.integer], unit: Indices, size: int) -> Indices:
    """How many different units have each code."""
    pairs = np.unique(unit * np.int64(size) + codes)
    return np.bincount(pairs % size, minlength=size).astype(np.int64)


def _multivariate(inputs: Inputs, pool: Pool, options: PrivacyOptions) -> MetricResult:
    method = "conjunctions over random columns of synthetic rows; residual risk over control, Newcombe interval"
    rng = inputs.generator("privacy", "singling_out")
    synthetic = Encoding.of(inputs).synthetic
    rows = np.sort(rng.choice(synthetic.rows, min(MOST_SYNTHETIC, synthetic.rows), replace=False))
    synthetic = synthetic.take(rows)
    people = min(int(pool.unit_is_member.sum()), int((~pool.unit_is_member).sum()))
    if people < LEAST_PEOPLE:
        why = f"{people} people on the smaller side; {LEAST_PEOPLE} are needed"
        return MetricResult.inconclusive(direction="lower", method=method, why=why, n=people)
    if synthetic.rows < LEAST_ROWS:
        why = f"{synthetic.rows} synthetic rows; {LEAST_ROWS} are needed"
        return MetricResult.inconclusive(direction="lower", method=method, why=why, n=synthetic.rows, needed=LEAST_ROWS)
    predicates = _chosen(synthetic, rng, options.workers)
    if len(predicates.seeds) < LEAST_MULTIVARIATE or len(np.unique(predicates.seeds)) < LEAST_SEEDS:
        why = f"only {len(predicates.seeds)} combinations of columns isolate a synthetic row: hardly any row stands out"
        return MetricResult.not_applicable(direction="lower", method=method, why=why)
    hits = []
    for side in (pool.member, ~pool.member):
        coded = pool.coded.take(np.flatnonzero(side))
        hits.append(satisfied_by_one(predicates, synthetic, coded, pool.unit[side], options.workers))
    attack, control = (Rate(int(side.sum()), len(side)) for side in hits)
    spread = _clustered_error(hits[0], hits[1], predicates.seeds) / max(1e-9, 1.0 - control.share)
    width = int(predicates.uses[0].sum())
    return _result(attack, control, method, options, spread=spread, columns_per_predicate=width)


def _clustered_error(mine: Flags, theirs: Flags, seeds: Indices) -> float:
    """Standard error of the difference of success rates when the predicates of one synthetic row succeed together."""
    difference = mine.astype(np.float64) - theirs.astype(np.float64)
    centred = np.bincount(seeds, difference - difference.mean())
    rows = len(np.unique(seeds))
    return float(np.sqrt((centred**2).sum() * rows / max(1, rows - 1))) / len(difference)


def _chosen(synthetic: Coded, rng: np.random.Generator, workers: int) -> Predicates:
    """Predicates that exactly one synthetic row satisfies, each once; as few columns each as isolate most rows."""
    width = len(synthetic.columns)
    for columns in [w for w in WIDTHS if w <= width] or [width]:
        pilot = drawn(synthetic, columns, PILOT, rng)
        share = float(satisfied_by_one(pilot, synthetic, synthetic, None, workers).mean())
        if share >= ENOUGH_UNIQUE:
            break
    attempts = drawn(synthetic, columns, min(ATTEMPTS, PER_ROW * synthetic.rows), rng)
    attempts = attempts.take(_first_of_equals(attempts))
    return attempts.take(satisfied_by_one(attempts, synthetic, synthetic, None, workers))


def _first_of_equals(predicates: Predicates) -> Indices:
    """One of all predicates that ask for the same columns of the same row: an attempt made twice proves nothing more."""
    asked = np.column_stack([predicates.seeds, np.packbits(predicates.uses, axis=1)])
    return np.sort(np.unique(asked, axis=0, return_index=True)[1]).astype(np.int64)


SINGLING_OUT = Family(
    name=PREFIX, names=(PREFIX,), run=_singling_out, cost="20,000 predicates on at most 32,768 rows of each table"
)
