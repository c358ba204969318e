"""The evaluation section of a model card, in Markdown.

Responsible for `render_model_card_section`: what was measured on what, the headline results, and what they cannot say, to be put
into the model card that travels with a table.

Invariants:
    - It is drawn from `disclosure.apply` at the level asked for: a banded section holds no exact number, interval or name of an
      extreme, and a section at level `verdict` holds no metric at all.
    - Names from tables and cards cannot become Markdown or HTML.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from evaluator.disclosure import Level, apply
from evaluator.render.lights import title
from evaluator.render.svg import clean, number
from evaluator.report_card import ReportCard
from policies.metric_catalogue import DEFAULT_LINES
from policies.metric_catalogue_utility import UTILITY_LINES

__all__ = ["render_model_card_section"]

HEADLINES: Final = (*(line.metric for line in DEFAULT_LINES), *(line.metric for line in UTILITY_LINES))
FAMILIES: Final = (("privacy", "Privacy"), ("utility", "Utility"), ("fairness", "Fairness"))
MARKUP: Final = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_[]|~"})
LIMITS: Final = (
    "Metrics compare people of train with people of a holdout that the generator never saw; they are evidence, not a guarantee.",
    "A clean result excludes leaks down to the size that a metric can detect on tables of this size, and none smaller.",
    "Attackers with knowledge beyond these columns, and several releases of one table taken together, were not measured.",
    "No metric establishes compliance with a law; a person judges that.",
)


def render_model_card_section(card: ReportCard, *, level: Level) -> str:
    """The section, beginning with a second-level heading.

    Args:
        card: What was measured.
        level: How much its reader may see.

    Raises:
        ValueError: no such level.
    """
    seen = apply(card, level)
    parts = ["## Evaluation", "", _setting(seen), ""]
    for family, heading in FAMILIES:
        rows = list(_rows(seen["metrics"], family))
        if rows:
            last = "interval" if level == "exact" else "better"
            parts += [f"### {heading}", "", f"| measured | result | {last} |", "|---|---|---|", *rows, ""]
    if level == "verdict":
        parts += ["The numbers are withheld: they are computed on confidential data and would themselves be a release.", ""]
    return "\n".join([*parts, "### What these numbers cannot say", "", *(f"- {words}" for words in LIMITS), ""])


def _setting(seen: Mapping[str, Any]) -> str:
    rows = {side: f"{count:,}" if isinstance(count, int) else _plain(count) for side, count in seen["rows"].items()}
    return (
        f"The table was made from dataset {_plain(seen['dataset'])}: {rows['synthetic']} synthetic rows, learnt from "
        f"{rows['train']}, tested against {rows['holdout']} of people that the generator never saw."
    )


def _rows(metrics: Mapping[str, Any], family: str) -> Iterator[str]:
    for name in HEADLINES:
        for metric in [one for one in metrics if one == name or (name.endswith(".*") and one.startswith(name[:-1]))]:
            if metric.startswith(f"{family}.") and metrics[metric]["status"] != "not_applicable":
                yield _row(metric, metrics[metric])


def _row(name: str, entry: Mapping[str, Any]) -> str:
    words = f"{_plain(title(name))} (`{name.replace('`', '')}`)".replace("|", "\\|")
    if "band" in entry:
        shown = entry["band"] if entry["band"] is not None else entry["status"]
        return f"| {words} | {_plain(shown)} | {entry['direction']} |"
    interval = entry["interval"]
    ends = "" if interval is None else f"{number(interval[0])} to {number(interval[1])}"
    return f"| {words} | {number(entry['value']) if entry['value'] is not None else entry['status']} | {ends} |"


def _plain(value: object) -> str:
    return clean(value, 160).translate(MARKUP)
