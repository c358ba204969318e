"""The report card as one page.

Responsible for `render_html`: verdict, plain words, lights with marks, plots, and every number. The page is drawn from the
card alone, needs no script and no network, and follows light and dark.

Invariants:
    - Every text that comes from a table or a card is escaped; the page forbids scripts and foreign content.
    - A recipient's page is drawn from bands: no exact value, interval, p-value, plot or extreme of the card reaches it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from evaluator.render import plots_privacy, plots_utility
from evaluator.render.frameworks import frameworks
from evaluator.render.lights import Light, lights, title
from evaluator.render.marks import mark, pill
from evaluator.render.recipient import recipient_body
from evaluator.render.style import SHEET
from evaluator.render.svg import clean, number
from evaluator.render.words import sentences
from evaluator.report_card import ReportCard
from policies.metrics import MetricResult

__all__ = ["render_html"]

Audience = Literal["auditor", "recipient"]
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
PII: Final = "privacy.pii."
FAMILY_WORDS: Final = {
    "privacy": ("Privacy", "What the table gives away about the people in train, held against people it never saw."),
    "utility": ("Utility", "What is kept of train; the grey tick is what fresh real rows would show."),
    "fairness": ("Fairness", "Whether groups are as present, and treated as alike, as in train."),
}


def render_html(
    card: ReportCard, *, audience: Audience, verdict: Mapping[str, Any] | None = None, noisy: Mapping[str, Any] | None = None
) -> str:
    """Draw a report card.

    Args:
        card: What was measured.
        audience: `auditor` sees exact numbers and plots, `recipient` bands only.
        verdict: The gate's verdict as JSON, when one was given.
        noisy: Metrics with noise as JSON, for the recipient, when some were paid for.
    """
    body = _auditor_body(card, verdict) if audience == "auditor" else recipient_body(card, verdict, noisy)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>Report card: {clean(card.dataset)}</title><style>{SHEET}</style></head><body><main>{body}</main></body></html>\n"
    )


def _auditor_body(card: ReportCard, verdict: Mapping[str, Any] | None) -> str:
    shown = lights(card, verdict)
    parts = [_head(card), _banner(verdict), "<h2>In plain words</h2><ul class=words>"]
    parts += [f"<li>{clean(sentence, 400)}</li>" for sentence in sentences(card)]
    parts.append("</ul>")
    if verdict is None:
        parts.append(
            "<p class=soft>No policy was applied. The lines below are shipped defaults; nothing was decided by them.</p>"
        )
    for family, (heading, words) in FAMILY_WORDS.items():
        parts.append(
            f"<h2>{heading}</h2><p class=lead>{words}</p>{_lights([light for light in shown if light.family == family])}"
        )
        parts.append(_plots(card, family))
    parts += [_all_metrics(card), frameworks(card), _provenance(card)]
    return "".join(parts)


def _head(card: ReportCard) -> str:
    facts = [(f"{card.rows[side]:,}", f"{side} rows") for side in ("synthetic", "train", "holdout")]
    undecided = sum(result.status == "inconclusive" for result in card.metrics.values())
    facts += [(f"{len(card.metrics):,}", "metrics"), (f"{undecided:,}", "undecided")]
    boxes = "".join(f"<div><b>{value}</b><small>{words}</small></div>" for value, words in facts)
    return (
        f"<div class=head><div><h1>{clean(card.dataset)}</h1><div class=lead>Report card of a synthetic table, for auditors. "
        f"It is computed on confidential data and is itself confidential.</div></div></div><div class=facts>{boxes}</div>"
    )


def _banner(verdict: Mapping[str, Any] | None) -> str:
    if verdict is None:
        return "<div class=banner><b>No gate was applied</b><br>These are measurements, not a permission.</div>"
    if verdict["passed"]:
        warned = [f"<li>{clean(rule['message'], 300)}</li>" for rule in verdict["rules"] if rule["status"] == "warn"]
        words = f"All {len(verdict['rules'])} rules keep their lines."
        if warned:
            words = f"It warns of {len(warned)}:<ul class=words>{''.join(warned[:8])}</ul>"
        return f'<div class="banner pass"><b>Passed by the gate</b><br>{words}</div>'
    blocking = [rule for rule in verdict["rules"] if rule.get("blocks", True) and rule["status"] not in {"pass", "warn"}]
    items = "".join(f"<li>{clean(rule['message'], 300)}</li>" for rule in blocking[:8])
    more = f"<li>and {len(blocking) - 8} further rules</li>" if len(blocking) > 8 else ""  # noqa: PLR2004 - a banner holds eight
    return f'<div class="banner fail"><b>Refused by the gate</b><ul class=words>{items}{more}</ul></div>'


def _lights(shown: list[Light]) -> str:
    if not shown:
        return "<p class=soft>No line is drawn for this family.</p>"
    quiet = [light for light in shown if light.metric.startswith(PII) and light.status == "pass"]
    loud = [light for light in shown if light not in quiet]
    rows = "".join(_light_row(light) for light in loud) + _quiet_row(quiet)
    limit = "<th class=r title='the size of leak that is found nine times in ten'>finds from"
    head = f"<tr><th>light<th>metric<th class=r>value<th>value, interval and line{limit}</tr>"
    return f"<div class=panel><table>{head}{rows}</table></div>"


def _quiet_row(quiet: list[Light]) -> str:
    """One row for all kinds of personal data that were looked for and not found."""
    if not quiet:
        return ""
    kinds = ", ".join(light.metric.removeprefix(PII) for light in quiet)
    words = f"Personal data looked for and not found: {clean(kinds, 200)}"
    return f"<tr><td>{pill('pass')}<td colspan=4>{words}<small><code>{PII}*</code></small></tr>"


def _light_row(light: Light) -> str:
    result = light.result
    below = _why(light)
    limit = None if result is None else result.detail.get("detection_limit")
    p_value = (
        "" if result is None or result.p_value is None else f"<small style=white-space:nowrap>{_p_value(result.p_value)}</small>"
    )
    return (
        f"<tr><td>{pill(light.status)}<td>{clean(title(light.metric), 110)}"
        f"<small><code>{clean(light.metric, 90)}</code>{below}</small>"
        f"<td class=r>{number(None if result is None else result.value)}{p_value}<td>{mark(light)}"
        f"<td class=r>{number(limit) if isinstance(limit, int | float) else ''}</tr>"
    )


def _p_value(value: float) -> str:
    return f"p = {value:.2g}" if value > 0 else "p &lt; 1e-300"


def _why(light: Light) -> str:
    if light.result is None:
        return " · not on this card"
    if light.result.value is None:
        return f" · {clean(light.result.detail.get('why', ''), 200)}"
    named = light.result.detail
    if "category" in named:
        return f" · {clean(named['category'])} ({clean(named.get('column', ''))})"
    for key in ("column", "columns", "group", "target", "attack", "series", "worst"):
        if isinstance(named.get(key), str):
            return f" · {clean(named[key])}"
        if key == "columns" and isinstance(named.get(key), list) and all(isinstance(item, str) for item in named[key]):
            return f" · {clean(' × '.join(named[key]), 80)}"
    return ""


def _plots(card: ReportCard, family: str) -> str:
    if family == "privacy":
        found = [plots_privacy.roc(card), plots_privacy.distances(card), plots_privacy.attacks(card)]
        return _grid(found)
    if family == "fairness":
        return "".join(plots_utility.subgroups(card))
    marginals = plots_utility.marginals(card)
    parts = [f"<h3>Columns, the most changed first</h3>{plots_utility.KEY}{_grid(marginals, small=True)}" if marginals else ""]
    heat = [
        plots_utility.heat_map(card, "utility.pairs.contingency.worst", "Change of pairs of columns"),
        plots_utility.heat_map(card, "utility.pairs.correlation.worst", "Change of rank correlation"),
    ]
    parts.append(f"<h3>Relations</h3>{_grid(heat)}" if any(heat) else "")
    time = [*plots_utility.profiles(card), plots_utility.autocorrelation(card)]
    parts.append(f"<h3>Time</h3>{plots_utility.KEY}{_grid(time)}" if any(time) else "")
    learning = plots_utility.dumbbells(card)
    parts.append(f"<h3>Learning</h3>{plots_utility.KEY}{_grid(learning)}" if learning else "")
    return "".join(parts)


def _grid(figures: list[str], *, small: bool = False) -> str:
    shown = "".join(f"<div class=panel>{drawing}</div>" for drawing in figures if drawing)
    return f'<div class="grid{" small" if small else ""}">{shown}</div>' if shown else ""


def _all_metrics(card: ReportCard) -> str:
    head = "<tr><th>metric<th>status<th class=r>value<th class=r>interval<th class=r>p<th class=r>n<th>method</tr>"
    rows = "".join(_metric_row(name, result) for name, result in card.metrics.items())
    table = f"<div class=panel><table>{head}{rows}</table></div>"
    return f"<h2>Every number</h2><details><summary>{len(card.metrics)} metrics</summary>{table}</details>"


def _metric_row(name: str, result: MetricResult) -> str:
    interval = "" if result.interval is None else f"{number(result.interval[0])} to {number(result.interval[1])}"
    why = f"<small>{clean(result.detail['why'], 200)}</small>" if "why" in result.detail else ""
    return (
        f"<tr><td><code>{clean(name, 120)}</code>{why}<td>{clean(result.status)}<td class=r>{number(result.value)}"
        f"<td class=r>{interval}<td class=r>{'' if result.p_value is None else f'{result.p_value:.2g}'}<td class=r>{result.n:,}"
        f"<td><small>{clean(result.method, 160)}</small></tr>"
    )


def _provenance(card: ReportCard) -> str:
    versions = ", ".join(f"{clean(name)} {clean(value)}" for name, value in card.versions.items())
    plan = "".join(f"<li>{clean(line, 200)}</li>" for line in card.plan)
    notes = "".join(f"<li>{clean(note, 300)}</li>" for note in card.notes)
    return (
        "<h2>Where this comes from</h2>"
        + (f"<h3>Notes</h3><ul class=words>{notes}</ul>" if notes else "")
        + f"<p class=soft>Seed {card.seed} · {versions}<br>SHA-256 of the canonical JSON <code>{card.digest}</code></p>"
        + f"<details><summary>Plan</summary><ul class=words>{plan}</ul></details>"
    )
