"""What got stricter or looser between two policies, in words.

Responsible for comparing policies by what they permit, not by their text: presets are written out, units do not matter, the
order of lists does not matter.

Invariants:
    - Two policies with the same digest have no changes; policies that differ in any rule have at least one.
    - A change is `stricter` only when everything that the new rule permits the old one permitted; `changed` when neither
      contains the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Literal

from policies.card import BudgetWindow
from policies.gate_rule import GateRule
from policies.presets import expand
from policies.quantities import duration_text
from policies.schema import ReleasePolicy

__all__ = ["Change", "diff"]

Direction = Literal["stricter", "looser", "changed"]
MORE_PERMITS = "more permits"
LESS_PERMITS = "less permits"

NUMBERS: Mapping[str, str] = {
    "request.max_rows": MORE_PERMITS,
    "request.max_size": MORE_PERMITS,
    "request.attempts_per_ticket": MORE_PERMITS,
    "ticket.approval_max_age": MORE_PERMITS,
    "ticket.max_uses": MORE_PERMITS,
    "generation.epsilon.max": MORE_PERMITS,
    "generation.delta.max": MORE_PERMITS,
    "budget.epsilon": MORE_PERMITS,
    "budget.delta": MORE_PERMITS,
    "differencing.max_releases": MORE_PERMITS,
    "differencing.max_recipients": MORE_PERMITS,
    "differencing.max_releases_per_recipient": MORE_PERMITS,
    "differencing.max_epsilon_per_recipient": MORE_PERMITS,
    "differencing.max_columns_per_recipient": MORE_PERMITS,
    "review.approvers": LESS_PERMITS,
    "disclosure.noisy_epsilon": MORE_PERMITS,
    "access.token_ttl": MORE_PERMITS,
    "access.max_downloads": MORE_PERMITS,
    "access.release_expires": MORE_PERMITS,
}
"""Limits; where one is absent there is none, except for budget, where the card's counts."""

SWITCHES: Mapping[str, str] = {
    "ticket.assignee_is_requester": LESS_PERMITS,
    "ticket.approver_is_not_requester": LESS_PERMITS,
    "ticket.names_dataset": LESS_PERMITS,
    "ticket.unchanged_since_approval": LESS_PERMITS,
    "generation.allow_non_dp": MORE_PERMITS,
    "generation.watermark": LESS_PERMITS,
}
LISTS = (
    "datasets", "request.roles", "request.purposes", "request.formats", "ticket.projects", "ticket.types", "ticket.statuses",
    "generation.generators",
)  # fmt: skip
SCALES: Mapping[str, tuple[str, ...]] = {
    "disclosure.metrics": ("exact", "banded", "verdict"),
    "access.proof_of_possession": ("never", "optional", "required"),
}
"""Words from what permits most to what permits least."""

NONE_IS_ZERO = ("generation.epsilon.max", "disclosure.noisy_epsilon")
"""Without the first no differentially private generator is let through, without the second no noisy metric is published."""

PLAIN = ("mode", "generation.epsilon.advised_min", "review.roles")
READS_MAX = {"lower": 0, "value": 1, "interval": 2, "upper": 2}
READS_MIN = {"upper": 0, "value": 1, "interval": 2, "lower": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One rule that differs."""

    path: str
    direction: Direction
    text: str

    def to_json(self) -> dict[str, str]:
        """JSON form."""
        return {"path": self.path, "direction": self.direction, "text": self.text}


def diff(old: ReleasePolicy, new: ReleasePolicy) -> tuple[Change, ...]:
    """Every rule that differs, in the order of the document."""
    before, after = expand(old).spec, expand(new).spec
    changes = [
        *(change for path in LISTS for change in _list(path, _at(before, path), _at(after, path))),
        *(change for path, scale in SCALES.items() for change in _scale(path, scale, _at(before, path), _at(after, path))),
        *(change for path, sense in NUMBERS.items() for change in _number(path, sense, _at(before, path), _at(after, path))),
        *(change for path, sense in SWITCHES.items() for change in _switch(path, sense, _at(before, path), _at(after, path))),
        *(change for path in PLAIN for change in _plain(path, _at(before, path), _at(after, path))),
        *_when(set(before.review.when), set(after.review.when)),
        *_sets(before.differencing.never_together, after.differencing.never_together),
        *_windows(_at(before, "budget.windows"), _at(after, "budget.windows")),
        *_gate(before.gate, after.gate),
    ]
    return tuple(changes)


def _at(spec: Any, path: str) -> Any:
    for step in path.split("."):
        spec = None if spec is None else getattr(spec, step)
    return spec


def _shown(value: Any) -> str:
    return duration_text(value) if isinstance(value, timedelta) else str(value)


def _number(path: str, sense: str, old: Any, new: Any) -> Iterator[Change]:
    if path in NONE_IS_ZERO:
        old, new = old or Decimal(0), new or Decimal(0)
    if old == new:
        return
    if old is None or new is None:
        word: Direction = "stricter" if (old is None) == (sense == MORE_PERMITS) else "looser"
        text = f"a limit of {_shown(new)} was added" if old is None else f"the limit of {_shown(old)} was removed"
    else:
        word = "looser" if (new > old) == (sense == MORE_PERMITS) else "stricter"
        text = f"{_shown(old)} → {_shown(new)}"
    yield Change(path=path, direction=word, text=text)


def _switch(path: str, sense: str, old: bool, new: bool) -> Iterator[Change]:  # noqa: FBT001 - both are values of the document
    if old != new:
        word: Direction = "looser" if new == (sense == MORE_PERMITS) else "stricter"
        yield Change(path=path, direction=word, text=f"switched {'on' if new else 'off'}")


def _scale(path: str, scale: tuple[str, ...], old: str, new: str) -> Iterator[Change]:
    if old != new:
        word: Direction = "stricter" if scale.index(new) > scale.index(old) else "looser"
        yield Change(path=path, direction=word, text=f"{old} → {new}")


def _list(path: str, old: tuple[str, ...] | None, new: tuple[str, ...] | None) -> Iterator[Change]:
    if old is None or new is None:
        if old is not new:
            listed = ", ".join(sorted(new or old or ()))
            text = f"only {listed} from now on, any before" if old is None else f"any from now on, only {listed} before"
            yield Change(path=path, direction="stricter" if old is None else "looser", text=text)
        return
    gone, come = sorted(set(old) - set(new)), sorted(set(new) - set(old))
    if gone:
        yield Change(path=path, direction="stricter", text=f"no longer: {', '.join(gone)}")
    if come:
        yield Change(path=path, direction="looser", text=f"now also: {', '.join(come)}")


def _plain(path: str, old: Any, new: Any) -> Iterator[Change]:
    if (set(old) if isinstance(old, tuple) else old) != (set(new) if isinstance(new, tuple) else new):
        shown = [", ".join(v) if isinstance(v, tuple) else _shown(v) for v in (old, new)]
        yield Change(path=path, direction="changed", text=f"{shown[0]} → {shown[1]}")


def _when(old: set[str], new: set[str]) -> Iterator[Change]:
    if old == new:
        return
    occasions = {"always", "warn", "first-release", "non-dp"}
    before, after = (occasions if "always" in found else found for found in (old, new))
    word: Direction = "changed" if not (before < after or before > after) else "stricter" if after > before else "looser"
    yield Change(path="review.when", direction=word, text=f"{', '.join(sorted(old))} → {', '.join(sorted(new))}")


def _sets(old: tuple[tuple[str, ...], ...], new: tuple[tuple[str, ...], ...]) -> Iterator[Change]:
    before, after = {frozenset(s) for s in old}, {frozenset(s) for s in new}
    for found, word, text in (
        (after - before, "stricter", "may no longer be together"),
        (before - after, "looser", "may now be together"),
    ):
        for columns in sorted(found, key=sorted):
            direction: Direction = "stricter" if word == "stricter" else "looser"
            yield Change(path="differencing.never_together", direction=direction, text=f"{', '.join(sorted(columns))} {text}")


def _windows(old: tuple[BudgetWindow, ...] | None, new: tuple[BudgetWindow, ...] | None) -> Iterator[Change]:
    """Windows of a budget, by their length; of several with the same length the narrowest counts."""
    before, after = ({w.length: w.epsilon for w in sorted(found or (), key=lambda w: -w.epsilon)} for found in (old, new))
    for length in sorted({*before, *after}):
        yield from _number(f"budget.windows {duration_text(length)}", MORE_PERMITS, before.get(length), after.get(length))


def _gate(old: tuple[GateRule, ...], new: tuple[GateRule, ...]) -> Iterator[Change]:
    """Rules are compared by metric; where a metric has several, they are compared one by one and the rest come or go."""
    before, after = _by_metric(old), _by_metric(new)
    for metric in dict.fromkeys([*before, *after]):
        path, gone, come = f"gate {metric}", before.get(metric, []), after.get(metric, [])
        kept = [rule for rule in gone if rule in come]
        gone, come = [r for r in gone if r not in kept], [r for r in come if r not in kept]
        for one, two in zip(gone, come, strict=False):
            yield _rule(path, one, two)
        for rule in gone[len(come) :]:
            yield Change(path=path, direction="looser", text=f"the rule {_line(rule)} was removed")
        for rule in come[len(gone) :]:
            yield Change(path=path, direction="stricter", text=f"the rule {_line(rule)} was added")


def _by_metric(rules: tuple[GateRule, ...]) -> dict[str, list[GateRule]]:
    found: dict[str, list[GateRule]] = {}
    for rule in rules:
        found.setdefault(rule.metric, []).append(rule)
    return found


def _line(rule: GateRule) -> str:
    line = ", ".join(f"{name} {value:g}" for name, value in rule.bound().items())
    return line + (f" (use {rule.use})" if rule.max is not None or rule.min is not None else "") + f" [{rule.severity}]"


def _rule(path: str, old: GateRule, new: GateRule) -> Change:
    parts = [
        _sense(old.max, new.max, up=MORE_PERMITS),
        _sense(old.min, new.min, up=LESS_PERMITS),
        _sense(old.p_min, new.p_min, up=LESS_PERMITS),
        0 if new.max is None else READS_MAX[new.use] - READS_MAX[old.use],
        0 if new.min is None else READS_MIN[new.use] - READS_MIN[old.use],
        (new.severity == "block") - (old.severity == "block"),
        (new.if_not_applicable == "refuse") - (old.if_not_applicable == "refuse"),
    ]
    tighter, wider = any(part > 0 for part in parts), any(part < 0 for part in parts)
    word: Direction = "changed" if tighter == wider else "stricter" if tighter else "looser"
    silent = " (not applicable: " + f"{old.if_not_applicable} → {new.if_not_applicable})"
    text = f"{_line(old)} → {_line(new)}" + (silent if old.if_not_applicable != new.if_not_applicable else "")
    return Change(path=path, direction=word, text=text)


def _sense(old: Decimal | None, new: Decimal | None, *, up: str) -> int:
    """Positive when the new line is stricter, negative when it is looser; no line is the loosest."""
    if old == new:
        return 0
    if old is None or new is None:
        return 1 if old is None else -1
    return 1 if (new > old) == (up == LESS_PERMITS) else -1
