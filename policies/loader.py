"""The only door through which YAML enters: strict, bounded, and precise about what is wrong where.

Responsible for reading documents that people write into plain data with the place of every key, and from there into models.

The dialect is YAML 1.2's core schema, narrowed: `true` and `false` are the only booleans; integers and floats are written as
in JSON and floats become exact `Decimal`; `null`, `~` and nothing are null; everything else is text, also `yes`, `30d`,
`2025-01-01` and `007`. Quoted text is always text. One document a file.

Invariants:
    - No object is ever constructed from a tag: the events of the parser are read, nothing else.
    - Refused: duplicate keys, anchors, aliases, tags, merge keys, keys that are not scalars, more than 1 MiB, 32 levels,
      100,000 nodes, numbers of absurd size, anything that is not UTF-8.
    - Every refusal is a `DocumentInvalid` with file, line and column.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from policies.canonical import decimal_text
from policies.card import DatasetCard
from policies.case_schema import PolicyCases
from policies.findings import DocumentInvalid, Finding, KeyPath, Place, from_pydantic, nearest, path_text
from policies.presets import expand
from policies.schema import ReleasePolicy

__all__ = [
    "Document", "DocumentInvalid", "Finding", "find_todos", "load_card", "load_cases", "load_document", "load_model",
    "load_parsed", "load_policy", "parse", "to_yaml",
]  # fmt: skip

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_NODES = 100_000
MAX_DIGITS = 60
MAX_EXPONENT = 300
INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)\Z")
FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?\Z")
NULLS = frozenset({"", "~", "null", "Null", "NULL"})
BOOLEANS = {"true": True, "false": False}
TODO = re.compile(r"TODO\b")

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data, and where everything stands.

    Attributes:
        data: Mappings, lists, text, `int`, `Decimal`, `bool` and None.
        keys, values: Line and column (from 1) of every key and of every value, by path.
        todos: Paths of values that say TODO.
    """

    file: str
    data: Any
    keys: dict[KeyPath, Place] = field(default_factory=dict)
    values: dict[KeyPath, Place] = field(default_factory=dict)
    todos: tuple[KeyPath, ...] = ()

    def place(self, path: KeyPath, key: bool = False) -> Place:  # noqa: FBT001, FBT002 - the callback of findings
        """Where a path stands; the nearest key above when it does not exist is the caller's to ask; (0, 0) if unknown."""
        return (self.keys.get(path) if key else None) or self.values.get(path, (0, 0))

    def nearest_place(self, path: KeyPath) -> Place:
        """Where a path stands, or the closest place above it."""
        for length in range(len(path), -1, -1):
            found = self.keys.get(path[:length]) or self.values.get(path[:length])
            if found:
                return found
        return (1, 1)

    def finding(self, path: KeyPath, code: str, message: str, suggestion: str | None = None) -> Finding:
        """A finding about a path of this document."""
        line, column = self.nearest_place(path)
        return Finding(
            file=self.file, line=line, column=column, path=path_text(path), code=code, message=message, suggestion=suggestion
        )


def parse(source: Path | str, *, name: str | None = None) -> Document:
    """Read one YAML document into plain data.

    Args:
        source: A `Path` is read as a file; a `str` is the text itself.
        name: How the document is called in findings; the path, or `<text>`.

    Raises:
        DocumentInvalid: the file cannot be read, or is not the YAML that this product accepts.
    """
    label = name or (str(source) if isinstance(source, Path) else "<text>")
    return _Reader(label).read(_text(source, label))


def load_document(source: Path | str, *, name: str | None = None) -> BaseModel:
    """Read a document of whatever kind it says it is; a policy has its preset written out.

    Raises:
        DocumentInvalid: as `parse`, or the kind is unknown, or the model refuses it.
    """
    model = load_parsed(parse(source, name=name))
    return expand(model) if isinstance(model, ReleasePolicy) else model


def load_parsed(document: Document) -> BaseModel:
    """Check a parsed document against the model of the kind that it says it is.

    Raises:
        DocumentInvalid: the kind is unknown, or the model refuses it.
    """
    kind = document.data.get("kind") if isinstance(document.data, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        known = ", ".join(sorted(KINDS))
        message = f"kind is one of {known}" if kind is None else f"'{str(kind)[:80]}' is not a kind: known are {known}"
        suggestion = nearest(str(kind), KINDS) if kind else None
        raise DocumentInvalid([document.finding(("kind",), "unknown-kind", message, suggestion)])
    return load_model(document, KINDS[kind])


def load_card(source: Path | str, *, name: str | None = None) -> DatasetCard:
    """Read a dataset card.

    Raises:
        DocumentInvalid: as `load_document`; also for every TODO that a steward has not filled in.
    """
    return load_model(parse(source, name=name), DatasetCard)


def load_policy(source: Path | str, *, name: str | None = None, expanded: bool = True) -> ReleasePolicy:
    """Read a release policy.

    Args:
        source: As for `parse`.
        name: As for `parse`.
        expanded: Whether the rules of its preset are written out (as every decision wants it) or left as in the file.

    Raises:
        DocumentInvalid: as `load_document`.
    """
    policy = load_model(parse(source, name=name), ReleasePolicy)
    return expand(policy) if expanded else policy


def load_cases(source: Path | str, *, name: str | None = None) -> PolicyCases:
    """Read a case file.

    Raises:
        DocumentInvalid: as `load_document`.
    """
    return load_model(parse(source, name=name), PolicyCases)


def load_model(document: Document, model: type[Model]) -> Model:
    """Check a parsed document against a model.

    Raises:
        DocumentInvalid: with every complaint of the model, each at its place.
    """
    todos = find_todos(document)
    try:
        accepted = model.model_validate(document.data)
    except ValidationError as error:
        open_paths = {finding.path for finding in todos}
        found = from_pydantic(error.errors(include_url=False), file=document.file, model=model, places=document.place)
        placed = [_placed(document, finding) for finding in found if not _is_under(finding.path, open_paths)]
        raise DocumentInvalid([*todos, *placed]) from None
    if todos:
        raise DocumentInvalid(todos)
    return accepted


def find_todos(document: Document) -> tuple[Finding, ...]:
    """Every value that still says TODO: public knowledge that only the steward has."""
    message = "still says TODO: fill in what is publicly known (never read it off the data), or remove the key"
    return tuple(document.finding(path, "todo", message) for path in document.todos)


def to_yaml(model: BaseModel) -> str:
    """A document as YAML that `load_document` reads back to the same model; nulls are left out."""
    document = model.model_dump(mode="python", by_alias=True, exclude_none=True)
    return yaml.dump(_listed(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    return value.isoformat() if isinstance(value, date) else value


class _Dumper(yaml.SafeDumper):
    """Writes decimals as the numbers that they are."""


def _decimal_node(dumper: yaml.SafeDumper, number: Decimal) -> yaml.ScalarNode:
    text = decimal_text(number)
    return dumper.represent_scalar("tag:yaml.org,2002:int" if INTEGER.match(text) else "tag:yaml.org,2002:float", text)


_Dumper.add_representer(Decimal, _decimal_node)


def _is_under(path: str, open_paths: Iterable[str]) -> bool:
    return any(path == todo or todo.startswith((f"{path}.", f"{path}[")) for todo in open_paths if path)


def _placed(document: Document, finding: Finding) -> Finding:
    if finding.line:
        return finding
    steps = tuple(int(s) if s.isdigit() else s for s in re.split(r"[.\[\]]+", finding.path) if s)
    line, column = document.nearest_place(steps[:-1])
    return Finding(
        file=finding.file,
        line=line,
        column=column,
        path=finding.path,
        code=finding.code,
        message=finding.message,
        suggestion=finding.suggestion,
    )


KINDS: dict[str, type[BaseModel]] = {"Dataset": DatasetCard, "PolicyCases": PolicyCases, "ReleasePolicy": ReleasePolicy}


def _refuse(file: str, line: int, column: int, code: str, message: str) -> DocumentInvalid:
    return DocumentInvalid([Finding(file=file, line=line, column=column, path="", code=code, message=message)])


def _text(source: Path | str, label: str) -> str:
    if isinstance(source, str):
        if len(source.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            raise _refuse(label, 0, 0, "too-large", f"a document has at most {MAX_BYTES} bytes")
        return source
    try:
        if not stat.S_ISREG(source.stat().st_mode):
            raise _refuse(label, 0, 0, "not-a-file", "this is not a regular file")
        with source.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise _refuse(label, 0, 0, "unreadable", f"cannot be read: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise _refuse(label, 0, 0, "too-large", f"a document has at most {MAX_BYTES} bytes")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        raise _refuse(label, line, column, "not-utf-8", "the file is not UTF-8 text") from error


def _is_value(path: KeyPath) -> bool:
    """Whether a value of a category stands here: 1e3 and 0.00000001 are codes there, and their spelling is what cells hold."""
    return path[-2:-1] == ("values",) or path[-3:-2] == ("allowed",)


def _place(mark: Any) -> Place:
    """A parser's mark counted from 1 (its type is another in each of the two parsers)."""
    return mark.line + 1, mark.column + 1


class _Reader:
    """Builds plain data from parser events, without recursion in the parser's composer and without constructors."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.nodes = 0
        self.keys: dict[KeyPath, Place] = {}
        self.values: dict[KeyPath, Place] = {}
        self.todos: list[KeyPath] = []

    def read(self, text: str) -> Document:
        try:
            events = self._events(text)
            data: Any = None
            for event in events:
                if isinstance(event, yaml.DocumentStartEvent):
                    if self.nodes:
                        raise self._refuse(event, "many-documents", "a file holds one document; remove what follows `---`")
                    data = self._node(next(events), events, (), 0)
        except yaml.reader.ReaderError as error:
            raise _refuse(self.file, 0, 0, "not-yaml", "the text holds characters that YAML does not allow") from error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (0, 0) if mark is None else _place(mark)
            problem = (error.problem or "this is not YAML").replace("\n", " ")
            raise _refuse(self.file, line, column, "not-yaml", problem) from error
        if self.nodes == 0:
            raise _refuse(self.file, 0, 0, "empty", "the file holds no document")
        return Document(self.file, data, self.keys, self.values, tuple(self.todos))

    def _events(self, text: str) -> Iterator[Any]:
        parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return iter(yaml.parse(text, Loader=parser))

    def _refuse(self, event: yaml.Event, code: str, message: str) -> DocumentInvalid:
        return _refuse(self.file, *_place(event.start_mark), code, message)

    def _node(self, event: Any, events: Iterator[Any], path: KeyPath, depth: int) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self._refuse(event, "too-many-nodes", f"a document has at most {MAX_NODES} values")
        if depth > MAX_DEPTH:
            raise self._refuse(event, "too-deep", f"a document is at most {MAX_DEPTH} levels deep")
        if isinstance(event, yaml.AliasEvent):
            raise self._refuse(event, "alias", "aliases (*name) are not accepted: write the value out")
        if event.anchor is not None:
            raise self._refuse(event, "anchor", "anchors (&name) are not accepted: write the value out")
        if event.tag is not None:
            raise self._refuse(event, "tag", f"tags are not accepted: remove {event.tag[:80]}")
        self.values[path] = _place(event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, path, depth)
        return self._mapping(events, path, depth)

    def _sequence(self, events: Iterator[Any], path: KeyPath, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self._node(event, events, (*path, len(items)), depth + 1))
        return items

    def _mapping(self, events: Iterator[Any], path: KeyPath, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if isinstance(event, yaml.AliasEvent):
                raise self._refuse(event, "alias", "aliases (*name) are not accepted: write the value out")
            if not isinstance(event, yaml.ScalarEvent) or event.anchor is not None or event.tag is not None:
                raise self._refuse(event, "key", "a key is plain text, without anchor or tag")
            key, plain = event.value, event.implicit[0]
            if plain and key == "<<":
                raise self._refuse(event, "merge-key", "merge keys (<<) are not accepted: write the keys out")
            if plain and key in NULLS:
                raise self._refuse(event, "key", "a key is text: this one is empty")
            if key in found:
                line = self.keys[*path, key][0]
                raise self._refuse(event, "duplicate-key", f"the key '{key[:80]}' stands here a second time (first: line {line})")
            self.keys[*path, key] = _place(event.start_mark)
            found[key] = self._node(next(events), events, (*path, key), depth + 1)
        return found

    def _scalar(self, event: Any, path: KeyPath) -> Any:
        text: str = event.value
        if not event.implicit[0]:
            return text
        if text in NULLS:
            return None
        if text in BOOLEANS:
            return BOOLEANS[text]
        if TODO.match(text):
            self.todos.append(path)
        if FLOAT.match(text) and not _is_value(path):
            return self._number(event, text)
        return text

    def _number(self, event: Any, text: str) -> int | Decimal:
        mantissa, _, exponent = text.lower().partition("e")
        if len(mantissa) > MAX_DIGITS or len(exponent) > len("-300") or (exponent and abs(int(exponent)) > MAX_EXPONENT):
            raise self._refuse(event, "number-size", f"a number has at most {MAX_DIGITS} digits and an exponent within ±300")
        return int(text) if INTEGER.match(text) else Decimal(text)
