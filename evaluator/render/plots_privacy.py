"""Plots of the privacy half: ROC, distances, attacks against their controls."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from evaluator.render.svg import Frame, Scale, clean, element, figure, number, text
from evaluator.report_card import ReportCard

__all__ = ["attacks", "distances", "roc"]

WIDTH, HEIGHT = 500.0, 320.0
LOWEST: Final = 1e-4
MARKS: Final = (0.001, 0.01, 0.1)
MIA: Final = "privacy.membership_inference"


def roc(card: ReportCard) -> str:
    """ROC on logarithmic axes: what matters is how many are recognised while few are wrongly accused."""
    plot = card.plots.get(f"{MIA}.auc")
    if not plot:
        return ""
    xs = [max(float(x), LOWEST) for x in plot["false_positive_rate"]]
    frame = Frame(
        x=Scale(LOWEST, 1.0, 48, WIDTH - 18, is_log=True),
        y=Scale(LOWEST, 1.0, HEIGHT - 34, 18, is_log=True),
    )
    parts = [_log_axes(frame), _bound(card, frame)]
    parts.append(frame.line([LOWEST, 1.0], [LOWEST, 1.0], class_="chance"))
    parts.append(text(frame.x(2e-4), frame.y(2e-4) + 14, "chance", class_="t"))
    for mark in MARKS[:2]:
        at = frame.x(mark)
        parts.append(element("line", x1=at, x2=at, y1=frame.y.start, y2=frame.y.end, class_="chance"))
        parts.append(text(at + 3, frame.y.end + 8, f"{mark:.1%} accused".replace(".0%", "%"), class_="t"))
    keys = []
    for index, (name, ys) in enumerate(sorted(plot["true_positive_rate"].items())):
        parts.append(frame.line(xs, [max(float(y), LOWEST) for y in ys], class_=f"a{index % 3}"))
        colour = ("fail", "train", "synthetic")[index % 3]
        keys.append(f'<span style="--c:var(--{colour})">{clean(str(name).replace("_", " "))}</span>')
    caption = (
        "Share of members recognised against share of strangers wrongly accused, one curve per attack; both axes logarithmic."
    )
    return figure("".join(parts), width=WIDTH, height=HEIGHT, title="Membership inference", caption=caption) + _key(keys)


def _bound(card: ReportCard, frame: Frame) -> str:
    """The curve no attack can pass when the accounted ε holds: TPR is at most e^ε FPR + δ."""
    epsilon, delta = card.metrics.get("privacy.dp.epsilon"), card.metrics.get("privacy.dp.delta")
    if epsilon is None or epsilon.value is None:
        return ""
    most = math.exp(min(epsilon.value, 20.0))
    loss = delta.value if delta is not None and delta.value is not None else 0.0
    xs = [10 ** (-4 + 4 * step / 60) for step in range(61)]
    line = frame.line(xs, [min(1.0, most * x + loss) for x in xs], class_="band")
    return line + text(
        frame.x(1.5e-4), frame.y(min(1.0, most * 1.5e-4 + loss)) - 6, f"bound of ε = {number(epsilon.value)}", class_="t"
    )


def _log_axes(frame: Frame) -> str:
    parts = []
    for value in frame.x.ticks():
        words = f"{value:.0%}" if value >= 0.01 else f"{value:.1%}" if value >= 0.001 else f"{value:.2%}"  # noqa: PLR2004
        parts.append(element("line", x1=frame.x.start, x2=frame.x.end, y1=frame.y(value), y2=frame.y(value), class_="grid"))
        parts.append(text(frame.x(value), frame.y.start + 14, words, class_="t", anchor="middle"))
        parts.append(text(frame.x.start - 5, frame.y(value) + 3.5, words, class_="t", anchor="end"))
    parts.append(
        text((frame.x.start + frame.x.end) / 2, frame.y.start + 28, "strangers wrongly accused", class_="t n", anchor="middle")
    )
    parts.append(text(frame.x.start, 10, "members recognised", class_="t n"))
    return "".join(parts)


def distances(card: ReportCard) -> str:
    """Distribution of the distance to the closest record, to train and to holdout."""
    plot = card.plots.get("privacy.dcr.share")
    if not plot or not plot["x"]:
        return ""
    frame = Frame.of((0.0, max(plot["x"]) or 1.0), (0.0, 1.0), width=WIDTH, height=HEIGHT)
    drawing = frame.axes(across="distance to the closest record", up="share of synthetic rows")
    drawing += frame.line(plot["x"], plot["holdout"], class_="holdout") + frame.line(plot["x"], plot["train"], class_="train")
    caption = (
        "If the curve to train rises earlier than the curve to holdout, rows lie closer to the people that were learnt from."
    )
    keys = ['<span style="--c:var(--train)">to train</span>', '<span style="--c:var(--holdout)">to holdout</span>']
    return figure(drawing, width=WIDTH, height=HEIGHT, title="Distance to the closest record", caption=caption) + _key(keys)


def attacks(card: ReportCard) -> str:
    """One row per attack: success on train, on holdout (the control) and by guessing."""
    rows = [(name, _rates(dict(result.detail))) for name, result in card.metrics.items() if name.startswith("privacy.")]
    shown = [(name, rates) for name, rates in rows if rates is not None]
    if not shown:
        return ""
    shown.sort(key=lambda item: (-(item[1]["train"] - item[1]["holdout"]), item[0]))
    shown, left, step = shown[:14], 190.0, 34.0
    height = 30 + step * len(shown)
    top = max(max(rates.values()) for _, rates in shown) or 1.0
    scale = Scale(0.0, min(1.0, top * 1.05), left, WIDTH - 44)
    parts = []
    for tick in scale.ticks(4):
        parts.append(element("line", x1=scale(tick), x2=scale(tick), y1=4, y2=height - 22, class_="grid"))
        parts.append(text(scale(tick), height - 8, f"{tick:.3g}", class_="t", anchor="middle"))
    for index, (name, rates) in enumerate(shown):
        y = 8 + index * step
        parts.append(text(left - 8, y + 15, name.removeprefix("privacy."), class_="lab", anchor="end", limit=30))
        for offset, kind in ((0, "train"), (9, "holdout")):
            width = scale(rates[kind]) - left
            parts.append(element("rect", x=left, y=y + offset, width=max(width, 1.0), height=8, class_=f"d-{kind}"))
        parts.append(text(scale(max(rates["train"], rates["holdout"])) + 4, y + 12, number(rates["train"]), class_="t"))
        if "guess" in rates:
            at = scale(rates["guess"])
            parts.append(element("line", x1=at, x2=at, y1=y - 2, y2=y + 19, class_="line"))
    keys = [
        '<span style="--c:var(--train)">success on train</span>',
        '<span style="--c:var(--holdout)">on people never seen (control)</span>',
        '<span style="--c:var(--ink)">by guessing</span>',
    ]
    caption = "Only what exceeds the control is leakage; success on both alike is what the table teaches about everybody."
    return figure("".join(parts), width=WIDTH, height=height, title="Attacks and their controls", caption=caption) + _key(keys)


def _rates(detail: Mapping[str, Any]) -> dict[str, float] | None:
    """Success on train and control as the families name them."""
    for train, control in (("train_share", "control_share"), ("attack", "control")):
        if isinstance(detail.get(train), int | float) and isinstance(detail.get(control), int | float):
            guess = {"guess": float(detail["baseline"])} if isinstance(detail.get("baseline"), int | float) else {}
            return {"train": float(detail[train]), "holdout": float(detail[control]), **guess}
    return None


def _key(entries: list[str]) -> str:
    return f'<div class="key">{"".join(entries)}</div>'
