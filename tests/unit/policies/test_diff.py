from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.decide import decide
from policies.diff import diff
from policies.gate import gate
from policies.gate_rule import GateRule
from policies.metrics import MetricResult

METRIC = "privacy.linkability"


def changed(policy, path, value):
    document = policy.model_dump(mode="python", by_alias=True)
    *above, last = ("spec", *path.split("."))
    here = document
    for step in above:
        here[step] = here[step] or {}
        here = here[step]
    here[last] = value
    return type(policy).model_validate(document)


@pytest.mark.parametrize(
    ("path", "old", "new", "text"),
    [
        ("request.max_rows", 10, 20, "10 → 20"),
        ("request.attempts_per_ticket", 1, 2, "1 → 2"),
        ("request.max_size", "1MB", None, "the limit of 1000000 was removed"),
        ("request.purposes", ["a"], ["a", "b"], "now also: b"),
        ("request.roles", ["analyst"], ["analyst", "admin"], "now also: admin"),
        ("request.formats", ["csv"], ["csv", "parquet"], "now also: parquet"),
        ("datasets", ["d"], ["d", "e"], "now also: e"),
        ("ticket.projects", ["A"], None, "any from now on, only A before"),
        ("ticket.types", ["A"], ["A", "B"], "now also: B"),
        ("ticket.approval_max_age", "1d", "30d", "1d → 30d"),
        ("ticket.max_uses", 1, 2, "1 → 2"),
        ("ticket.assignee_is_requester", True, False, "switched off"),
        ("ticket.unchanged_since_approval", True, False, "switched off"),
        ("generation.epsilon", {"max": 1}, {"max": 2}, "1 → 2"),
        ("generation.delta", {"max": "1e-7"}, {"max": "1e-6"}, "1E-7 → 0.000001"),
        ("generation.allow_non_dp", False, True, "switched on"),
        ("budget", {"epsilon": 1, "delta": "1e-5"}, {"epsilon": 2, "delta": "1e-5"}, "1 → 2"),
        ("differencing.max_releases", 1, None, "the limit of 1 was removed"),
        ("differencing.never_together", [["a", "b"]], [], "a, b may now be together"),
        ("review.approvers", 2, 1, "2 → 1"),
        ("review.when", ["always"], ["warn"], "always → warn"),
        ("review.when", ["warn", "non-dp"], ["warn"], "non-dp, warn → warn"),
        ("disclosure.metrics", "verdict", "exact", "verdict → exact"),
        ("access.proof_of_possession", "required", "never", "required → never"),
        ("access.token_ttl", "15m", "1h", "15m → 1h"),
        ("access.max_downloads", 1, 2, "1 → 2"),
    ],
)
def test_each_rule_gets_looser_and_back_stricter(policy, path, old, new, text):
    one, two = changed(policy, path, old), changed(policy, path, new)
    assert diff(one, one) == diff(two, two) == ()
    (looser,) = diff(one, two)
    assert (looser.direction, looser.text) == ("looser", text)
    assert path.startswith(looser.path) or looser.path.startswith(path)
    (stricter,) = diff(two, one)
    assert stricter.direction == "stricter"
    assert stricter.to_json()["direction"] == "stricter"


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("mode", "enforce", "audit"),
        ("review.roles", ["reviewer"], ["compliance"]),
        ("review.when", ["warn"], ["non-dp"]),
        ("generation.epsilon", {"max": 3}, {"max": 3, "advised_min": 1}),
    ],
)
def test_some_changes_are_neither(policy, path, old, new):
    (change,) = diff(changed(policy, path, old), changed(policy, path, new))
    assert change.direction == "changed"


def test_order_and_units_are_no_changes(policy):
    assert diff(changed(policy, "ticket.approval_max_age", "1d"), changed(policy, "ticket.approval_max_age", "24h")) == ()
    assert diff(changed(policy, "request.purposes", ["a", "b"]), changed(policy, "request.purposes", ["b", "a"])) == ()
    assert (
        diff(changed(policy, "review.roles", ["reviewer", "admin"]), changed(policy, "review.roles", ["admin", "reviewer"])) == ()
    )


def rule(**parts):
    return {"metric": METRIC, **parts}


def gated(policy, *rules):
    return changed(policy, "gate", list(rules))


@pytest.mark.parametrize(
    ("old", "new", "direction"),
    [
        (rule(max="0.1"), rule(max="0.05"), "stricter"),
        (rule(min="0.1"), rule(min="0.2"), "stricter"),
        (rule(max="0.1"), rule(max="0.1", min="0"), "stricter"),
        (rule(max="0.1"), rule(max="0.1", p_min="0.001"), "stricter"),
        (rule(max="0.1", use="value"), rule(max="0.1"), "stricter"),
        (rule(max="0.1", use="lower"), rule(max="0.1", use="value"), "stricter"),
        (rule(min="0.1", use="upper"), rule(min="0.1", use="lower"), "stricter"),
        (rule(max="0.1", severity="warn"), rule(max="0.1"), "stricter"),
        (rule(max="0.1", if_not_applicable="pass"), rule(max="0.1"), "stricter"),
        (rule(max="0.1"), rule(min="0.1"), "changed"),
        (rule(max="0.1", use="value"), rule(max="0.2"), "changed"),
        (rule(max="0.1"), rule(max="0.1", use="upper"), "changed"),
    ],
)
def test_gate_rules_are_compared_by_what_they_let_through(policy, old, new, direction):
    (change,) = diff(gated(policy, old), gated(policy, new))
    assert change.direction == direction
    (back,) = diff(gated(policy, new), gated(policy, old))
    assert back.direction == {"stricter": "looser", "changed": "changed"}[direction]


def test_rules_come_and_go(policy):
    one, two = gated(policy, rule(max="0.1")), gated(policy, rule(max="0.1"), rule(min="0"), rule(p_min="0.01"))
    assert [(c.direction, c.text) for c in diff(one, two)] == [
        ("stricter", "the rule min 0 (use interval) [block] was added"),
        ("stricter", "the rule p_min 0.01 [block] was added"),
    ]
    assert {c.direction for c in diff(two, one)} == {"looser"}


def test_presets_are_compared_as_their_rules(policy):
    strict, exploratory = (
        changed(changed(policy, "gate", []) if False else changed(policy, "preset", name), "gate", [])
        for name in ("strict", "exploratory")
    )
    assert {change.direction for change in diff(strict, exploratory)} == {"looser"}
    assert {change.direction for change in diff(exploratory, strict)} == {"stricter"}


lines = st.sampled_from([None, "0.1", "0.2", "0.3"])
rules = st.builds(
    lambda most, least, p, use, severity, silent: {
        "metric": METRIC, "max": most, "min": least, "p_min": p, "use": use, "severity": severity, "if_not_applicable": silent,
    },
    lines, st.sampled_from([None, "0", "0.05"]), st.sampled_from([None, "0.01", "0.001"]),
    st.sampled_from(["interval", "upper", "lower", "value"]), st.sampled_from(["block", "warn"]), st.sampled_from(["pass", "refuse"]),
).filter(lambda r: r["max"] or r["min"] or r["p_min"])  # fmt: skip
reports = st.one_of(
    st.none(),
    st.just(MetricResult.not_applicable(direction="lower", method="t", why="w")),
    st.just(MetricResult.inconclusive(direction="lower", method="t", why="w")),
    st.builds(
        lambda v, a, b, p: MetricResult(value=v, interval=(v - a, v + b), p_value=p, direction="lower", method="t"),
        st.floats(-0.1, 0.5), st.floats(0, 0.2), st.floats(0, 0.2), st.sampled_from([None, 0.5, 0.005, 0.0001]),
    ),
)  # fmt: skip


@given(rules, rules, reports)
def test_stricter_never_lets_through_what_was_refused(old, new, report):
    before, after = GateRule.model_validate(old), GateRule.model_validate(new)
    from policies.diff import _rule

    if before == after:
        return
    metrics = {} if report is None else {METRIC: report}
    then, now = gate(metrics, [before]).passed, gate(metrics, [after]).passed
    direction = _rule("x", before, after).direction
    assert direction != "stricter" or then or not now
    assert direction != "looser" or now or not then


@given(st.data())
def test_a_stricter_policy_never_permits_what_was_denied(data):
    facts = dict(_KEPT)
    paths = {
        "request.max_rows": [1000, 5000, 9000],
        "generation.epsilon": [{"max": "0.5"}, {"max": "1.0"}, {"max": "3"}],
        "ticket.max_uses": [1, 2, 3],
        "ticket.approval_max_age": ["1h", "1d", "30d"],
        "ticket.statuses": [["Approved"], ["Open"], ["Approved", "Open"]],
        "request.purposes": [["testing"], ["model-development"], ["testing", "model-development"]],
        "differencing.max_epsilon_per_recipient": [None, "1.5", "3"],
    }
    path = data.draw(st.sampled_from(sorted(paths)))
    old, new = (changed(facts["policy"], path, data.draw(st.sampled_from(paths[path]))) for _ in range(2))
    facts["request"] = replace(
        facts["request"],
        rows=data.draw(st.sampled_from([500, 2000, 8000])),
        epsilon=data.draw(st.sampled_from([Decimal("0.4"), Decimal(2)])),
    )
    facts["ticket"] = replace(
        facts["ticket"], uses=data.draw(st.integers(0, 3)), status=data.draw(st.sampled_from(["Approved", "Open"]))
    )
    directions = {change.direction for change in diff(old, new)}
    then, now = (decide(**facts | {"policy": p}).permitted for p in (old, new))
    assert directions != {"stricter"} or then or not now
    assert directions != {"looser"} or now or not then


_KEPT: dict[str, object] = {}


@pytest.fixture(autouse=True)
def _keep(facts):
    _KEPT.clear()
    _KEPT.update(facts)
