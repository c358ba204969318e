from __future__ import annotations

import json
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.gate import BROKEN, CAUSES, Verdict, gate, gate_without_report, read_metrics
from policies.gate_rule import GateRule
from policies.lint import lint_file
from policies.loader import load_policy
from policies.metrics import MetricResult
from policies.presets import PRESETS, expand

AUC = "privacy.membership_inference.auc"
KS = "utility.marginals.ks.worst"


def rule(metric=AUC, **parts):
    return GateRule.model_validate(
        {"metric": metric, **({"max": Decimal("0.55")} if not parts.keys() & {"max", "min", "p_min"} else {}), **parts}
    )


def measured(value, interval=None, *, p=None, n=1000, direction="lower"):
    return MetricResult(value=value, interval=interval, p_value=p, n=n, direction=direction, method="test")


def only(metrics, *rules):
    verdict = gate(metrics, rules)
    assert len(verdict.rules) == 1
    json.dumps(verdict.to_json(), allow_nan=False)
    return verdict, verdict.rules[0]


@pytest.mark.parametrize(
    ("interval", "status", "code"),
    [
        ((0.49, 0.55), "pass", "within-line"),
        ((0.49, 0.5501), "inconclusive", "line-in-interval"),
        ((0.55, 0.60), "inconclusive", "line-in-interval"),
        ((0.5501, 0.60), "fail", "beyond-line"),
    ],
)
def test_an_interval_has_three_outcomes_below_a_maximum(interval, status, code):
    verdict, result = only({AUC: measured(sum(interval) / 2, interval)}, rule())
    assert (result.status, result.code) == (status, code)
    assert verdict.passed == (status == "pass")
    assert result.bound == {"max": 0.55}


@pytest.mark.parametrize(
    ("interval", "status"),
    [((0.8, 0.9), "pass"), ((0.79, 0.9), "inconclusive"), ((0.6, 0.8), "inconclusive"), ((0.6, 0.79), "fail")],
)
def test_an_interval_has_three_outcomes_above_a_minimum(interval, status):
    metrics = {KS: measured(0.75, interval, direction="higher")}
    _, result = only(metrics, rule(KS, min=Decimal("0.8"), use="interval"))
    assert result.status == status


@pytest.mark.parametrize(
    ("use", "side", "line", "status"),
    [
        ("upper", "max", "0.6", "pass"), ("upper", "max", "0.59", "fail"),
        ("lower", "max", "0.4", "pass"), ("lower", "max", "0.39", "fail"),
        ("value", "max", "0.5", "pass"), ("value", "max", "0.49", "fail"),
        ("upper", "min", "0.6", "pass"), ("upper", "min", "0.61", "fail"),
        ("lower", "min", "0.4", "pass"), ("lower", "min", "0.41", "fail"),
        ("value", "min", "0.5", "pass"), ("value", "min", "0.51", "fail"),
    ],
)  # fmt: skip
def test_one_end_or_the_value_decides_in_two(use, side, line, status):
    _, result = only({AUC: measured(0.5, (0.4, 0.6))}, rule(use=use, **{side: Decimal(line)}))
    assert result.status == status


def test_an_exact_value_is_its_own_interval():
    _, result = only({AUC: measured(0.55)}, rule())
    assert result.status == "pass"


def test_inconclusive_says_how_many_more_are_needed():
    _, result = only({AUC: measured(0.53, (0.49, 0.57), n=1000)}, rule())
    assert "about 4000 records" in result.message
    assert "there were 1000" in result.message


@pytest.mark.parametrize(("value", "n"), [(0.56, 1000), (0.53, 0), (0.55, 1000), (0.5499999, 1000)])
def test_and_does_not_where_more_would_not_help_or_nothing_is_known(value, n):
    _, result = only({AUC: measured(value, (0.49, 0.6), n=n)}, rule())
    assert result.status == "inconclusive"
    assert "about" not in result.message


def test_both_lines_count_and_the_worse_one_speaks():
    metrics = {KS: measured(0.5, (0.4, 0.6))}
    assert only(metrics, rule(KS, min=Decimal("0.45"), max=Decimal("0.55"), use="value"))[1].status == "pass"
    assert only(metrics, rule(KS, min=Decimal("0.45"), max=Decimal("0.7"), use="interval"))[1].status == "inconclusive"
    assert only(metrics, rule(KS, min=Decimal("0.65"), max=Decimal("0.7"), use="interval"))[1].status == "fail"
    assert only(metrics, rule(KS, min=Decimal("0.1"), max=Decimal("0.3"), use="interval"))[1].status == "fail"


def test_a_p_value_below_its_line_fails_whatever_the_estimate():
    both = rule(max=Decimal("0.9"), p_min=Decimal("0.001"))
    assert only({AUC: measured(0.5, (0.4, 0.6), p=0.0009)}, both)[1].code == "p-below-line"
    assert only({AUC: measured(0.5, (0.4, 0.6), p=0.001)}, both)[1].code == "within-line"
    assert only({AUC: measured(0.95, (0.94, 0.96), p=0.5)}, both)[1].code == "beyond-line"


def test_a_p_value_alone_can_be_the_line():
    alone = rule(p_min=Decimal("0.001"))
    assert only({AUC: measured(0.99, (0.9, 1.0), p=0.5)}, alone)[1].status == "pass"
    verdict, result = only({AUC: measured(0.5, (0.4, 0.6))}, alone)
    assert (result.status, result.code, verdict.passed) == ("inconclusive", "p-missing", False)


def test_what_is_missing_refuses():
    verdict, result = only({}, rule())
    assert (result.status, result.code, result.observed, verdict.passed) == ("fail", "metric-missing", None, False)


@pytest.mark.parametrize("cause", [*CAUSES, "something new"])
def test_every_cause_of_not_knowing_has_its_own_code_and_blocks(cause):
    metric = MetricResult.inconclusive(direction="lower", method="t", why="too small a table", cause=cause)
    verdict, result = only({AUC: metric}, rule())
    assert result.status == "inconclusive"
    assert result.code == CAUSES.get(cause, ("metric-inconclusive",))[0]
    assert not verdict.passed
    tolerant = gate({AUC: metric}, [rule(severity="warn")])
    assert tolerant.passed == (cause not in BROKEN)


def test_codes_of_causes_are_different():
    assert len({code for code, _ in CAUSES.values()}) == len(CAUSES)


@pytest.mark.parametrize(("number", "code"), [(math.nan, "metric-nan"), (math.inf, "metric-infinite"), (None, "metric-nan")])
@pytest.mark.parametrize("severity", ["block", "warn"])
def test_a_number_that_is_none_blocks_even_a_warning(number, code, severity):
    broken = measured(0.5)
    object.__setattr__(broken, "value", number)  # a result that somebody smuggled past its own checks
    verdict, result = only({AUC: broken}, rule(severity=severity))
    assert (result.status, result.code, result.observed, verdict.passed) == ("fail", code, None, False)


@pytest.mark.parametrize(("end", "code"), [(math.nan, "metric-nan"), (math.inf, "metric-infinite")])
def test_so_does_an_interval_that_is_none(end, code):
    broken = measured(0.5, (0.4, 0.6))
    object.__setattr__(broken, "interval", (0.4, end))
    verdict, result = only({AUC: broken}, rule())
    assert (result.code, result.interval, verdict.passed) == (code, None, False)


def test_not_applicable_refuses_unless_the_rule_lets_it():
    metric = MetricResult.not_applicable(direction="lower", method="t", why="no date column")
    verdict, result = only({AUC: metric}, rule())
    assert (result.status, verdict.passed) == ("not_applicable", False)
    assert "no date column" in result.message
    verdict, result = only({AUC: metric}, rule(if_not_applicable="pass"))
    assert (result.status, result.blocks, verdict.passed) == ("not_applicable", False, True)


def test_a_warning_lets_through_and_is_seen():
    verdict, result = only({KS: measured(0.3)}, rule(KS, max=Decimal("0.15"), severity="warn"))
    assert (result.status, result.code, verdict.passed) == ("warn", "beyond-line", True)
    assert verdict.warnings == (result,)
    assert verdict.blocking == ()


def test_a_pattern_speaks_of_every_metric_that_matches():
    metrics = {
        "privacy.attribute_inference.income": measured(0.01),
        "privacy.attribute_inference.a.b": measured(0.2),
        "privacy.attribution": measured(0.9),
    }
    verdict = gate(metrics, [rule("privacy.attribute_inference.*", max=Decimal("0.03"))])
    assert [(r.metric, r.status) for r in verdict.rules] == [
        ("privacy.attribute_inference.a.b", "fail"),
        ("privacy.attribute_inference.income", "pass"),
    ]


def test_a_star_in_the_middle_is_one_segment():
    pattern = rule("fairness.*.sex.shift", max=Decimal("0.1"))
    assert pattern.matches("fairness.demographic_parity.sex.shift")
    assert not pattern.matches("fairness.a.b.sex.shift")
    assert not pattern.matches("fairness.demographic_parity.sexyshift")


def test_a_pattern_that_matches_nothing_is_a_missing_metric():
    verdict, result = only({KS: measured(0.1)}, rule("privacy.attribute_inference.*", max=Decimal("0.03")))
    assert (result.code, verdict.passed) == ("metric-missing", False)


def test_no_rules_is_no_gate():
    with pytest.raises(ValueError, match="at least one rule"):
        gate({AUC: measured(0.5)}, [])
    with pytest.raises(ValueError, match="at least one rule"):
        Verdict(rules=())


@pytest.mark.parametrize("cause", ["crashed", "timeout", "malformed"])
def test_without_a_report_every_rule_refuses(cause):
    verdict = gate_without_report(cause, [rule(), rule(KS, severity="warn")])
    assert not verdict.passed
    assert {(r.status, r.code, r.blocks) for r in verdict.rules} == {("fail", CAUSES[cause][0], True)}


GOOD = measured(0.5, (0.4, 0.6), p=0.3).to_json()


def test_a_report_card_is_read_back():
    assert read_metrics({"schema": "ticketgate/report-card/v1", "metrics": {AUC: GOOD}})[AUC].interval == (0.4, 0.6)
    assert read_metrics({AUC: GOOD})[AUC].value == 0.5
    assert read_metrics({"schema": "ticketgate/report-card/v1"}) == {}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"value": math.nan}, "metric-nan"),
        ({"value": -math.inf}, "metric-infinite"),
        ({"interval": [0.4, math.nan]}, "metric-nan"),
        ({"p_value": math.nan}, "metric-nan"),
        ({"value": "0.5"}, "metric-malformed"),
        ({"value": True}, "metric-malformed"),
        ({"value": None}, "metric-malformed"),
        ({"interval": "wide"}, "metric-malformed"),
        ({"interval": [0.4]}, "metric-malformed"),
        ({"interval": [0.6, 0.4]}, "metric-malformed"),
        ({"p_value": 2}, "metric-malformed"),
        ({"n": "many"}, "metric-malformed"),
        ({"status": "fine"}, "metric-malformed"),
        ({"detail": {"cause": "nan"}}, "within-line"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_own_code(change, code):
    entry = {**GOOD, **change}
    _, result = only(read_metrics({AUC: entry}), rule(use="value"))
    assert result.code == code


@pytest.mark.parametrize("entry", [None, 0.5, [], {}, {"value": 0.5}])
def test_nor_is_half_an_entry(entry):
    assert only(read_metrics({AUC: entry}), rule())[1].code == "metric-malformed"


finite = st.floats(-1e6, 1e6)


@given(value=finite, spread=st.floats(0, 10), line=finite, wider=st.floats(0, 10))
def test_a_wider_interval_never_turns_a_refusal_into_a_pass(value, spread, line, wider):
    one = rule(max=Decimal(str(line)))
    narrow = gate({AUC: measured(value, (value - spread, value + spread))}, [one])
    wide = gate({AUC: measured(value, (value - spread - wider, value + spread + wider))}, [one])
    assert narrow.passed or not wide.passed


@given(value=finite, line=finite, stricter=st.floats(0, 1e6))
def test_a_stricter_line_never_lets_more_through(value, line, stricter):
    metrics = {AUC: measured(value)}
    assert (
        gate(metrics, [rule(max=Decimal(str(line)))]).passed
        or not gate(metrics, [rule(max=Decimal(str(line - stricter)))]).passed
    )


@given(
    st.dictionaries(
        st.sampled_from([AUC, KS]),
        st.sampled_from([measured(0.5), measured(0.9), MetricResult.inconclusive(direction="lower", method="t", why="w")]),
    )
)
def test_more_rules_never_let_more_through(metrics):
    rules = [rule(), rule(KS)]
    if gate(metrics, rules).passed:
        assert gate(metrics, rules[:1]).passed
        assert gate(metrics, rules[1:]).passed


@pytest.mark.parametrize("name", ["strict", "standard", "exploratory"])
@pytest.mark.parametrize(
    "metric",
    [
        "privacy.copies.excess_share",
        "privacy.copies.near_excess_share",
        "privacy.rare_values.excess_share",
        "privacy.membership_inference.tpr_at_fpr_1pct",
        "privacy.membership_inference.exposed.tpr_at_fpr_10pct",
    ],
)
def test_presets_block_at_one_in_a_thousand_and_warn_at_one_in_twenty(name, metric):
    rules = [rule for rule in PRESETS[name] if rule.metric == metric]

    def judged(p_value):
        found = MetricResult(value=0.0, p_value=p_value, n=5000, direction="lower", method="t")
        verdict = gate({metric: found}, rules)
        return verdict.passed, len(verdict.warnings)

    assert judged(0.06) == (True, 0)
    assert judged(0.04) == (True, 1)
    assert judged(0.0009) == (False, 1)
    absent = gate({metric: MetricResult.not_applicable(direction="lower", method="t", why="few rows stand alone")}, rules)
    assert (absent.passed, absent.warnings) == (True, ())


def test_a_policy_s_own_rule_takes_the_place_of_both(policy):
    mine = GateRule.model_validate({"metric": "privacy.copies.excess_share", "p_min": "0.01"})
    spec = policy.spec.model_copy(update={"preset": "standard", "gate": (mine,)})
    full = expand(policy.model_copy(update={"spec": spec}))
    assert [rule for rule in full.spec.gate if rule.metric == mine.metric] == [mine]


SIDE_BY_SIDE = """
apiVersion: ticketgate/v1
kind: ReleasePolicy
metadata: {name: both, version: 1}
spec:
  datasets: [d]
  request: {purposes: [t], max_rows: 1000}
  ticket: {projects: [DATA]}
  generation: {generators: [dp-marginal], epsilon: {max: 1}}
  budget: {epsilon: 1, delta: 1e-5}
  gate:
    - {metric: privacy.copies.excess_share, p_min: 0.001}
    - {metric: privacy.copies.excess_share, p_min: 0.05, severity: warn}
"""


def test_a_rule_that_blocks_and_one_that_warns_stand_side_by_side_in_a_policy():
    assert lint_file(SIDE_BY_SIDE) == ()
    found = MetricResult(value=0.0, p_value=0.01, n=9, direction="lower", method="t")
    verdict = gate({"privacy.copies.excess_share": found}, load_policy(SIDE_BY_SIDE).spec.gate)
    assert (verdict.passed, [rule.metric for rule in verdict.warnings]) == (True, ["privacy.copies.excess_share"])
