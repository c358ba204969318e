"""The names that a report card can hold, what each measures, and where its line comes from.

Responsible for `CATALOGUE` (every metric name to its `MetricSpec`), for finding the entry of a concrete name, and for
proposing names to somebody who mistyped one. `policy lint` refuses a name that is not here.

Invariants:
    - Names are flat, `family.metric[.part]`. `<column>`, `<target>` and `<part>` stand for one segment chosen at run
      time; a literal entry wins over one with a placeholder.
    - A privacy line is a conjunction: no single metric sees every leak. `DEFAULT_LINES` are the lines shipped for privacy:
      five tests at p >= 0.001 and further ones at 0.0001 or below (together a false refusal of at most 0.0053 for fresh rows
      of the same population), and bounds on intervals that fresh rows meet with room to spare where the tables are large
      enough to say so. The five also warn at p < 0.05: of fresh rows up to a quarter then carry a warning, and a weak leak seldom
      comes without one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from types import MappingProxyType

from policies.metric_catalogue_utility import UTILITY
from policies.metrics import Direction, MetricSpec

__all__ = ["CATALOGUE", "DEFAULT_LINES", "LEAST_SYNTHETIC_ROWS", "DefaultLine", "lookup", "suggest"]

DESIGN = "docs/explanation/evaluation-privacy.md"
CARLINI = "Carlini et al. 2022, arXiv:2112.03570"
GIOMI = "Giomi et al. 2023, arXiv:2211.10459 (anonymeter)"
WP216 = "Article 29 Working Party, Opinion 05/2014 (WP216)"


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultLine:
    """The line shipped for a metric: at most `max`, and no p-value below `p_min`; `blocks` is False for a warning.

    Attributes:
        warn_p: A p-value below this is told to reviewers, and refuses nothing.
    """

    metric: str
    max: str | None = None
    min: str | None = None
    p_min: str | None = None
    blocks: bool = True
    warn_p: str | None = None


def _spec(name: str, title: str, source: str, *, low: float = -1.0, high: float = 1.0, better: Direction = "lower") -> MetricSpec:
    return MetricSpec(name=f"privacy.{name}", direction=better, low=low, high=high, title=title, source=source)


MIA = "membership_inference"
_PRIVACY: tuple[MetricSpec, ...] = (
    _spec("copies.excess_share", "Rows of train that stand in the output, beyond rows of people never seen", DESIGN),
    _spec("copies.near_excess_share", "Rows of train that stand in the output but for one or two columns, beyond chance", DESIGN),
    _spec(
        "copies.quasi_identifiers.excess_share", "Combinations of quasi-identifiers of train that reappear, beyond chance", DESIGN
    ),
    _spec("copies.identical_share", "Share of output rows that equal a row of train (identical match share)", DESIGN, low=0.0),
    _spec("rare_values.excess_share", "Values that one person of train has alone and that reappear, beyond chance", DESIGN),
    _spec(
        "holdout_contaminated", "Rows of the holdout that stand in the output, beyond rows of train: it was not unseen", DESIGN
    ),
    _spec("exchangeability", "How far train and holdout fail to look like one random split", "Schilling 1986"),
    _spec(
        "blind_attack.auc",
        "Membership guessed without the output: above one half the split itself gives members away",
        "Das et al. 2024, arXiv:2406.16201",
        low=0.0,
    ),
    *(
        spec
        for scope, words in (("", ""), ("exposed.", " among the most isolated tenth of people"))
        for spec in (
            _spec(f"{MIA}.{scope}auc", f"How well members are told from non-members{words} (area under ROC)", CARLINI, low=0.0),
            _spec(
                f"{MIA}.{scope}advantage", f"Largest true-positive minus false-positive rate{words}", "Yeom et al. 2018", low=0.0
            ),
        )
    ),
    _spec(f"{MIA}.tpr_at_fpr_1pct", "Members recognised while 1 % of non-members are wrongly accused", CARLINI, low=0.0),
    _spec(f"{MIA}.tpr_at_fpr_0_1pct", "Members recognised while 0.1 % of non-members are wrongly accused", CARLINI, low=0.0),
    _spec(
        f"{MIA}.exposed.tpr_at_fpr_10pct",
        "The same among the most isolated tenth of people, at 10 % wrongly accused",
        CARLINI,
        low=0.0,
    ),
    _spec("singling_out.univariate", "Success of isolating one person by one column, over control", f"{GIOMI}; {WP216}"),
    _spec("singling_out.multivariate", "Success of isolating one person by several columns, over control", f"{GIOMI}; {WP216}"),
    _spec("linkability", "Success of linking two halves of a person's record, over control", f"{GIOMI}; {WP216}"),
    _spec("attribute_inference.<column>", "Guessing a secret through the output: members over non-members", f"{GIOMI}; {WP216}"),
    _spec("k_map.max_risk", "Prosecutor risk: one over the smallest train class that the output shares", "El Emam 2008", low=0.0),
    _spec("k_map.excess_small_classes", "Small classes shared with train, beyond those shared with the holdout", DESIGN),
    _spec(
        "k_anonymity.k", "Smallest class of quasi-identifiers in the output", "Sweeney 2002", low=0.0, high=1e12, better="higher"
    ),
    _spec(
        "l_diversity",
        "Fewest different secrets in a class of the output",
        "Machanavajjhala 2007",
        low=0.0,
        high=1e12,
        better="higher",
    ),
    _spec("t_closeness", "Largest distance of a class's secrets from all secrets", "Li et al. 2007", low=0.0),
    _spec(
        "outlier_exposure", "Outliers of train with a closer output row than 99 % of the holdout's outliers have", DESIGN, low=0.0
    ),
    _spec("dcr.share", "Output rows nearer to train than to holdout; does not bound leakage", DESIGN, low=0.0),
    _spec(
        "dcr.p05_ratio", "5th percentile of distances to train over that to holdout", DESIGN, low=0.0, high=1e6, better="higher"
    ),
    _spec(
        "dcr.p01_ratio", "1st percentile of distances to train over that to holdout", DESIGN, low=0.0, high=1e6, better="higher"
    ),
    _spec(
        "nndr.ratio", "Median nearest-to-second distance ratio, train over holdout", DESIGN, low=0.0, high=1e6, better="higher"
    ),
    MetricSpec(
        name="privacy.dp.epsilon",
        direction="lower",
        low=0.0,
        high=1e6,
        dp_exact=True,
        title="Privacy loss that the generator accounts for",
        source="NIST SP 800-226",
    ),
    MetricSpec(
        name="privacy.dp.delta",
        direction="lower",
        low=0.0,
        high=1.0,
        dp_exact=True,
        title="Failure probability of the privacy guarantee",
        source="NIST SP 800-226",
    ),
    _spec(
        "dp.audit_lower_bound",
        "Smallest loss that explains how many canaries were recognised",
        "Steinke, Nasr and Jagielski 2023, arXiv:2305.08846",
        low=0.0,
        high=1e6,
    ),
    *(
        _spec(f"pii.{kind}", title, DESIGN, low=0.0, high=1e12)
        for kind, title in (
            ("email", "E-mail addresses in the output"),
            ("phone", "Telephone numbers in the output"),
            ("ssn", "US social security or taxpayer numbers in the output"),
            ("card", "Payment card numbers in the output (Luhn digit holds)"),
            ("iban", "Bank account numbers in the output (check digits hold)"),
            ("names", "Personal names in columns named as such"),
            ("identifiers", "Identifiers of train reused in the output, beyond those of the holdout"),
        )
    ),
)

DEFAULT_LINES: tuple[DefaultLine, ...] = (
    DefaultLine(metric="privacy.copies.excess_share", p_min="0.001", max="0.01", warn_p="0.05"),
    DefaultLine(metric="privacy.copies.near_excess_share", p_min="0.001", warn_p="0.05"),
    DefaultLine(metric="privacy.rare_values.excess_share", p_min="0.001", warn_p="0.05"),
    DefaultLine(metric=f"privacy.{MIA}.auc", max="0.55"),
    DefaultLine(metric=f"privacy.{MIA}.advantage", max="0.25"),
    DefaultLine(metric=f"privacy.{MIA}.tpr_at_fpr_1pct", max="0.03", p_min="0.001", warn_p="0.05"),
    DefaultLine(metric=f"privacy.{MIA}.exposed.tpr_at_fpr_10pct", p_min="0.001", warn_p="0.05"),
    DefaultLine(metric="privacy.holdout_contaminated", p_min="0.000001"),
    DefaultLine(metric="privacy.exchangeability", p_min="0.0001"),
    DefaultLine(metric="privacy.blind_attack.auc", p_min="0.0001"),
    DefaultLine(metric="privacy.singling_out.univariate", max="0.05"),
    DefaultLine(metric="privacy.singling_out.multivariate", max="0.05"),
    DefaultLine(metric="privacy.linkability", max="0.05"),
    DefaultLine(metric="privacy.attribute_inference.*", max="0.05"),
    DefaultLine(metric="privacy.outlier_exposure", max="0.05"),
    DefaultLine(metric="privacy.pii.*", max="0"),
    DefaultLine(metric="privacy.dcr.share", max="0.52", blocks=False),
    DefaultLine(metric="privacy.nndr.ratio", min="0.9", blocks=False),
)

LEAST_SYNTHETIC_ROWS: Mapping[str, int] = MappingProxyType({"privacy.singling_out.multivariate": 100})
"""Synthetic rows below which a metric is inconclusive whatever they are: a request for fewer is refused before any fit."""

CATALOGUE: Mapping[str, MetricSpec] = MappingProxyType({spec.name: spec for spec in (*_PRIVACY, *UTILITY)})


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], MetricSpec], ...]:
    return tuple(
        (
            re.compile("".join("[^.]+" if part.startswith("<") else re.escape(part) for part in re.split(r"(<[a-z]+>)", name))),
            spec,
        )
        for name, spec in CATALOGUE.items()
        if "<" in name
    )


def lookup(name: str) -> MetricSpec | None:
    """The entry of a concrete metric name, or None when no metric has that name."""
    if name in CATALOGUE and "<" not in name:
        return CATALOGUE[name]
    return next((spec for pattern, spec in _patterns() if pattern.fullmatch(name)), None)


def suggest(name: str) -> list[str]:
    """Up to three catalogue names that look like a mistyped one, the likeliest first."""
    return get_close_matches(name, CATALOGUE, n=3, cutoff=0.6)
