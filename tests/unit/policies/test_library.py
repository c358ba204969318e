from __future__ import annotations

from pathlib import Path

import pytest

import policies
from policies.canonical import digest
from policies.cases import coverage, run_cases
from policies.gate import gate
from policies.lint import lint_file
from policies.loader import load_cases, load_policy
from policies.metric_catalogue import DEFAULT_LINES
from policies.metrics import MetricResult
from policies.presets import PRESETS, expand, preset_rules

LIBRARY = Path(policies.__file__).parent / "library"
READY = sorted(LIBRARY.glob("*.yaml"))
RANGES = {"clinical": (None, 1), "health": (1, 5), "customer": (5, 10), "analytics": (10, 20)}
NAMES = {"hipaa-phi", "gdpr-customer", "ccpa-analytics", "open-testing", *RANGES}


def test_the_library_is_complete():
    assert {path.stem for path in READY} == NAMES
    assert {path.stem for path in (LIBRARY / "cases").glob("*.yaml")} == NAMES


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_a_ready_policy_is_sound_and_says_what_it_does_not_ensure(path):
    assert lint_file(path) == ()
    policy = load_policy(path)
    assert policy.name == path.stem
    assert len(policy.metadata.does_not_ensure) >= 3
    assert policy.is_enforced


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_its_case_file_passes_and_tries_every_rule(path):
    policy, cases = load_policy(path), load_cases(LIBRARY / "cases" / path.name)
    assert (LIBRARY / "cases" / cases.spec.policy).resolve() == path.resolve()
    results = run_cases(cases, policy)
    assert len(results) >= 10
    assert [(r.name, r.message) for r in results if r.outcome != "pass"] == []
    assert coverage(policy, results).untried == ()


def test_the_epsilon_ranges_are_those_that_are_promised():
    for name, (least, most) in RANGES.items():
        line = load_policy(LIBRARY / f"{name}.yaml").spec.generation.epsilon
        assert line.max == most
        assert line.advised_min == least


def test_frameworks_have_policies():
    served = {framework for path in READY for framework in load_policy(path).metadata.frameworks}
    assert {"HIPAA", "GDPR", "CCPA"} <= served


def test_standard_is_the_shipped_lines_of_the_catalogue():
    rules = {(rule.metric, rule.severity): rule for rule in preset_rules("standard")}
    for line in DEFAULT_LINES:
        rule = rules[line.metric, "block" if line.blocks else "warn"]
        assert (None if rule.max is None else str(rule.max), None if rule.p_min is None else str(rule.p_min)) == (
            line.max,
            line.p_min,
        )
        warning = rules.get((line.metric, "warn")) if line.blocks else None
        assert (None if warning is None else str(warning.p_min)) == line.warn_p


def test_presets_are_ordered_by_strictness():
    strict, standard, exploratory = (
        {(rule.metric, rule.severity): rule for rule in PRESETS[name]} for name in ("strict", "standard", "exploratory")
    )
    assert strict.keys() == standard.keys() == exploratory.keys()
    for metric, rule in standard.items():
        for tighter, wider in ((strict[metric], rule), (rule, exploratory[metric])):
            assert (tighter.max is None) == (wider.max is None)
            assert tighter.max is None or tighter.max <= wider.max
            assert tighter.p_min == wider.p_min


def test_every_line_of_every_preset_is_known_to_the_catalogue(policy):
    for name in PRESETS:
        text = (
            "apiVersion: ticketgate/v1\nkind: ReleasePolicy\nmetadata: {name: p, version: 1}\nspec:\n  datasets: [d]\n"
            "  request: {purposes: [t], max_rows: 1}\n  ticket: {projects: [D]}\n  budget: {epsilon: 1, delta: 1e-5}\n"
            "  generation: {generators: [dp-marginal], epsilon: {max: 1}}\n  gate:\n"
        ) + "".join(
            f"    - {{metric: '{r.metric}', {', '.join(f'{k}: {v}' for k, v in r.bound().items())}}}\n" for r in PRESETS[name]
        )
        findings = lint_file(text)
        assert [f for f in findings if f.severity == "error"] == []


def measured(value, interval=None, p=0.5, direction="lower"):
    return MetricResult(value=value, interval=interval, p_value=p, n=5000, direction=direction, method="t")


def founding(auc=0.52, advantage=0.04, ratio=0.98, copies=0.0, p=0.5):
    return {
        "privacy.membership_inference.auc": measured(auc),
        "privacy.membership_inference.advantage": measured(advantage),
        "privacy.dcr.p05_ratio": measured(ratio, direction="higher"),
        "privacy.copies.excess_share": measured(copies, p=p),
    }


@pytest.mark.parametrize(
    ("change", "passes"),
    [
        ({}, True),
        ({"auc": 0.61}, False),
        ({"advantage": 0.26}, False),
        ({"advantage": 0.25}, True),
        ({"ratio": 0.2}, False),
        ({"copies": 0.05}, False),
        ({"p": 1e-6}, False),
    ],
)
def test_the_founding_lines_are_a_preset(change, passes):
    assert gate(founding(**change), preset_rules("seed")).passed == passes


def test_expanding_twice_changes_nothing(policy):
    folded = load_policy(LIBRARY / "clinical.yaml", expanded=False)
    once = expand(folded)
    assert expand(once) == once
    assert digest(once) != digest(folded)
