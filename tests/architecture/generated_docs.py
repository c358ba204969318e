"""Reference pages that are drawn from the code: `--write` draws them, `--check` fails when one is not current."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from gateway.audit.kinds import KINDS
from gateway.cli.main import COMMANDS, root
from gateway.releases.states import MOVES, diagram
from gateway.settings import Settings
from gateway.web.guard import UNAUDITED, WITHIN, declaration_of
from gateway.web.problems import CODES
from policies.metric_catalogue import CATALOGUE
from policies.reference import refreshed
from policies.schema_json import FILES, schema_text

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs/reference"


def table(title: str, lead: str, head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = [f"# {title}", "", lead, "", f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def states() -> str:
    rows = [(move.source, move.target, move.by, f"`{move.event}`") for move in MOVES]
    moves = table("The life of a release", "Drawn from `gateway.releases.states`.", ("from", "to", "by", "event"), rows)
    return f"{moves}\n```mermaid\n{diagram()}```\n"


def unaudited() -> str:
    rows = [(f"`{path}`", why) for path, why in UNAUDITED.items()]
    return table("Paths that are not audited", "Every other path writes an event before it answers.", ("path", "why"), rows)


def settings() -> str:
    rows = [
        (f"`TICKETGATE_{name.upper()}`", "" if field.default is None else f"`{field.default}`", field.description)
        for name, field in Settings.model_fields.items()
    ]
    return table("Settings", "From the environment of a process.", ("variable", "default", "meaning"), rows)


def problems() -> str:
    rows = [(f"`{code}`", page.title, page.meaning, page.remedy) for code, page in CODES.items()]
    return table(
        "Problem codes",
        "`type` of a problem document is `/problems/CODE`.",
        ("code", "title", "what happened", "what to do"),
        rows,
    )


def events() -> str:
    rows = [(f"`{kind.name}`", kind.meaning, kind.severity) for kind in KINDS.values()]
    return table("Kinds of events", "Everything that the log can hold.", ("kind", "meaning", "severity"), rows)


def metrics() -> str:
    rows = [(f"`{spec.name}`", spec.direction, spec.title, spec.source) for spec in CATALOGUE.values()]
    return table(
        "Metrics", "What a report card can hold and a policy can gate on.", ("name", "better", "what it says", "source"), rows
    )


def routes() -> str:
    from gateway.cli.compose import open_house
    from gateway.cli.setup import initialise
    from gateway.web import create_app

    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder) / "home")
        initialise(settings)
        app = create_app(open_house(settings), with_limits=False)
    rows = []
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: (rule.rule, sorted(rule.methods or ()))):
        declared = declaration_of(app.view_functions[rule.endpoint])
        if declared is not None:
            methods = ", ".join(sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}))
            record = (
                "–" if declared.audit is None else ("in its transaction" if declared.audit == WITHIN else f"`{declared.audit}`")
            )
            rows.append((methods, f"`{rule.rule}`", declared.access.name, record))
    return table(
        "HTTP paths",
        "Drawn from the route table; the whole description is served at `/openapi.json`.",
        ("method", "path", "access", "record"),
        rows,
    )


def cli() -> str:
    lines = ["# Command line", "", "Every command takes `--json`. Exit codes: 0 done · 2 wrong usage · 3 refused · 4 bad input ·"]
    lines += ["5 unavailable · 6 verification failed · 1 anything else.", ""]
    context = click.Context(root, info_name="ticketgate")
    for name in COMMANDS:
        command = root.get_command(context, name)
        if command is not None:
            lines += _command(command, f"ticketgate {name}")
    return "\n".join(lines) + "\n"


def _command(command: click.Command, name: str) -> list[str]:
    if isinstance(command, click.Group):
        return [line for sub in sorted(command.commands) for line in _command(command.commands[sub], f"{name} {sub}")]
    lines = [f"## `{name}`", "", (command.help or "").strip(), ""]
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name != "as_json":
            lines.append(
                f"- `{', '.join(parameter.opts)}`{' (required)' if parameter.required else ''} {parameter.help or ''}".rstrip()
            )
        elif isinstance(parameter, click.Argument):
            lines.append(f"- `{parameter.name.upper() if parameter.name else ''}`")
    return [*lines, ""]


PAGES: Mapping[str, Callable[[], str]] = {
    "release-states.md": states,
    "unaudited-paths.md": unaudited,
    "settings.md": settings,
    "problems.md": problems,
    "events.md": events,
    "metrics.md": metrics,
    "routes.md": routes,
    "cli.md": cli,
}


def all_pages() -> dict[Path, str]:
    pages = {FOLDER / name: draw() for name, draw in PAGES.items()}
    pages |= {FOLDER / "schemas" / name: schema_text(model) for name, model in FILES.items()}
    policy = FOLDER / "policy.md"
    pages[policy] = refreshed(policy.read_text("utf-8"))
    return pages


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--write", action="store_true")
    group.add_argument("--check", action="store_true")
    write = parser.parse_args().write
    pages = all_pages()
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(pages[path], "utf-8")
        print(f"{'written' if write else 'not current'}: {path.relative_to(ROOT)}", file=sys.stderr)
    return 0 if write or not stale else 1


if __name__ == "__main__":
    sys.exit(main())
