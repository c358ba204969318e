"""Copies: rows of train that stand in the synthetic table more often than rows of people it never saw.

Responsible for `privacy.copies.*` and `privacy.holdout_contaminated`.

Invariants:
    - Only rows that one privacy unit alone has count, and with a privacy unit the unit is counted, not its rows.
    - Being found by chance is what the holdout measures. The test is exact under random labels, stratified by how crowded
      a row's surroundings are: a common row that reappears proves nothing, a lonely one does.
    - `excess_share` is a share of all people of train, as its line is; only lonely rows can add to it.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from evaluator.inputs import Inputs
from evaluator.privacy.family import Family, PrivacyOptions
from evaluator.privacy.projections import STRATA, Isolation, isolation
from evaluator.privacy.rows import Matches, RealRows, real_rows
from evaluator.statistics import Rate, difference_interval, fisher_upper
from evaluator.strata import Excess, excess_by_stratum
from policies.metrics import MetricResult

__all__ = ["COPIES", "Evidence", "unit_evidence"]

Flags = npt.NDArray[np.bool_]
Strata = npt.NDArray[np.int64]
NAMED = 5
"""How many of the most telling column sets a report names."""
LEAST_UNITS = 100
"""Fewer people of either side than this cannot show an excess of one in a hundred: inconclusive."""
RAREST = 512
"""A match of the loneliest rows counts up to so many times one of rows that reappear by chance every other time."""
CONTAMINATED = 1e-6
"""Below this p-value the holdout is no control, and what rests on it says nothing."""


class Evidence:
    """Per privacy unit: was any of its lonely rows found, is it a member, and in which stratum is it compared?"""

    def __init__(self, rows: RealRows, matches: Matches, stratum: Strata) -> None:
        chosen = np.flatnonzero(matches.alone)
        units, group = np.unique(rows.unit[chosen], return_inverse=True)
        group = group.reshape(-1)
        self.found: Flags = np.bincount(group, matches.found[chosen], len(units)) > 0
        self.member: Flags = np.bincount(group, rows.member[chosen], len(units)) > 0
        count = np.bincount(group, minlength=len(units))
        crowded = np.full(len(units), np.iinfo(np.int64).max)
        np.minimum.at(crowded, group, stratum[chosen])
        size = np.where(count > 1, np.ceil(np.log2(np.maximum(count, 1))), 0).astype(np.int64)
        self.stratum: Strata = np.unique(size * STRATA + crowded, return_inverse=True)[1].reshape(-1).astype(np.int64)


def unit_evidence(rows: RealRows, matches: Matches, isolated: Isolation) -> Evidence:
    """Collapse row matches to privacy units (a row is its own unit where the card has none)."""
    return Evidence(rows, matches, isolated.stratum)


def _copies(inputs: Inputs, options: PrivacyOptions) -> dict[str, MetricResult]:
    rows, isolated = real_rows(inputs), isolation(inputs, options.workers)
    evidence = unit_evidence(rows, isolated.whole, isolated)
    results = {
        "privacy.copies.identical_share": _identical_share(inputs, rows),
        **_whole(inputs, evidence, options),
        **_near(inputs, rows, isolated, options),
        **_quasi(inputs, rows, isolated, options),
    }
    return dict(sorted(results.items()))


def _whole(inputs: Inputs, evidence: Evidence, options: PrivacyOptions) -> dict[str, MetricResult]:
    method = "exact match of rows one person alone has; stratified exact test, Newcombe interval"
    names = ("privacy.copies.excess_share", "privacy.holdout_contaminated")
    n_train, n_holdout = int(evidence.member.sum()), int((~evidence.member).sum())
    if min(n_train, n_holdout) < LEAST_UNITS:
        if min(inputs.train.n_units, inputs.holdout.n_units) >= LEAST_UNITS:
            why = "hardly any row is one person's alone, so that a copy cannot be told from a coincidence"
            return {name: MetricResult.not_applicable(direction="lower", method=method, why=why) for name in names}
        why = f"{min(n_train, n_holdout)} people with a row of their own; at least {LEAST_UNITS} on either side are needed"
        return {name: MetricResult.inconclusive(direction="lower", method=method, why=why, n=n_train) for name in names}
    found, member, stratum = evidence.found, evidence.member, evidence.stratum
    excess = excess_by_stratum(found, member, stratum, confidence=options.confidence, top_weight=RAREST)
    reverse = excess_by_stratum(found, ~member, stratum, confidence=options.confidence, top_weight=RAREST)
    contaminated = _result(reverse, method, options, p_value=reverse.p_value)
    if reverse.p_value < CONTAMINATED:
        why = "rows of the holdout stand in the output far oftener than chance allows: it was not unseen"
        blocked = MetricResult.inconclusive(
            direction="lower", method=method, why=why, n=len(evidence.found), cause="holdout_contaminated"
        )
        return {names[0]: blocked, names[1]: contaminated}
    among_lone = _result(excess, method, options, p_value=excess.p_value)
    lone = n_train / inputs.train.n_units
    return {names[0]: _of_everybody(among_lone, lone, _limit(inputs, excess.detectable)), names[1]: contaminated}


def _limit(inputs: Inputs, share: float) -> dict[str, object]:
    """The detection limit in people of train, and in rows of the output if each is copied once: what a reader can picture."""
    people = math.ceil(share * inputs.train.n_units)
    return {
        "detection_limit_people": people,
        "detection_limit_of_output": min(1.0, people / inputs.synthetic.rows),
        "below_the_limit": "k copies of lonely rows have p of at least (train / (train + holdout))^k: fewer can pass unseen",
    }


def _of_everybody(found: MetricResult, lone: float, limit: dict[str, object]) -> MetricResult:
    """The excess as a share of all people of train, of whom the share `lone` has a row of their own; the p-value is the same.

    Of a table of few columns hardly any row is one person's alone: among some hundred of them no interval is as narrow as
    one in a hundred, and of everybody the same excess is a small share.
    """
    low, high = found.interval or (0.0, 0.0)
    detail = {**found.detail, **limit, "lone_share": lone, "excess_among_lone": found.value}
    return replace(found, value=(found.value or 0.0) * lone, interval=(low * lone, high * lone), detail=detail)


def _result(excess: Excess, method: str, options: PrivacyOptions, *, p_value: float, **detail: object) -> MetricResult:
    low, high = excess.interval
    return MetricResult(
        value=excess.value,
        interval=excess.interval,
        confidence=options.confidence,
        p_value=p_value,
        n=excess.members.trials + excess.others.trials,
        direction="lower",
        method=method,
        detail={
            "train_share": excess.members.share,
            "control_share": excess.others.share,
            "train_found": excess.members.successes,
            "control_found": excess.others.successes,
            "detection_limit": excess.detectable,
            "half_width": (high - low) / 2,
            **detail,
        },
    )


def _identical_share(inputs: Inputs, rows: RealRows) -> MetricResult:
    real, synthetic = rows.totals(range(len(rows.names)))
    in_train = np.isin(synthetic, real[rows.member])
    in_holdout = np.isin(synthetic, real[~rows.member])
    return MetricResult(
        value=float(in_train.mean()),
        n=len(synthetic),
        direction="lower",
        method="identical match share; counts rows that many people share, so it is reported beside the holdout's",
        detail={"holdout_share": float(in_holdout.mean()), "real_rows": [inputs.train.rows, inputs.holdout.rows]},
    )


def _near(inputs: Inputs, rows: RealRows, isolated: Isolation, options: PrivacyOptions) -> dict[str, MetricResult]:
    method = "match but for one or two columns, on parts one person alone has; exact test per part, Bonferroni"
    name = "privacy.copies.near_excess_share"
    listed = [part for part, _ in isolated.through]
    rates = [_part_rates(rows, matches) for _, matches in isolated.through]
    told = [k for k, (members, others) in enumerate(rates) if min(members.trials, others.trials) >= LEAST_UNITS]
    words, tables = [listed[k].words for k in told], [rates[k] for k in told]
    if not tables:
        if min(inputs.train.n_units, inputs.holdout.n_units) < LEAST_UNITS:
            why = f"at least {LEAST_UNITS} people on either side are needed"
            return {name: MetricResult.inconclusive(direction="lower", method=method, why=why)}
        why = "no part of the columns is one person's alone"
        return {name: MetricResult.not_applicable(direction="lower", method=method, why=why)}
    p_values = fisher_upper(tables)
    worst = int(np.argmin(p_values))
    members, others = tables[worst]
    confidence = 1 - (1 - options.confidence) / len(tables)
    return {
        name: MetricResult(
            value=members.share - others.share,
            interval=difference_interval(members, others, confidence),
            confidence=options.confidence,
            p_value=min(1.0, float(p_values[worst]) * len(tables)),
            n=members.trials + others.trials,
            direction="lower",
            method=method,
            detail={
                "parts": len(tables),
                "most_telling": [words[k] for k in np.argsort(p_values, kind="stable")[:NAMED]],
                "train_share": members.share,
                "control_share": others.share,
            },
        )
    }


def _rates(evidence: Evidence) -> tuple[Rate, Rate]:
    member, found = evidence.member, evidence.found
    return Rate(int(found[member].sum()), int(member.sum())), Rate(int(found[~member].sum()), int((~member).sum()))


def _part_rates(rows: RealRows, matches: Matches) -> tuple[Rate, Rate]:
    if not rows.row_is_unit:
        return _rates(Evidence(rows, matches, np.zeros(len(rows.unit), dtype=np.int64)))
    mine, theirs, hit = matches.alone & rows.member, matches.alone & ~rows.member, matches.alone & matches.found
    return (
        Rate(int(np.count_nonzero(hit & rows.member)), int(np.count_nonzero(mine))),
        Rate(int(np.count_nonzero(hit & ~rows.member)), int(np.count_nonzero(theirs))),
    )


def _quasi(inputs: Inputs, rows: RealRows, isolated: Isolation, options: PrivacyOptions) -> dict[str, MetricResult]:
    name = "privacy.copies.quasi_identifiers.excess_share"
    method = "exact match on the quasi-identifiers, where one person alone has them; exact test, Newcombe interval"
    chosen = [position for position, column in enumerate(inputs.columns.values()) if column.role == "quasi-identifier"]
    if not chosen:
        why = "the card names no quasi-identifier"
        return {name: MetricResult.not_applicable(direction="lower", method=method, why=why)}
    evidence = Evidence(rows, rows.matches(*rows.totals(chosen)), isolated.stratum)
    members, others = _rates(evidence)
    if min(members.trials, others.trials) < LEAST_UNITS:
        why = "hardly anybody has quasi-identifiers of their own"
        return {name: MetricResult.not_applicable(direction="lower", method=method, why=why)}
    excess = excess_by_stratum(evidence.found, evidence.member, evidence.stratum, confidence=options.confidence)
    return {name: _result(excess, method, options, p_value=excess.p_value)}


COPIES = Family(
    name="privacy.copies",
    names=("privacy.copies", "privacy.holdout_contaminated"),
    run=_copies,
    cost="sorting: n log n per set of columns",
)
