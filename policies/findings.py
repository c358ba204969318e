"""What is wrong with a document, and where: file, line, column, and what was probably meant.

Responsible for the one shape of every complaint about a document that people write, from the YAML reader, from the models
and from lint, and for turning a pydantic error into sentences with a place.

Invariants:
    - A refused document says every reason it was refused for, not only the first.
    - A finding never quotes more than 80 characters of the document.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel
from pydantic_core import ErrorDetails

__all__ = ["DocumentInvalid", "Finding", "KeyPath", "Place", "from_pydantic", "nearest", "path_text"]

KeyPath = tuple[str | int, ...]
Place = tuple[int, int]
QUOTE = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One complaint about a document.

    Attributes:
        line, column: Where it stands, counted from 1; 0 where the complaint is about the file as a whole.
        path: The keys that lead there, as in `spec.gate[0].max`; empty at the top.
        code: Stable slug of the kind of complaint.
        suggestion: What was probably meant, or None.
        severity: An error refuses the document, a warning does not.
    """

    file: str
    line: int
    column: int
    path: str
    code: str
    message: str
    suggestion: str | None = None
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: "
        about = f"{self.path}: " if self.path else ""
        hint = f"; did you mean {self.suggestion}?" if self.suggestion else ""
        return f"{where}{about}{self.message}{hint}"

    def to_json(self) -> dict[str, Any]:
        """JSON-safe form, for `--json` and for problem documents."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "code": self.code,
            "message": self.message,
            "suggestion": self.suggestion,
            "severity": self.severity,
        }


class DocumentInvalid(ValueError):
    """A document that cannot be accepted, with every finding.

    Attributes:
        findings: At least one, in the order of the file.
    """

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings: tuple[Finding, ...] = tuple(sorted(findings, key=lambda f: (f.line, f.column)))
        if not self.findings:
            raise ValueError("a document is not invalid without a finding")
        super().__init__("\n".join(str(finding) for finding in self.findings))


def path_text(path: KeyPath) -> str:
    """Keys as people write them: `spec.gate[0].max`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, or None when nothing is close."""
    close = difflib.get_close_matches(word.lower(), {k.lower(): k for k in known}, n=1, cutoff=0.6)
    return next((k for k in known if k.lower() == close[0]), None) if close else None


def from_pydantic(
    errors: Sequence[ErrorDetails], *, file: str, model: type[BaseModel], places: Callable[[KeyPath, bool], Place]
) -> list[Finding]:
    """Turn the complaints of a model into findings with places.

    Args:
        errors: `ValidationError.errors()`.
        file: How the document is named to people.
        model: The model that complained; names the keys that exist at a place.
        places: Where a path stands; the flag asks for the key instead of its value.
    """
    findings: dict[tuple[str, str], Finding] = {}
    inner = {error["loc"][:depth] for error in errors for depth in range(len(error["loc"]))}
    for error in errors:
        if error["type"] == "too_short" and error["loc"] in inner:
            continue  # its entries were refused one by one, and are told of
        loc = _document_path(error["loc"], places)
        unknown = error["type"] == "extra_forbidden"
        line, column = places(loc, unknown)
        message, suggestion = _sentence(error, keys=_keys_at(model, loc[:-1]))
        path = path_text(loc)
        findings.setdefault(
            (path, message),
            Finding(
                file=file,
                line=line,
                column=column,
                path=path,
                code=_CODES.get(error["type"], "wrong-value"),
                message=message,
                suggestion=suggestion,
            ),
        )
    return list(findings.values())


_BOOLEANS: Mapping[str, str] = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
_CODES: Mapping[str, str] = {"extra_forbidden": "unknown-key", "missing": "missing-key"}


def _document_path(loc: tuple[int | str, ...], places: Callable[[KeyPath, bool], Place]) -> KeyPath:
    """Drop what pydantic adds for the branches of a union: the path goes as deep as the document does."""
    path: KeyPath = ()
    for index, step in enumerate(loc):
        longer = (*path, step)
        if places(longer, False) != (0, 0) or index == len(loc) - 1:
            path = longer
    if path and places(path, False) == (0, 0) and not _is_key(loc[-1]):
        path = path[:-1]
    return path


def _is_key(step: int | str) -> bool:
    """Whether a last step is a key of the document and not the name of a union's branch."""
    return isinstance(step, str) and step.replace("-", "_").isidentifier() and step not in {"decimal", "date", "datetime"}


def _sentence(error: ErrorDetails, *, keys: Sequence[str]) -> tuple[str, str | None]:
    kind, given, context = error["type"], error.get("input"), error.get("ctx", {})
    last = str(error["loc"][-1]) if error["loc"] else ""
    if kind == "extra_forbidden":
        known = nearest(last, keys)
        listing = f" (known here: {', '.join(keys)})" if keys and known is None else ""
        return f"unknown key '{last[:QUOTE]}'{listing}", known
    if kind == "missing":
        return f"the key '{last}' is missing", None
    if kind == "literal_error":
        choices = str(context["expected"])
        words = choices.replace("'", "").replace(" or ", ", ").split(", ")
        return f"{_shown(given)} is not one of {choices}", nearest(str(given), words)
    if kind == "value_error":
        return str(context["error"]), f"{given}d" if isinstance(given, int) and "duration" in str(context["error"]) else None
    if kind == "too_short":
        return f"at least {context['min_length']} must be named, not {context['actual_length']}", None
    text = f"{error['msg'][0].lower()}{error['msg'][1:]}"
    meant = _BOOLEANS.get(str(given).lower()) if kind == "bool_type" else None
    return text if given is None else f"{text}, not {_shown(given)}", meant


def _shown(value: object) -> str:
    if isinstance(value, Mapping | list | tuple):
        return "a mapping" if isinstance(value, Mapping) else "a list"
    text = f"'{value}'"
    return text if len(text) <= QUOTE else f"{text[:QUOTE]}…'"


def _keys_at(model: type[BaseModel], path: KeyPath) -> list[str]:
    """The keys that a document may have at a path, as its authors write them; empty where keys are free."""
    here: object = model
    for step in path:
        here = _below(here, step)
    for candidate in _branches(here):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return [field.alias or name for name, field in candidate.model_fields.items()]
    return []


def _below(annotation: object, step: str | int) -> object:
    for branch in _branches(annotation):
        if isinstance(branch, type) and issubclass(branch, BaseModel):
            for name, field in branch.model_fields.items():
                if step in (name, field.alias):
                    return field.annotation
        arguments = typing.get_args(branch)
        if arguments and typing.get_origin(branch) in (dict, Mapping):
            return arguments[1]
        if arguments and typing.get_origin(branch) in (tuple, list):
            return arguments[0]
    return None


def _branches(annotation: object) -> tuple[object, ...]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _branches(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return tuple(inner for argument in typing.get_args(annotation) for inner in _branches(argument))
    return (annotation,)
