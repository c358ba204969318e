"""One page of plain words about a report card.

Responsible for `render_text`. Invariants: at most a page; refusals come first; nothing is claimed that no metric says.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any, Final

from evaluator.render.words import sentences
from evaluator.report_card import ReportCard

__all__ = ["render_text"]

WIDTH: Final = 100
MAX_RULES: Final = 12


def render_text(card: ReportCard, *, verdict: Mapping[str, Any] | None = None) -> str:
    """What a report card says, in sentences.

    Args:
        card: What was measured.
        verdict: The gate's verdict as JSON, when one was given.
    """
    rows = card.rows
    head = f"{card.dataset}: {rows['synthetic']:,} synthetic rows of {rows['train']:,}, against {rows['holdout']:,} never seen"
    lines = [head, "", *_gate(verdict)]
    lines += [line for sentence in sentences(card) for line in _item(sentence)]
    undecided = sum(result.status == "inconclusive" for result in card.metrics.values())
    if undecided:
        lines += ["", *_item(f"{undecided} of {len(card.metrics)} metrics are undecided; a gate refuses on any of them.")]
    return "\n".join(lines)


def _gate(verdict: Mapping[str, Any] | None) -> list[str]:
    if verdict is None:
        return ["No gate was applied: these are measurements, not a permission.", ""]
    if verdict["passed"]:
        warnings = [rule for rule in verdict["rules"] if rule["status"] == "warn"]
        return ["PASSED by the gate.", *(line for rule in warnings for line in _item(f"warning: {rule['message']}")), ""]
    blocking = [rule for rule in verdict["rules"] if rule.get("blocks", rule["status"] not in {"pass", "warn"})]
    lines = ["REFUSED by the gate:", *(line for rule in blocking[:MAX_RULES] for line in _item(rule["message"]))]
    return [*lines, *([f"- and {len(blocking) - MAX_RULES} further rules"] if len(blocking) > MAX_RULES else []), ""]


def _item(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, WIDTH, initial_indent="- ", subsequent_indent="  ")
