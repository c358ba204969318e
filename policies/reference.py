"""The tables of the reference page, made from the models and lists that are in force.

Responsible for the blocks of `docs/reference/policy.md` between `<!-- begin NAME -->` and `<!-- end NAME -->`. `python -m
policies.reference docs/reference/policy.md` rewrites them; a test fails when the page is behind.

Invariants: every key of a policy and every reason code stands on the page, with the words of its own definition.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from policies.codes import DECISION_CODES, GATE_CODES
from policies.presets import PRESETS
from policies.schema import ReleasePolicy
from policies.schema_json import json_schema

__all__ = ["BLOCKS", "refreshed"]

NOTHING = "\N{EN DASH}"
BLOCK = re.compile(r"(<!-- begin (?P<name>[a-z-]+) -->\n).*?(<!-- end (?P=name) -->)", re.DOTALL)


def refreshed(page: str) -> str:
    """The page with every block written anew.

    Raises:
        KeyError: the page names a block that does not exist.
    """
    return BLOCK.sub(lambda match: f"{match[1]}{BLOCKS[match['name']]()}\n{match[3]}", page)


def _keys() -> str:
    schema = json_schema(ReleasePolicy)
    rows = [f"| `{path}` | {kind} | {default} | {text} |" for path, kind, default, text in _walk(schema, schema, "")]
    return "\n".join(["| key | value | default | meaning |", "|---|---|---|---|", *rows])


def _walk(schema: Mapping[str, Any], part: Mapping[str, Any], above: str) -> Iterator[tuple[str, str, str, str]]:
    needed = set(part.get("required", ()))
    for key, entry in part["properties"].items():
        path = f"{above}{key}"
        inner = _object(schema, entry)
        if inner is not None:
            is_list = any(branch.get("type") == "array" for branch in (entry, *entry.get("anyOf", ())))
            yield from _walk(schema, inner, f"{path}{'[]' if is_list else ''}.")
            continue
        default = "needed" if key in needed else _default(entry.get("default"))
        yield path, _kind(schema, entry), default, str(entry.get("description", "")).replace("|", "\\|")


def _object(schema: Mapping[str, Any], entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The part that a key leads into, for keys that hold a mapping or a list of mappings."""
    branches = [entry, *entry.get("anyOf", ())]
    candidates = [*branches, *(branch.get("items", {}) for branch in branches)]
    for candidate in candidates:
        name = str(candidate.get("$ref", "")).rpartition("/")[2]
        if name and "properties" in schema["$defs"][name]:
            part: Mapping[str, Any] = schema["$defs"][name]
            return part
    return None


def _kind(schema: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    if "enum" in entry or "const" in entry:
        return ", ".join(f"`{word}`" for word in entry.get("enum", [entry.get("const")]))
    if "anyOf" in entry:
        kinds = [_kind(schema, branch) for branch in entry["anyOf"] if branch.get("type") != "null"]
        return "number" if kinds == ["number", "text"] else " or ".join(dict.fromkeys(kinds))
    if entry.get("type") == "array":
        return f"list of {_kind(schema, entry.get('items', {}))}"
    if "(s|m|h|d|w)" in entry.get("pattern", ""):
        return "duration"
    if "KiB" in entry.get("pattern", ""):
        return "size"
    return {"integer": "whole number", "boolean": "`true` or `false`", "number": "number"}.get(entry.get("type", ""), "text")


def _default(value: Any) -> str:
    if value is None or value == []:
        return NOTHING
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return ", ".join(f"`{item}`" for item in value) if isinstance(value, list) else f"`{value}`"


def _codes(codes: Mapping[str, str]) -> str:
    return "\n".join(["| code | meaning |", "|---|---|", *(f"| `{code}` | {text} |" for code, text in codes.items())])


def _presets() -> str:
    lines: dict[str, dict[str, str]] = {}
    for preset, rules in PRESETS.items():
        for rule in rules:
            line = ", ".join(f"{name} {value:g}" for name, value in rule.bound().items())
            shown = line + (" (warns)" if rule.severity == "warn" else "")
            before = lines.setdefault(rule.metric, {}).get(preset)
            lines[rule.metric][preset] = shown if before is None else f"{before}; {shown}"
    rows = [f"| `{metric}` | {' | '.join(found.get(preset, NOTHING) for preset in PRESETS)} |" for metric, found in lines.items()]
    return "\n".join([f"| metric | {' | '.join(PRESETS)} |", "|---" * (len(PRESETS) + 1) + "|", *rows])


BLOCKS: Mapping[str, Callable[[], str]] = {
    "keys": _keys,
    "decision-codes": lambda: _codes(DECISION_CODES),
    "gate-codes": lambda: _codes(GATE_CODES),
    "presets": _presets,
}

if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(refreshed(file.read_text("utf-8")), "utf-8")
