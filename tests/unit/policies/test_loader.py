from __future__ import annotations

import contextlib
import json
import os
import time
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import loader
from policies.canonical import canonical_json, digest, from_canonical
from policies.findings import DocumentInvalid
from policies.loader import find_todos, load_card, load_document, load_policy, parse
from policies.schema import ReleasePolicy

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def texts():
    source = {}
    exec((HERE / "conftest.py").read_text().split("@pytest.fixture")[0], source)  # noqa: S102 - the texts of this folder
    return source


@pytest.fixture(scope="module")
def card_text(texts):
    return texts["CARD"]


@pytest.fixture(scope="module")
def policy_text(texts):
    return texts["POLICY"]


def refused(call, *arguments, **options):
    with pytest.raises(DocumentInvalid) as caught:
        call(*arguments, **options)
    assert "\n".join(map(str, caught.value.findings)) == str(caught.value)
    json.dumps([finding.to_json() for finding in caught.value.findings])
    return caught.value.findings


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("false", False), ("True", "True"), ("yes", "yes"), ("no", "no"), ("on", "on"), ("y", "y"), ("N", "N"),
        ("null", None), ("~", None), ("", None), ("NULL", None), ("nil", "nil"),
        ("1", 1), ("-5", -5), ("007", "007"), ("+5", "+5"), ("1_000", "1_000"), ("0x1F", "0x1F"), ("0o17", "0o17"), ("12:30", "12:30"),
        ("0.55", Decimal("0.55")), ("1e-6", Decimal("1e-6")), ("1.0E-6", Decimal("1.0E-6")), (".5", ".5"), ("5.", "5."),
        (".inf", ".inf"), (".nan", ".nan"), ("NaN", "NaN"), ("1e5", Decimal("1E5")),
        ("2025-01-01", "2025-01-01"), ("2025-01-01T00:00:00Z", "2025-01-01T00:00:00Z"), ("30d", "30d"), ("=", "="),
        ('"1"', "1"), ("'true'", "true"), ('""', ""), ("'~'", "~"),
    ],
)  # fmt: skip
def test_scalars_are_what_people_meant(text, value):
    found = parse(f"key: {text}\n").data["key"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("a: 1\nb: 2\na: 3", "duplicate-key", 3, 1),
        ("a: {b: 1, b: 2}", "duplicate-key", 1, 11),
        ("a: &x 1", "anchor", 1, 4),
        ("&x a: 1", "key", 1, 1),
        ("a: 1\nb: *a", "alias", 2, 4),
        ("*a : 1", "alias", 1, 1),
        ("a:\n  - *b", "alias", 2, 5),
        ("a: !!int 1", "tag", 1, 4),
        ("a: !thing {}", "tag", 1, 4),
        ("!!str a: 1", "key", 1, 1),
        ("a: !!python/object/apply:os.system ['true']", "tag", 1, 4),
        ("<<: {a: 1}", "merge-key", 1, 1),
        ("? [a]\n: 1", "key", 1, 3),
        ("~: 1", "key", 1, 1),
        (": 1", "not-yaml", 1, 1),
        ("a: 1\n---\nb: 2", "many-documents", 2, 1),
        ("a: [1", "not-yaml", 2, 1),
        ("a: 'x", "not-yaml", 2, 1),
        ("a:\n\t- b", "not-yaml", 2, 1),
        ("a: \x07", "not-yaml", 0, 0),
        ("", "empty", 0, 0),
        ("# only a comment", "empty", 0, 0),
        ("a: " + "9" * 61, "number-size", 1, 4),
        ("a: 1e301", "number-size", 1, 4),
        ("a: 1e-99999999", "number-size", 1, 4),
    ],
)
def test_what_is_refused_and_where(text, code, line, column):
    (finding,) = refused(parse, text + "\n" if text else text)
    assert (finding.code, finding.line, finding.column) == (code, line, column), str(finding)


def test_a_quoted_merge_key_is_a_word():
    assert parse("'<<': 1").data == {"<<": 1}


def test_depth_nodes_and_bytes_are_bounded():
    assert parse("[" * 33 + "]" * 33).data
    assert refused(parse, "[" * 34 + "]" * 34)[0].code == "too-deep"
    assert refused(parse, "a: [" + "1," * 100_001 + "]")[0].code == "too-many-nodes"
    assert refused(parse, "a: '" + "x" * 1024 * 1024 + "'")[0].code == "too-large"
    assert refused(parse, "ä" * (600 * 1024))[0].code == "too-large"


def test_a_bomb_costs_nothing():
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{c}: &{c} [*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
    )
    start = time.perf_counter()
    assert refused(parse, bomb)[0].code == "anchor"
    refused(parse, "[" * 1_000_000)
    refused(parse, "{a: " * 200_000)
    assert time.perf_counter() - start < 5


def test_files_are_read_carefully(tmp_path):
    path = tmp_path / "x.yaml"
    assert refused(parse, path)[0].code == "unreadable"
    assert refused(parse, tmp_path)[0].code == "not-a-file"
    path.write_bytes(b"a: 1\nb: \xff\n")
    (finding,) = refused(parse, path)
    assert (finding.code, finding.line, finding.column, finding.file) == ("not-utf-8", 2, 4, str(path))
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert parse(path).data == {"a": 1}
    path.write_bytes(b"x" * (1024 * 1024 + 1))
    assert refused(parse, path)[0].code == "too-large"
    assert refused(parse, "a: [", name="policy.yaml")[0].file == "policy.yaml"
    os.mkfifo(tmp_path / "pipe")
    assert refused(parse, tmp_path / "pipe")[0].code == "not-a-file"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  ticket:", "  tickett:", ":8:3: spec.tickett: unknown key 'tickett'; did you mean ticket?"),
        ("max: 0.55", "maxx: 0.55", ":11:50: spec.gate[0].maxx: unknown key 'maxx'; did you mean max?"),
        ("max: 0.55", "zzz: 0.55", "spec.gate[0].zzz: unknown key 'zzz' (known here: metric, max, min"),
        ("severity: warn", "severity: wrn", ":12:65: spec.gate[1].severity: 'wrn' is not one of 'block' or 'warn'; did you mean warn?"),
        ("version: 3", "version: 3.5", ":4:38: metadata.version: "),
        ("version: 3", "version: 0", "metadata.version: input should be greater than or equal to 1, not '0'"),
        ("max_rows: 100000", "max_rows: many", ":7:54: spec.request.max_rows: "),
        ("max: 0.55", "max: 0.55, min: 0.6", ":11:7: spec.gate[0]: min 0.6 is above max 0.55"),
        ("max: 0.55}", "use: value}", ":11:7: spec.gate[0]: a rule needs max, min or p_min"),
        ("[Data request]", "[]", "spec.ticket.types: "),
        ("[Data request]", "[5]", "spec.ticket.types[0]: input should be a valid string, not '5'"),
        ("projects: [DATA]", "projects: DATA", "spec.ticket.projects: "),
        ("projects: [DATA]", "unchanged_since_approval: yes", "spec.ticket.unchanged_since_approval: input should be a valid boolean, not 'yes'; did you mean true?"),
        ("projects: [DATA]", "approval_max_age: 30", "did you mean 30d?"),
        ("projects: [DATA]", "approval_max_age: 30days", "as in 90s, 15m, 24h, 30d or 2w, not '30days'"),
        ("projects: [DATA]", "approval_max_age: 0d", "not '0d'"),
        ("projects: [DATA]", "approval_max_age: 99999999w", "at most a hundred years"),
        (", epsilon: {max: 3.0}", "", "dp-marginal is differentially private: say epsilon"),
        ("epsilon: {max: 3.0}", "epsilon: {max: 3.0, advised_min: 4}", "advised_min 4 is above max 3"),
        ("max_rows: 100000", "max_rows: 1, max_size: 5 apples", "a size is a whole number and a unit"),
        ("metric: utility.", "metric: utillity.", "a metric is named family.metric"),
        ("metadata: {name: analytics, ", "metadata: {name: Ana Lytics, ", "metadata.name: "),
        ("metadata: {name: analytics, ", "metadata: {", "metadata.name: the key 'name' is missing"),
        ("kind: ReleasePolicy", "kind: Dataset", "kind: "),
    ],
)  # fmt: skip
def test_a_policy_is_refused_with_place_and_suggestion(policy_text, old, new, said):
    assert old in policy_text
    findings = refused(load_policy, policy_text.replace(old, new, 1), name="p.yaml")
    assert any(said in str(finding) for finding in findings), "\n".join(map(str, findings))
    assert all(finding.line > 0 for finding in findings)


def test_a_policy_without_rules_cannot_be_constructed(policy_text):
    start, rest = policy_text.split("  gate:\n")
    without = start + rest.split("severity: warn}\n")[1]
    assert "a policy needs gate rules" in str(refused(load_policy, without)[0])
    assert "a policy needs gate rules" in str(refused(load_policy, without + "  gate: []\n")[0])
    assert load_policy(without + "  preset: standard\n").spec.expanded_from == "standard"


def test_every_complaint_is_made_at_once(policy_text):
    broken = policy_text.replace("max: 0.55", "max: low").replace("projects:", "project:").replace("mode", "mood")
    assert len(refused(load_policy, broken)) == 2


def test_a_kind_is_needed_and_known():
    assert refused(load_document, "kind: Dataste")[0].suggestion == "Dataset"
    assert refused(load_document, "a: 1")[0].code == "unknown-kind"
    assert refused(load_document, "[1]")[0].code == "unknown-kind"
    assert refused(load_document, "kind: [Dataset]")[0].code == "unknown-kind"


def test_a_document_is_read_as_what_it_says_it_is(card_text, policy_text):
    assert load_document(card_text).kind == "Dataset"
    assert load_document(policy_text.replace("gate:", "preset: strict\n  gate:")).spec.expanded_from == "strict"


def test_a_card_says_where_its_todos_are(card_text):
    todo = card_text.replace("[18, 100]", "[TODO, 100]").replace(
        "[0, 20000]", "TODO: what is the largest amount?".replace(":", "")
    )
    findings = refused(load_card, todo)
    assert [(f.code, f.path) for f in findings] == [
        ("todo", "spec.columns.age.bounds[0]"),
        ("todo", "spec.columns.amount.bounds"),
    ]
    assert [f.path for f in find_todos(parse(todo))] == [f.path for f in findings]
    valid = card_text.replace("steward: dana", "steward: TODO")
    assert [f.path for f in refused(load_card, valid)] == ["metadata.steward"]
    assert load_card(card_text.replace("steward: dana", "steward: 'TODO'")).metadata.steward == "TODO"
    both = todo.replace("role: sensitive", "rolle: sensitive")
    assert {f.code for f in refused(load_card, both)} == {"todo", "unknown-key"}


def test_category_values_stay_words(card_text):
    assert load_card(card_text).columns["region"].values == ("north", "south", "no", "true")


def test_the_canonical_form_is_stable_and_reversible(card_text, policy_text):
    for model in (
        load_card(card_text),
        load_policy(policy_text),
        load_policy(policy_text.replace("gate:", "preset: standard\n  gate:")),
    ):
        raw = canonical_json(model)
        assert from_canonical(raw, type(model)) == model
        assert canonical_json(from_canonical(raw, type(model))) == raw
        assert load_document(raw.decode()) == model
        assert digest(model) == digest(from_canonical(raw, type(model)))
    card = load_card(card_text)
    assert list(from_canonical(canonical_json(card), type(card)).columns) == list(card.columns)


def test_equal_meaning_equal_digest(policy_text):
    same = (
        policy_text.replace("3.0", "3.00")
        .replace("0.55", "5.5e-1")
        .replace(
            "{projects: [DATA], types: [Data request]}", "{types: ['Data request'], projects: [\"DATA\"], approval_max_age: 720h}"
        )
    )
    assert digest(load_policy(same)) == digest(load_policy(policy_text))
    assert digest(load_policy(policy_text.replace("0.55", "0.56"))) != digest(load_policy(policy_text))


def test_the_order_of_columns_is_part_of_a_card(card_text):
    lines = card_text.splitlines()
    swapped = "\n".join([*lines[:-2], lines[-1], lines[-2]])
    assert digest(load_card(swapped)) != digest(load_card(card_text))
    with pytest.raises(ValueError, match="different names"):
        type(load_card(card_text)).model_validate({"spec": {"columns": [{"type": "id"}]}})


def test_expanding_a_preset_writes_its_lines_out(policy_text):
    folded = policy_text.replace("gate:", "preset: standard\n  gate:")
    left = load_policy(folded, expanded=False)
    assert (left.spec.preset, len(left.spec.gate)) == ("standard", 2)
    full = load_policy(folded)
    assert full.spec.preset is None
    metrics = [rule.metric for rule in full.spec.gate]
    blocking = [rule.metric for rule in full.spec.gate if rule.severity == "block"]
    assert len(blocking) == len(set(blocking)) > 10
    assert metrics[-2:] == [rule.metric for rule in left.spec.gate]
    assert load_policy(canonical_json(full).decode()) == full
    both = "preset: standard\n  expanded_from: strict\n  gate:"
    assert "exclude each other" in str(refused(load_policy, policy_text.replace("gate:", both))[0])


@given(st.text(max_size=300))
def test_no_text_breaks_the_reader(text):
    with contextlib.suppress(DocumentInvalid):
        parse(text)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(tmp_path_factory, raw):
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(raw)
    with contextlib.suppress(DocumentInvalid):
        load_document(path)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**50), 10**50)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz<~", min_size=1, max_size=5), inner, max_size=4),
    max_leaves=15,
)


@given(plain)
def test_json_is_read_as_json(value):
    text = json.dumps({"k": value}, ensure_ascii=False)
    assert parse(text).data == {"k": value}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["max: 0.55", "spec", "ticket", "{", "}", "[", ":", "analytics", "3", "\n", "  ", "-"]),
            st.sampled_from(["", "x", ": ", "null", "[]", "{}", "1e9", "&a ", "true"]),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_no_edit_of_a_policy_breaks_the_models(policy_text_kept, edits):
    text = policy_text_kept
    for old, new in edits:
        text = text.replace(old, new, 1)
    with contextlib.suppress(DocumentInvalid):
        assert isinstance(load_policy(text), ReleasePolicy)


@pytest.fixture(scope="module")
def policy_text_kept(policy_text):
    return policy_text


def test_only_known_kinds_are_read():
    assert set(loader.KINDS) == {"Dataset", "PolicyCases", "ReleasePolicy"}


@pytest.mark.shared
def test_every_hostile_file_ends_in_findings(shared):
    for path in sorted((shared / "awkward").iterdir()):
        start = time.perf_counter()
        assert refused(load_document, path)
        assert time.perf_counter() - start < 5, path.name
