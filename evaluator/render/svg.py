"""Small pieces of SVG: elements, scales, axes.

Responsible for drawing without a library. Invariants: every text and attribute is escaped and freed of control characters;
colours are the page's custom properties, so a plot follows light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

__all__ = ["Frame", "Scale", "clean", "element", "figure", "number", "path", "text"]

LARGE: Final = 10_000
SMALL: Final = 0.001
HIDDEN: Final = "\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"


def clean(value: object, limit: int = 60) -> str:
    """Any text for a page: escaped, without control or direction characters, cut to a length."""
    readable = "".join(" " if ord(c) < ord(" ") or c in HIDDEN or 0x7F <= ord(c) < 0xA0 else c for c in str(value))  # noqa: PLR2004
    return escape(readable if len(readable) <= limit else readable[: limit - 1] + "…")


def number(value: float | None) -> str:
    """A number for people: three significant digits, thousands separated."""
    if value is None:
        return "-"
    if abs(value) >= LARGE:
        return f"{value:,.0f}"
    if value != 0 and abs(value) < SMALL:
        return f"{value:.1e}"
    if value == int(value):
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.4g}"


def element(tag: str, content: str = "", **attributes: object) -> str:
    """One element; `class_` stands for class, underscores for hyphens. The content is markup already."""
    given = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    written = "".join(
        f' {name}="{f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else clean(value, 4000)}"'
        for name, value in given.items()
    )
    return f"<{tag}{written}>{content}</{tag}>"


def text(x: float, y: float, words: object, *, class_: str = "", anchor: str = "start", limit: int = 40) -> str:
    """A label."""
    return element("text", clean(words, limit), x=x, y=y, class_=class_, text_anchor=anchor)


def path(points: Iterable[tuple[float, float]], *, class_: str) -> str:
    """A line through points."""
    steps = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return element("path", d=f"M{steps}", class_=class_) if steps else ""


@dataclass(frozen=True, slots=True)
class Scale:
    """Values to pixels, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value; values outside are drawn at the edge."""
        low, high, at = (self._place(item) for item in (self.low, self.high, min(max(value, self.low), self.high)))
        share = (at - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def _place(self, value: float) -> float:
        return math.log10(max(value, 1e-12)) if self.is_log else value

    def ticks(self, many: int = 5) -> list[float]:
        """Round values within the scale."""
        if self.is_log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            return [10.0**power for power in range(first, last + 1)]
        width = self.high - self.low
        if width <= 0 or not math.isfinite(width):
            return [self.low]
        rough = width / many
        step = 10 ** math.floor(math.log10(rough))
        step *= next(factor for factor in (1, 2, 2.5, 5, 10) if factor * step >= rough)
        first = math.ceil(self.low / step - 1e-9)
        return [round(index * step, 12) for index in range(first, math.floor(self.high / step + 1e-9) + 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A plot's area with both scales."""

    x: Scale
    y: Scale

    @classmethod
    def of(
        cls, xs: Sequence[float], ys: Sequence[float], *, width: float, height: float, left: float = 44, log: bool = False
    ) -> Frame:
        """A frame that holds the given ranges (pairs of low and high)."""
        x = Scale(xs[0], xs[1], left, width - 10, is_log=log)
        return cls(x=x, y=Scale(ys[0], ys[1], height - 30, 18, is_log=log))

    def axes(self, *, across: str = "", up: str = "", x_ticks: Sequence[tuple[float, str]] | None = None) -> str:
        """Grid lines, tick labels and names of both axes."""
        parts = []
        for value, label in x_ticks if x_ticks is not None else [(tick, number(tick)) for tick in self.x.ticks(5)]:
            at = self.x(value)
            parts.append(element("line", x1=at, x2=at, y1=self.y.start, y2=self.y.start + 3, class_="tick"))
            parts.append(text(at, self.y.start + 14, label, class_="t", anchor="middle", limit=12))
        for value in self.y.ticks(4):
            at = self.y(value)
            parts.append(element("line", x1=self.x.start, x2=self.x.end, y1=at, y2=at, class_="grid"))
            parts.append(text(self.x.start - 5, at + 3.5, number(value), class_="t", anchor="end"))
        parts.append(element("line", x1=self.x.start, x2=self.x.end, y1=self.y.start, y2=self.y.start, class_="axis"))
        if across:
            parts.append(
                text((self.x.start + self.x.end) / 2, self.y.start + 27, across, class_="t n", anchor="middle", limit=70)
            )
        if up:
            parts.append(text(self.x.start, 10, up, class_="t n", limit=70))
        return "".join(parts)

    def line(self, xs: Sequence[float], ys: Sequence[float], *, class_: str) -> str:
        """A curve."""
        return path([(self.x(x), self.y(y)) for x, y in zip(xs, ys, strict=True)], class_=class_)


def figure(drawing: str, *, width: float, height: float, title: str, caption: str = "") -> str:
    """A drawing with a title for people who cannot see it, and a caption for all."""
    svg = element(
        "svg",
        element("title", clean(title, 200)) + drawing,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        style=f"max-width:{width:g}px",
    )
    words = element("figcaption", f"<b>{clean(title, 120)}</b>{' ' + caption if caption else ''}")
    return element("figure", words + svg)
