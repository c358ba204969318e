"""The page of the leak matrix, drawn from measured cells."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from evaluator.statistics import Rate, clopper_pearson

Line = dict[str, Any]
HIDDEN = ("pii", "dcr.share", "nndr.ratio", "exchangeability", "blind_attack.auc")
MEMBERSHIP = {"copies", "copies.near_excess_share", "rare_values", "mia.auc", "mia.advantage", "mia.tpr_at_fpr_1pct",
              "mia.exposed.tpr_at_fpr_10pct", "singling_out.univariate", "singling_out.multivariate", "linkability",
              "attribute_inference", "outlier_exposure"}  # fmt: skip
NEAR = ("5 % near, one number jittered", "5 % near, every number jittered", "5 % near, two columns resampled")
MANY_ROWS = 16_000
SPLITS = 200
TEN = 10
INTRODUCTION = """# The leak matrix

Leaks planted in fresh rows of real tables, and which metric fails its default line (`policies.metric_catalogue.DEFAULT_LINES`: tests
block at p < 0.001) on how many of the seeds. A seed is a split of the table into train, holdout and fresh rows, and the rows that
leak. A blank is 0; `refused` is the gate's verdict, inconclusive counted; `warned` is where one of the tests has p < 0.05.
Distances (`dcr`, `nndr`) only warn and are left out, as are lines that no plant touches (PII, the split's own tests).

A run that was stopped leaves cells that fewer seeds were measured on, or none: the column `seeds` says how many.
Every figure comes from measuring code of the digest {version}.
Metrics may have changed since: `python -m tests.adversarial.leaks --digest` prints that of the code at hand.

    python -m tests.adversarial.leaks --out docs/reference/leak-matrix.md --tables {tables} --seeds {seeds} --rows {rows} \\
        --split-tables {split_tables} --splits {splits} --split-rows {split_rows}
"""


def page(lines: Sequence[Line], columns: Sequence[str]) -> str:
    """The whole page in Markdown; which code measured what is read off the lines."""
    shown = [name for name in columns if name not in HIDDEN]
    plants, splits, shapes = ([line for line in lines if line["kind"] == kind] for kind in ("plant", "split", "shape"))
    text = [_introduction(plants, splits, _versions(lines))]
    text += ["## What must hold, and whether it did", "", *_claims(plants, splits), ""]
    for table, chosen in _by(plants, "table").items():
        text += _matrix(table, chosen, shown, mixed=len(_by(plants, "code")) > 1)
    text += ["## Distortions: no leak, but another table", "", *_distortions(shapes), ""]
    text += ["## Fresh real rows", "", *_fresh(splits)]
    return "\n".join(text).rstrip() + "\n"


def _versions(lines: Sequence[Line]) -> str:
    kinds = {"plant": "leaks", "split": "fresh splits", "shape": "distortions"}
    found = {code: " and ".join(kinds[kind] for kind in _by(chosen, "kind")) for code, chosen in _by(lines, "code").items()}
    if len(found) < 2:
        return "".join(f"`{code}`" for code in found)
    return ", ".join(f"`{code}` ({words})" for code, words in found.items())


def _introduction(plants: Sequence[Line], splits: Sequence[Line], version: str) -> str:
    def names(lines: Sequence[Line]) -> str:
        return ",".join(dict.fromkeys(line["table"] for line in lines))

    return INTRODUCTION.format(
        version=version,
        tables=names(plants),
        seeds=len({line["seed"] for line in plants}),
        rows=max((line["rows"] for line in plants), default=0),
        split_tables=names(splits),
        splits=max((len(chosen) for chosen in _by(splits, "table").values()), default=0),
        split_rows=max((line["rows"] for line in splits), default=0),
    )


def _by(lines: Iterable[Line], key: str) -> dict[Any, list[Line]]:
    found: dict[Any, list[Line]] = defaultdict(list)
    for line in lines:
        found[line[key]].append(line)
    return dict(found)


def _matrix(table: str, lines: Sequence[Line], shown: Sequence[str], *, mixed: bool) -> list[str]:
    """A table of plants; where cells come from several versions of the code, each says from which."""
    sizes = lines[0].get("sizes", [lines[0]["rows"]] * 3)
    words = f"{sizes[0]:,} rows each of" if len(set(sizes)) == 1 else " and ".join(f"{n:,}" for n in sizes) + " rows of"
    rows = [f"## {table}: {words} train, holdout and synthetic", ""]
    rows += ["| plant | seeds | refused | warned | " + " | ".join(f"`{name}`" for name in shown) + " |"]
    rows += ["|---" * (len(shown) + 4) + "|"]
    for plant, chosen in _by(lines, "plant").items():
        n = len(chosen)
        hits = Counter(name for line in chosen for name in line["found"])
        refused, warned = sum(line["refused"] for line in chosen), sum(bool(line["warned"]) for line in chosen)
        marks = " | ".join(str(hits[name]) if hits[name] else "" for name in shown)
        code = f" <small>{' '.join(_by(chosen, 'code'))}</small>" if mixed else ""
        rows.append(f"| {plant}{code} | {n} | {refused} | {warned} | {marks} |")
    return [*rows, ""]


def _even(line: Line) -> bool:
    """Whether train, holdout and output have as many rows: the claims are about that."""
    return len(set(line.get("sizes", [0]))) == 1


def _claims(plants: Sequence[Line], splits: Sequence[Line]) -> list[str]:
    rows = ["| claim, with as many rows in train, holdout and output | observed | holds |", "|---|---|---|"]

    def claim(words: str, plant: str | Sequence[str], good: Any, least: float = 1.0, only: Any = None) -> None:
        wanted = (plant,) if isinstance(plant, str) else plant
        told, fine, fewest = [], True, TEN
        for table, lines in _by(plants, "table").items():
            chosen = [line for line in lines if line["plant"] in wanted and _even(line) and (only is None or only(line))]
            if chosen:
                held = sum(bool(good(line)) for line in chosen)
                told.append(f"{table} {held} of {len(chosen)}")
                fine, fewest = fine and held >= least * len(chosen), min(fewest, len(chosen))
        holds = "no" if not told or not fine else "yes" if least == 1.0 or fewest >= TEN else "as far as measured"
        rows.append(f"| {words} | {', '.join(told) or 'not measured'} | {holds} |")

    claim("train itself fails on at least four independent families", "train itself",
          lambda line: len({name.split(".")[0] for name in line["found"]} - {"dcr", "nndr"}) >= 4)  # fmt: skip
    claim("1 % verbatim copies are always refused", "1 % verbatim", lambda line: line["found"])
    claim("0.25 % verbatim copies are refused in nine of ten", "0.25 % verbatim", lambda line: line["found"], 0.9)
    claim("0.25 % verbatim copies are at least warned of (p < 0.05 of `copies`) in nine of ten", "0.25 % verbatim",
          lambda line: "copies" in line["warned"], 0.9)  # fmt: skip
    claim("5 % near copies are found at 16,000 rows", NEAR, lambda line: set(line["found"]) & MEMBERSHIP,
          only=lambda line: line["rows"] >= MANY_ROWS)  # fmt: skip
    claim("columns bootstrapped from raw values are found by rare values or singling out",
          "columns bootstrapped from raw values",
          lambda line: set(line["found"]) & {"rare_values", "singling_out.univariate", "singling_out.multivariate"})  # fmt: skip
    claim("copied holdout rows are no membership failure", "5 % of the holdout copied",
          lambda line: not set(line["found"]) & MEMBERSHIP)  # fmt: skip
    claim("copied holdout rows refuse as `holdout_contaminated`", "5 % of the holdout copied",
          lambda line: "holdout_contaminated" in line["found"])  # fmt: skip
    blind = [line for line in [*plants, *splits] if {"blind_attack.auc", "exchangeability"} & set(line["found"])]
    rows.append(
        f"| a blind attack without the synthetic table stays at chance, train and holdout are exchangeable | in doubt on "
        f"{len(blind)} of {len(plants) + len(splits)} measured tables | {'no' if blind else 'yes'} |"
    )
    told, holds = [], "yes" if splits else "no"
    for table, chosen in _by(splits, "table").items():
        refused = sum(line["refused"] for line in chosen)
        told.append(f"{table} {refused} of {len(chosen)}")
        if refused > 1:
            holds = "no"
        elif len(chosen) < SPLITS and holds == "yes":
            holds = f"not shown: fewer than {SPLITS} splits"
    rows.append(
        f"| fresh real rows: at most 1 refusal in {SPLITS} splits a table | {', '.join(told) or 'not measured'} | {holds} |"
    )
    return rows


def _distortions(lines: Sequence[Line]) -> list[str]:
    rows = [
        "Held against the shipped utility lines, which warn. Fresh rows of the same table are measured beside them: what they fail too",
        "names no distortion and is left out.",
        "",
        "| table | distortion | named by | fails on fresh rows too |",
        "|---|---|---|---|",
    ]
    fresh = {line["table"]: set(line["found"]) for line in lines if line["plant"] == "fresh rows"}
    for line in lines:
        if line["plant"] == "fresh rows":
            continue
        known = fresh.get(line["table"], set())
        named = ", ".join(f"`{name}`" for name in line["found"] if name not in known) or "**nothing**"
        common = ", ".join(f"`{name}`" for name in line["found"] if name in known)
        rows.append(f"| {line['table']} ({line['rows']:,} rows) | {line['plant']} | {named} | {common} |")
    return rows


def _fresh(lines: Sequence[Line]) -> list[str]:
    rows = [
        "Splits into three disjoint parts; refused counts inconclusive. The interval is Clopper-Pearson's, 95 %.",
        "",
        "| table | rows of each part | splits | refused | interval of the rate | CPU s a split | by |",
        "|---|---|---|---|---|---|---|",
    ]
    for table, chosen in _by(lines, "table").items():
        refused, n = sum(line["refused"] for line in chosen), len(chosen)
        low, high = clopper_pearson(Rate(refused, n), 0.95)
        why = Counter(reason for line in chosen for reason in line["blocking"])
        reasons = ", ".join(f"`{reason}` ({count})" for reason, count in why.most_common())
        took = sum(line["cpu_s"] for line in chosen) / n
        rows.append(f"| {table} | {chosen[0]['rows']:,} | {n} | {refused} | {low:.1%} to {high:.1%} | {took:.1f} | {reasons} |")
    return rows
