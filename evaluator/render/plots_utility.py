"""Plots of the utility half: marginals worst first, pairs, time, learning, groups."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from evaluator.render.svg import Frame, Scale, clean, element, figure, number, text
from evaluator.report_card import ReportCard

__all__ = ["KEY", "autocorrelation", "dumbbells", "heat_map", "marginals", "profiles", "subgroups"]

WIDTH, HEIGHT = 500.0, 280.0
SMALL: Final = (250.0, 170.0)
SHOWN: Final = 12
ROWS: Final = "(rows)"
KEPT: Final = 0.8
KEY: Final = (
    '<div class="key"><span style="--c:var(--train)">train</span><span style="--c:var(--synthetic)">synthetic</span>'
    '<span style="--c:var(--holdout)">holdout</span></div>'
)
MARGINALS: Final = ("utility.marginals.ks.", "utility.marginals.tv.")


def marginals(card: ReportCard) -> list[str]:
    """Small plots of the columns that changed most: distribution functions or bars."""
    ranked = []
    for name, plot in card.plots.items():
        if name.startswith(MARGINALS) and name in card.metrics:
            result = card.metrics[name]
            ranked.append((-(result.value or 0.0), name, plot, result.detail.get("floor")))
    ranked.sort(key=lambda item: item[:2])
    return [_marginal(name, plot, -value, floor) for value, name, plot, floor in ranked[:SHOWN]]


def _marginal(name: str, plot: Mapping[str, Any], value: float, floor: float | None) -> str:
    column = name.split(".", 3)[-1].replace("%2E", ".").replace("%25", "%")
    caption = f"distance {number(value)}" + (f", fresh real rows {number(floor)}" if floor is not None else "")
    width, height = SMALL
    drawing = _bars(plot) if "labels" in plot else _curves(plot)
    return figure(drawing, width=width, height=height, title=column, caption=caption)


def _curves(plot: Mapping[str, Any]) -> str:
    width, height = SMALL
    xs = plot["x"]
    if not xs:
        return ""
    frame = Frame.of((xs[0], xs[-1] if xs[-1] > xs[0] else xs[0] + 1), (0.0, 1.0), width=width, height=height, left=32)
    ticks = [(float(x), str(label)) for x, label in plot["ticks"]] if "ticks" in plot else _few(frame.x)
    return (
        frame.axes(x_ticks=ticks)
        + frame.line(xs, plot["train"], class_="train")
        + frame.line(xs, plot["synthetic"], class_="synthetic")
    )


def _few(scale: Scale) -> list[tuple[float, str]]:
    return [(tick, _compact(tick)) for tick in scale.ticks(3)]


def _compact(value: float) -> str:
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * size or (size > 1e3 and abs(value) >= size):  # noqa: PLR2004 - 10,000 is 10k, 2,000 stays
            return f"{value / size:.3g}{sign}"
    return number(value)


def _bars(plot: Mapping[str, Any]) -> str:
    width, _ = SMALL
    rows = list(zip(plot["labels"], plot["train"], plot["synthetic"], strict=True))
    rows = [row for row in rows if row[1] > 0 or row[2] > 0][:7]
    top = max((max(train, synthetic) for _, train, synthetic in rows), default=1.0) or 1.0
    left, step = 92.0, 22.0
    parts = []
    for index, (label, train, synthetic) in enumerate(rows):
        y = 10 + index * step
        parts.append(text(left - 6, y + 11, label, class_="t", anchor="end", limit=14))
        for offset, value, kind in ((0, train, "train"), (8, synthetic, "synthetic")):
            size = max((width - left - 40) * value / top, 0.8)
            parts.append(element("rect", x=left, y=y + offset, width=size, height=7, class_=f"d-{kind}"))
        parts.append(text(left + (width - left - 40) * max(train, synthetic) / top + 4, y + 11, f"{train:.1%}", class_="t"))
    return "".join(parts)


def heat_map(card: ReportCard, metric: str, title: str) -> str:
    """Change of every pair as a square of shades; the ten worst carry their number."""
    plot = card.plots.get(metric)
    if not plot or len(plot["names"]) < 2:  # noqa: PLR2004 - a pair has two
        return ""
    names, values = plot["names"], plot["values"]
    left, top, room = 120.0, 12.0, WIDTH - 130.0
    cell = room / (len(names) - 1)
    known = sorted((v for row in values for v in row if v is not None), reverse=True)
    most = max(known[0] if known else 0.0, 0.05)
    line = known[min(19, len(known) - 1)] if known else 1.0
    parts = []
    for row, column in itertools.product(range(len(names)), repeat=2):
        value = values[row][column]
        if value is None or column > row:
            continue
        x, y = left + column * cell, top + (row - 1) * cell
        words = element("title", f"{clean(names[row])} and {clean(names[column])}: {number(value)}")
        shade = "onheat" if value > most / 2 else "t"
        colour = f"fill:rgba(var(--heat),{value / most:.3f})"
        parts.append(element("rect", words, x=x, y=y, width=cell - 1, height=cell - 1, style=colour))
        if value >= line and cell > 20:  # noqa: PLR2004 - smaller cells hold no number
            parts.append(text(x + cell / 2, y + cell / 2 + 4, f"{value:.2f}", class_=shade, anchor="middle"))
    parts.append(_heat_labels(names, left=left, top=top, cell=cell))
    height = top + (len(names) - 1) * cell + 80
    caption = f"0 is no change; the darkest square is {number(most)}."
    return figure("".join(parts), width=WIDTH, height=height, title=title, caption=caption)


def _heat_labels(names: Sequence[str], *, left: float, top: float, cell: float) -> str:
    """Rows name all columns but the first, columns all but the last: the square is half empty."""
    style = f"font-size:{min(11.0, max(6.0, cell - 2)):g}px"
    below = top + (len(names) - 1) * cell + 8
    parts = []
    for index, name in enumerate(names[1:]):
        y = top + (index + 0.65) * cell
        parts.append(element("text", clean(name, 18), x=left - 5, y=y, text_anchor="end", style=style))
    for index, name in enumerate(names[:-1]):
        x = left + (index + 0.5) * cell
        turn = f"rotate(-50 {x:.1f} {below:.1f})"
        parts.append(element("text", clean(name, 14), x=x, y=below, text_anchor="end", transform=turn, style=style))
    return "".join(parts)


def profiles(card: ReportCard) -> list[str]:
    """Profiles by hour, weekday, month and over time: the series that changed most, and the number of rows."""
    plots = []
    for metric, words in (
        ("utility.seasonality.daily", "By hour of the day"),
        ("utility.seasonality.weekly", "By day of the week"),
        ("utility.seasonality.yearly", "By month"),
        ("utility.trend", "Over the whole span, in twenty parts"),
    ):
        plot = card.plots.get(metric)
        if plot:
            by_series = card.metrics[metric].detail.get("by_series", {})
            plots.append(_profile(plot, plot["series"], words, card.metrics[metric].value))
            if plot["series"] != ROWS:
                plots.append(_profile(plot["rows"] | {"labels": plot["labels"]}, ROWS, words, by_series.get(ROWS)))
    return plots


def _profile(plot: Mapping[str, Any], series: str, words: str, value: float | None) -> str:
    """Train beside synthetic; a shaded band shows how small a difference is not called a change."""
    quiet = (1 - KEPT) * float(plot.get("quiet", 0.0))
    both = [*plot["train"], *plot["synthetic"], -2 * quiet, 2 * quiet]
    places = list(range(len(plot["labels"])))
    low, high = min(both), max(both)
    frame = Frame.of((0, max(len(places) - 1, 1)), (low, high if high > low else low + 1), width=WIDTH, height=HEIGHT)
    every = 1 if len(places) <= 12 else 3  # noqa: PLR2004 - twelve labels fit
    ticks = [(place, plot["labels"][place]) for place in places[::every]]
    unit = "the mean number" if series == ROWS else "its standard deviation"
    named = "number of rows" if series == ROWS else series
    top, bottom = frame.y(quiet), frame.y(-quiet)
    drawing = element("rect", x=frame.x.start, y=top, width=frame.x.end - frame.x.start, height=bottom - top, class_="quiet")
    drawing += frame.axes(x_ticks=ticks, up=f"{clean(named)}, distance from its level in units of {unit}")
    drawing += frame.line(places, plot["train"], class_="train") + frame.line(places, plot["synthetic"], class_="synthetic")
    caption = f"similarity {number(value)} (1 is the same rhythm); differences as small as the shaded band keep it above {KEPT}"
    return figure(drawing, width=WIDTH, height=HEIGHT, title=f"{words}: {named}", caption=caption)


def autocorrelation(card: ReportCard) -> str:
    """What one moment tells about a later one, in train, synthetic and holdout."""
    plot = card.plots.get("utility.autocorrelation.max_abs_diff")
    if not plot:
        return ""
    places = list(range(len(plot["lags"])))
    values = [*plot["train"], *plot["synthetic"], *plot["holdout"]]
    frame = Frame.of((0, max(len(places) - 1, 1)), (min(0.0, *values), max(0.1, *values)), width=WIDTH, height=HEIGHT)
    every = max(1, len(places) // 10)
    drawing = frame.axes(
        across="lag", up=clean(plot["series"]), x_ticks=[(place, str(plot["lags"][place])) for place in places[::every]]
    )
    for side in ("holdout", "train", "synthetic"):
        drawing += frame.line(places, plot[side], class_=side)
    caption = "Autocorrelation of the series that changed most."
    return figure(drawing, width=WIDTH, height=HEIGHT, title="Memory of the series", caption=caption)


def dumbbells(card: ReportCard) -> list[str]:
    """For each target and model: trained on synthetic against trained on train, tested on the same holdout rows."""
    plots = []
    for name, plot in card.plots.items():
        if name.startswith("utility.tstr."):
            plots.append(_dumbbell(plot))
    return plots


def _dumbbell(plot: Mapping[str, Any]) -> str:
    rows: Sequence[tuple[str, Mapping[str, Any]]] = list(plot["by_model"].items())
    ends = [end for _, row in rows for side in ("train", "synthetic") for end in row[f"{side}_interval"]]
    low, high = min(ends), max(ends)
    room = max((high - low) * 0.15, 0.01)
    left, step = 76.0, 40.0
    height = 44 + step * len(rows)
    scale = Scale(low - room, high + room, left, WIDTH - 16)
    parts = []
    for tick in scale.ticks(5):
        parts.append(element("line", x1=scale(tick), x2=scale(tick), y1=6, y2=height - 34, class_="grid"))
        parts.append(text(scale(tick), height - 18, number(tick), class_="t", anchor="middle"))
    for index, (model, row) in enumerate(rows):
        y = 22 + index * step
        parts.append(text(left - 8, y + 4, model, class_="lab", anchor="end"))
        parts.append(element("line", x1=scale(row["synthetic"]), x2=scale(row["train"]), y1=y, y2=y, class_="link"))
        for side, offset in (("train", -7), ("synthetic", 7)):
            ends = row[f"{side}_interval"]
            at = y + offset
            parts.append(element("line", x1=scale(ends[0]), x2=scale(ends[1]), y1=at, y2=at, class_=side))
            parts.append(element("circle", cx=scale(row[side]), cy=y, r=5.5, class_=f"d-{side}"))
    words = {"auc": "area under ROC", "r2": "variance explained"}.get(plot["score"], plot["score"])
    title = f"Learning to predict {plot['target']}"
    caption = f"Three models on the holdout: {words}, with 95 % intervals. The closer the dots, the less synthetic costs."
    return figure("".join(parts), width=WIDTH, height=height, title=title, caption=caption)


def subgroups(card: ReportCard) -> list[str]:
    """A table per grouping column: size, and how well models serve each group."""
    tables = []
    for name, plot in card.plots.items():
        if name.startswith("utility.subgroups."):
            head = "<tr><th>group<th>target<th class=r>train rows<th class=r>synthetic rows<th class=r>trained on train"
            head += "<th class=r>trained on synthetic<th class=r>loss<th class=r>95 % interval</tr>"
            rows = sorted(plot["rows"], key=lambda row: -row["gap"])
            body = "".join(_row(row) for row in rows)
            tables.append(f"<h3>By {clean(plot['column'])}</h3><div class=panel><table>{head}{body}</table></div>")
    return tables


def _row(row: Mapping[str, Any]) -> str:
    low, high = row["interval"]
    cells = [
        f"<td>{clean(row['group'])}<td>{clean(row['target'])} ({clean(row['score'])})",
        *(f"<td class=r>{row['rows'][side]:,}" for side in ("train", "synthetic")),
        *(f"<td class=r>{row[key]:.3f}" for key in ("train_on_train", "train_on_synthetic", "gap")),
        f"<td class=r>{low:.3f} to {high:.3f}",
    ]
    return f"<tr>{''.join(cells)}</tr>"
