"""The catalogue's entries for utility and fairness metrics.

Responsible for naming what `evaluator.utility` and `evaluator.fairness` can put into a report card; looked up through
`policies.metric_catalogue`. In a name `<column>` and `<target>` stand for one segment: a column's name, or `worst` and `mean`
over all columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from policies.metrics import Direction, MetricSpec

__all__ = ["UTILITY", "UTILITY_LINES", "UtilityLine"]

DKW: Final = "Massart 1990, Annals of Probability 18(3)"
PAGE: Final = "docs/explanation/evaluation-utility.md"
SDMETRICS: Final = "SDMetrics quality report (Column Shapes and Column Pair Trends)"
HARDT: Final = "Hardt, Price, Srebro 2016, Equality of Opportunity in Supervised Learning"
DWORK: Final = "Dwork et al. 2012, Fairness through Awareness"
ESTEBAN: Final = "Esteban, Hyland, Rätsch 2017, train on synthetic, test on real"


def _spec(name: str, direction: Direction, title: str, *, low: float = 0.0, high: float = 1.0, source: str = PAGE) -> MetricSpec:
    return MetricSpec(name=name, direction=direction, low=low, high=high, title=title, source=source)


MARGINALS: Final = (
    _spec("utility.marginals.ks.<column>", "lower", "largest gap between the distribution functions of a column", source=DKW),
    _spec("utility.marginals.tv.<column>", "lower", "share of rows whose value of a category would have to change"),
    _spec("utility.marginals.wasserstein.<column>", "lower", "how far values moved, in units of the column's range", high=1e9),
    _spec("utility.marginals.magnitude.<column>", "lower", "powers of ten by which a number's typical size moved", high=2.0),
    _spec("utility.missingness.<column>", "lower", "difference between the shares of missing values"),
)
TIME: Final = (
    _spec("utility.seasonality.daily", "higher", "similarity of the profile by hour of the day"),
    _spec("utility.seasonality.weekly", "higher", "similarity of the profile by day of the week"),
    _spec("utility.seasonality.yearly", "higher", "similarity of the profile by month of the year"),
    _spec("utility.trend", "higher", "similarity of the course over the whole time span"),
    _spec("utility.autocorrelation.max_abs_diff", "lower", "largest change of what one moment tells about a later one", high=2.0),
)
RELATIONS: Final = tuple(
    _spec(f"utility.{name}.{over}", "lower", f"{title}, {words}", high=high)
    for name, title, high in (
        ("pairs.contingency", "change of the joint distribution of two columns", 1.0),
        ("pairs.correlation", "change of the rank correlation of two columns", 2.0),
        ("pairs.mutual_information", "change of what one column tells about another", 1.0),
        ("threeway", "change of the joint distribution of three columns", 1.0),
    )
    for over, words in (("worst", "the worst"), ("mean", "on average"))
)
DEPENDENCE: Final = tuple(
    _spec(f"utility.pairs.dependence.{over}", "higher", f"what two columns still tell about each other, of train's, {words}")
    for over, words in (("worst", "the worst"), ("mean", "on average"))
)
LEARNING: Final = (
    _spec("utility.tstr.<target>.auc", "higher", "area under ROC of a model trained on synthetic", source=ESTEBAN),
    _spec("utility.tstr.<target>.f1", "higher", "macro F1 of a model trained on synthetic", source=ESTEBAN),
    _spec("utility.tstr.<target>.r2", "higher", "variance explained by a model trained on synthetic", low=-1.0, source=ESTEBAN),
    _spec(
        "utility.tstr.<target>.gap", "lower", "what a model loses by training on synthetic", low=-2.0, high=2.0, source=ESTEBAN
    ),
    _spec("utility.tstr.<target>.ranking", "higher", "whether synthetic ranks models as train does", low=-1.0),
    _spec(
        "utility.distinguishability.auc", "lower", "how well a classifier tells synthetic from train rows (no membership test)"
    ),
    _spec("utility.subgroups.<column>.gap", "lower", "the worst group's loss by training on synthetic", low=-2.0, high=2.0),
    _spec("utility.subgroups.<column>.tv", "lower", "the worst group's change of the other columns"),
)
KEPT: Final = (
    _spec("utility.validity", "higher", "share of rows all of whose values the card allows"),
    _spec("utility.constraints", "higher", "share of rows that keep every relation of the card"),
    _spec("utility.coverage.rare", "higher", "rare category values that survive, over what a sample would keep"),
    _spec("utility.coverage.categories", "higher", "category values of train that occur in synthetic"),
    _spec("utility.coverage.least_kept", "higher", "share of the category value that surely lost most, over its share in train"),
    _spec("utility.coverage.range", "higher", "central range of train that synthetic covers"),
    _spec("utility.gaps.ks", "lower", "change of the time between successive rows"),
    _spec("utility.unit_rows.ks", "lower", "change of the number of rows of a privacy unit"),
    _spec("utility.overall", "higher", "mean of shapes and pair trends", source=SDMETRICS),
    _spec("utility.overall.shapes", "higher", "mean similarity of single columns", source=SDMETRICS),
    _spec("utility.overall.pair_trends", "higher", "mean similarity of related pairs of columns", source=SDMETRICS),
)
FAIRNESS: Final = (
    _spec(
        "fairness.demographic_parity.<column>.shift", "lower", "growth of the gap in favourable decisions", low=-1.0, source=DWORK
    ),
    _spec(
        "fairness.equal_opportunity.<column>.shift",
        "lower",
        "growth of the gap among those who deserve one",
        low=-1.0,
        source=HARDT,
    ),
    _spec("fairness.equalised_odds.<column>.shift", "lower", "growth of the larger of both error gaps", low=-1.0, source=HARDT),
    _spec("fairness.representation.<column>.ratio", "higher", "least share of a group in synthetic over train, or its inverse"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UtilityLine:
    """The line that a report draws for a metric where no policy was applied; it decides nothing."""

    metric: str
    max: str | None = None
    min: str | None = None
    p_min: str | None = None
    blocks: bool = False


UTILITY_LINES: tuple[UtilityLine, ...] = (
    UtilityLine(metric="utility.marginals.ks.worst", max="0.15"),
    UtilityLine(metric="utility.marginals.tv.worst", max="0.2"),
    UtilityLine(metric="utility.marginals.magnitude.worst", max="0.3"),
    UtilityLine(metric="utility.missingness.worst", max="0.05"),
    UtilityLine(metric="utility.pairs.contingency.worst", max="0.3"),
    UtilityLine(metric="utility.pairs.correlation.worst", max="0.2"),
    UtilityLine(metric="utility.pairs.dependence.worst", min="0.3"),
    UtilityLine(metric="utility.validity", min="0.99"),
    UtilityLine(metric="utility.constraints", min="0.99"),
    UtilityLine(metric="utility.coverage.rare", min="0.8"),
    UtilityLine(metric="utility.coverage.least_kept", min="0.5"),
    UtilityLine(metric="utility.seasonality.daily", min="0.8"),
    UtilityLine(metric="utility.seasonality.weekly", min="0.8"),
    UtilityLine(metric="utility.seasonality.yearly", min="0.7"),
    UtilityLine(metric="utility.trend", min="0.7"),
    UtilityLine(metric="utility.gaps.ks", max="0.2"),
    UtilityLine(metric="utility.tstr.worst.gap", max="0.05"),
    UtilityLine(metric="utility.subgroups.worst.gap", max="0.1"),
    UtilityLine(metric="fairness.demographic_parity.worst.shift", max="0.05"),
    UtilityLine(metric="fairness.equal_opportunity.worst.shift", max="0.1"),
    UtilityLine(metric="fairness.representation.worst.ratio", min="0.8"),
)
UTILITY: tuple[MetricSpec, ...] = (*MARGINALS, *RELATIONS, *DEPENDENCE, *KEPT, *TIME, *LEARNING, *FAIRNESS)
