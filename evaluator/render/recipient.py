"""The recipient's page: bands and the verdict, nothing exact.

Responsible for `recipient_body`.

Invariants: it is drawn from `disclosure.apply(card, "banded")` and from the status of each rule;
a rule's message, observed value and interval are never shown. Numbers with noise are shown as they were published.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from evaluator.disclosure import apply
from evaluator.render.lights import ORDER, title
from evaluator.render.marks import pill
from evaluator.render.svg import clean, number
from evaluator.report_card import ReportCard

__all__ = ["recipient_body"]

FAMILIES: Final = (("privacy", "Privacy"), ("utility", "Utility"), ("fairness", "Fairness"))


def recipient_body(card: ReportCard, verdict: Mapping[str, Any] | None, noisy: Mapping[str, Any] | None = None) -> str:
    """The body of the page."""
    banded = apply(card, "banded")
    rules: dict[str, str] = {}
    for rule in [] if verdict is None else verdict["rules"]:  # a metric may have a rule that blocks and one that warns
        rules[rule["metric"]] = min(rule["status"], rules.get(rule["metric"], rule["status"]), key=ORDER.__getitem__)
    rows = banded["rows"]
    facts = "".join(
        f"<div><b>{clean(rows[side])}</b><small>{side} rows</small></div>" for side in ("synthetic", "train", "holdout")
    )
    lead = "Report card of a synthetic table, for its recipient. Values are bands: exact ones would themselves tell about people."
    head = f"<h1>{clean(card.dataset)}</h1><div class=lead>{lead}</div><div class=facts>{facts}</div>"
    parts = [head, _banner(verdict)]
    for family, heading in FAMILIES:
        named = {name: entry for name, entry in banded["metrics"].items() if name.startswith(f"{family}.")}
        if named:
            order = sorted(named, key=lambda name: (name not in rules, named[name]["band"] is None, name))
            lines = "".join(_row(name, named[name], rules.get(name)) for name in order)
            head = "<tr><th>metric<th>band<th>better<th>gate</tr>"
            parts.append(f"<h2>{heading}</h2><div class=panel><table>{head}{lines}</table></div>")
    return "".join([*parts, "" if noisy is None else _noisy(noisy)])


def _noisy(noisy: Mapping[str, Any]) -> str:
    """Numbers that were published with noise, and what they cost."""
    lead = f"Differentially private at epsilon {clean(noisy['epsilon'], 20)}, charged beside the table's own."
    if "refused" in noisy:
        return f"<h2>Numbers with noise</h2><p class=lead>{lead} None is shown: {clean(noisy['refused'], 200)}.</p>"
    lines = "".join(
        f"<tr><td><code>{clean(name, 120)}</code><td class=r>{number(entry['value'])}"
        f"<td class=r>{number(3 * entry['scale'])}</tr>"
        for name, entry in noisy["metrics"].items()
    )
    head = "<tr><th>number<th class=r>value<th class=r>95 % of the noise lies within</tr>"
    return f"<h2>Numbers with noise</h2><p class=lead>{lead}</p><div class=panel><table>{head}{lines}</table></div>"


def _banner(verdict: Mapping[str, Any] | None) -> str:
    if verdict is None:
        return ""
    passed = bool(verdict["passed"])
    words = "Passed by the gate" if passed else "Refused by the gate"
    warned = sorted({rule["metric"] for rule in verdict["rules"] if rule["status"] == "warn"})
    more = f"<br>It warns of {clean(', '.join(warned), 600)}." if passed and warned else ""
    return f'<div class="banner {"pass" if passed else "fail"}"><b>{words}</b>{more}</div>'


def _row(name: str, entry: Mapping[str, Any], status: str | None) -> str:
    band = entry["band"] if entry["band"] is not None else entry["status"].replace("_", " ")
    return (
        f"<tr><td>{clean(title(name), 110)}<small><code>{clean(name, 120)}</code></small>"
        f"<td>{clean(band)}<td>{clean(entry['direction'])}<td>{pill(status) if status is not None else ''}</tr>"
    )
