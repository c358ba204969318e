"""Rare values: what one person of train has alone in a column, and what reappears.

Responsible for `privacy.rare_values.excess_share`: the test that sees columns resampled from raw values, which copy no row.

Invariants:
    - A value counts when one privacy unit of train and holdout together has it; who owns it is the label that is tested.
    - The pooled test counts people, not values: someone whose many rare values reappear is one event.
    - Missing is no value.
    - Where one side alone owns rare values the exact test has p = 1 whatever reappears: the question does not arise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluator.inputs import Inputs
from evaluator.privacy.family import Family, PrivacyOptions
from evaluator.privacy.rows import real_rows
from evaluator.statistics import Rate, fisher_upper
from evaluator.strata import excess_by_stratum
from policies.metrics import MetricResult

__all__ = ["RARE", "rare_flags"]

Flags = npt.NDArray[np.bool_]
NAME = "privacy.rare_values.excess_share"
METHOD = "values of one person alone that reappear; exact test stratified by column pattern, Newcombe interval"
SUPPORT = 300
"""Owners of rare values on either side from which on the interval is narrow enough to be held against a line."""
NAMED = 5


@dataclass(frozen=True, slots=True)
class RareFlags:
    """Per real row and column: does one unit alone have the value, and does the synthetic table have it?"""

    alone: Flags
    found: Flags


def rare_flags(inputs: Inputs) -> RareFlags:
    """Rare values of every real row (once per evaluation), shape (rows, columns)."""
    return inputs.once("privacy.rare", lambda: _flags(inputs))


def _flags(inputs: Inputs) -> RareFlags:
    rows = real_rows(inputs)
    alone, found = [], []
    for position, name in enumerate(rows.names):
        matches = rows.matches(rows.real[position], rows.synthetic[position])
        present = np.concatenate([inputs.train.codes(name), inputs.holdout.codes(name)]) >= 0
        alone.append(matches.alone & present)
        found.append(matches.alone & present & matches.found)
    return RareFlags(np.stack(alone, axis=1), np.stack(found, axis=1))


def _rare(inputs: Inputs, options: PrivacyOptions) -> dict[str, MetricResult]:
    rows, flags = real_rows(inputs), rare_flags(inputs)
    owners = np.flatnonzero(flags.alone.any(axis=1))
    units, group = np.unique(rows.unit[owners], return_inverse=True)
    group = group.reshape(-1)
    if len(units) == 0:
        return {NAME: MetricResult.not_applicable(direction="lower", method=METHOD, why="no value is one person's alone")}
    owned = np.zeros((len(units), len(rows.names)), dtype=np.int64)
    np.add.at(owned, group, flags.alone[owners].astype(np.int64))
    found = np.bincount(group, flags.found[owners].any(axis=1), len(units)) > 0
    member = np.bincount(group, rows.member[owners], len(units)) > 0
    if member.all() or not member.any():
        why = f"all {len(units)} people with a value of their own are on one side: whichever reappear, chance explains it (p = 1)"
        return {NAME: MetricResult.not_applicable(direction="lower", method=METHOD, why=why, owners=len(units))}
    stratum = _strata(owned)
    excess = excess_by_stratum(found, member, stratum, confidence=options.confidence)
    return {
        NAME: MetricResult(
            value=excess.value,
            interval=excess.interval,
            confidence=options.confidence,
            p_value=excess.p_value,
            n=len(units),
            direction="lower",
            method=METHOD,
            detail={
                "train_share": excess.members.share,
                "control_share": excess.others.share,
                "train_owners": excess.members.trials,
                "control_owners": excess.others.trials,
                "supports_a_line": min(excess.members.trials, excess.others.trials) >= SUPPORT,
                "columns": _by_column(inputs, flags),
            },
        )
    }


def _strata(owned: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """People who own rare values in the same columns are compared; patterns too rare to compare go by their number."""
    capped = np.minimum(owned, 3)
    pattern = np.unique(capped, axis=0, return_inverse=True)[1].reshape(-1)
    common = np.bincount(pattern)[pattern] >= SUPPORT
    number = np.minimum(np.ceil(np.log2(owned.sum(axis=1) + 1.0)), 12).astype(np.int64)
    key = np.where(common, pattern + 16, number)
    return np.unique(key, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _by_column(inputs: Inputs, flags: RareFlags) -> list[dict[str, object]]:
    """The columns whose rare values reappear most tellingly, with p-values that Holm's method adjusts."""
    member = real_rows(inputs).member
    names, tables = [], []
    for position, name in enumerate(inputs.columns):
        alone, found = flags.alone[:, position], flags.found[:, position]
        mine, theirs = alone & member, alone & ~member
        if mine.any():
            names.append(name)
            tables.append((Rate(int(found[mine].sum()), int(mine.sum())), Rate(int(found[theirs].sum()), int(theirs.sum()))))
    p_values = fisher_upper(tables)
    adjusted, running = [], 0.0
    for place, position in enumerate(np.argsort(p_values, kind="stable")):
        running = max(running, min(1.0, float(p_values[position]) * (len(names) - place)))
        mine, theirs = tables[position]
        adjusted.append(
            {"column": names[position], "p_value": running, "train": [mine.successes, mine.trials],
             "control": [theirs.successes, theirs.trials]}
        )  # fmt: skip
    return adjusted[:NAMED]


RARE = Family(name="privacy.rare_values", names=("privacy.rare_values",), run=_rare, cost="sorting: n log n per column")
