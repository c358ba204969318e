from __future__ import annotations

from pathlib import Path

import pytest

import policies
from policies.lint import lint_file

SOUND = """
apiVersion: ticketgate/v1
kind: ReleasePolicy
metadata: {name: analytics, version: 3}
spec:
  datasets: [cards]
  request: {purposes: [testing], max_rows: 1000}
  ticket: {projects: [DATA]}
  generation: {generators: [dp-marginal, dp-ctgan], epsilon: {max: 3.0}}
  budget: {epsilon: 10, delta: 1e-5}
  gate:
    - {metric: privacy.membership_inference.auc, max: 0.55}
    - {metric: privacy.attribute_inference.*, max: 0.03}
    - {metric: utility.marginals.ks.worst, max: 0.15, severity: warn}
  review: {approvers: 1, when: [warn]}
  access: {token_ttl: 15m}
"""


def found(text):
    return [(f.code, f.line, f.severity, f.suggestion) for f in lint_file(text, name="p.yaml")]


def test_a_sound_policy_has_no_findings():
    assert found(SOUND) == []


AUC_LINE = "- {metric: privacy.membership_inference.auc, max: 0.55}"


@pytest.mark.parametrize(
    ("old", "new", "code", "line", "severity", "suggestion"),
    [
        ("inference.auc", "inferense.auc", "unknown-metric", 12, "error", "privacy.membership_inference.auc"),
        ("attribute_inference.*", "nothing_known.*", "unknown-metric", 13, "error", ...),
        ("max: 0.55", "max: -0.1", "impossible-bound", 12, "error", None),
        ("max: 0.55", "min: 1.1", "impossible-bound", 12, "error", None),
        ("max: 0.55", "max: 1.0", "bound-does-nothing", 12, "error", None),
        ("max: 0.55", "max: 0.5, min: -3", "bound-does-nothing", 12, "error", None),
        ("max: 0.55", "min: 0.55", "wrong-direction", 12, "warning", "max"),
        ("max: 0.03}", f"max: 0.03}}\n    {AUC_LINE}", "duplicate-rule", 14, "error", None),
        ("max: 0.03}", f"max: 0.03}}\n    {AUC_LINE}".replace("max: 0.55", "min: 0.6"), "contradiction", 14, "error", None),
        ("max: 0.03}", f"max: 0.03}}\n    {AUC_LINE}".replace("0.55", "0.6"), "same-metric-twice", 14, "warning", None),
        (
            "max: 0.03}",
            "max: 0.03}\n    - {metric: privacy.attribute_inference.age, max: 0.1}",
            "unreachable-rule",
            14,
            "warning",
            None,
        ),
        ("dp-ctgan", "dp-ctgam", "unknown-generator", 9, "error", "dp-ctgan"),
        ("dp-ctgan", "cart", "unreachable-rule", 9, "error", None),
        ("[dp-marginal, dp-ctgan]", "[cart], allow_non_dp: true", "unreachable-rule", 9, "warning", None),
        ("max: 3.0}", "max: 3.0}, allow_non_dp: true", "unreachable-rule", 9, "warning", None),
        ("max: 3.0}", "max: 13.0}", "unreachable-rule", 9, "error", "10"),
        ("max: 3.0}", "max: 3.0}, delta: {max: 1e-4}", "unreachable-rule", 9, "error", None),
        ("1e-5}", "1e-5, windows: [{epsilon: 2, length: 30d}]}", "unreachable-rule", 9, "error", "2"),
        ("1e-5}", "1e-5, windows: [{epsilon: 10, length: 30d}]}", "wrong-value", 10, "error", None),
        ("1e-5}", "1e-5, windows: [{epsilon: 5, length: 30}]}", "wrong-value", 10, "error", "30d"),
        ("1e-5}", "1e-5, windows: []}", "wrong-value", 10, "error", None),
        ("budget: {epsilon: 10, delta: 1e-5}", "mode: audit", "no-budget", 5, "warning", None),
        ("max: 3.0", "max: 30.0", "wide-epsilon", 9, "warning", None),
        ("{projects: [DATA]}", "{types: [Task]}", "any-project", 8, "warning", None),
        ("{projects: [DATA]}", "{projects: [DATA], names_dataset: false}", "rule-switched-off", 8, "warning", None),
        ("[DATA]", "[DATA, OTHER, DATA]", "duplicate-entry", 8, "error", None),
        ("approvers: 1", "roles: [reviewer]", "unreachable-rule", 15, "warning", None),
        ("[warn]", "[always, warn]", "unreachable-rule", 15, "warning", None),
        ("severity: warn", "severity: block", "unreachable-rule", 15, "warning", None),
        ("15m", "31d", "unreachable-rule", 16, "error", None),
        ("15m", "25h", "long-token", 16, "warning", None),
        ("15m", "15m, max_downloads: 500", "many-downloads", 16, "warning", None),
        ("  access:", "  disclosure: {metrics: exact}\n  access:", "exact-metrics", 16, "warning", None),
    ],
)
def test_each_fault_is_found_where_it_stands(old, new, code, line, severity, suggestion):
    assert old in SOUND
    results = found(SOUND.replace(old, new, 1))
    assert (code, line, severity) in [entry[:3] for entry in results], results
    if suggestion is not ...:
        assert suggestion in [entry[3] for entry in results if entry[:3] == (code, line, severity)]


def test_a_gate_that_only_warns_is_no_gate():
    codes = {
        code
        for code, *_ in found(
            SOUND.replace("max: 0.55}", "max: 0.55, severity: warn}").replace("max: 0.03}", "max: 0.03, severity: warn}")
        )
    }
    assert {"gate-refuses-nothing", "no-privacy-rule"} <= codes


def test_a_preset_is_a_gate():
    start, rest = SOUND.split("  gate:\n")
    text = start + "  preset: standard\n" + rest[rest.index("  review:") :]
    assert found(text) == []


def test_what_cannot_be_read_is_found_too(tmp_path):
    assert found("a: [")[0][0] == "not-yaml"
    assert found(SOUND.replace("mode", "mood").replace("ticket:", "tikket:"))[0][0] == "unknown-key"
    path = tmp_path / "p.yaml"
    path.write_text(SOUND)
    assert lint_file(path) == ()
    assert lint_file(Path(tmp_path / "none.yaml"))[0].code == "unreadable"


@pytest.mark.parametrize(
    "bound", ["max: 0.02", "max: 0.05, if_not_applicable: pass", "max: 0.1, p_min: 0.01", "max: 0.1, use: value", "min: 0.0001"]
)
def test_a_rule_that_adds_something_is_reachable(bound):
    text = SOUND.replace("max: 0.03}", "max: 0.03, if_not_applicable: pass}" if "pass" not in bound else "max: 0.03}")
    text = text.replace(
        "    - {metric: utility", f"    - {{metric: privacy.attribute_inference.age, {bound}}}\n    - {{metric: utility", 1
    )
    reached = "unreachable-rule" not in {code for code, *_ in found(text)}
    assert reached == ("pass" not in bound)


def test_cards_and_case_files_are_read_too():
    library = Path(policies.__file__).parent / "library"
    assert lint_file(library / "cases" / "health.yaml") == ()
    assert found("kind: Dataset\n")[0][0] == "missing-key"
    assert found("kind: Policy\n")[0][0] == "unknown-kind"


def test_a_list_whose_entries_are_all_wrong_is_not_called_empty_too():
    results = found(SOUND.replace("purposes: [testing]", "purposes: [testing], roles: [analist]"))
    assert [(entry[0], entry[3]) for entry in results] == [("wrong-value", "analyst")]
