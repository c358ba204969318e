"""A number drawn with its uncertainty and its line: the mark beside every traffic light.

Responsible for `mark` and `pill`. A grey tick is the floor: what fresh real rows would show.

Invariants: the status is told by shape and word, not by colour alone.
"""

from __future__ import annotations

from typing import Final

from evaluator.render.lights import STATUS_WORDS, Light
from evaluator.render.svg import Scale, clean, element, number, text

__all__ = ["mark", "pill"]

WIDTH: Final = 230.0
HEIGHT: Final = 34.0
MIDDLE: Final = 13.0


def pill(status: str) -> str:
    """The light itself."""
    sign, word = STATUS_WORDS[status]
    return f'<span class="light {clean(status)}"><i>{sign}</i>{word}</span>'


def mark(light: Light) -> str:
    """Value, interval and line on one axis; the side beyond the line is shaded."""
    result = light.result
    if result is None or result.value is None:
        return ""
    low, high = result.interval or (result.value, result.value)
    known = [result.value, low, high, *(line for line in (light.low, light.high) if line is not None)]
    scale = _scale(known, light)
    parts = []
    if light.high is not None:
        parts.append(_shade(scale(light.high), scale.end))
    if light.low is not None:
        parts.append(_shade(scale.start, scale(light.low)))
    parts.append(element("line", x1=scale.start, x2=scale.end, y1=MIDDLE, y2=MIDDLE, class_="axis"))
    parts.append(element("line", x1=scale(low), x2=scale(high), y1=MIDDLE, y2=MIDDLE, class_="whisker"))
    for line in (light.low, light.high):
        if line is not None:
            at = scale(line)
            parts.append(element("line", x1=at, x2=at, y1=2, y2=HEIGHT - 12, class_="line"))
            parts.append(text(min(max(at, 14), WIDTH - 14), HEIGHT - 2, number(line), class_="t", anchor="middle"))
    floor = result.detail.get("floor")
    if isinstance(floor, int | float):
        at = scale(float(floor))
        parts.append(
            element("line", element("title", "fresh real rows"), x1=at, x2=at, y1=MIDDLE - 6, y2=MIDDLE + 6, class_="floor")
        )
    parts.append(element("circle", cx=scale(result.value), cy=MIDDLE, r=4.5, class_="dot"))
    words = f"{number(result.value)}, interval {number(low)} to {number(high)}"
    return element(
        "svg",
        element("title", words) + "".join(parts),
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        role="img",
        class_=f"mark {light.status}",
    )


def _shade(start: float, end: float) -> str:
    return element("rect", x=start, y=3, width=max(end - start, 0.0), height=HEIGHT - 15, class_="bad")


def _scale(known: list[float], light: Light) -> Scale:
    low, high = min(*known, 0.0), max(known)
    if light.low is not None and light.high is None:
        low, high = min(known), max(*known, 1.0)
        low -= 0.15 * (high - low)
    elif "auc" in light.metric.rsplit(".", 1)[-1]:
        low = min(*known, 0.45)
    if light.low is None and light.high is None and light.result is not None and light.result.direction == "higher":
        high = max(high, 1.0)  # where 1 is all there is to keep, the axis shows all of it
    room = (high - low) * 0.12 or 1.0
    return Scale(low, high + room, 6, WIDTH - 6)
