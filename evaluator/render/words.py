"""What the numbers mean, in sentences for somebody who must decide.

Responsible for `sentences`: one line per question, from the metrics that answer it.

Invariants: a metric that is missing or undecided gets a sentence that says so; no sentence claims compliance or safety.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from evaluator.report_card import ReportCard
from policies.metrics import MetricResult

__all__ = ["sentences"]

MIA: Final = "privacy.membership_inference"
FACTOR_OF_TWO: Final = 0.30103
ALIKE: Final = 0.8


def sentences(card: ReportCard) -> tuple[str, ...]:
    """The answers in the order: who is exposed, what is learnt, what is kept, who is served worse."""
    return tuple(sentence for metric, words in QUESTIONS for sentence in _answer(card, metric, words))


def _answer(card: ReportCard, metric: str, words: Callable[[MetricResult, Mapping[str, Any]], str]) -> Iterator[str]:
    name = _worst_of(card, metric) if metric.endswith(".*") else metric
    result = card.metrics.get(name)
    if result is None or result.status == "not_applicable":
        return
    if result.value is None:
        why = result.detail.get("why", "the reason was not given")
        yield f"Undecided ({name}): {why}."
        return
    sentence = words(result, {"name": name, **result.detail})
    if sentence:
        yield sentence


def _worst_of(card: ReportCard, pattern: str) -> str:
    """The metric of a family that says most: an undecided one, else the largest."""
    found = {name: result for name, result in card.metrics.items() if name.startswith(pattern[:-1])}
    unclear = [name for name, result in found.items() if result.status == "inconclusive"]
    known = [name for name, result in found.items() if result.value is not None]
    return unclear[0] if unclear else max(known, key=lambda name: (found[name].value or 0.0, name), default=pattern)


def _percent(value: float | None) -> str:
    if value is None:
        return "?"
    return f"{value:.1%}" if abs(value) < 0.1 else f"{value:.0%}"  # noqa: PLR2004 - tenths of a per cent matter below ten


def _gain(result: MetricResult, detail: Mapping[str, Any], rates: str) -> str:
    """What an attack gains over the same attack on strangers, and whether that can be told from chance."""
    attack, control = detail.get("attack"), detail.get("control")
    rates = rates.format(_percent(attack), _percent(control))
    low, high = result.interval or (0.0, 1.0)
    if low > 0 and attack is not None and control is not None:
        return f"gains {100 * (attack - control):.1f} points: {rates}"
    return f"gains nothing that can be told from chance: {rates} (at most {_percent(max(high, 0.0))} over control)"


def _copies(result: MetricResult, detail: Mapping[str, Any]) -> str:
    value = result.value or 0.0
    if value <= 0:
        return "No row of train stands in the output more often than rows of people it never saw."
    found, control = detail.get("train_share"), detail.get("control_share")
    return (
        f"{_percent(found)} of train's unique rows stand in the output word for word, against {_percent(control)} of strangers'."
    )


def _rare(_: MetricResult, detail: Mapping[str, Any]) -> str:
    columns = [str(entry.get("column")) for entry in detail.get("columns", []) if isinstance(entry, dict)]
    named = f", most in {columns[0]}" if columns else ""
    share, control = detail.get("train_share"), detail.get("control_share")
    shares = f"{_percent(share)} of train's reappear against {_percent(control)} of strangers'"
    return f"Of values that one person alone holds, {shares}{named}."


def _membership(result: MetricResult, detail: Mapping[str, Any]) -> str:
    level = _percent(detail.get("false_positive_rate", 0.01))
    return (
        f"An attacker who holds somebody's record recognises {_percent(result.value)} of the people in train while wrongly "
        f"accusing {level} of strangers; guessing recognises {level}."
    )


def _area(result: MetricResult, _: Mapping[str, Any]) -> str:
    rate = _percent(result.value)
    return f"Shown somebody of train and a stranger, an attacker picks the right one in {rate} of cases; chance is 50%."


def _exposed(result: MetricResult, detail: Mapping[str, Any]) -> str:
    level = _percent(detail.get("false_positive_rate", 0.1))
    return f"Among the most isolated tenth of people it is {_percent(result.value)} at {level} wrong accusations."


def _singling(result: MetricResult, detail: Mapping[str, Any]) -> str:
    return (
        "An attacker who describes one single person by columns of a synthetic row "
        f"{_gain(result, detail, 'it fits one person of train in {} of tries, one stranger in {}')}."
    )


def _linking(result: MetricResult, detail: Mapping[str, Any]) -> str:
    return (
        "An attacker who knows two halves of a record and joins them through the output "
        f"{_gain(result, detail, 'the halves meet for {} of train, {} of strangers')}."
    )


def _inferring(result: MetricResult, detail: Mapping[str, Any]) -> str:
    column = str(detail["name"]).rsplit(".", 1)[-1]
    return (
        f"An attacker who knows all else about a person and guesses {column} from the nearest synthetic row "
        f"{_gain(result, detail, 'right for {} of train, {} of strangers')}."
    )


def _outliers(result: MetricResult, _: Mapping[str, Any]) -> str:
    return f"{_percent(result.value)} of the most unusual people have a synthetic row suspiciously close (about 1 % is chance)."


def _marginals(result: MetricResult, detail: Mapping[str, Any]) -> str:
    floor = detail.get("floor")
    fresh = f"; fresh real rows differ by up to {_percent(floor)}" if floor is not None else ""
    return f"The column that changed most is {detail.get('column')}: its distribution is off by {_percent(result.value)}{fresh}."


def _pairs(result: MetricResult, detail: Mapping[str, Any]) -> str:
    columns = " and ".join(str(name) for name in detail.get("columns", []))
    return f"The relation that changed most is between {columns}: {_percent(result.value)} of rows would have to move."


def _magnitude(result: MetricResult, detail: Mapping[str, Any]) -> str:
    if (result.value or 0.0) <= FACTOR_OF_TWO:
        return ""
    return (
        f"Typical sizes in {detail.get('column')} changed by a factor of {10 ** (result.value or 0.0):.3g}: is it another unit?"
    )


def _dependence(result: MetricResult, detail: Mapping[str, Any]) -> str:
    columns = " and ".join(str(name) for name in detail.get("columns", []))
    return (
        f"The relation that lost most is between {columns}: {_percent(result.value)} of what one tells about the other is left."
    )


def _least_kept(result: MetricResult, detail: Mapping[str, Any]) -> str:
    if result.interval is None or result.interval[1] >= 1:
        return "No common category value surely lost weight."
    value, column = detail.get("category"), detail.get("column")
    shares = f"from {_percent(detail.get('train'))} to {_percent(detail.get('synthetic'))}"
    return f"The category value that surely lost most is {value} ({column}): its holders fell {shares}."


def _rhythm(result: MetricResult, detail: Mapping[str, Any]) -> str:
    """The week is always told of; other rhythms only where they suffered."""
    name = str(detail["name"]).rsplit(".", 1)[-1]
    if name != "weekly" and (result.value or 0.0) >= ALIKE:
        return ""
    what = "course over the whole span" if name == "trend" else f"{name} rhythm"
    return f"The {what} is kept to {_percent(result.value)} in the worst series ({detail.get('worst')})."


def _learning(result: MetricResult, detail: Mapping[str, Any]) -> str:
    target = detail.get("target")
    if (result.value or 0.0) <= 0:
        return f"A model trained on the output predicts {target} as well as one trained on train."
    return (
        f"A model trained on the output instead of train loses {result.value or 0:.3f} of its score at predicting "
        f"{target} (the worst of three models)."
    )


def _parity(result: MetricResult, detail: Mapping[str, Any]) -> str:
    gap = f"the gap in favourable decisions between groups of {detail.get('column')}"
    low, high = result.interval or (0.0, 0.0)
    if low <= 0 <= high:
        return f"For models trained on it {gap} is not measurably another."
    growth = "grows" if (result.value or 0) > 0 else "shrinks"
    return f"For models trained on it {gap} {growth} by {100 * abs(result.value or 0):.1f} points."


def _representation(result: MetricResult, detail: Mapping[str, Any]) -> str:
    return (
        f"The group whose presence changed most is {detail.get('group')} ({detail.get('column')}): "
        f"ratio {result.value or 0:.2f} of 1, where 0.8 is a loss or gain of a fifth."
    )


def _epsilon(result: MetricResult, _: Mapping[str, Any]) -> str:
    return f"The generator accounts for a privacy loss of ε = {result.value:g}; the numbers on this page are outside of it."


QUESTIONS: Final[tuple[tuple[str, Callable[[MetricResult, Mapping[str, Any]], str]], ...]] = (
    ("privacy.copies.excess_share", _copies),
    ("privacy.rare_values.excess_share", _rare),
    (f"{MIA}.auc", _area),
    (f"{MIA}.tpr_at_fpr_1pct", _membership),
    (f"{MIA}.exposed.tpr_at_fpr_10pct", _exposed),
    ("privacy.singling_out.multivariate", _singling),
    ("privacy.linkability", _linking),
    ("privacy.attribute_inference.*", _inferring),
    ("privacy.outlier_exposure", _outliers),
    ("privacy.dp.epsilon", _epsilon),
    ("utility.marginals.ks.worst", _marginals),
    ("utility.marginals.magnitude.worst", _magnitude),
    ("utility.coverage.least_kept", _least_kept),
    ("utility.pairs.contingency.worst", _pairs),
    ("utility.pairs.dependence.worst", _dependence),
    ("utility.seasonality.daily", _rhythm),
    ("utility.seasonality.weekly", _rhythm),
    ("utility.seasonality.yearly", _rhythm),
    ("utility.trend", _rhythm),
    ("utility.tstr.worst.gap", _learning),
    ("fairness.demographic_parity.worst.shift", _parity),
    ("fairness.representation.worst.ratio", _representation),
)
